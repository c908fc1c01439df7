// SPDX-License-Identifier: GPL-2.0-only
/*
 * Overlapping writes in flight. The ring has them in the order of their numbers; the local disk must
 * see them in the same order, so a later one waits until all earlier ones that it overlaps are done.
 *
 * The tree holds exactly the writes whose local write is not done. A write counts, when it enters,
 * the ones it overlaps; each of them takes itself off that count when it leaves.
 */
#include "cascade.h"

#include <linux/interval_tree_generic.h>

#define IO_START(io) ((io)->start)
#define IO_LAST(io) ((io)->last)

INTERVAL_TREE_DEFINE(struct cascade_io, rb, u64, subtree_last, IO_START, IO_LAST, static, io_tree)

/* @io has its number, which is higher than that of any write in the tree. */
void cascade_order_enter(struct cascade_volume *v, struct cascade_io *io)
{
	struct cascade_io *other;

	io->blockers = 0;
	for (other = io_tree_iter_first(&v->tree, io->start, io->last); other;
	     other = io_tree_iter_next(other, io->start, io->last))
		io->blockers++;
	io_tree_insert(io, &v->tree);
}

/* Returns whether a write became free to go; those are on volume->issue. */
bool cascade_order_leave(struct cascade_volume *v, struct cascade_io *io)
{
	struct cascade_io *other;
	bool freed = false;

	io_tree_remove(io, &v->tree);
	for (other = io_tree_iter_first(&v->tree, io->start, io->last); other;
	     other = io_tree_iter_next(other, io->start, io->last)) {
		if (other->seq < io->seq || --other->blockers)
			continue;
		list_add_tail(&other->list, &v->issue);
		freed = true;
	}
	return freed;
}

/* Whether a local write there is not done. */
bool cascade_order_busy(struct cascade_volume *v, sector_t start, sector_t last)
{
	return io_tree_iter_first(&v->tree, start, last);
}
