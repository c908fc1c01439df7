// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a write:
 *
 *   map ─► admit ─► fill the slot ─► publish ─────────────► acknowledged ─┐
 *     │                     └──► local write from the ring ► done ────────┴─► end of the bio
 *     └─► deferred (ring full, or not numbered yet) ─► worker ─► admit
 *
 * With send_order local-first the slot is published when the local write is done. A write that
 * overlaps an earlier one gets its slot at once and its local write when the earlier one's is done.
 * Allocates nothing but its local bio: the rest is in dm's per-bio data and in the slot.
 */
#include "cascade.h"

#include <linux/blkdev.h>
#include <linux/vmalloc.h>

/* Flags of the application's bio that its local write keeps. */
#define LOCAL_FLAGS (REQ_SYNC | REQ_META | REQ_PRIO | REQ_FUA | REQ_IDLE | REQ_BACKGROUND)
#define ZERO_SLICE (4 << 11)	/* sectors, written by hand at once */
#define LOCAL_FLUSH_FLAGS (LOCAL_FLAGS & ~REQ_FUA)

struct cascade_io *cascade_io_of(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct cascade_io));
}

static struct bio *bio_of(struct cascade_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(struct cascade_io));
}

/* Its status is in the cascade_io. */
void cascade_end(struct cascade_volume *v, struct cascade_io *io, struct list_head *finished)
{
	lockdep_assert_held(&v->lock);
	v->nr_ios--;
	if (!io->flush && !io->status && io->epoch == v->epoch)
		v->ended = max(v->ended, io->seq);
	list_add_tail(&io->list, finished);
}

/* The volume may be gone after the last one. */
void cascade_finish(struct list_head *finished)
{
	struct cascade_io *io, *next;

	list_for_each_entry_safe(io, next, finished, list) {
		struct bio *bio = bio_of(io);

		bio->bi_status = io->status;
		bio_endio(bio);
	}
}

/* Without a doorbell for them, the daemon's words may say more by now than anybody waits for. */
void cascade_look(struct cascade_volume *v)
{
	LIST_HEAD(finished);

	spin_lock_irq(&v->lock);
	cascade_ring_advance(v, &finished);
	spin_unlock_irq(&v->lock);
	cascade_finish(&finished);
}

/* A noflush suspend is under way, which takes waiting bios back. */
static bool requeues(struct cascade_volume *v, struct cascade_io *io)
{
	return v->requeue && dm_noflush_suspending(io->t->ti);
}

/* What becomes of an io that would have to wait for its acknowledgement; OK: it waits. */
static blk_status_t instead_of_waiting(struct cascade_volume *v, struct cascade_io *io)
{
	if (v->failing || v->fenced || io->fail_round != v->fail_round)
		return BLK_STS_IOERR;
	return requeues(v, io) ? BLK_STS_DM_REQUEUE : BLK_STS_OK;
}

/* ---- local writes */

static void flush_done(struct cascade_volume *v, struct cascade_io *io, struct list_head *finished)
{
	/* Numbers of another epoch are waited for by nobody. */
	if (!io->status && !v->alone && io->epoch == v->epoch && io->seq > v->stored) {
		io->status = instead_of_waiting(v, io);
		if (!io->status) {
			list_add_tail(&io->list, &v->flushes);
			cascade_waits(v);
			return;
		}
	}
	cascade_end(v, io, finished);
}

/* Returns whether the daemon is to be woken. */
static bool write_done(struct cascade_volume *v, struct cascade_io *io, struct list_head *finished)
{
	struct cascade_slot *slot = cascade_slot(v, io->seq);
	bool wake = false;

	io->local_done = true;
	slot->local_done = true;
	if (cascade_order_leave(v, io))
		cascade_queue_work(v);
	if (!slot->ready) {
		/* Nobody has seen it: the copies keep what they have, as the disk does. */
		if (io->status)
			cascade_ring_void(v, io->seq);
		slot->ready = true;
		wake = cascade_ring_publish(v);
	}
	if (!io->status && !cascade_acknowledged(v, io)) {
		io->status = instead_of_waiting(v, io);
		if (!io->status) {
			cascade_ring_waits(v, io->seq);
			cascade_waits(v);
			return wake;
		}
	}
	slot->io = NULL;
	cascade_end(v, io, finished);
	return wake;
}

/* The disk's content is not what the hub has, or is not known: it is out of sync. */
static void note_local_error(struct cascade_volume *v, struct cascade_io *io)
{
	if (io->flush)
		cascade_bitmap_doubt(&v->bitmap);
	else
		cascade_bitmap_out_of_sync(&v->bitmap, io->start, io->last);
	v->doubts++;
	v->local_errors++;
	v->differs |= CASCADE_DIFFERS_LOCAL;
	cascade_ring_tell(v);
	cascade_later_event(v, CASCADE_EVENT_DIFFERS);
}

static void local_end(struct cascade_io *io, blk_status_t status)
{
	struct cascade_volume *v = io->t->v;
	LIST_HEAD(finished);
	unsigned long flags;
	bool wake = false;

	io->status = status;
	if (io->status)
		DMERR_LIMIT("%s: local %s failed at sector %llu", v->name,
			    io->flush ? "flush" : "write", io->start);
	/* Whoever ends the volume's last bio meanwhile waits for this before the volume is freed. */
	rcu_read_lock();
	spin_lock_irqsave(&v->lock, flags);
	if (io->status)
		note_local_error(v, io);
	if (io->flush)
		flush_done(v, io, &finished);
	else
		wake = write_done(v, io, &finished);
	cascade_ring_advance(v, &finished);
	cascade_ring_release(v);
	spin_unlock_irqrestore(&v->lock, flags);
	if (wake)
		wake_up_interruptible(&v->poll_wait);
	rcu_read_unlock();
	cascade_finish(&finished);
}

/* Some devices find out at the first try that they can't zero. The record says zeroes: write them. */
static bool zero_by_hand(struct cascade_io *io, blk_status_t status)
{
	struct cascade_volume *v = io->t->v;
	unsigned long flags;

	if (io->flush || bio_op(bio_of(io)) == REQ_OP_WRITE ||
	    (status != BLK_STS_NOTSUPP && status != BLK_STS_TARGET))
		return false;
	spin_lock_irqsave(&v->lock, flags);
	/* From now on it is not offered: who asks for it writes zeroes, as for any such device. */
	v->cannot_zero = true;
	list_add_tail(&io->list, &v->zeroing);
	queue_work(v->wq, &v->zero_work);
	spin_unlock_irqrestore(&v->lock, flags);
	return true;
}

static void local_endio(struct bio *local)
{
	struct cascade_io *io = local->bi_private;
	blk_status_t status = local->bi_status;

	bio_put(local);
	if (!zero_by_hand(io, status))
		local_end(io, status);
}

/* The ring's pages that hold a payload; it may begin and end inside one, and wrap once. */
static void add_ring_pages(struct cascade_volume *v, struct bio *local, u64 pos, u32 bytes)
{
	while (bytes) {
		u64 offset = pos & (v->payload_bytes - 1);
		u32 in_page = offset_in_page(offset);
		u32 n = min_t(u32, bytes, PAGE_SIZE - in_page);

		__bio_add_page(local, vmalloc_to_page(v->payload + offset), n, in_page);
		pos += n;
		bytes -= n;
	}
}

static struct bio *make_local(struct cascade_io *io, blk_opf_t opf, unsigned short vecs)
{
	struct cascade_target *t = io->t;
	/* From a pool with a rescuer: never fails, never waits for a bio that waits for us. */
	struct bio *local = bio_alloc_bioset(t->dev->bdev, vecs, opf, GFP_NOIO, &t->v->bios);

	local->bi_iter.bi_sector = t->start + io->start;
	local->bi_private = io;
	local->bi_end_io = local_endio;
	local->bi_ioprio = bio_of(io)->bi_ioprio;
	bio_clone_blkg_association(local, bio_of(io));
	return local;
}

static blk_opf_t local_opf(struct bio *bio)
{
	blk_opf_t flags = bio->bi_opf & LOCAL_FLAGS;

	switch (bio_op(bio)) {
	case REQ_OP_DISCARD:
		/* Zeroes, so that every copy reads the same; the device may unmap. */
		return REQ_OP_WRITE_ZEROES | flags;
	case REQ_OP_WRITE_ZEROES:
		return REQ_OP_WRITE_ZEROES | flags | (bio->bi_opf & REQ_NOUNMAP);
	default:
		return REQ_OP_WRITE | flags;
	}
}

static void issue_local(struct cascade_io *io)
{
	struct cascade_volume *v = io->t->v;
	struct bio *bio = bio_of(io);
	u32 bytes = bio->bi_iter.bi_size;
	struct bio *local;

	if (io->flush) {
		local = make_local(io, REQ_OP_WRITE | REQ_PREFLUSH |
				   (bio->bi_opf & LOCAL_FLUSH_FLAGS), 0);
	} else if (bio_op(bio) == REQ_OP_WRITE) {
		local = make_local(io, local_opf(bio), bytes / PAGE_SIZE + 3);
		add_ring_pages(v, local, v->payload_pos[io->seq & (v->nr_slots - 1)], bytes);
	} else {
		local = make_local(io, local_opf(bio), 0);
		local->bi_iter.bi_size = bytes;
	}
	submit_bio_noacct(local);
}

/* ---- admission */

enum admission { ADMITTED, NO_ROOM, NO_MARKS };

/* Reserves a slot and a place in the order; volume->lock held. */
static enum admission admit(struct cascade_volume *v, struct cascade_io *io, struct bio *bio)
{
	if (v->rejoining || cascade_resync_closed(v, io->start, io->last))
		return NO_ROOM;
	if (!cascade_bitmap_use(&v->bitmap, io->start, io->last))
		return NO_MARKS;
	if (!cascade_ring_reserve(v, io, bio))
		return NO_ROOM;
	cascade_order_enter(v, io);
	/* The marks are on disk: a crash will not forget it either. */
	if (v->alone) {
		u64 before = v->bitmap.nr_out_of_sync;

		cascade_bitmap_out_of_sync(&v->bitmap, io->start, io->last);
		if (v->bitmap.nr_out_of_sync != before)
			cascade_ring_tell(v);
	}
	/* One more, until the slot is filled: nobody may issue the local write before. */
	io->blockers++;
	return ADMITTED;
}

/* To be issued by the worker; volume->lock held. */
static void issue_later(struct cascade_volume *v, struct cascade_io *io)
{
	list_add_tail(&io->list, &v->issue);
	cascade_queue_work(v);
}

/* Fills and publishes the slot and starts the local write. No lock held; may sleep, but for NOWAIT. */
static void go(struct cascade_volume *v, struct cascade_io *io, struct bio *bio)
{
	bool unblocked, wake = false;

	cascade_ring_fill(v, io, bio);
	/* As in local_end(). */
	rcu_read_lock();
	spin_lock_irq(&v->lock);
	if (v->send_order == CASCADE_SEND_PARALLEL) {
		cascade_slot(v, io->seq)->ready = true;
		wake = cascade_ring_publish(v);
	}
	/* If it is blocked, whoever unblocks it may finish it as soon as the lock is dropped. */
	unblocked = !--io->blockers;
	if (unblocked && bio->bi_opf & REQ_NOWAIT) {
		issue_later(v, io);
		unblocked = false;
	}
	spin_unlock_irq(&v->lock);
	if (wake)
		wake_up_interruptible(&v->poll_wait);
	rcu_read_unlock();
	if (unblocked)
		issue_local(io);
}

static void prepare(struct cascade_target *t, struct cascade_io *io, struct bio *bio)
{
	memset(io, 0, sizeof(*io));
	INIT_LIST_HEAD(&io->list);
	/* Its local write may be issued by a worker: it stays of the writer's cgroup. */
	bio_associate_blkg(bio);
	io->t = t;
	io->came = ktime_get();
	io->start = dm_target_offset(t->ti, bio->bi_iter.bi_sector);
	io->last = io->start + bio_sectors(bio) - 1;
	io->need_stored = bio->bi_opf & REQ_FUA;
}

/* Until the bitmap on disk has its regions; what comes behind it need not wait. */
static void defer_for_marks(struct cascade_volume *v, struct bio *bio)
{
	bio_list_add(&v->unmarked, bio);
	queue_work(v->wq, &v->mark_work);
	cascade_waits(v);
}

static void defer_for_room(struct cascade_volume *v, struct bio *bio, struct list_head *finished)
{
	bio_list_add(&v->deferred, bio);
	/* From now on a doorbell is wanted, and whoever gives slots back queues the worker. */
	cascade_ring_advance(v, finished);
	cascade_waits(v);
}

static int end_now(struct bio *bio, blk_status_t status)
{
	bio->bi_status = status;
	bio_endio(bio);
	return DM_MAPIO_SUBMITTED;
}

/* What one record holds is cut off, where multiples of it begin; dm comes back with the rest. */
static void cut(struct cascade_target *t, struct bio *bio)
{
	sector_t max = (bio_op(bio) == REQ_OP_WRITE ? CASCADE_PAYLOAD_MAX : CASCADE_ZERO_MAX) >>
		       SECTOR_SHIFT;
	sector_t start = dm_target_offset(t->ti, bio->bi_iter.bi_sector);
	sector_t fits = max - (start & (max - 1));

	if (bio_sectors(bio) > fits)
		dm_accept_partial_bio(bio, fits);
}

static int map_write(struct cascade_target *t, struct bio *bio)
{
	struct cascade_volume *v = t->v;
	struct cascade_io *io = cascade_io_of(bio);
	enum admission admission = NO_ROOM;
	bool nowait = bio->bi_opf & REQ_NOWAIT;
	LIST_HEAD(finished);

	cut(t, bio);
	prepare(t, io, bio);
	spin_lock_irq(&v->lock);
	if (v->failing || v->fenced || requeues(v, io)) {
		int answer = requeues(v, io) && !v->failing ? DM_MAPIO_REQUEUE : DM_MAPIO_KILL;

		spin_unlock_irq(&v->lock);
		return answer;
	}
	if (v->cannot_zero && bio_op(bio) != REQ_OP_WRITE) {
		spin_unlock_irq(&v->lock);
		return end_now(bio, BLK_STS_NOTSUPP);
	}
	io->fail_round = v->fail_round;
	if (bio_list_empty(&v->deferred))
		admission = admit(v, io, bio);
	if (admission != ADMITTED && nowait) {
		spin_unlock_irq(&v->lock);
		return end_now(bio, BLK_STS_AGAIN);
	}
	if (admission != ADMITTED)
		v->nr_deferred++;
	if (admission == NO_MARKS)
		defer_for_marks(v, bio);
	if (admission == NO_ROOM)
		defer_for_room(v, bio, &finished);
	spin_unlock_irq(&v->lock);
	cascade_finish(&finished);
	if (admission == ADMITTED)
		go(v, io, bio);
	return DM_MAPIO_SUBMITTED;
}

static int map_flush(struct cascade_target *t, struct bio *bio)
{
	struct cascade_volume *v = t->v;
	struct cascade_io *io = cascade_io_of(bio);

	prepare(t, io, bio);
	io->flush = true;
	io->start = 0;
	spin_lock_irq(&v->lock);
	v->nr_ios++;
	io->fail_round = v->fail_round;
	/* What has completed is stored already, unless receipt was enough for it. */
	io->seq = v->ended;
	io->epoch = v->epoch;
	if (bio->bi_opf & REQ_NOWAIT)
		issue_later(v, io);
	spin_unlock_irq(&v->lock);
	if (!(bio->bi_opf & REQ_NOWAIT))
		issue_local(io);
	return DM_MAPIO_SUBMITTED;
}

int cascade_map(struct dm_target *ti, struct bio *bio)
{
	struct cascade_target *t = ti->private;

	if (bio->bi_opf & REQ_PREFLUSH)
		return map_flush(t, bio);
	switch (bio_op(bio)) {
	case REQ_OP_WRITE:
	case REQ_OP_WRITE_ZEROES:
	case REQ_OP_DISCARD:
		if (bio_sectors(bio))
			return map_write(t, bio);
		break;
	case REQ_OP_READ:
		break;
	default:
		/* What can't be mirrored must not happen locally either. */
		return DM_MAPIO_KILL;
	}
	bio_set_dev(bio, t->dev->bdev);
	bio->bi_iter.bi_sector = t->start + dm_target_offset(ti, bio->bi_iter.bi_sector);
	return DM_MAPIO_REMAPPED;
}

/* ---- the worker */

/* In slices: neither the disk nor this CPU is kept from others for long. */
static int write_zeroes(struct cascade_io *io)
{
	unsigned int keep = bio_of(io)->bi_opf & REQ_NOUNMAP ? BLKDEV_ZERO_NOUNMAP : 0;
	u64 at, n;
	int r = 0;

	for (at = io->start; at <= io->last && !r; at += n) {
		n = min_t(u64, ZERO_SLICE, io->last - at + 1);
		r = blkdev_issue_zeroout(io->t->dev->bdev, io->t->start + at, n, GFP_NOIO, keep);
		cond_resched();
	}
	return r;
}

/* Apart from the worker, which others wait for. */
void cascade_zero_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(work, struct cascade_volume, zero_work);
	struct cascade_io *io;

	for (;;) {
		spin_lock_irq(&v->lock);
		io = list_first_entry_or_null(&v->zeroing, struct cascade_io, list);
		if (io)
			list_del_init(&io->list);
		spin_unlock_irq(&v->lock);
		if (!io)
			return;
		local_end(io, errno_to_blk_status(write_zeroes(io)));
	}
}

static void issue_unblocked(struct cascade_volume *v)
{
	struct cascade_io *io;

	for (;;) {
		spin_lock_irq(&v->lock);
		io = list_first_entry_or_null(&v->issue, struct cascade_io, list);
		if (io)
			list_del_init(&io->list);
		spin_unlock_irq(&v->lock);
		if (!io)
			return;
		issue_local(io);
	}
}

/* The first of the deferred bios that can be admitted; NULL if there is none or no room. */
static struct bio *admit_first(struct cascade_volume *v, struct list_head *finished)
{
	struct bio *bio;

	while (!v->requeue && (bio = bio_list_peek(&v->deferred))) {
		enum admission admission = admit(v, cascade_io_of(bio), bio);

		if (admission == NO_ROOM)
			break;
		bio_list_pop(&v->deferred);
		if (admission == ADMITTED) {
			v->nr_deferred--;
			return bio;
		}
		defer_for_marks(v, bio);
	}
	cascade_ring_advance(v, finished);
	return NULL;
}

/* In the order in which they came. */
static void admit_deferred(struct cascade_volume *v)
{
	struct bio *bio;

	do {
		LIST_HEAD(finished);

		spin_lock_irq(&v->lock);
		bio = admit_first(v, &finished);
		spin_unlock_irq(&v->lock);
		cascade_finish(&finished);
		if (bio)
			go(v, cascade_io_of(bio), bio);
	} while (bio);
}

void cascade_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(work, struct cascade_volume, work);

	issue_unblocked(v);
	admit_deferred(v);
}

/* ---- ways out */

/* Takes everything that waits for daemon or hub, to end with @status; volume->lock held. */
static void take_waiting(struct cascade_volume *v, blk_status_t status, struct list_head *ios,
			 struct bio_list *bios)
{
	u64 seq;

	for (seq = v->released + 1; seq <= v->reserved; seq++) {
		struct cascade_slot *slot = cascade_slot(v, seq);

		if (slot->io && slot->io->local_done)
			cascade_end_slot(v, slot, status, ios);
	}
	cascade_end_flushes(v, U64_MAX, status, ios);
	bio_list_merge(bios, &v->deferred);
	bio_list_init(&v->deferred);
	bio_list_merge(bios, &v->unmarked);
	bio_list_init(&v->unmarked);
	v->nr_deferred -= bio_list_size(bios);
}

/* Bios whose regions are marked now, or can't be: they go on where they were held back. */
void cascade_marked(struct cascade_volume *v, struct bio_list *bios, blk_status_t status)
{
	struct bio_list ended = BIO_EMPTY_LIST;
	struct bio *bio;

	spin_lock_irq(&v->lock);
	while ((bio = bio_list_pop(bios))) {
		bio->bi_status = status ?: instead_of_waiting(v, cascade_io_of(bio));
		if (!bio->bi_status) {
			bio_list_add(&v->deferred, bio);
			continue;
		}
		bio_list_add(&ended, bio);
		v->nr_deferred--;
	}
	if (!bio_list_empty(&v->deferred))
		cascade_queue_work(v);
	spin_unlock_irq(&v->lock);
	while ((bio = bio_list_pop(&ended)))
		bio_endio(bio);
}

/*
 * Ends every write that waits for the daemon or the hub with @status: a noflush suspend hands them
 * back to dm, an administrator fails them. Their records stay in the ring.
 */
void cascade_give_up(struct cascade_volume *v, blk_status_t status)
{
	struct bio_list bios = BIO_EMPTY_LIST;
	LIST_HEAD(ios);
	struct bio *bio;

	spin_lock_irq(&v->lock);
	take_waiting(v, status, &ios, &bios);
	spin_unlock_irq(&v->lock);
	cascade_finish(&ios);
	while ((bio = bio_list_pop(&bios))) {
		bio->bi_status = status;
		bio_endio(bio);
	}
}
