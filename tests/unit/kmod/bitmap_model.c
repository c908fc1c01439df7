// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A volume of three bitmap blocks, its writers, its hub and its disk. What mark.c does with the
 * functions of bitmap.c is done here step by step, and broken off at any of them.
 */
#include "cascade.h"

#include <stdio.h>

#define BLOCKS 3
#define REGIONS (BLOCKS * (u64)CASCADE_META_BITS_PER_BLOCK - 5)

enum { UNSTORED = 1, APART = 2 };	/* why the hub may differ in a region */

static struct {
	struct cascade_bitmap bits;
	struct cascade_meta_block disk[BLOCKS], next;
	u8 differs[REGIONS];		/* the truth */
	u64 written[4096];		/* regions with writes that are not stored */
	unsigned int nr_written;
	unsigned int seed;
	char wrong[200];
} m;

#define must(what) do { if (!(what) && !m.wrong[0])					\
	snprintf(m.wrong, sizeof(m.wrong), "line %d: %s", __LINE__, #what); } while (0)

static u32 draw(u32 below)
{
	m.seed = m.seed * 1664525 + 1013904223;
	return (m.seed >> 8) % below;
}

/* Near the edges of blocks and of the volume, mostly. */
static u64 some_region(void)
{
	u64 edge = (u64)draw(BLOCKS + 1) * CASCADE_META_BITS_PER_BLOCK;
	u64 region = draw(4) ? edge + draw(24) - 12 : draw(REGIONS);

	return region < REGIONS ? region : draw(20);
}

static bool on_disk(u64 region)
{
	u64 bit = region % CASCADE_META_BITS_PER_BLOCK;

	return m.disk[region / CASCADE_META_BITS_PER_BLOCK].bits[bit / 64] >> bit % 64 & 1;
}

/* The disk has it; or the power goes before, after or in the middle. False: it went. */
static bool write_block(unsigned int index, bool crash)
{
	cascade_bitmap_seal(&m.next);
	if (!crash || draw(3) == 0)
		m.disk[index] = m.next;
	else if (draw(2))
		memcpy(&m.disk[index], &m.next, 512 * (1 + draw(7)));
	return !crash;
}

static void count(void)
{
	u64 region, marked = 0, apart = 0;

	for (region = 0; region < REGIONS; region++) {
		bool is = cascade_bitmap_is_marked(&m.bits, region / CASCADE_META_BITS_PER_BLOCK,
						   region * 512, region * 512 + 511);

		marked += is;
		apart += !!(m.differs[region] & APART);
		must(!m.differs[region] || is);
		must(!is || on_disk(region));
	}
	must(m.bits.nr_marked == marked && m.bits.nr_out_of_sync == apart);
	for (region = cascade_bitmap_next(&m.bits, 0); region < REGIONS && apart;
	     region = cascade_bitmap_next(&m.bits, region + 1), apart--)
		must(m.differs[region] & APART);
	must(region == REGIONS && !apart);
}

/* What the next life of the volume knows. */
static void begin_anew(void)
{
	u64 region;
	unsigned int i;

	cascade_bitmap_free(&m.bits);
	must(!cascade_bitmap_alloc(&m.bits, REGIONS * 512 - 3));
	for (i = 0; i < BLOCKS; i++)
		if (!cascade_bitmap_decode(&m.bits, i, &m.disk[i])) {
			cascade_bitmap_encode(&m.bits, i, &m.next);
			write_block(i, false);
		}
	for (region = 0; region < REGIONS; region++) {
		bool marked = cascade_bitmap_is_marked(&m.bits,
						       region / CASCADE_META_BITS_PER_BLOCK,
						       region * 512, region * 512);

		must(!m.differs[region] || marked);
		m.differs[region] = marked ? APART : 0;
	}
	m.nr_written = 0;
	count();
}

/* False: the power went. */
static bool mark(sector_t start, sector_t last)
{
	unsigned int index = start / 512 / CASCADE_META_BITS_PER_BLOCK;

	for (; index <= last / 512 / CASCADE_META_BITS_PER_BLOCK; index++) {
		if (cascade_bitmap_is_marked(&m.bits, index, start, last))
			continue;
		cascade_bitmap_encode(&m.bits, index, &m.next);
		cascade_bitmap_add(&m.next, start, last);
		if (!write_block(index, draw(40) == 0))
			return false;
		cascade_bitmap_learn(&m.bits, &m.next);
	}
	return true;
}

static bool write_some(void)
{
	u64 region = some_region(), regions = draw(8) ? 1 + draw(2) : 1 + draw(500);
	sector_t start = region * 512 + draw(512), last;

	regions = min(regions, REGIONS - region);
	last = max(start, (region + regions) * 512 - 1 - draw(512));
	while (!cascade_bitmap_use(&m.bits, start, last))
		if (!mark(start, last))
			return false;
	for (region = start / 512; region <= last / 512; region++) {
		m.differs[region] |= UNSTORED;
		if (m.nr_written < 4096)
			m.written[m.nr_written++] = region;
	}
	if (draw(20) == 0) {		/* the local write failed */
		cascade_bitmap_out_of_sync(&m.bits, start, last);
		for (region = start / 512; region <= last / 512; region++)
			m.differs[region] |= APART;
	}
	return true;
}

static bool sweep(void)
{
	unsigned int i;

	for (i = 0; draw(2) && i < BLOCKS; i++)
		cascade_bitmap_forget_use(&m.bits, i);
	for (i = 0; i < m.nr_written; i++)
		if (m.differs[m.written[i]] & UNSTORED)
			cascade_bitmap_use(&m.bits, m.written[i] * 512, m.written[i] * 512);
	for (i = 0; i < BLOCKS; i++) {
		if (!cascade_bitmap_sweep(&m.bits, i))
			continue;
		cascade_bitmap_encode(&m.bits, i, &m.next);
		if (!write_block(i, draw(20) == 0))
			return false;
	}
	return true;
}

static void copy_one(void)
{
	u64 region = cascade_bitmap_next(&m.bits, some_region());

	if (region == REGIONS)
		return;
	must(m.differs[region] & APART);
	cascade_bitmap_in_sync(&m.bits, region);
	m.differs[region] &= ~APART;
}

static bool step(void)
{
	unsigned int i;

	switch (draw(8)) {
	case 0:
		return sweep();
	case 1:
		for (i = 0; i < m.nr_written; i++)
			m.differs[m.written[i]] &= ~UNSTORED;
		m.nr_written = 0;
		return true;
	case 2:
		for (i = draw(300); i; i--)
			copy_one();
		return true;
	default:
		return write_some();
	}
}

const char *bitmap_model(unsigned int seed, unsigned int steps)
{
	unsigned int i;

	memset(&m, 0, sizeof(m));
	m.seed = seed;
	must(!cascade_bitmap_alloc(&m.bits, REGIONS * 512 - 3));
	for (i = 0; i < BLOCKS; i++) {
		cascade_bitmap_encode(&m.bits, i, &m.next);
		write_block(i, false);
	}
	for (i = 0; i < steps && !m.wrong[0]; i++) {
		if (!step())
			begin_anew();
		else if (i % 16 == 0)
			count();
	}
	cascade_bitmap_free(&m.bits);
	return m.wrong;
}
