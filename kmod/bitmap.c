// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which regions of a volume may differ from the hub's copy. Three bits a region:
 *
 *   marked       it may differ, and the bitmap on disk says so: set there before a write gets its
 *                place in the ring
 *   out_of_sync  it has to be copied; a part of marked. After a crash that is all that was marked
 *   used         written since the last sweep, or not stored at the hub by then
 *
 * A region that is marked and no more used loses its mark at the next sweep, so those that are
 * written again and again cost no I/O. In memory 1.5 KiB for each GiB of the volume.
 */
#include "cascade.h"

#include <linux/bitops.h>
#include <linux/crc32c.h>
#include <linux/vmalloc.h>

#define WORDS_PER_BLOCK (CASCADE_META_BITS_PER_BLOCK / 64)
#define REGIONS_IN_ORDER 3

static u64 mask_of(u64 region)
{
	return 1ULL << (region % 64);
}

static bool has(const u64 *bits, u64 region)
{
	return bits[region / 64] & mask_of(region);
}

static u64 regions_in(sector_t sectors)
{
	return (sectors + CASCADE_META_REGION_SECTORS - 1) / CASCADE_META_REGION_SECTORS;
}

static unsigned int blocks_for(u64 regions)
{
	return (regions + CASCADE_META_BITS_PER_BLOCK - 1) / CASCADE_META_BITS_PER_BLOCK;
}

/* The regions of some sectors, as far as they lie in a block; none if the first is past the last. */
static u64 first_in_block(unsigned int index, sector_t start)
{
	return max_t(u64, (u64)index * CASCADE_META_BITS_PER_BLOCK,
		     start / CASCADE_META_REGION_SECTORS);
}

static u64 last_in_block(unsigned int index, sector_t last)
{
	return min_t(u64, (u64)(index + 1) * CASCADE_META_BITS_PER_BLOCK - 1,
		     last / CASCADE_META_REGION_SECTORS);
}

static size_t bytes_of_bits(const struct cascade_bitmap *b)
{
	return (size_t)b->nr_blocks * WORDS_PER_BLOCK * sizeof(u64);
}

/* Whether it covers a volume of @sectors. */
bool cascade_bitmap_covers(const struct cascade_bitmap *b, sector_t sectors)
{
	return regions_in(sectors) <= b->nr_regions;
}

int cascade_bitmap_alloc(struct cascade_bitmap *b, sector_t sectors)
{
	size_t bytes;

	b->nr_regions = regions_in(sectors);
	b->nr_blocks = blocks_for(b->nr_regions);
	bytes = bytes_of_bits(b);
	b->blocks = vzalloc(b->nr_blocks * sizeof(*b->blocks));
	b->marked = vzalloc(bytes);
	b->out_of_sync = vzalloc(bytes);
	b->used = vzalloc(bytes);
	if (b->blocks && b->marked && b->out_of_sync && b->used)
		return 0;
	cascade_bitmap_free(b);
	return -ENOMEM;
}

void cascade_bitmap_free(struct cascade_bitmap *b)
{
	vfree(b->used);
	vfree(b->out_of_sync);
	vfree(b->marked);
	vfree(b->blocks);
	memset(b, 0, sizeof(*b));
}

/* What @from knows goes to the front of @to, which is no smaller and empty. */
void cascade_bitmap_copy(struct cascade_bitmap *to, const struct cascade_bitmap *from)
{
	size_t bytes = bytes_of_bits(from);

	memcpy(to->blocks, from->blocks, from->nr_blocks * sizeof(*from->blocks));
	memcpy(to->marked, from->marked, bytes);
	memcpy(to->out_of_sync, from->out_of_sync, bytes);
	memcpy(to->used, from->used, bytes);
	to->nr_marked = from->nr_marked;
	to->nr_out_of_sync = from->nr_out_of_sync;
}

/* ---- single regions; cascade_volume.lock held */

static void mark(struct cascade_bitmap *b, u64 region)
{
	if (has(b->marked, region))
		return;
	b->marked[region / 64] |= mask_of(region);
	b->blocks[region / CASCADE_META_BITS_PER_BLOCK].nr_marked++;
	b->nr_marked++;
}

/* Whether somebody writes in order: the regions before that of @start are marked and in use. */
bool cascade_bitmap_follows(const struct cascade_bitmap *b, sector_t start)
{
	u64 region, of_start = start / CASCADE_META_REGION_SECTORS;

	if (of_start < REGIONS_IN_ORDER)
		return false;
	for (region = of_start - REGIONS_IN_ORDER; region < of_start; region++)
		if (!has(b->marked, region) || !has(b->used, region))
			return false;
	return true;
}

/* Whether those of the sectors that lie in the block are marked. */
bool cascade_bitmap_is_marked(const struct cascade_bitmap *b, unsigned int index, sector_t start,
			      sector_t last)
{
	u64 region, end = last_in_block(index, last);

	for (region = first_in_block(index, start); region <= end; region++)
		if (!has(b->marked, region))
			return false;
	return true;
}

/* Notes that the sectors are written. False if not all of their regions are marked. */
bool cascade_bitmap_use(struct cascade_bitmap *b, sector_t start, sector_t last)
{
	u64 region, end = last / CASCADE_META_REGION_SECTORS;
	bool marked = true;

	for (region = start / CASCADE_META_REGION_SECTORS; region <= end; region++) {
		b->used[region / 64] |= mask_of(region);
		marked = marked && has(b->marked, region);
	}
	return marked;
}

/* The sectors have to be copied to the hub. The disk has marks for them, or will have. */
void cascade_bitmap_out_of_sync(struct cascade_bitmap *b, sector_t start, sector_t last)
{
	u64 region, end = last / CASCADE_META_REGION_SECTORS;

	for (region = start / CASCADE_META_REGION_SECTORS; region <= end; region++) {
		mark(b, region);
		if (has(b->out_of_sync, region))
			continue;
		b->out_of_sync[region / 64] |= mask_of(region);
		b->nr_out_of_sync++;
	}
}

/* The region has been copied; its mark goes at a later sweep. */
void cascade_bitmap_in_sync(struct cascade_bitmap *b, u64 region)
{
	if (!has(b->out_of_sync, region))
		return;
	b->out_of_sync[region / 64] &= ~mask_of(region);
	b->nr_out_of_sync--;
}

/* What is marked has to be copied: nobody knows any more what of it is the same. */
void cascade_bitmap_doubt(struct cascade_bitmap *b)
{
	unsigned int index;

	for (index = 0; index < b->nr_blocks; index++)
		if (b->blocks[index].nr_marked)
			memcpy(b->out_of_sync + (u64)index * WORDS_PER_BLOCK,
			       b->marked + (u64)index * WORDS_PER_BLOCK,
			       WORDS_PER_BLOCK * sizeof(u64));
	b->nr_out_of_sync = b->nr_marked;
}

/* The first region from @from on that has to be copied; nr_regions if there is none. */
u64 cascade_bitmap_next(const struct cascade_bitmap *b, u64 from)
{
	u64 region = from;

	while (region < b->nr_regions) {
		unsigned int index = region / CASCADE_META_BITS_PER_BLOCK;
		u64 rest = b->out_of_sync[region / 64] >> (region % 64);

		if (!b->blocks[index].nr_marked) {
			region = (u64)(index + 1) * CASCADE_META_BITS_PER_BLOCK;
			continue;
		}
		if (rest)
			return region + __ffs64(rest);
		region = (region / 64 + 1) * 64;
	}
	return b->nr_regions;
}

/* ---- blocks; cascade_volume.lock held */

/*
 * Drops the marks of a block that nobody needs, and begins to note its use anew. Returns whether
 * the disk has more marks than memory now.
 */
bool cascade_bitmap_sweep(struct cascade_bitmap *b, unsigned int index)
{
	struct cascade_bitmap_block *block = &b->blocks[index];
	u64 word, end = (u64)(index + 1) * WORDS_PER_BLOCK;
	bool dropped = false;

	if (!block->nr_marked)
		return false;
	for (word = (u64)index * WORDS_PER_BLOCK; word < end; word++) {
		u64 drop = b->marked[word] & ~b->used[word] & ~b->out_of_sync[word];

		b->used[word] = 0;
		if (!drop)
			continue;
		b->marked[word] &= ~drop;
		block->nr_marked -= hweight64(drop);
		b->nr_marked -= hweight64(drop);
		dropped = true;
	}
	return dropped;
}

/* So that the next sweep keeps only what is used again until then. */
void cascade_bitmap_forget_use(struct cascade_bitmap *b, unsigned int index)
{
	memset(b->used + (u64)index * WORDS_PER_BLOCK, 0, WORDS_PER_BLOCK * sizeof(u64));
}

/* Of a page of the metadata area, with @field, which stands in it, taken for zero. */
__le32 cascade_page_checksum(void *page, __le32 *field)
{
	__le32 kept = *field;
	u32 crc;

	*field = 0;
	crc = ~crc32c(~0U, page, CASCADE_META_BITMAP_BLOCK);
	*field = kept;
	return cpu_to_le32(crc);
}

/* A block as it goes to disk next, with nobody's marks but those in memory. */
void cascade_bitmap_encode(struct cascade_bitmap *b, unsigned int index,
			   struct cascade_meta_block *out)
{
	const u64 *bits = b->marked + (u64)index * WORDS_PER_BLOCK;
	unsigned int i;

	memset(out, 0, sizeof(*out));
	out->magic = cpu_to_le64(CASCADE_META_BLOCK_MAGIC);
	out->index = cpu_to_le32(index);
	out->counter = cpu_to_le64(++b->blocks[index].counter);
	for (i = 0; i < WORDS_PER_BLOCK; i++)
		out->bits[i] = cpu_to_le64(bits[i]);
}

/* Adds marks for those of the sectors that lie in the block. */
void cascade_bitmap_add(struct cascade_meta_block *out, sector_t start, sector_t last)
{
	u64 first = (u64)le32_to_cpu(out->index) * CASCADE_META_BITS_PER_BLOCK;
	u64 region, end = last_in_block(le32_to_cpu(out->index), last);

	for (region = first_in_block(le32_to_cpu(out->index), start); region <= end; region++)
		out->bits[(region - first) / 64] |= cpu_to_le64(mask_of(region - first));
}

void cascade_bitmap_seal(struct cascade_meta_block *out)
{
	BUILD_BUG_ON(sizeof(*out) != CASCADE_META_BITMAP_BLOCK);
	BUILD_BUG_ON(CASCADE_META_BITS_PER_BLOCK % 64);
	out->crc = cascade_page_checksum(out, &out->crc);
}

/* The block is on disk: what it marks, is marked. */
void cascade_bitmap_learn(struct cascade_bitmap *b, const struct cascade_meta_block *block)
{
	unsigned int i, index = le32_to_cpu(block->index);
	u64 *marked = b->marked + (u64)index * WORDS_PER_BLOCK;

	for (i = 0; i < WORDS_PER_BLOCK; i++) {
		u64 more = le64_to_cpu(block->bits[i]) & ~marked[i];

		marked[i] |= more;
		b->blocks[index].nr_marked += hweight64(more);
		b->nr_marked += hweight64(more);
	}
}

/*
 * Takes in a block from disk: everything marked has to be copied. A block that is damaged counts as
 * all marked, and false comes back.
 */
bool cascade_bitmap_decode(struct cascade_bitmap *b, unsigned int index,
			   struct cascade_meta_block *in)
{
	u64 first = (u64)index * CASCADE_META_BITS_PER_BLOCK;
	u64 end = min_t(u64, first + CASCADE_META_BITS_PER_BLOCK, b->nr_regions);
	bool good = in->magic == cpu_to_le64(CASCADE_META_BLOCK_MAGIC) &&
		    le32_to_cpu(in->index) == index && in->crc == cascade_page_checksum(in, &in->crc);
	u64 region;

	if (good)
		b->blocks[index].counter = le64_to_cpu(in->counter);
	for (region = first; region < end; region++) {
		u64 bit = region - first;

		if (good && !(le64_to_cpu(in->bits[bit / 64]) & mask_of(bit)))
			continue;
		cascade_bitmap_out_of_sync(b, region * CASCADE_META_REGION_SECTORS,
					   region * CASCADE_META_REGION_SECTORS);
	}
	return good;
}
