// SPDX-License-Identifier: GPL-2.0-or-later
/* kmod/pace.c for C++, which the kernel's headers are nothing for. */
#include "cascade.h"

#include <stdlib.h>

struct pace_model {
	struct cascade_pace pace;
};

struct pace_model *pace_begin(unsigned int rate_kib)
{
	struct pace_model *m = calloc(1, sizeof(*m));

	m->pace.rate_kib = rate_kib;
	cascade_pace_init(&m->pace);
	return m;
}

void pace_end(struct pace_model *m)
{
	free(m);
}

void pace_own(struct pace_model *m, u64 ns)
{
	cascade_pace_own(&m->pace, ns);
}

void pace_copied(struct pace_model *m, u64 ns)
{
	cascade_pace_copied(&m->pace, ns);
}

struct cascade_pace_step pace_next(const struct pace_model *m, int busy, u64 ring_bytes)
{
	return cascade_pace_next(&m->pace, busy, ring_bytes);
}
