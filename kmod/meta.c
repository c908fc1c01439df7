// SPDX-License-Identifier: GPL-2.0-only
/*
 * The metadata area of a volume (uapi/dm_cascade_meta.h): says of which history the disk is, and
 * whether its last ring ended in order.
 *
 * On disk the area is not clean before the first write of a ring; it is clean, with the last number,
 * once the device is suspended with everything stored. So after a crash it is not.
 */
#include "cascade.h"

#include <linux/blkdev.h>
#include <linux/ktime.h>
#include <linux/part_stat.h>

#define SUPER_SECTORS (CASCADE_META_SUPER_BYTES >> SECTOR_SHIFT)

/* ---- one copy */

static int transfer(struct cascade_target *t, u64 counter, void *page, blk_opf_t opf)
{
	struct bio_vec vec;
	struct bio bio;
	int r;

	bio_init(&bio, t->meta_dev->bdev, &vec, 1, opf);
	bio.bi_iter.bi_sector = t->meta_start + (counter & 1) * SUPER_SECTORS;
	__bio_add_page(&bio, virt_to_page(page), CASCADE_META_SUPER_BYTES, 0);
	r = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return r;
}

static bool whole(struct cascade_meta_super *super)
{
	return super->magic == cpu_to_le64(CASCADE_META_MAGIC) &&
	       super->crc == cascade_page_checksum(super, &super->crc);
}

/* ---- reading */

/* Into @super the newest copy that is whole; @other is room for the second one. */
static char *read_newest(struct cascade_target *t, struct cascade_meta_super *super,
			 struct cascade_meta_super *other)
{
	bool first, second;

	if (transfer(t, 0, super, REQ_OP_READ | REQ_SYNC) ||
	    transfer(t, 1, other, REQ_OP_READ | REQ_SYNC))
		return "Metadata area cannot be read";
	first = whole(super);
	second = whole(other);
	if (!first && !second)
		return "No whole metadata area there; 'dmcascade create --new' makes one";
	if (!first || (second && le64_to_cpu(other->counter) > le64_to_cpu(super->counter)))
		memcpy(super, other, sizeof(*super));
	return NULL;
}

/* The longest volume whose bitmap the area has room for. */
static sector_t room(const struct cascade_meta_super *super)
{
	u64 area = le64_to_cpu(super->area_bytes);
	u32 offset = le32_to_cpu(super->bitmap_offset);

	if (area < offset)
		return 0;
	return (area - offset) / CASCADE_META_BITMAP_BLOCK * CASCADE_META_BITS_PER_BLOCK *
	       le32_to_cpu(super->region_sectors);
}

static char *check_super(struct cascade_target *t, const struct cascade_meta_super *super)
{
	u32 generations = le32_to_cpu(super->generations);

	if (le16_to_cpu(super->major) != CASCADE_META_MAJOR)
		return "Metadata area has another format than this module";
	if (le64_to_cpu(super->required) & ~CASCADE_META_REQUIRED_KNOWN)
		return "Metadata area needs a newer module";
	if (memcmp(super->volume, &t->options.uuid, CASCADE_UUID_BYTES))
		return "Metadata area is of another volume";
	if (t->ti->len < le64_to_cpu(super->sectors))
		return "Volume is shorter than its metadata area says";
	if (t->ti->len > room(super))
		return "Metadata area has no room for a volume of this length";
	if (le32_to_cpu(super->region_sectors) != CASCADE_META_REGION_SECTORS)
		return "Metadata area has regions of another size than this module";
	if (le32_to_cpu(super->bitmap_offset) & (CASCADE_META_BITMAP_BLOCK - 1))
		return "Metadata area has its bitmap at an odd place";
	if (!generations || generations > CASCADE_META_GENERATIONS)
		return "Metadata area has no generation";
	return NULL;
}

static char *check_place(struct cascade_target *t, const struct cascade_meta_super *super)
{
	sector_t sectors = le64_to_cpu(super->area_bytes) >> SECTOR_SHIFT;
	sector_t device = bdev_nr_sectors(t->meta_dev->bdev);

	if (sectors > device || t->meta_start > device - sectors)
		return "Metadata device is too small for offset and area";
	if (t->meta_dev->bdev->bd_dev == t->dev->bdev->bd_dev &&
	    t->meta_start < t->start + t->ti->len && t->start < t->meta_start + sectors)
		return "Metadata area and volume overlap";
	return NULL;
}

/* What is wrong with the area of @t; NULL if nothing is. @super gets it. */
static char *read_area(struct cascade_target *t, struct cascade_meta_super *super)
{
	sector_t device = bdev_nr_sectors(t->meta_dev->bdev);
	struct cascade_meta_super *other;
	char *wrong;

	if (t->meta_start & (SUPER_SECTORS - 1))
		return "Metadata offset must be a multiple of 8 sectors";
	if (device < 2 * SUPER_SECTORS || t->meta_start > device - 2 * SUPER_SECTORS)
		return "Metadata device is too small for offset and area";
	if (bdev_logical_block_size(t->meta_dev->bdev) > CASCADE_META_SUPER_BYTES)
		return "Metadata device has logical blocks of more than 4096 bytes";
	other = (void *)__get_free_page(GFP_KERNEL);
	if (!other)
		return "Not enough memory";
	wrong = read_newest(t, super, other);
	free_page((unsigned long)other);
	if (!wrong)
		wrong = check_super(t, super);
	if (!wrong)
		wrong = check_place(t, super);
	return wrong;
}

int cascade_meta_check(struct cascade_target *t)
{
	struct cascade_meta_super *super = (void *)__get_free_page(GFP_KERNEL);

	if (!super) {
		t->ti->error = "Not enough memory";
		return -ENOMEM;
	}
	t->ti->error = read_area(t, super);
	free_page((unsigned long)super);
	return t->ti->error ? -EINVAL : 0;
}

/* ---- who else writes */

static uuid_t boot;	/* of this loading of the module: its counts mean nothing in another */

void cascade_meta_init(void)
{
	uuid_gen(&boot);
}

static u64 written(struct block_device *bdev)
{
	return part_stat_read(bdev, sectors[STAT_WRITE]) +
	       part_stat_read(bdev, sectors[STAT_DISCARD]);
}

/* Whether the whole device is the volume's, so that nobody else may write to it. */
static bool counts(struct cascade_target *t)
{
	return !t->start && (t->meta_dev->bdev == t->dev->bdev ||
			     t->ti->len == bdev_nr_sectors(t->dev->bdev));
}

/* For the superblock that is written next, and may count itself. */
static void note_written(struct cascade_target *t)
{
	struct cascade_meta_super *super = t->v->meta;
	bool own = t->meta_dev->bdev == t->dev->bdev;

	memset(super->boot, 0, sizeof(super->boot));
	if (!counts(t))
		return;
	export_uuid(super->boot, &boot);
	super->diskseq = cpu_to_le64(t->dev->bdev->bd_disk->diskseq);
	super->written = cpu_to_le64(written(t->dev->bdev) + (own ? SUPER_SECTORS : 0));
}

static bool written_outside(struct cascade_target *t)
{
	const struct cascade_meta_super *super = t->v->meta;

	return le32_to_cpu(super->flags) & CASCADE_META_CLEAN &&
	       !memcmp(super->boot, &boot, sizeof(super->boot)) &&
	       le64_to_cpu(super->diskseq) == t->dev->bdev->bd_disk->diskseq &&
	       le64_to_cpu(super->written) != written(t->dev->bdev);
}

/* ---- writing; meta_mutex held */

/* The next superblock, stable when this returns. */
static int write_super(struct cascade_target *t)
{
	struct cascade_volume *v = t->v;
	struct cascade_meta_super *super = v->meta;
	int r;

	BUILD_BUG_ON(sizeof(*super) != CASCADE_META_SUPER_BYTES);
	BUILD_BUG_ON(offsetof(struct cascade_meta_super, end_seq) != 104);
	BUILD_BUG_ON(offsetof(struct cascade_meta_super, generations) != 408);
	BUILD_BUG_ON(CASCADE_META_SUPER_BYTES > PAGE_SIZE);
	BUILD_BUG_ON(CASCADE_META_SUPER_BYTES != CASCADE_META_BITMAP_BLOCK);

	lockdep_assert_held(&v->meta_mutex);
	spin_lock_irq(&v->lock);
	super->differs = cpu_to_le32(v->differs);
	super->local_errors = cpu_to_le64(v->local_errors);
	spin_unlock_irq(&v->lock);
	le64_add_cpu(&super->counter, 1);
	super->written_ns = cpu_to_le64(ktime_get_real_ns());
	super->crc = cascade_page_checksum(super, &super->crc);
	r = transfer(t, le64_to_cpu(super->counter), super,
		     REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_PREFLUSH | REQ_FUA);
	if (r)
		DMERR("%s: cannot write the metadata area on %s: error %d", v->name,
		      t->meta_dev->name, r);
	return r;
}

static void set_flags(struct cascade_meta_super *super, u32 set, u32 clear)
{
	super->flags = cpu_to_le32((le32_to_cpu(super->flags) & ~clear) | set);
}

/* volume->lock held */
static void learn_generation(struct cascade_volume *v)
{
	struct cascade_meta_super *super = v->meta;

	import_uuid(&v->generation, super->generation[0].id);
	if (le32_to_cpu(super->generations) > 1)
		import_uuid(&v->parent, super->generation[1].id);
}

/* What the area says of the time before this ring. */
static void learn(struct cascade_target *t, bool outside)
{
	struct cascade_volume *v = t->v;
	struct cascade_meta_super *super = v->meta;

	spin_lock_irq(&v->lock);
	v->was_clean = le32_to_cpu(super->flags) & CASCADE_META_CLEAN;
	v->was_numbered = le32_to_cpu(super->flags) & CASCADE_META_NUMBERED;
	v->end_seq = le64_to_cpu(super->end_seq);
	v->local_errors = le64_to_cpu(super->local_errors);
	v->differs = le32_to_cpu(super->differs);
	if (!v->was_clean)
		v->differs |= CASCADE_DIFFERS_UNCLEAN;
	if (outside)
		v->differs |= CASCADE_DIFFERS_OUTSIDE;
	cascade_ring_tell(v);
	learn_generation(v);
	import_uuid(&v->journal, super->journal);
	/* The hub has not been back since. */
	if (le32_to_cpu(super->flags) & CASCADE_META_ALONE &&
	    t->options.fence != CASCADE_FENCE_DATA)
		cascade_alone_begin(v);
	spin_unlock_irq(&v->lock);
}

static void set_clean(struct cascade_volume *v, bool clean)
{
	spin_lock_irq(&v->lock);
	v->clean = clean;
	cascade_ring_tell(v);
	spin_unlock_irq(&v->lock);
}

int cascade_meta_open(struct cascade_target *t)
{
	struct cascade_volume *v = t->v;
	bool outside;
	char *wrong;
	int r;

	lockdep_assert_held(&v->meta_mutex);
	if (!v->meta_known) {
		wrong = read_area(t, v->meta);
		if (wrong) {
			DMERR("%s: %s", t->meta_dev->name, wrong);
			return -EINVAL;
		}
		outside = written_outside(t);
		learn(t, outside);
		if (!v->was_clean)
			DMWARN("%s: the volume was not closed in order: its copies may differ",
			       t->dev->name);
		if (outside)
			DMWARN("%s: the device was written while no target had it: its copies may differ",
			       t->dev->name);
	}
	r = cascade_marks_open(t);
	if (r)
		return r;
	v->meta_known = true;
	set_clean(v, false);
	set_flags(v->meta, 0, CASCADE_META_CLEAN);
	export_uuid(v->meta->incarnation, &v->incarnation);
	v->meta->sectors = cpu_to_le64(t->ti->len);
	return write_super(t);
}

/* Whether everything that was ever written is stored at the hub. Nothing is on its way any more. */
static bool ended_in_order(struct cascade_volume *v, u64 *end)
{
	bool quiet;

	spin_lock_irq(&v->lock);
	*end = v->started ? v->stored : v->end_seq;
	quiet = v->started ? v->stored == v->reserved && v->released == v->reserved : v->was_clean;
	quiet = quiet && !v->alone;
	spin_unlock_irq(&v->lock);
	return quiet;
}

void cascade_meta_close(struct cascade_target *t)
{
	struct cascade_volume *v = t->v;
	u64 end;

	mutex_lock(&v->meta_mutex);
	/* Clean is a word about the disk too, not only about its cache, which is flushed first. */
	if (v->live == t && !cascade_marks_settle(t) && ended_in_order(v, &end)) {
		v->meta->end_seq = cpu_to_le64(end);
		set_flags(v->meta, CASCADE_META_CLEAN, 0);
		note_written(t);
		set_clean(v, !write_super(t));
	}
	mutex_unlock(&v->meta_mutex);
}

int cascade_meta_numbered(struct cascade_volume *v, u64 base, const u8 *journal)
{
	int r = -EIO;

	lockdep_assert_held(&v->meta_mutex);
	if (v->live) {
		v->meta->end_seq = cpu_to_le64(base);
		memcpy(v->meta->journal, journal, CASCADE_UUID_BYTES);
		set_flags(v->meta, CASCADE_META_NUMBERED, CASCADE_META_ALONE);
		r = write_super(v->live);
	}
	if (!r) {
		spin_lock_irq(&v->lock);
		import_uuid(&v->journal, journal);
		spin_unlock_irq(&v->lock);
	}
	return r;
}

/* A new generation, whose first write comes behind all that the hub has stored. */
static void add_generation(struct cascade_volume *v, u64 began)
{
	struct cascade_meta_super *super = v->meta;
	u32 nr = le32_to_cpu(super->generations);
	uuid_t id;

	nr = min_t(u32, nr, CASCADE_META_GENERATIONS - 1);
	memmove(super->generation + 1, super->generation, nr * sizeof(super->generation[0]));
	uuid_gen(&id);
	export_uuid(super->generation[0].id, &id);
	super->generation[0].began = cpu_to_le64(began);
	super->generations = cpu_to_le32(nr + 1);
}

/* As if add_generation() had not been; the oldest of a full list is lost. */
static void take_back_generation(struct cascade_volume *v)
{
	struct cascade_meta_super *super = v->meta;
	u32 nr = le32_to_cpu(super->generations) - 1;

	memmove(super->generation, super->generation + 1, nr * sizeof(super->generation[0]));
	super->generations = cpu_to_le32(nr);
}

/* What the area says of the hub. */
struct hub_known {
	u8 journal[CASCADE_UUID_BYTES];
	__le64 end_seq;
	u32 numbered;
};

static struct hub_known forget_hub(struct cascade_meta_super *super)
{
	struct hub_known before = {
		.end_seq = super->end_seq,
		.numbered = le32_to_cpu(super->flags) & CASCADE_META_NUMBERED,
	};

	memcpy(before.journal, super->journal, sizeof(before.journal));
	memset(super->journal, 0, sizeof(super->journal));
	super->end_seq = 0;
	set_flags(super, 0, CASCADE_META_NUMBERED);
	return before;
}

static void remember_hub(struct cascade_meta_super *super, const struct hub_known *before)
{
	memcpy(super->journal, before->journal, sizeof(super->journal));
	super->end_seq = before->end_seq;
	set_flags(super, before->numbered, 0);
}

int cascade_meta_part(struct cascade_volume *v, const uuid_t *incarnation, bool forgets_hub)
{
	struct cascade_meta_super *super = v->meta;
	bool parts = !(le32_to_cpu(super->flags) & CASCADE_META_ALONE);
	struct hub_known before;
	u64 stored;
	int r = -EIO;

	lockdep_assert_held(&v->meta_mutex);
	spin_lock_irq(&v->lock);
	stored = v->stored;
	spin_unlock_irq(&v->lock);
	/* Once is enough until a hub has heard of it. */
	if (parts) {
		add_generation(v, stored);
		super->alone_ns = cpu_to_le64(ktime_get_real_ns());
		set_flags(super, CASCADE_META_ALONE, 0);
	}
	if (forgets_hub)
		before = forget_hub(super);
	export_uuid(super->incarnation, incarnation);
	if (v->live)
		r = write_super(v->live);
	/* It stays with its hub: the next superblock must not say otherwise. */
	if (r && parts) {
		take_back_generation(v);
		set_flags(super, 0, CASCADE_META_ALONE);
	}
	if (r && forgets_hub)
		remember_hub(super, &before);
	if (r)
		return r;
	spin_lock_irq(&v->lock);
	learn_generation(v);
	import_uuid(&v->journal, super->journal);
	v->was_clean = false;
	v->was_numbered = le32_to_cpu(super->flags) & CASCADE_META_NUMBERED;
	v->end_seq = le64_to_cpu(super->end_seq);
	spin_unlock_irq(&v->lock);
	return 0;
}

void cascade_meta_save(struct cascade_volume *v)
{
	mutex_lock(&v->meta_mutex);
	if (v->live)
		write_super(v->live);
	mutex_unlock(&v->meta_mutex);
}
