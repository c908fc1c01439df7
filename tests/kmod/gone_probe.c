// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Attaches to a volume, has its device removed, and then uses every call on the file that is left:
 * each must answer, none may touch freed memory. Exit 0 if all answers were right.
 *
 *   gone_probe <volume uuid> <name of the mapped device>
 */
#include "ring.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect(const char *what, int got, int wanted)
{
	if (got != wanted)
		die(EXIT_BROKEN, "%s: got %d, wanted %d", what, got, wanted);
}

int main(int argc, char **argv)
{
	struct ring ring;
	char command[200];

	if (argc != 3)
		die(EXIT_USAGE, "usage: gone_probe <volume uuid> <mapped device>");
	ring_join(&ring, argv[1], 5000);
	snprintf(command, sizeof(command), "DM_DISABLE_UDEV=1 dmsetup remove %s", argv[2]);
	expect("remove", system(command), 0);
	expect("poll says POLLHUP", !!(ring_sleep(&ring, 0) & POLLHUP), 1);
	expect("start", ring_start(&ring, 7), -EIO);
	expect("doorbell", ring_doorbell(&ring), -EIO);
	/* The mappings live on; reading and writing them hurts nobody. */
	ring.daemon->received = ring.daemon->stored = ring.kernel->published + 5;
	expect("doorbell with words", ring_doorbell(&ring), -EIO);
	ring_leave(&ring);
	return EXIT_OK;
}
