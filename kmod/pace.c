// SPDX-License-Identifier: GPL-2.0-only
/*
 * How fast what is out of sync is copied beside the volume's own writes. A write that comes while a
 * copy is on its way to the hub waits for that copy, on the link and at the hub. So while somebody
 * writes there is one copy at a time, it is made so small that its round trip is hardly longer than
 * that of a write, and nothing is copied for twice as long in between: at the worst a write takes as
 * long as two do alone. While nobody writes copies are whole regions, some of them together.
 *
 * No clock and no lock: the caller has both. tests/unit/kmod/pace_test.cpp runs it in virtual time.
 */
#include "cascade.h"

#define FIRST_BYTES (64 << 10)	/* before anything is known */
#define LEAST_BYTES (16 << 10)
#define TOGETHER_MAX 8		/* regions read and not stored yet */
#define MS_NS 1000000ULL

void cascade_pace_init(struct cascade_pace *p)
{
	*p = (struct cascade_pace){ .bytes = FIRST_BYTES, .rate_kib = p->rate_kib };
}

/*
 * A write of the volume was stored at the hub after @ns. What it takes alone is wanted, but most of
 * them are measured beside copies: the quick ones count much, the slow ones little.
 */
void cascade_pace_own(struct cascade_pace *p, u64 ns)
{
	if (!p->own_ns)
		p->own_ns = ns;
	else if (ns < p->own_ns)
		p->own_ns -= (p->own_ns - ns) / 4;
	else
		p->own_ns += (ns - p->own_ns) / 64;
}

/* A copy that was sent alone was stored at the hub after @ns. */
void cascade_pace_copied(struct cascade_pace *p, u64 ns)
{
	p->copy_ns = ns;
	if (!p->own_ns)
		return;
	/* A write that comes right behind the copy takes as long as that does. */
	if (ns > 2 * p->own_ns - p->own_ns / 8)
		p->bytes = max(p->bytes / 2, (unsigned int)LEAST_BYTES);
	else if (ns < p->own_ns + p->own_ns / 4)
		p->bytes = min(p->bytes * 2, (unsigned int)CASCADE_REGION_BYTES);
}

struct cascade_pace_step cascade_pace_next(const struct cascade_pace *p, bool busy, u64 ring_bytes)
{
	struct cascade_pace_step step = { .bytes = busy ? p->bytes : CASCADE_REGION_BYTES };

	if (busy)
		step.pause_ms = div_u64(2 * p->copy_ns + MS_NS - 1, MS_NS) + 1;
	if (p->rate_kib)
		step.pause_ms = max_t(unsigned int, step.pause_ms,
				      DIV_ROUND_UP(step.bytes / 1024 * 1000, p->rate_kib));
	step.together = step.pause_ms ? 1 : clamp_t(u64, ring_bytes / 4 / CASCADE_REGION_BYTES, 1, TOGETHER_MAX);
	return step;
}
