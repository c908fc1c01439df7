/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note OR BSD-3-Clause */
/*
 * dm-cascade: the metadata area of a primary's volume.
 *
 *   0           4 KiB        8 KiB   64 KiB                              area_bytes
 *   | super A   | super B    | zero  | bitmap blocks, 4 KiB each        | zero |
 *
 * It stands on a device of its own, or at the end of the volume's backing device. The copy with the
 * higher counter that is whole counts; they are written in turn. User space formats an area,
 * and no target has it then; the module reads and writes it while a table that names it is loaded.
 *
 * All little endian.
 */
#ifndef _UAPI_DM_CASCADE_META_H
#define _UAPI_DM_CASCADE_META_H

#include <linux/types.h>

#define CASCADE_META_MAGIC		0x4154454d43534143ULL	/* "CASCMETA" */
#define CASCADE_META_MAJOR		1
#define CASCADE_META_MINOR		1
#define CASCADE_META_SUPER_BYTES	4096
#define CASCADE_META_BITMAP_OFFSET	(64 * 1024)	/* bytes, from the start of the area */
#define CASCADE_META_REGION_SECTORS	512		/* 256 KiB: of one bit */
#define CASCADE_META_BITMAP_BLOCK	4096		/* bytes: 32 of head, 4064 of bits */
#define CASCADE_META_BITS_PER_BLOCK	(4064 * 8)
#define CASCADE_META_GENERATIONS	32
#define CASCADE_META_DEVICE_BYTES	128
#define CASCADE_META_REQUIRED_BITMAP	0x01ULL	/* there are bitmap blocks, and they say what differs */
#define CASCADE_META_REQUIRED_KNOWN	CASCADE_META_REQUIRED_BITMAP

/* Bits of cascade_meta_super.flags. */
#define CASCADE_META_CLEAN	0x01	/* the last ring ended in order, with @end_seq, all stored */
#define CASCADE_META_NUMBERED	0x02	/* a ring was started: the volume has written with a hub */
#define CASCADE_META_ALONE	0x04	/* the volume went on without its hub, and has not been back */

/* Bits of @differs: why the volume and the hub's copy may differ. They stay until told. */
#define CASCADE_DIFFERS_UNCLEAN	0x01	/* a ring ended with writes that the hub may lack */
#define CASCADE_DIFFERS_LOCAL	0x02	/* a local write failed; the hub has it or has a NOOP */
#define CASCADE_DIFFERS_OUTSIDE	0x04	/* the disk was written while no target had it */
#define CASCADE_DIFFERS_KNOWN	0x07

/* A history of the volume, and the volume_seq behind which it began. 24 bytes. */
struct cascade_meta_generation {
	__u8 id[16];
	__le64 began;
};

/*
 * 4096 bytes. The module keeps what it does not know, and what belongs to user space: @device and
 * @device_bytes.
 */
struct cascade_meta_super {
	/* CASCADE_META_MAGIC. */
	__le64 magic;
	/* CASCADE_META_MAJOR: another one is another format. */
	__le16 major;
	/* CASCADE_META_MINOR: a higher one may use reserved room. */
	__le16 minor;
	/* CRC-32C of all 4096 bytes with this field zero. */
	__le32 crc;
	/* UUID of the volume. */
	__u8 volume[16];
	/* Id of the hub's journal that this volume was last with; zero: with none yet. */
	__u8 journal[16];
	/* Incarnation of the ring that wrote last; zero: none did. */
	__u8 incarnation[16];
	/* Grows by one at each write; copy counter % 2 is written. */
	__le64 counter;
	/* Size of the volume, 512 bytes each, when it was opened last; what comes behind is marked. */
	__le64 sectors;
	/* Size of the area with its bitmap. */
	__le64 area_bytes;
	/* Bytes from the start of the area. */
	__le32 bitmap_offset;
	/* Sectors of one bit, a power of two. */
	__le32 region_sectors;
	/* CASCADE_META_*. */
	__le32 flags;
	/* CASCADE_DIFFERS_*. */
	__le32 differs;
	/* Last volume_seq of the ring that ended last in order. */
	__le64 end_seq;
	/* Local writes that failed since the area was formatted. */
	__le64 local_errors;
	/* Capability bits without which this area can't be used. */
	__le64 required;
	/* Capability bits that are in use and may be ignored. */
	__le64 optional;
	/* When this was written: CLOCK_REALTIME, nanoseconds; for people. */
	__le64 written_ns;
	/* Size of the backing device when the area was formatted or accepted. */
	__le64 device_bytes;
	/* What names the backing device, NUL padded; empty: nothing does. */
	char device[CASCADE_META_DEVICE_BYTES];
	/* The same of the metadata device; empty too for an internal area. */
	char meta_device[CASCADE_META_DEVICE_BYTES];
	/* Generations that follow; the first is the current one. */
	__le32 generations;
	__u8 reserved0[4];
	struct cascade_meta_generation generation[CASCADE_META_GENERATIONS];
	/*
	 * If it is clean: how much had been written to the backing device by then, to see whether
	 * somebody else writes before the next target. Only for the same @boot and @diskseq.
	 */
	__u8 boot[16];		/* random, of the loaded module; zero: not known */
	__le64 diskseq;		/* the kernel's number of the disk, new at each appearance */
	__le64 written;		/* sectors written and discarded since then */
	/* When it went on alone: CLOCK_REALTIME, nanoseconds; for people. */
	__le64 alone_ns;
	/* Zero; kept by whoever does not know it. */
	__u8 reserved[2872];
};

#define CASCADE_META_BLOCK_MAGIC	0x50414d4243534143ULL	/* "CASCBMAP" */

/*
 * A block of the bitmap, 4096 bytes. Bit n of block i is of region i * CASCADE_META_BITS_PER_BLOCK
 * + n, set if it may differ from the hub's copy. The module makes all of them at the first resume,
 * before it sets CASCADE_META_REQUIRED_BITMAP. A block that is not whole counts as all set.
 */
struct cascade_meta_block {
	/* CASCADE_META_BLOCK_MAGIC. */
	__le64 magic;
	/* CRC-32C of all 4096 bytes with this field zero. */
	__le32 crc;
	/* Which block, from 0 on. */
	__le32 index;
	/* Grows by one at each write. */
	__le64 counter;
	/* Zero. */
	__le64 reserved;
	/* Bit n is bit n % 64 of word n / 64; bits behind the volume's end are zero. */
	__le64 bits[508];
};

#endif /* _UAPI_DM_CASCADE_META_H */
