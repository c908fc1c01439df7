// SPDX-License-Identifier: GPL-2.0-only
/*
 * Comparing the volume with its copies, in the order of the writes: a range is read and its checksum
 * gets a place in the ring. What was written before is in it, what is written after it comes after
 * it, so each copy holds just that when the record comes to its turn there. For that the range is
 * closed as for a resync (resync.c), until the place is taken: for one read of the disk.
 *
 * Where a copy differs the same is done with what was read: at that place in the order it is what the
 * volume holds, so writing it leaves a whole copy what it is, and mends one that was damaged. No bracket
 * is needed for that. Should the record be lost with the ring, nothing has to be remembered.
 *
 * The daemon asks for one range after another (CASCADE_IOC_VERIFY), and so sets the pace.
 */
#include "cascade.h"

#include <linux/crc32c.h>
#include <linux/delay.h>
#include <linux/string.h>

#define QUIET_MS_MAX 200	/* how long to wait for writes that are on their way to the disk */

/* Whether the ring may take a range now; volume->lock held. */
static int may_verify(struct cascade_volume *v)
{
	if (!v->started || v->alone || !v->live || v->requeue || v->resync.held ||
	    v->resync.closed || v->daemon != CASCADE_DAEMON_ATTACHED)
		return -EAGAIN;
	return 0;
}

static bool is_valid(struct cascade_volume *v, const struct cascade_verify *verify)
{
	u64 sectors = verify->bytes >> SECTOR_SHIFT;

	return verify->sector < v->sectors && sectors <= v->sectors - verify->sector &&
	       !(verify->sector % (v->logical_block >> SECTOR_SHIFT)) &&
	       !(verify->bytes % v->logical_block);
}

/* It will be copied. volume->lock held */
static bool is_out_of_sync(struct cascade_volume *v)
{
	u64 first = v->resync.start / CASCADE_META_REGION_SECTORS;

	return cascade_bitmap_next(&v->bitmap, first) <=
	       v->resync.last / CASCADE_META_REGION_SECTORS;
}

static int close_range(struct cascade_volume *v, const struct cascade_verify *verify)
{
	struct cascade_resync *r = &v->resync;
	int ret;

	spin_lock_irq(&v->lock);
	ret = may_verify(v);
	if (!ret && !is_valid(v, verify))
		ret = -EINVAL;
	if (!ret) {
		r->start = verify->sector;
		r->last = verify->sector + (verify->bytes >> SECTOR_SHIFT) - 1;
		r->closed = true;
	}
	spin_unlock_irq(&v->lock);
	return ret;
}

static void open_range(struct cascade_volume *v)
{
	spin_lock_irq(&v->lock);
	cascade_resync_open(v);
	spin_unlock_irq(&v->lock);
}

static int wait_quiet(struct cascade_volume *v)
{
	unsigned int ms;
	bool busy;

	for (ms = 0; ms < QUIET_MS_MAX; ms++) {
		spin_lock_irq(&v->lock);
		busy = cascade_order_busy(v, v->resync.start, v->resync.last);
		spin_unlock_irq(&v->lock);
		if (!busy)
			return 0;
		usleep_range(500, 1000);
	}
	return -EAGAIN;
}

static void fill(struct cascade_volume *v, const struct cascade_verify *verify, u64 seq, bool zero)
{
	const void *data = v->resync.buffer;

	if (verify->content)
		cascade_ring_fill_read(v, seq, zero ? CASCADE_OP_WRITE_ZEROES : CASCADE_OP_WRITE, 0,
				       verify->sector, verify->bytes, data);
	else
		cascade_ring_fill_verify(v, seq, verify->sector, verify->bytes,
					 ~crc32c(~0U, data, verify->bytes));
}

/* What was read, or its checksum, gets its place. */
static int send(struct cascade_volume *v, struct cascade_verify *verify)
{
	struct cascade_resync *r = &v->resync;
	bool zero = verify->content && !memchr_inv(r->buffer, 0, verify->bytes);
	struct cascade_slot *slot = NULL;
	u64 seq;

	spin_lock_irq(&v->lock);
	/* A write that has failed may have left anything. */
	verify->out_of_sync = is_out_of_sync(v);
	if (!verify->out_of_sync && !v->alone && !v->resync.held)
		slot = cascade_ring_take(v, r->start, r->last,
					 verify->content && !zero ? verify->bytes : 0);
	seq = v->reserved;
	if (slot)
		slot->resync = CASCADE_RESYNC_VERIFY;
	spin_unlock_irq(&v->lock);
	if (!slot)
		return verify->out_of_sync ? 0 : -EAGAIN;
	fill(v, verify, seq, zero);
	cascade_ring_ready(v, slot);
	verify->seq = seq;
	return 0;
}

/* The range is closed, and nobody gets a place there. */
static int verify_closed(struct cascade_volume *v, struct cascade_verify *verify)
{
	int r = wait_quiet(v);

	if (r)
		return r;
	verify->error = -cascade_resync_read(v->live, verify->sector, verify->bytes,
					     v->resync.buffer);
	return verify->error ? 0 : send(v, verify);
}

int cascade_verify_range(struct cascade_volume *v, struct cascade_verify *verify)
{
	int r;

	verify->seq = 0;
	verify->error = 0;
	verify->out_of_sync = 0;
	/* Where nobody writes, no doorbell says that the ring has room again. */
	cascade_look(v);
	/* The live target stays, and a resync does not come between. */
	mutex_lock(&v->meta_mutex);
	r = close_range(v, verify);
	if (!r) {
		r = verify_closed(v, verify);
		open_range(v);
	}
	mutex_unlock(&v->meta_mutex);
	return r;
}
