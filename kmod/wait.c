// SPDX-License-Identifier: GPL-2.0-only
/*
 * What waits, why, and for how long: for those who ask, and as an event, one line of the log and a
 * table event once something has waited for stall_seconds.
 */
#include "cascade.h"

#include <linux/ktime.h>
#include <linux/module.h>

static unsigned int stall_seconds = 5;
module_param(stall_seconds, uint, 0644);
MODULE_PARM_DESC(stall_seconds, "How long a write waits before that is told");

static unsigned long period(void)
{
	return max(stall_seconds, 1U) * HZ;
}

/* ---- volume->lock held */

bool cascade_anybody_waits(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	return v->nr_ack_waiting || v->nr_deferred || !list_empty(&v->flushes);
}

enum cascade_why_waiting cascade_why_waiting(struct cascade_volume *v)
{
	if (!cascade_anybody_waits(v))
		return CASCADE_WAIT_NOTHING;
	if (v->alone)
		return CASCADE_WAIT_MARKING;
	if (v->daemon != CASCADE_DAEMON_ATTACHED)
		return CASCADE_WAIT_NO_DAEMON;
	if (!v->started)
		return CASCADE_WAIT_NOT_STARTED;
	if (!bio_list_empty(&v->deferred))
		return CASCADE_WAIT_RING_FULL;
	return v->nr_deferred ? CASCADE_WAIT_MARKING : CASCADE_WAIT_NO_ACK;
}

static ktime_t earlier(ktime_t time, struct cascade_io *io)
{
	return io && ktime_before(io->came, time) ? io->came : time;
}

static struct cascade_io *first_of(struct bio_list *bios)
{
	return bio_list_empty(bios) ? NULL : cascade_io_of(bio_list_peek(bios));
}

/* The first in the ring that waits for its acknowledgement. */
static struct cascade_io *first_admitted(struct cascade_volume *v)
{
	u64 seq;

	for (seq = v->released + 1; v->nr_ack_waiting && seq <= v->reserved; seq++) {
		struct cascade_io *io = cascade_slot(v, seq)->io;

		if (io && io->local_done)
			return io;
	}
	return NULL;
}

/* For how long the one that has waited longest has; 0: nothing waits. */
u64 cascade_oldest_ms(struct cascade_volume *v)
{
	ktime_t now = ktime_get(), oldest = now;

	if (!cascade_anybody_waits(v))
		return 0;
	oldest = earlier(oldest, first_admitted(v));
	oldest = earlier(oldest, first_of(&v->deferred));
	oldest = earlier(oldest, first_of(&v->unmarked));
	oldest = earlier(oldest, list_first_entry_or_null(&v->flushes, struct cascade_io, list));
	return max_t(s64, ktime_ms_delta(now, oldest), 0);
}

/* Something has begun to wait. */
void cascade_waits(struct cascade_volume *v)
{
	cascade_lease_look(v);
	if (v->watched)
		return;
	v->watched = true;
	schedule_delayed_work(&v->stall_work, period());
}

/* ---- no lock held */

const char *cascade_waiting_word(enum cascade_why_waiting why)
{
	static const char *const words[] = {
		[CASCADE_WAIT_NOTHING] = "-",
		[CASCADE_WAIT_NO_DAEMON] = "no-daemon",
		[CASCADE_WAIT_NOT_STARTED] = "not-started",
		[CASCADE_WAIT_RING_FULL] = "ring-full",
		[CASCADE_WAIT_MARKING] = "marking",
		[CASCADE_WAIT_NO_ACK] = "no-ack",
	};

	return words[why];
}

static void warn(struct cascade_volume *v, enum cascade_why_waiting why)
{
	switch (why) {
	case CASCADE_WAIT_NO_DAEMON:
		DMWARN("%s: writes wait: no daemon is attached; start dmcascaded, or send the message fail_writes",
		       v->name);
		break;
	case CASCADE_WAIT_MARKING:
		DMWARN("%s: writes wait for the metadata device", v->name);
		break;
	default:
		DMWARN("%s: writes wait for the hub: %s; look at the link, or send the message fail_writes",
		       v->name, cascade_waiting_word(why));
	}
}

/* Looks again and again for as long as anything waits. */
void cascade_stall_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(to_delayed_work(work), struct cascade_volume,
						stall_work);
	enum cascade_why_waiting why = CASCADE_WAIT_NOTHING, before;

	cascade_look(v);
	spin_lock_irq(&v->lock);
	before = v->stalled;
	if (cascade_oldest_ms(v) + jiffies_to_msecs(1) >= jiffies_to_msecs(period()))
		why = cascade_why_waiting(v);
	v->stalled = why;
	if (why != before)
		cascade_later_event(v, CASCADE_EVENT_STALLED);
	v->watched = !v->gone && (why != CASCADE_WAIT_NOTHING || cascade_anybody_waits(v));
	if (v->watched)
		schedule_delayed_work(&v->stall_work, why ? HZ : period());
	spin_unlock_irq(&v->lock);
	/* Once: what it waits for may change often. */
	if (why && !before)
		warn(v, why);
}
