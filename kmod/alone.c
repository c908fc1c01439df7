// SPDX-License-Identifier: GPL-2.0-only
/*
 * The lease, and what becomes of writes when it has run out.
 *
 * The daemon tells how long the hub's word holds (CASCADE_IOC_LEASE). The kernel itself looks at
 * the clock, so it does not matter whether the daemon still runs. Under fence_level never the volume
 * then goes on alone: it lets go of the daemon, becomes another history of the volume, and ends what
 * waits. What the hub may lack is out of sync, and so is everything that is written from then on: its
 * mark is on disk before it has a place in the ring, as always (mark.c). The ring goes on as a place
 * for payloads, numbered for itself; nobody reads it.
 *
 * It also does so when the hub says that it has detached the volume (fence_level status), when a witness
 * has granted it after that (fence_level witness), and when it is told to by an administrator, who knows
 * what the hub does.
 *
 * And it does so, with all of it out of sync, when the hub has given up what it had (CASCADE_IOC_ANEW).
 *
 * It ends with a daemon that brings the hub back (CASCADE_IOC_START): the ring is empty for a moment,
 * is numbered as the hub says, and what is out of sync is copied (resync.c).
 */
#include "cascade.h"

#include <linux/ktime.h>

#define RETRY_MS 1000		/* after the metadata area could not be written */
#define QUIET_MS_MAX 10000	/* how long a start waits for writes that are under way */

/* ---- volume->lock held */

static bool ran_out(struct cascade_volume *v)
{
	return v->lease_until && ktime_get_boottime_ns() >= v->lease_until;
}

static bool may_leave(struct cascade_volume *v)
{
	return v->fence == CASCADE_FENCE_NEVER && v->lease_fence == CASCADE_FENCE_NEVER &&
	       v->started && !v->alone && v->live && !v->requeue;
}

/* Whether the hub's absence is none for long. */
static bool goes_alone(enum cascade_fence fence)
{
	return fence == CASCADE_FENCE_NEVER || fence == CASCADE_FENCE_WITNESS;
}

static bool has_to_fail(struct cascade_volume *v)
{
	return !goes_alone(v->fence) && v->on_fence == CASCADE_ON_FENCE_IO_ERROR &&
	       !v->alone && !v->fenced;
}

/* Whether the daemon's word is enough to go on alone, and on whose behalf it comes then. */
int cascade_may_be_told(struct cascade_volume *v, const char **why)
{
	lockdep_assert_held(&v->lock);
	switch (v->fence) {
	case CASCADE_FENCE_STATUS:
		*why = "the hub has detached it";
		return 0;
	case CASCADE_FENCE_WITNESS:
		*why = "the witness has granted it";
		return v->lease_fence == CASCADE_FENCE_WITNESS && ran_out(v) ? 0 : -EAGAIN;
	default:
		return -EINVAL;
	}
}

/* Something waits, or the lease may be over. */
void cascade_lease_look(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	if (v->lease_over)
		mod_delayed_work(v->wq, &v->lease_work, 0);
}

/* Everything that the hub may lack is out of sync; what waits for the hub is done. */
static void leave_hub(struct cascade_volume *v, struct list_head *finished)
{
	u64 seq;

	for (seq = v->released + 1; seq <= v->reserved; seq++) {
		struct cascade_slot *slot = cascade_slot(v, seq);
		struct cascade_io *io = slot->io;

		/* The region of a resync is out of sync still. */
		if (!slot->resync)
			cascade_bitmap_out_of_sync(&v->bitmap, slot->start, slot->last);
		slot->resync = 0;
		if (!io || !io->local_done)
			continue;
		cascade_end_slot(v, slot, BLK_STS_OK, finished);
	}
	cascade_end_flushes(v, U64_MAX, BLK_STS_OK, finished);
	/* Nothing more is published for anybody. */
	v->received = v->stored;
	v->published = v->stored;
	cascade_resync_abandon(v);
	v->doubts++;
}

/* Nothing that a daemon says counts any more, of this one or of another, until leave() has ended. */
static void begin_to_leave(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	v->parting = true;
	cascade_let_go(v, CASCADE_LET_GO_ALONE);
}

static void go_alone(struct cascade_volume *v, const uuid_t *incarnation,
		     struct list_head *finished)
{
	leave_hub(v, finished);
	uuid_copy(&v->incarnation, incarnation);
	cascade_lease_drop(v);
	cascade_alone_begin(v);
	cascade_ring_release(v);
	cascade_later_event(v, CASCADE_EVENT_ALONE);
	if (!bio_list_empty(&v->deferred))
		cascade_queue_work(v);
}

/* As the area says: from now on nobody waits for the hub. */
void cascade_alone_begin(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	v->alone = true;
	v->alone_ns = le64_to_cpu(v->meta->alone_ns);
	v->epoch++;
	cascade_ring_tell(v);
}

void cascade_lease_drop(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	v->lease_until = 0;
	v->lease_over = false;
}

/* The hub's word, of a daemon that owns the volume; volume->lock held. */
int cascade_lease_take(struct cascade_volume *v, unsigned int ms, enum cascade_fence level)
{
	lockdep_assert_held(&v->lock);
	if (!v->started || v->alone)
		return -EINVAL;
	v->lease_until = ktime_get_boottime_ns() + (u64)ms * NSEC_PER_MSEC;
	v->lease_fence = level;
	v->lease_over = false;
	v->fenced = false;
	mod_delayed_work(v->wq, &v->lease_work, msecs_to_jiffies(ms) + 1);
	return 0;
}

/* What is left of it, in ms. */
u64 cascade_lease_left(struct cascade_volume *v)
{
	u64 now = ktime_get_boottime_ns();

	lockdep_assert_held(&v->lock);
	return v->lease_until > now ? div_u64(v->lease_until - now, NSEC_PER_MSEC) : 0;
}

/* The table's, or a message's. */
void cascade_set_fence(struct cascade_volume *v, enum cascade_fence fence,
		       enum cascade_on_fence on_fence)
{
	lockdep_assert_held(&v->lock);
	/* The hub may believe by now that it can't go on alone. */
	if (fence != v->fence)
		cascade_lease_drop(v);
	v->fence = fence;
	v->on_fence = on_fence;
	if (goes_alone(fence) || on_fence != CASCADE_ON_FENCE_IO_ERROR)
		v->fenced = false;
	cascade_ring_tell(v);
}

/* ---- the end of a lease */

/* After begin_to_leave(); meta_mutex held since then. */
static int leave(struct cascade_volume *v, const char *why, bool forgets_hub)
{
	LIST_HEAD(finished);
	uuid_t incarnation;
	int r = 0;

	uuid_gen(&incarnation);
	/* First the marks, for the superblock says that there is no hub that has the rest. */
	if (forgets_hub)
		r = cascade_marks_all(v);
	if (!r)
		r = cascade_meta_part(v, &incarnation, forgets_hub);
	spin_lock_irq(&v->lock);
	if (!r) {
		DMWARN("%s: %s: going on alone; what is written is copied when the hub is back",
		       v->name, why);
		go_alone(v, &incarnation, &finished);
	}
	v->parting = false;
	spin_unlock_irq(&v->lock);
	cascade_finish(&finished);
	return r;
}

static int leave_now(struct cascade_volume *v, const char *why, bool forgets_hub)
{
	int r = 0;

	mutex_lock(&v->meta_mutex);
	spin_lock_irq(&v->lock);
	if (!v->live || v->requeue)
		r = -EBUSY;
	else if (v->alone && !forgets_hub)
		r = -EALREADY;
	else
		begin_to_leave(v);
	spin_unlock_irq(&v->lock);
	if (!r)
		r = leave(v, why, forgets_hub);
	mutex_unlock(&v->meta_mutex);
	return r;
}

/* Now, whatever the clock says: the hub or the administrator wants it. */
int cascade_go_alone(struct cascade_volume *v, const char *why)
{
	return leave_now(v, why, false);
}

/* Alone or not: whoever comes next as hub gets all of it. */
int cascade_begin_anew(struct cascade_volume *v)
{
	return leave_now(v, "the hub has given up what it had", true);
}

static void fail_waiting(struct cascade_volume *v)
{
	DMWARN("%s: the lease has run out: writes fail until the hub is back", v->name);
	cascade_give_up(v, BLK_STS_IOERR);
}

void cascade_lease_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(to_delayed_work(work), struct cascade_volume,
						lease_work);
	bool over, leaves = false, fails = false;

	/* What was acknowledged meanwhile does not wait. */
	cascade_look(v);
	mutex_lock(&v->meta_mutex);
	spin_lock_irq(&v->lock);
	over = ran_out(v);
	if (over && cascade_anybody_waits(v)) {
		leaves = may_leave(v);
		fails = has_to_fail(v);
	}
	v->fenced |= fails;
	v->lease_over = over;
	if (leaves)
		begin_to_leave(v);
	else if (v->lease_until && !over)
		mod_delayed_work(v->wq, &v->lease_work,
				 msecs_to_jiffies(cascade_lease_left(v)) + 1);
	spin_unlock_irq(&v->lock);
	if (leaves && leave(v, "the lease has run out", false))
		mod_delayed_work(v->wq, &v->lease_work, msecs_to_jiffies(RETRY_MS));
	mutex_unlock(&v->meta_mutex);
	if (fails)
		fail_waiting(v);
}

/* ---- the hub is back */

static bool quiet(struct cascade_volume *v)
{
	bool empty;

	spin_lock_irq(&v->lock);
	empty = v->released == v->reserved;
	spin_unlock_irq(&v->lock);
	return empty;
}

/*
 * Nothing is in the ring any more, and nothing comes until cascade_rejoined(); meta_mutex held. For
 * a volume that is not alone there is nothing to do.
 */
int cascade_rejoin(struct cascade_volume *v)
{
	long left;

	spin_lock_irq(&v->lock);
	v->rejoining = v->alone;
	spin_unlock_irq(&v->lock);
	left = wait_event_killable_timeout(v->quiet, !v->alone || quiet(v),
					   msecs_to_jiffies(QUIET_MS_MAX));
	if (left > 0)
		return 0;
	cascade_rejoined(v);
	return left ? left : -EAGAIN;
}

void cascade_rejoined(struct cascade_volume *v)
{
	spin_lock_irq(&v->lock);
	v->rejoining = false;
	if (!bio_list_empty(&v->deferred))
		cascade_queue_work(v);
	spin_unlock_irq(&v->lock);
}
