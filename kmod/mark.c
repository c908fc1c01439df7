// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bitmap on disk (uapi/dm_cascade_meta.h). A write whose regions are not all marked there waits
 * here, before it has a place in the ring: so nothing waits behind it, and the hub never holds a
 * write in a region that a crash would not remember. Writes that wait share the block that is
 * written for them.
 */
#include "cascade.h"

#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/vmalloc.h>

#define BLOCK_SECTORS (CASCADE_META_BITMAP_BLOCK >> SECTOR_SHIFT)
#define BULK 32				/* blocks read or written at once when the volume is opened */
#define AHEAD_SECTORS (4 << 11)	/* marked at once for a writer that goes through the volume */
#define SLOTS_AT_ONCE 512		/* looked at without letting others have the lock */

static unsigned int sweep_seconds = 20;
module_param(sweep_seconds, uint, 0644);
MODULE_PARM_DESC(sweep_seconds, "How long a region stays marked after its last write, at least");

static unsigned int block_of(sector_t sector)
{
	return sector / CASCADE_META_REGION_SECTORS / CASCADE_META_BITS_PER_BLOCK;
}

/* ---- blocks on disk; bitmap_mutex held */

static int transfer(struct cascade_target *t, unsigned int index, void *memory, unsigned int nr,
		    blk_opf_t opf)
{
	u64 offset = le32_to_cpu(t->v->meta->bitmap_offset) >> SECTOR_SHIFT;
	struct bio *bio = bio_alloc(t->meta_dev->bdev, nr, opf, GFP_NOIO);
	unsigned int i;
	int r;

	bio->bi_iter.bi_sector = t->meta_start + offset + (u64)index * BLOCK_SECTORS;
	for (i = 0; i < nr; i++, memory += CASCADE_META_BITMAP_BLOCK)
		__bio_add_page(bio, is_vmalloc_addr(memory) ? vmalloc_to_page(memory) :
							      virt_to_page(memory),
			       CASCADE_META_BITMAP_BLOCK, offset_in_page(memory));
	r = submit_bio_wait(bio);
	bio_put(bio);
	if (r)
		DMERR_LIMIT("%s: cannot %s the bitmap on %s: error %d", t->v->name,
			    op_is_write(opf) ? "write" : "read", t->meta_dev->name, r);
	return r;
}

/* The volume's block as it is in memory, not sealed yet. */
static void encode(struct cascade_volume *v, unsigned int index, struct cascade_meta_block *block)
{
	spin_lock_irq(&v->lock);
	cascade_bitmap_encode(&v->bitmap, index, block);
	v->nr_meta_writes++;
	spin_unlock_irq(&v->lock);
}

/* Blocks from @index on; what they say is stable with the next flush. */
static int write_blocks(struct cascade_target *t, unsigned int index, void *buffer)
{
	struct cascade_volume *v = t->v;

	while (index < v->bitmap.nr_blocks) {
		unsigned int i, nr = min_t(unsigned int, BULK, v->bitmap.nr_blocks - index);
		struct cascade_meta_block *block = buffer;
		int r;

		for (i = 0; i < nr; i++) {
			encode(v, index + i, block + i);
			cascade_bitmap_seal(block + i);
		}
		r = transfer(t, index, buffer, nr, REQ_OP_WRITE | REQ_SYNC | REQ_META);
		if (r)
			return r;
		index += nr;
	}
	return 0;
}

/* @bad: how many blocks are damaged. */
static int read_blocks(struct cascade_target *t, void *buffer, unsigned int *bad)
{
	struct cascade_volume *v = t->v;
	unsigned int index = 0;

	while (index < v->bitmap.nr_blocks) {
		unsigned int i, nr = min_t(unsigned int, BULK, v->bitmap.nr_blocks - index);
		struct cascade_meta_block *block = buffer;
		int r = transfer(t, index, buffer, nr, REQ_OP_READ | REQ_SYNC | REQ_META);

		if (r)
			return r;
		for (i = 0; i < nr; i++)
			*bad += !cascade_bitmap_decode(&v->bitmap, index + i, block + i);
		index += nr;
	}
	if (*bad)
		DMERR("%s: %u of %u bitmap blocks on %s are damaged: all that they stand for is copied again",
		      t->dev->name, *bad, v->bitmap.nr_blocks, t->meta_dev->name);
	return 0;
}

/* ---- opening; meta_mutex held */

static bool has_bitmap(struct cascade_volume *v)
{
	return le64_to_cpu(v->meta->required) & CASCADE_META_REQUIRED_BITMAP;
}

/* Room for a volume of @sectors. */
static int make_room(struct cascade_volume *v, sector_t sectors)
{
	struct cascade_bitmap bigger, old;
	int r;

	if (cascade_bitmap_covers(&v->bitmap, sectors))
		return 0;
	r = cascade_bitmap_alloc(&bigger, sectors);
	if (r)
		return r;
	spin_lock_irq(&v->lock);
	cascade_bitmap_copy(&bigger, &v->bitmap);
	old = v->bitmap;
	v->bitmap = bigger;
	spin_unlock_irq(&v->lock);
	cascade_bitmap_free(&old);
	return 0;
}

/* All that this area may mean is in memory, and on disk with the next flush. */
static int open_bitmap(struct cascade_target *t, void *buffer)
{
	struct cascade_volume *v = t->v;
	sector_t known = le64_to_cpu(v->meta->sectors);
	unsigned int bad = 0;
	bool all = false;
	int r = 0;

	if (!has_bitmap(v)) {
		/* The first time. What an earlier version left behind it can't tell. */
		all = true;
		if (!v->was_clean || v->differs)
			known = 0;
	} else if (!v->meta_known) {
		r = read_blocks(t, buffer, &bad);
		all = bad;
	}
	if (r)
		return r;
	/* What came to the device since is not what the hub has there. */
	spin_lock_irq(&v->lock);
	if (t->ti->len > known) {
		cascade_bitmap_out_of_sync(&v->bitmap, known, t->ti->len - 1);
		/* Of the region that has grown only the front has been read. */
		v->doubts++;
	}
	spin_unlock_irq(&v->lock);
	if (!all && t->ti->len <= known)
		return 0;
	return write_blocks(t, all ? 0 : block_of(known), buffer);
}

int cascade_marks_open(struct cascade_target *t)
{
	struct cascade_volume *v = t->v;
	/* The device is suspended: memory must not be waited for through it. */
	unsigned int noio = memalloc_noio_save();
	void *buffer = vmalloc(BULK * CASCADE_META_BITMAP_BLOCK);
	int r = buffer ? 0 : -ENOMEM;

	mutex_lock(&v->bitmap_mutex);
	if (!r)
		r = make_room(v, t->ti->len);
	if (!r)
		r = open_bitmap(t, buffer);
	mutex_unlock(&v->bitmap_mutex);
	vfree(buffer);
	memalloc_noio_restore(noio);
	if (r)
		return r;
	v->meta->required |= cpu_to_le64(CASCADE_META_REQUIRED_BITMAP);
	spin_lock_irq(&v->lock);
	/* Nothing is marked, so nothing differs, whatever way it ended. */
	if (!v->meta_known && !v->bitmap.nr_out_of_sync)
		v->differs &= ~(CASCADE_DIFFERS_UNCLEAN | CASCADE_DIFFERS_LOCAL);
	cascade_ring_tell(v);
	spin_unlock_irq(&v->lock);
	cascade_sweep_later(v);
	return 0;
}

/* All of the volume has to be copied, and the disk says so. meta_mutex held. */
int cascade_marks_all(struct cascade_volume *v)
{
	const sector_t at_once = (sector_t)CASCADE_META_BITS_PER_BLOCK * CASCADE_META_REGION_SECTORS;
	unsigned int noio = memalloc_noio_save();
	void *buffer = vmalloc(BULK * CASCADE_META_BITMAP_BLOCK);
	sector_t start;
	int r = -ENOMEM;

	mutex_lock(&v->bitmap_mutex);
	for (start = 0; buffer && start < v->sectors; start += at_once) {
		spin_lock_irq(&v->lock);
		cascade_bitmap_out_of_sync(&v->bitmap, start, min(v->sectors, start + at_once) - 1);
		v->doubts++;
		spin_unlock_irq(&v->lock);
	}
	if (buffer)
		r = v->live ? write_blocks(v->live, 0, buffer) : -EIO;
	mutex_unlock(&v->bitmap_mutex);
	vfree(buffer);
	memalloc_noio_restore(noio);
	return r;
}

/* ---- marking */

/* Through which sector regions are worth a mark now, for one write that needs some. */
static sector_t ahead(struct cascade_volume *v, struct cascade_io *io)
{
	sector_t end = v->bitmap.nr_regions * CASCADE_META_REGION_SECTORS - 1;
	bool follows;

	spin_lock_irq(&v->lock);
	follows = cascade_bitmap_follows(&v->bitmap, io->start);
	spin_unlock_irq(&v->lock);
	return follows ? min_t(sector_t, end, io->last + AHEAD_SECTORS) : io->last;
}

/* Marks what all of @bios need of one block. */
static int mark_block(struct cascade_target *t, unsigned int index, struct bio_list *bios)
{
	struct cascade_volume *v = t->v;
	struct bio *bio;
	int r;

	encode(v, index, v->meta_block);
	bio_list_for_each(bio, bios) {
		struct cascade_io *io = cascade_io_of(bio);

		cascade_bitmap_add(v->meta_block, io->start, ahead(v, io));
	}
	cascade_bitmap_seal(v->meta_block);
	r = transfer(t, index, v->meta_block, 1, REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_FUA);
	if (r)
		return r;
	spin_lock_irq(&v->lock);
	cascade_bitmap_learn(&v->bitmap, v->meta_block);
	spin_unlock_irq(&v->lock);
	return 0;
}

static int mark_for(struct cascade_io *io, struct bio_list *bios)
{
	struct cascade_volume *v = io->t->v;
	unsigned int index = block_of(io->start), end = block_of(io->last);
	int r = 0;

	for (; index <= end && !r; index++) {
		bool marked;

		spin_lock_irq(&v->lock);
		marked = cascade_bitmap_is_marked(&v->bitmap, index, io->start, io->last);
		spin_unlock_irq(&v->lock);
		if (!marked)
			r = mark_block(io->t, index, bios);
	}
	return r;
}

void cascade_mark_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(work, struct cascade_volume, mark_work);
	struct bio_list bios;
	struct bio *bio;
	int r = 0;

	mutex_lock(&v->bitmap_mutex);
	spin_lock_irq(&v->lock);
	bios = v->unmarked;
	bio_list_init(&v->unmarked);
	spin_unlock_irq(&v->lock);
	bio_list_for_each(bio, &bios) {
		r = mark_for(cascade_io_of(bio), &bios);
		if (r)
			break;
	}
	mutex_unlock(&v->bitmap_mutex);
	cascade_sweep_later(v);
	/* The last bio may take its target with it. */
	cascade_marked(v, &bios, errno_to_blk_status(r));
}

/* ---- sweeping */

/* What is not stored at the hub is in use. */
static void use_unstored(struct cascade_volume *v)
{
	u64 seq = 0;
	bool more;

	do {
		unsigned int n;

		spin_lock_irq(&v->lock);
		seq = max(seq, v->released + 1);
		for (n = 0; n < SLOTS_AT_ONCE && seq <= v->reserved; n++, seq++) {
			struct cascade_slot *slot = cascade_slot(v, seq);

			cascade_bitmap_use(&v->bitmap, slot->start, slot->last);
		}
		more = seq <= v->reserved;
		spin_unlock_irq(&v->lock);
	} while (more);
}

static void sweep_block(struct cascade_target *t, unsigned int index)
{
	struct cascade_volume *v = t->v;
	bool dropped;

	spin_lock_irq(&v->lock);
	dropped = cascade_bitmap_sweep(&v->bitmap, index);
	spin_unlock_irq(&v->lock);
	if (!dropped)
		return;
	encode(v, index, v->meta_block);
	cascade_bitmap_seal(v->meta_block);
	/* If it fails, or is lost with the power, the disk has more marks than it needs. */
	transfer(t, index, v->meta_block, 1, REQ_OP_WRITE | REQ_META);
}

/*
 * @all: whatever was written since the last sweep may lose its mark, too; then no write is on its
 * way. Otherwise what may lose it was done before the last sweep.
 */
static int sweep(struct cascade_target *t, bool all)
{
	struct cascade_volume *v = t->v;
	unsigned int index;
	int r;

	mutex_lock(&v->bitmap_mutex);
	for (index = 0; all && index < v->bitmap.nr_blocks; index++) {
		spin_lock_irq(&v->lock);
		cascade_bitmap_forget_use(&v->bitmap, index);
		spin_unlock_irq(&v->lock);
	}
	use_unstored(v);
	/*
	 * What is done by now may still be in the disk's cache. The hub has it: once its mark is gone,
	 * a loss of power must not take it from the disk.
	 */
	r = blkdev_issue_flush(t->dev->bdev);
	for (index = 0; !r && index < v->bitmap.nr_blocks; index++)
		sweep_block(t, index);
	mutex_unlock(&v->bitmap_mutex);
	return r;
}

/* No write is on its way, meta_mutex held. Fails if the disk could not be flushed. */
int cascade_marks_settle(struct cascade_target *t)
{
	return sweep(t, true);
}

void cascade_sweep_later(struct cascade_volume *v)
{
	schedule_delayed_work(&v->sweep_work, max(sweep_seconds, 1U) * HZ);
}

void cascade_sweep_work(struct work_struct *work)
{
	struct cascade_volume *v = container_of(to_delayed_work(work), struct cascade_volume,
						sweep_work);

	mutex_lock(&v->meta_mutex);
	if (v->live && v->bitmap.nr_marked > v->bitmap.nr_out_of_sync) {
		sweep(v->live, false);
		cascade_sweep_later(v);
	}
	mutex_unlock(&v->meta_mutex);
}
