// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The metadata area of a volume, by hand: apart from lib/meta, so that a mistake there is not made
 * here too.
 *
 *   meta_tool format DEVICE OFFSET UUID SECTORS [BYTES]   offset in sectors; one copy, never numbered
 *   meta_tool marks DEVICE OFFSET SECTORS          damaged blocks, and the regions that are marked
 *   meta_tool show DEVICE OFFSET                   "clean numbered differs end_seq errors counter"
 */
#define _GNU_SOURCE /* O_DIRECT */
#include <endian.h>
#include <err.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring.h"
#include "uapi/dm_cascade_meta.h"

static struct cascade_meta_super *super;

static uint32_t checksum(void)
{
	struct cascade_meta_super copy = *super;

	copy.crc = 0;
	return crc32c(&copy, sizeof(copy));
}

static int whole(void)
{
	return le64toh(super->magic) == CASCADE_META_MAGIC && le32toh(super->crc) == checksum();
}

static void format(int fd, off_t at, const char *uuid, const char *sectors, const char *bytes)
{
	if (!uuid_from_text(uuid, super->volume))
		errx(2, "%s: not a UUID", uuid);
	super->magic = htole64(CASCADE_META_MAGIC);
	super->major = htole16(CASCADE_META_MAJOR);
	super->minor = htole16(CASCADE_META_MINOR);
	super->counter = htole64(2);
	super->sectors = htole64(strtoull(sectors, NULL, 0));
	super->area_bytes = htole64(bytes ? strtoull(bytes, NULL, 0) : 128 * 1024);
	super->bitmap_offset = htole32(CASCADE_META_BITMAP_OFFSET);
	super->region_sectors = htole32(CASCADE_META_REGION_SECTORS);
	super->flags = htole32(CASCADE_META_CLEAN);
	super->generations = htole32(1);
	memcpy(super->generation[0].id, super->volume, sizeof(super->volume));
	super->crc = htole32(checksum());
	if (pwrite(fd, super, sizeof(*super), at) != sizeof(*super))
		err(1, "write");
	memset(super, 0, sizeof(*super));
	if (pwrite(fd, super, sizeof(*super), at + sizeof(*super)) != sizeof(*super))
		err(1, "write");
}

static void show(int fd, off_t at)
{
	uint64_t best = 0;
	char line[200] = "";

	for (int copy = 0; copy < 2; copy++) {
		if (pread(fd, super, sizeof(*super), at + copy * (off_t)sizeof(*super)) !=
		    sizeof(*super))
			err(1, "read");
		if (!whole() || le64toh(super->counter) < best)
			continue;
		best = le64toh(super->counter);
		snprintf(line, sizeof(line), "%d %d %u %llu %llu %llu",
			 !!(le32toh(super->flags) & CASCADE_META_CLEAN),
			 !!(le32toh(super->flags) & CASCADE_META_NUMBERED), le32toh(super->differs),
			 (unsigned long long)le64toh(super->end_seq),
			 (unsigned long long)le64toh(super->local_errors), (unsigned long long)best);
	}
	if (!best)
		errx(1, "no whole copy");
	puts(line);
}

/* Bit by bit, as the format's description says. */
static void marks(int fd, off_t at, unsigned long long sectors)
{
	unsigned char *block = (unsigned char *)super;
	unsigned long long regions = (sectors + 511) / 512, region = 0;
	unsigned int damaged = 0;

	for (uint32_t index = 0; region < regions; index++) {
		struct cascade_meta_block copy;

		if (pread(fd, block, 4096, at + 65536 + (off_t)index * 4096) != 4096)
			err(1, "read");
		memcpy(&copy, block, sizeof(copy));
		copy.crc = 0;
		if (memcmp(block, "CASCBMAP", 8) || le32toh(copy.index) != index ||
		    crc32c(&copy, sizeof(copy)) !=
			    le32toh(((struct cascade_meta_block *)block)->crc))
			damaged++;
		region += 4064 * 8;
	}
	printf("%u", damaged);
	for (region = 0; region < regions; region++) {
		off_t byte = 65536 + region / (4064 * 8) * 4096 + 32 + region % (4064 * 8) / 8;

		if (pread(fd, block, 4096, at + byte / 4096 * 4096) != 4096)
			err(1, "read");
		if (block[byte % 4096] >> region % 8 & 1)
			printf(" %llu", region);
	}
	putchar('\n');
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 4)
		errx(2, "see the top of meta_tool.c");
	if (posix_memalign((void **)&super, 4096, sizeof(*super)))
		errx(1, "no memory");
	memset(super, 0, sizeof(*super));
	fd = open(argv[2], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[2]);
	if (!strcmp(argv[1], "format") && argc >= 6)
		format(fd, strtoll(argv[3], NULL, 0) * 512, argv[4], argv[5], argv[6]);
	else if (!strcmp(argv[1], "marks") && argc == 5)
		marks(fd, strtoll(argv[3], NULL, 0) * 512, strtoull(argv[4], NULL, 0));
	else
		show(fd, strtoll(argv[3], NULL, 0) * 512);
	return 0;
}
