// SPDX-License-Identifier: GPL-2.0-only
/*
 * Copying what is out of sync, through the ring. A region, or a part of it beside writers (pace.c),
 * is read and gets its place in the order among the writes: what was written before it is in it,
 * what is written after it comes after it. For that its sectors are closed from before the read
 * until the place is taken: earlier writes there are waited for, later ones wait.
 *
 * The daemon lets it run while the hub keeps the group's bracket open for the volume, and tells
 * when not. The last record is a NOOP with the flag RESYNC: everything is the same now.
 *
 * Before, the daemon may compare: it peeks at regions, and what the hub's copy holds already is in
 * sync without a copy. It lets the copying follow behind it.
 */
#include "cascade.h"

#include <linux/blkdev.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#define RETRY_MS 500		/* after a region could not be read */
#define NEVER UINT_MAX
#define NO_LIMIT U64_MAX

static void run_in(struct cascade_volume *v, unsigned int ms)
{
	mod_delayed_work(v->wq, &v->resync.work, msecs_to_jiffies(ms));
}

static u64 region_of(sector_t sector)
{
	return sector / CASCADE_META_REGION_SECTORS;
}

/* ---- volume->lock held */

bool cascade_resync_closed(struct cascade_volume *v, sector_t start, sector_t last)
{
	struct cascade_resync *r = &v->resync;

	return r->closed && start <= r->last && r->start <= last;
}

void cascade_resync_open(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	v->resync.closed = false;
	if (!bio_list_empty(&v->deferred))
		cascade_queue_work(v);
}

/* Whether applications have written since the last look. */
static bool busy(struct cascade_volume *v)
{
	u64 before = v->resync.writes_seen;

	v->resync.writes_seen = v->nr_writes;
	return v->nr_writes != before;
}

/* Everything is the same: says so, once, in the order of the writes. */
static void publish_end(struct cascade_volume *v)
{
	struct cascade_slot *slot = cascade_ring_take(v, 0, 0, 0);

	if (!slot)
		return;
	slot->resync = CASCADE_RESYNC_END;
	v->resync.in_flight++;
	cascade_ring_fill_read(v, v->reserved, CASCADE_OP_NOOP, CASCADE_FLAG_RESYNC, 0, 0, NULL);
	slot->ready = true;
	v->resync.end_published = true;
	if (cascade_ring_publish(v))
		wake_up_interruptible(&v->poll_wait);
}

static sector_t end_of_region(struct cascade_volume *v, sector_t begin)
{
	return min_t(sector_t, v->sectors, begin + CASCADE_META_REGION_SECTORS);
}

/* Whether the last word is due. */
static bool may_end(struct cascade_volume *v)
{
	return v->resync.until == NO_LIMIT && !v->resync.in_flight && !v->resync.end_published &&
	       !v->bitmap.nr_out_of_sync;
}

/* Closes the next part of a region, of at most @bytes. False if there is none to copy now. */
static bool close_next(struct cascade_volume *v, unsigned int bytes)
{
	struct cascade_resync *r = &v->resync;
	sector_t begin, end;
	u64 limit = min(v->bitmap.nr_regions, r->until);
	u64 region = cascade_bitmap_next(&v->bitmap, r->next);

	if (region >= limit) {
		if (r->in_flight)
			return false;
		/* Some may have come behind us. */
		region = cascade_bitmap_next(&v->bitmap, 0);
	}
	if (region >= limit) {
		if (may_end(v))
			publish_end(v);
		return false;
	}
	begin = region * CASCADE_META_REGION_SECTORS;
	end = end_of_region(v, begin);
	if (r->part > begin && r->part < end) {
		r->start = r->part;
	} else {
		r->start = begin;
		r->doubts = v->doubts;
	}
	r->last = min_t(sector_t, end, r->start + (bytes >> SECTOR_SHIFT)) - 1;
	r->closed = true;
	r->end_published = false;
	return true;
}

static bool may_run(struct cascade_volume *v)
{
	return v->resync.wanted && !v->resync.paused && v->started && !v->alone && v->live && !v->requeue &&
	       !v->resync.held && v->daemon == CASCADE_DAEMON_ATTACHED;
}

/* A slot of ours is stored at the hub. */
void cascade_resync_stored(struct cascade_volume *v, struct cascade_slot *slot)
{
	struct cascade_resync *r = &v->resync;

	lockdep_assert_held(&v->lock);
	if (slot->resync == CASCADE_RESYNC_VERIFY)
		return;
	r->in_flight--;
	if (slot->resync == CASCADE_RESYNC_END) {
		/* The hub has closed its bracket: for more it has to open another one. */
		r->wanted = false;
		if (v->bitmap.nr_out_of_sync)
			return;
		v->differs &= ~(CASCADE_DIFFERS_UNCLEAN | CASCADE_DIFFERS_LOCAL);
		cascade_ring_tell(v);
		cascade_later_event(v, CASCADE_EVENT_DIFFERS);
		return;
	}
	if (slot->taken && !r->in_flight)
		cascade_pace_copied(&r->pace, ktime_get_ns() - slot->taken);
	/* Unless somebody has doubted it since it was read. */
	if (slot->resync == CASCADE_RESYNC_REGION && slot->doubts == v->doubts)
		cascade_bitmap_in_sync(&v->bitmap, region_of(slot->start));
	cascade_ring_tell(v);
	run_in(v, 0);
}

/* ---- one part of a region; no lock held */

/* At most a region, into a vmalloc'ed buffer. */
int cascade_resync_read(struct cascade_target *t, sector_t start, unsigned int bytes,
			void *buffer)
{
	struct bio *bio = bio_alloc(t->dev->bdev, CASCADE_REGION_BYTES / PAGE_SIZE, REQ_OP_READ, GFP_NOIO);
	unsigned int at;
	int r;

	bio->bi_iter.bi_sector = t->start + start;
	for (at = 0; at < bytes; at += PAGE_SIZE)
		__bio_add_page(bio, vmalloc_to_page(buffer + at),
			       min_t(unsigned int, PAGE_SIZE, bytes - at), 0);
	r = submit_bio_wait(bio);
	bio_put(bio);
	if (r)
		DMERR_LIMIT("%s: cannot read sector %llu, to copy it to the hub or to compare it: error %d",
			    t->v->name, (unsigned long long)start, r);
	return r;
}

static int read_part(struct cascade_target *t)
{
	struct cascade_resync *r = &t->v->resync;

	return cascade_resync_read(t, r->start, (r->last - r->start + 1) << SECTOR_SHIFT, r->buffer);
}

/* The part gets its place. False if the ring has none now. */
static bool send_part(struct cascade_volume *v)
{
	struct cascade_resync *r = &v->resync;
	unsigned int bytes = (r->last - r->start + 1) << SECTOR_SHIFT;
	bool last = r->last + 1 == v->sectors || region_of(r->last + 1) != region_of(r->start);
	bool zero = !memchr_inv(r->buffer, 0, bytes);
	struct cascade_slot *slot;
	u64 seq;

	spin_lock_irq(&v->lock);
	slot = cascade_ring_take(v, r->start, r->last, zero ? 0 : bytes);
	seq = v->reserved;
	if (slot) {
		slot->resync = last ? CASCADE_RESYNC_REGION : CASCADE_RESYNC_PART;
		slot->doubts = r->doubts;
		r->in_flight++;
		r->bytes += bytes;
		r->part = r->last + 1;
		r->next = region_of(r->start) + last;
	}
	spin_unlock_irq(&v->lock);
	if (!slot)
		return false;
	cascade_ring_fill_read(v, seq, zero ? CASCADE_OP_WRITE_ZEROES : CASCADE_OP_WRITE,
			       CASCADE_FLAG_RESYNC, r->start, bytes, r->buffer);
	cascade_ring_ready(v, slot);
	return true;
}

/* The part is closed, and nobody writes there. Returns in how many ms to go on. */
static unsigned int copy_part(struct cascade_target *t)
{
	struct cascade_volume *v = t->v;
	unsigned int ms = 0;

	if (read_part(t)) {
		v->resync.next = region_of(v->resync.start) + 1;
		v->resync.part = 0;
		ms = RETRY_MS;
	} else if (!send_part(v)) {
		ms = 1;
	}
	spin_lock_irq(&v->lock);
	cascade_resync_open(v);
	spin_unlock_irq(&v->lock);
	return ms;
}

/* Whether there is something to copy now; if not yet, @ms says when to look again. lock held. */
static bool choose(struct cascade_volume *v, unsigned int *ms)
{
	struct cascade_resync *r = &v->resync;
	struct cascade_pace_step pace;

	if (r->closed)
		return true;
	if (time_before(jiffies, r->not_before)) {
		*ms = jiffies_to_msecs(r->not_before - jiffies) + 1;
		return false;
	}
	pace = cascade_pace_next(&r->pace, busy(v), v->payload_bytes);
	if (r->in_flight >= pace.together)
		return false;
	if (!close_next(v, pace.bytes)) {
		/* No room for the last word: nobody tells when there is. */
		if (may_end(v))
			*ms = 1;
		return false;
	}
	r->not_before = jiffies + msecs_to_jiffies(pace.pause_ms);
	return true;
}

/*
 * Takes the next step. Returns in how many ms to take another; NEVER: somebody will ask for it.
 * meta_mutex held: the live target stays.
 */
static unsigned int step(struct cascade_volume *v)
{
	struct cascade_resync *r = &v->resync;
	unsigned int ms = NEVER;
	bool chosen, quiet;

	spin_lock_irq(&v->lock);
	if (!may_run(v)) {
		if (r->closed)
			cascade_resync_open(v);
		spin_unlock_irq(&v->lock);
		return NEVER;
	}
	chosen = choose(v, &ms);
	quiet = chosen && !cascade_order_busy(v, r->start, r->last);
	spin_unlock_irq(&v->lock);
	if (quiet)
		return copy_part(v->live);
	return chosen ? 1 : ms;
}

static void resync_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(to_delayed_work(work), struct cascade_volume,
						resync.work);
	unsigned int ms;

	do {
		mutex_lock(&v->meta_mutex);
		ms = step(v);
		mutex_unlock(&v->meta_mutex);
	} while (!ms);
	/* What was sent is worth a doorbell. */
	cascade_look(v);
	if (ms != NEVER)
		run_in(v, ms);
}

/* ---- for others */

int cascade_resync_alloc(struct cascade_volume *v)
{
	INIT_DELAYED_WORK(&v->resync.work, resync_work);
	cascade_pace_init(&v->resync.pace);
	v->resync.buffer = vmalloc(CASCADE_REGION_BYTES);
	return v->resync.buffer ? 0 : -ENOMEM;
}

void cascade_resync_free(struct cascade_volume *v)
{
	vfree(v->resync.buffer);
}

enum cascade_resync_state cascade_resync_state(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	if (!v->bitmap.nr_out_of_sync)
		return CASCADE_RESYNC_NONE;
	if (v->resync.paused)
		return CASCADE_RESYNC_PAUSED;
	return may_run(v) ? CASCADE_RESYNC_RUNNING : CASCADE_RESYNC_WAITING;
}

/* The daemon's word; volume->lock held. Regions that begin from sector @until on wait; 0: none. */
void cascade_resync_run(struct cascade_volume *v, bool run, u64 until)
{
	lockdep_assert_held(&v->lock);
	if (run && !v->resync.wanted) {
		v->resync.end_published = false;
		cascade_pace_init(&v->resync.pace);
	}
	v->resync.wanted = run;
	v->resync.until = until ? DIV_ROUND_UP_ULL(until, CASCADE_META_REGION_SECTORS) : NO_LIMIT;
	run_in(v, 0);
}

/* Which region to read for the daemon; volume->lock held. */
static int choose_peek(struct cascade_volume *v, struct cascade_peek *peek)
{
	u64 region = cascade_bitmap_next(&v->bitmap, region_of(peek->from));

	if (!v->live || v->resync.held || v->resync.paused)
		return -EAGAIN;
	peek->bytes = 0;
	peek->error = 0;
	if (region == v->bitmap.nr_regions)
		return 0;
	peek->sector = region * CASCADE_META_REGION_SECTORS;
	peek->bytes = (end_of_region(v, peek->sector) - peek->sector) << SECTOR_SHIFT;
	peek->doubts = v->doubts;
	return 0;
}

/* The next region from @peek->from on that is out of sync, into a vmalloc'ed @buffer of one. */
int cascade_resync_peek(struct cascade_volume *v, struct cascade_peek *peek, void *buffer)
{
	int r;

	/* The live target stays, and is not suspended under way. */
	mutex_lock(&v->meta_mutex);
	spin_lock_irq(&v->lock);
	r = choose_peek(v, peek);
	spin_unlock_irq(&v->lock);
	if (!r && peek->bytes)
		peek->error = -cascade_resync_read(v->live, peek->sector, peek->bytes, buffer);
	mutex_unlock(&v->meta_mutex);
	return r;
}

/*
 * The hub's copy holds what was peeked at. What was written since then is in the ring, and its mark
 * stays until it is stored; what failed meanwhile is doubted. volume->lock held.
 */
int cascade_resync_same(struct cascade_volume *v, const struct cascade_same *same)
{
	lockdep_assert_held(&v->lock);
	if (same->sector >= v->sectors || same->sector % CASCADE_META_REGION_SECTORS)
		return -EINVAL;
	if (same->doubts != v->doubts)
		return -EAGAIN;
	if (same->bytes != (end_of_region(v, same->sector) - same->sector) << SECTOR_SHIFT)
		return -EINVAL;
	cascade_bitmap_in_sync(&v->bitmap, region_of(same->sector));
	cascade_ring_tell(v);
	run_in(v, 0);
	return 0;
}

void cascade_resync_abandon(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	v->resync.in_flight = 0;
	v->resync.next = 0;
	v->resync.part = 0;
	cascade_resync_run(v, false, 0);
}

/* Nothing is read while the device is suspended; lock not held. */
void cascade_resync_hold(struct cascade_volume *v, bool hold)
{
	spin_lock_irq(&v->lock);
	v->resync.held = hold;
	spin_unlock_irq(&v->lock);
	run_in(v, 0);
}

/* The administrator's; @rate_kib: a second, 0 as fast as the volume's own writes allow. */
void cascade_resync_set(struct cascade_volume *v, bool paused, unsigned int rate_kib)
{
	spin_lock_irq(&v->lock);
	v->resync.paused = paused;
	v->resync.pace.rate_kib = rate_kib;
	spin_unlock_irq(&v->lock);
	run_in(v, 0);
}
