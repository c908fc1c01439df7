/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note OR BSD-3-Clause */
/*
 * dm-cascade: what the kernel module and user space share.
 *
 *  1. the record: one write, the same 64 bytes on every hop from ring to remote journal
 *  2. the ring: shared memory between one volume and the one daemon attached to it
 *  3. the character device: attach, start, doorbell
 *  4. the generic netlink family: list, status, link state, events
 *
 * Sections 2 to 4 are host byte order: they never leave the machine.
 */
#ifndef _UAPI_DM_CASCADE_H
#define _UAPI_DM_CASCADE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define CASCADE_UUID_BYTES	16
#define CASCADE_SECTOR_BYTES	512

/* ------------------------------------------------------------------ 1. the record */

#define CASCADE_RECORD_VERSION	2
#define CASCADE_RECORD_BYTES	64

/* Zero is never a valid operation, so that zeroed memory is never a record. */
enum cascade_op {
	CASCADE_OP_WRITE	= 1,	/* @length bytes of payload follow the record */
	CASCADE_OP_WRITE_ZEROES	= 2,	/* no payload; the range reads as zeroes after it */
	CASCADE_OP_DISCARD	= 3,	/* as WRITE_ZEROES, but storage may be unmapped */
	CASCADE_OP_FLUSH	= 4,	/* no range, no payload; reserved: flushes never travel today */
	CASCADE_OP_MARK		= 5,	/* made by the hub about @volume; @sector: CASCADE_MARK() */
	CASCADE_OP_NOOP		= 6,	/* no range, no payload; takes its place, changes nothing.
					 * With the flag RESYNC: everything is the same now */
	CASCADE_OP_VERIFY	= 7,	/* no payload, changes nothing: @payload_crc is that of what the
					 * range holds at this place in the order, for copies to compare */
};

/*
 * What a MARK says of its volume. It has a group_seq and no volume_seq, no length and no payload;
 * @primary_time_ns is the hub's clock. While any volume of a group is detached, the group's bracket
 * is open: records behind the first of these marks are kept in the journals, and applied nowhere.
 */
enum cascade_mark {
	CASCADE_MARK_DETACHED	= 1,	/* the hub may lack writes that others already depend on */
	CASCADE_MARK_ATTACHED	= 2,	/* it has everything of the volume again */
	CASCADE_MARK_LEFT	= 3,	/* the group goes on without the volume, which stays behind */
	/*
	 * About the group: what its remote was not sent in order, through @volume_seq (here a
	 * group_seq), has been copied to it.
	 */
	CASCADE_MARK_CAUGHT_UP	= 4,
};

/* Why a volume is detached. */
enum cascade_mark_why {
	CASCADE_WHY_RESEND	= 1,	/* a hub that crashed under memory-sync lost what it had received */
	CASCADE_WHY_ALONE	= 2,	/* the lease ran out: the primary may go on without the hub */
	CASCADE_WHY_RESYNC	= 3,	/* what differs is being copied */
};

/* @sector of a MARK: what it says in bits 0 to 7, why in bits 8 to 15, other bits zero. */
#define CASCADE_MARK(mark, why)	((__u64)(why) << 8 | (mark))
#define CASCADE_MARK_OF(sector)	((sector) & 0xff)
#define CASCADE_WHY_OF(sector)	((sector) >> 8)

/* Bits of cascade_record.flags; all others are written zero and refused otherwise. */
#define CASCADE_FLAG_FUA	0x01	/* the writer asked for stable storage */
#define CASCADE_FLAG_RESYNC	0x02	/* read by the kernel, not written by an application */
#define CASCADE_FLAG_NOUNMAP	0x04	/* WRITE_ZEROES: the space must stay allocated */
#define CASCADE_FLAGS_KNOWN	(CASCADE_FLAG_FUA | CASCADE_FLAG_RESYNC | CASCADE_FLAG_NOUNMAP)

/*
 * One write. Made in the kernel, 64 bytes, little endian, no padding. Hops fill only
 * @group_seq (the hub) and then renew @record_crc; nothing else ever changes.
 *
 * CRC-32C is the Castagnoli polynomial, reflected, initial value and final xor ~0
 * (RFC 3720 appendix B.4): "123456789" gives 0xe3069283.
 */
struct cascade_record {
	/* CRC-32C of bytes 4 to 63 of this record. */
	__le32 record_crc;
	/* CASCADE_RECORD_VERSION. */
	__u8 version;
	/* enum cascade_op. */
	__u8 op;
	/* CASCADE_FLAG_*. */
	__u8 flags;
	/* Written zero, refused otherwise. */
	__u8 reserved;
	/* UUID of the volume, in the order in which its text form is read. */
	__u8 volume[CASCADE_UUID_BYTES];
	/* First 512-byte sector of the range, from the start of the volume. MARK: which one. */
	__le64 sector;
	/* Bytes of the range, a multiple of 512; also the bytes of payload of a WRITE. */
	__le32 length;
	/* CRC-32C of the payload; zero when there is none. VERIFY: see there. */
	__le32 payload_crc;
	/* Place in the volume's order; gapless, the first is 1; made by the kernel. MARK: zero, or see there. */
	__le64 volume_seq;
	/* Place in the group's order; gapless, the first is 1; made by the hub, zero before it. */
	__le64 group_seq;
	/* When the write entered the kernel: CLOCK_REALTIME, nanoseconds. Never used for order. */
	__le64 primary_time_ns;
};

/* ------------------------------------------------------------------ 2. the ring */

/*
 * Ring design
 *
 *   page "kernel words"  written by the kernel, read-only in the daemon
 *   page "daemon words"  written by the daemon; the kernel believes nothing in it
 *   payload_pos[slots]   __u64 each, read-only in the daemon
 *   records[slots]       struct cascade_record each, read-only in the daemon
 *   payload              payload_bytes, read-only in the daemon
 *
 * The record with volume_seq S is records[S % slots] (slots is a power of two). Its payload
 * begins at byte payload_pos[S % slots] % payload_bytes of the payload area and may wrap
 * round its end once; positions are free-running, multiples of 512 and contiguous in the
 * order of volume_seq; behind a NOOP there may be a gap, the payload of the write that failed. Mapping the payload area twice, back to back, hides the wrap.
 *
 *      released            stored      received     published
 *  ------|-------------------|------------|-------------|--------> volume_seq
 *        | kept for a new daemon to resend, until stored |
 *
 * A slot and its payload are stable from the moment that @published covers them until
 * @released does.
 *
 * Wake-ups. Each side says when it sleeps, with a full barrier between saying so and looking
 * once more; the other side stores its progress, has a full barrier, and wakes a sleeper only:
 *   kernel: publish; barrier; if (daemon.waiting, and not woken for that number) wake the pollers
 *   daemon: waiting = another number; barrier; if (published > consumed) waiting = 0, go on; else poll
 *   daemon: store acknowledgements; barrier;
 *           if (received >= kernel.ring_received || stored >= kernel.ring_stored) ioctl(DOORBELL)
 *   kernel: set ring_received, ring_stored; barrier; read the daemon's words once more
 */
#define CASCADE_CACHELINE	64
#define CASCADE_RING_NEVER	(~0ULL)

/* Why the kernel let a daemon go. */
enum cascade_let_go {
	CASCADE_LET_GO_NOT	= 0,
	CASCADE_LET_GO_BROKEN	= 1,	/* a word of the ring failed its check */
	CASCADE_LET_GO_ALONE	= 2,	/* the volume goes on alone, or tried to */
};

/* Written by the kernel only. Each word on a cache line of its own. */
struct cascade_kernel_words {
	/* Records through this volume_seq may be read. Store release / load acquire. */
	__u64 published;
	__u8 pad0[CASCADE_CACHELINE - 8];
	/* Slots through this volume_seq may be overwritten at any time. */
	__u64 released;
	__u8 pad1[CASCADE_CACHELINE - 8];
	/*
	 * The kernel wants CASCADE_IOC_DOORBELL once an acknowledgement reaches these: what the
	 * first writer that waits is waiting for. CASCADE_RING_NEVER: nobody waits.
	 */
	__u64 ring_received;
	__u64 ring_stored;
	__u8 pad2[CASCADE_CACHELINE - 16];
	/* Local writes and flushes that failed since the metadata area was formatted. */
	__u64 local_errors;
	/* CASCADE_DIFFERS_* (dm_cascade_meta.h): why the volume and the hub's copy may differ. */
	__u32 differs;
	/* enum cascade_let_go: why the daemon that was attached last is not any more. */
	__u32 let_go;
	/* Sectors that have to be copied to the hub, in whole regions. */
	__u64 out_of_sync;
	/* Bytes read to be copied, since the ring began. */
	__u64 resynced;
	/* enum cascade_fence, as it is set now. */
	__u32 fence;
	/* 1: suspended in order; all that was ever written is stored at the hub, and will stay so. */
	__u32 clean;
	/* When the volume went on alone: CLOCK_REALTIME, nanoseconds. Zero: it has not. */
	__u64 alone_ns;
	/* Size of the volume now: it grows under its daemon, before anything is written there. */
	__u64 sectors;
	__u8 pad4[CASCADE_CACHELINE - 56];
};

/*
 * Written by the daemon only; a fresh page for each attach, set up by the kernel with what it
 * knows. The kernel reads each word once and checks it: never going back,
 * stored <= received <= published. A word that fails detaches the daemon.
 * The daemon writes received before stored, the kernel reads stored before received.
 */
struct cascade_daemon_words {
	/* Received through: every record up to this volume_seq is in the hub's memory. */
	__u64 received;
	/* Stored through: every record up to this volume_seq is on the hub's stable storage. */
	__u64 stored;
	__u8 pad0[CASCADE_CACHELINE - 16];
	/* Read through: poll() reports input while published is past this. */
	__u64 consumed;
	__u8 pad1[CASCADE_CACHELINE - 8];
	/*
	 * Not 0: the daemon sleeps, or is about to, and wants to be woken by a new record. It counts
	 * its sleeps: another number than before each time, so that one is ended by one wake-up.
	 */
	__u32 waiting;
	__u8 pad2[CASCADE_CACHELINE - 4];
};

/* ------------------------------------------------------------------ 3. the character device */

#define CASCADE_DEVICE_NAME	"dm-cascade"	/* /dev/dm-cascade */
#define CASCADE_ABI_VERSION	4

/*
 * Bits of cascade_attach.features. A daemon asks for those that it can't do without; the kernel
 * refuses what it does not know, and answers with all that it has.
 */
#define CASCADE_FEATURE_COMPARE	0x1ULL	/* CASCADE_IOC_PEEK and _SAME, cascade_resync_run.until */
#define CASCADE_FEATURE_VERIFY	0x2ULL	/* CASCADE_IOC_VERIFY */
#define CASCADE_FEATURE_ANEW	0x4ULL	/* CASCADE_IOC_ANEW */
#define CASCADE_FEATURES_KNOWN	(CASCADE_FEATURE_COMPARE | CASCADE_FEATURE_VERIFY | \
				 CASCADE_FEATURE_ANEW)

/*
 * CASCADE_IOC_ATTACH: become the one daemon of a volume; needs CAP_SYS_ADMIN. One attach for
 * an open file; closing the file and its mappings detaches, and the kernel keeps every record not
 * yet released. Errors: EPROTONOSUPPORT (other ABI; @abi_version then holds the kernel's),
 * EOPNOTSUPP (a feature that the kernel does not have; @features then holds those that it has),
 * ENODEV (no such volume), EBUSY (volume has a daemon, or file is attached), EAGAIN (it is about to
 * go on alone; in a moment it will have), EINVAL (@reserved_in not zero).
 */
struct cascade_attach {
	__u32 abi_version;		/* in: the daemon's; out: the kernel's */
	__u32 reserved_in;		/* in: zero */
	__u64 features;			/* in: needed; out: there are */
	__u8 volume[CASCADE_UUID_BYTES];/* in */
	__u8 incarnation[CASCADE_UUID_BYTES]; /* out: of this ring; random, made at its birth */
	__u64 sectors;			/* out: size of the volume */
	__u64 slots;			/* out: records in the ring, a power of two */
	__u64 payload_bytes;		/* out: size of the payload area, a power of two */
	__u64 kernel_words_offset;	/* out: where to mmap each part, page multiples */
	__u64 daemon_words_offset;
	__u64 payload_pos_offset;
	__u64 records_offset;
	__u64 payload_offset;
	__u64 published;		/* out: valid if started */
	__u64 stored;			/* out: valid if started; resend the records after it */
	__u32 started;			/* out: 1 once CASCADE_IOC_START was done for this ring */
	__u32 logical_block;		/* out: bytes; offsets and lengths are multiples of it */
	__u32 payload_max;		/* out: bytes of payload of one record at the most */
	__u32 zero_max;			/* out: bytes zeroed or discarded by one record at the most */
	__u32 hub_ack;			/* out: enum cascade_hub_ack, of the table in use */
	__u32 send_order;		/* out: enum cascade_send_order, of the table in use */
	/* What the metadata area said before this ring began (dm_cascade_meta.h). */
	__u8 generation[CASCADE_UUID_BYTES]; /* out: which history of the volume */
	__u8 journal[CASCADE_UUID_BYTES];/* out: of the hub it is or was last with; zero: with none */
	__u64 end_seq;			/* out: where the last ring ended, if clean; else at least there */
	__u32 before;			/* out: CASCADE_META_CLEAN, CASCADE_META_NUMBERED */
	__u32 reserved0;		/* out: zero */
	__u8 parent[CASCADE_UUID_BYTES];/* out: generation before this one; zero: none */
	__u8 reserved[32];		/* out: zero */
};

/*
 * CASCADE_IOC_START: name the last volume_seq that the hub has; the ring's first record gets
 * the next one. Writes wait until then. Done once in the life of a ring, by its first daemon, and
 * noted in the metadata area before it returns. Errors: EALREADY (was started), EINVAL (not
 * attached; @base_seq above CASCADE_SEQ_MAX; @reserved not zero), EIO (detached by the kernel, or
 * the metadata area can't be written).
 */
struct cascade_start {
	__u64 base_seq;			/* in */
	__u8 journal[CASCADE_UUID_BYTES];/* in: id of the hub's journal */
	__u64 reserved[5];		/* in: zero */
};

/*
 * CASCADE_IOC_LINK: say how the link to the hub is, for status and events. What the last daemon said
 * ends with its file. Errors: EINVAL (not attached; no such state; @reserved not zero), EIO (detached
 * by the kernel).
 */
struct cascade_link {
	__u32 state;			/* in: enum cascade_link_state */
	__u32 reserved[7];		/* in: zero */
};

/*
 * CASCADE_IOC_RESYNC: whether what is out of sync may be copied: only while the hub keeps the group's
 * bracket open for the volume. It ends with the daemon's file. When all is copied, the ring gets a NOOP
 * with the flag RESYNC. Errors: as CASCADE_IOC_LINK.
 */
struct cascade_resync_run {
	__u32 run;			/* in: 1 it may, 0 not any more */
	__u32 reserved0;		/* in: zero */
	/* in: only regions that begin before this sector, and no NOOP; zero: all, and the NOOP. */
	__u64 until;
	__u32 reserved[4];		/* in: zero */
};

/*
 * CASCADE_IOC_PEEK: read the first region from a sector on that is out of sync, to compare it with
 * the hub's copy. Nobody is held up: what is written meanwhile is in the ring, and may be in what
 * was read or not. Blocks for the read. Errors: as CASCADE_IOC_LINK, and EINVAL (@from not where a
 * region begins), EAGAIN (the volume is suspended, or its resync is paused: later), ENOMEM, EFAULT.
 */
struct cascade_peek {
	__u64 from;			/* in: sector */
	__u64 buffer;			/* in: address; CASCADE_META_REGION_SECTORS of room */
	__u64 sector;			/* out: where the region begins */
	__u32 bytes;			/* out: of it; zero: there is none */
	__u32 doubts;			/* out: for CASCADE_IOC_SAME */
	__u32 error;			/* out: zero, or the errno with which it could not be read */
	__u32 reserved[5];		/* in: zero */
};

/*
 * CASCADE_IOC_SAME: the hub's copy holds what CASCADE_IOC_PEEK gave: the region is in sync. Errors: as
 * CASCADE_IOC_LINK, and EINVAL (no region of the volume is that), EAGAIN (something of the volume has
 * become out of sync since: it has to be read once more).
 */
struct cascade_same {
	__u64 sector;			/* in: as CASCADE_IOC_PEEK gave them */
	__u32 bytes;
	__u32 doubts;
	__u32 reserved[4];		/* in: zero */
};

/*
 * CASCADE_IOC_VERIFY: read a range and give its checksum a place in the ring, as CASCADE_OP_VERIFY, for
 * the copies to compare; or, with @content, what it holds itself, as a write of it: a copy that differs
 * there is mended by that. Or say that it is out of sync: the resync is about that. Writers to the range
 * wait meanwhile. Blocks for the read. Errors: as CASCADE_IOC_LINK, and EINVAL (the range is not of the
 * volume, or of parts of its blocks, or is longer than a region), EAGAIN (the volume is suspended, alone or
 * not started, the range is busy, or the ring full: later).
 */
struct cascade_verify {
	__u64 sector;			/* in */
	__u32 bytes;			/* in: at most CASCADE_META_REGION_SECTORS */
	__u32 out_of_sync;		/* out: 1: it is, in part at least */
	__u64 seq;			/* out: volume_seq of the record; zero: there is none */
	__u32 error;			/* out: zero, or the errno with which it could not be read */
	__u32 content;			/* in: 1: as a WRITE or WRITE_ZEROES; 0: as a VERIFY */
};

/*
 * CASCADE_IOC_LEASE: the hub's word that it has not detached the volume holds for @duration_ms from
 * now (CLOCK_BOOTTIME); each call replaces the one before. When it has run out and a write waits,
 * the fence level of the table in use says what becomes of that. @fence is the level that the hub
 * knows: a volume goes on alone by itself only under a lease with CASCADE_FENCE_NEVER. Errors: as
 * CASCADE_IOC_LINK, and EINVAL (no such level; the ring is not started).
 */
struct cascade_lease {
	__u32 duration_ms;		/* in */
	__u32 fence;			/* in: enum cascade_fence */
	__u32 reserved[6];		/* in: zero */
};

/* Sequence numbers stay below this; a larger one can only be damage. */
#define CASCADE_SEQ_MAX		(1ULL << 62)

#define CASCADE_IOC_MAGIC	0xdc
#define CASCADE_IOC_ATTACH	_IOWR(CASCADE_IOC_MAGIC, 1, struct cascade_attach)
#define CASCADE_IOC_START	_IOW(CASCADE_IOC_MAGIC, 2, struct cascade_start)
/* Look at the daemon's words now. Errors: EINVAL (not attached), EIO (detached by the kernel). */
#define CASCADE_IOC_DOORBELL	_IO(CASCADE_IOC_MAGIC, 3)
#define CASCADE_IOC_LINK	_IOW(CASCADE_IOC_MAGIC, 4, struct cascade_link)
#define CASCADE_IOC_RESYNC	_IOW(CASCADE_IOC_MAGIC, 5, struct cascade_resync_run)
#define CASCADE_IOC_LEASE	_IOW(CASCADE_IOC_MAGIC, 6, struct cascade_lease)
/*
 * The volume goes on alone now: under CASCADE_FENCE_STATUS, since the hub has detached it and says so;
 * under CASCADE_FENCE_WITNESS, since its lease with that level has run out and the witness has granted
 * it. The daemon is detached by that. Errors: EINVAL (not attached; another level), EAGAIN (there is no
 * such lease, or it holds), EIO (detached by the kernel, or the metadata area can't be written).
 */
#define CASCADE_IOC_ALONE	_IO(CASCADE_IOC_MAGIC, 7)
#define CASCADE_IOC_PEEK	_IOWR(CASCADE_IOC_MAGIC, 8, struct cascade_peek)
#define CASCADE_IOC_SAME	_IOW(CASCADE_IOC_MAGIC, 9, struct cascade_same)
#define CASCADE_IOC_VERIFY	_IOWR(CASCADE_IOC_MAGIC, 10, struct cascade_verify)
/*
 * What the hub has of the volume does not count any more, as its administrator has said: all of the
 * volume is out of sync, from now on and on disk, and it knows no hub. It goes on alone until a daemon
 * starts it anew, with any hub. The daemon is detached by that. Errors: EINVAL (not attached), EIO
 * (detached by the kernel, or the metadata area can't be written).
 */
#define CASCADE_IOC_ANEW	_IO(CASCADE_IOC_MAGIC, 11)

/*
 * poll(): POLLIN while published > consumed; POLLERR once the kernel has detached this daemon
 * (a word failed its check, or the volume has gone on alone); POLLHUP once the volume is gone. After
 * POLLERR or POLLHUP close.
 */

/* ------------------------------------------------------------------ 4. generic netlink */

#define CASCADE_GENL_NAME	"dm_cascade"
#define CASCADE_GENL_VERSION	2
#define CASCADE_GENL_EVENTS	"events"	/* multicast group */

enum cascade_cmd {
	CASCADE_CMD_UNSPEC,
	CASCADE_CMD_GET,	/* dump: all volumes; do: one, by CASCADE_A_VOLUME; reply: same command */
	CASCADE_CMD_EVENT,	/* multicast: what GET answers, and CASCADE_A_EVENT */
	__CASCADE_CMD_MAX,
};
#define CASCADE_CMD_MAX		(__CASCADE_CMD_MAX - 1)

enum cascade_attr {
	CASCADE_A_UNSPEC,
	CASCADE_A_PAD,
	CASCADE_A_VOLUME,	/* binary, CASCADE_UUID_BYTES */
	CASCADE_A_NAME,		/* string: name of the mapped device */
	CASCADE_A_SECTORS,	/* u64: size of the volume */
	CASCADE_A_DAEMON,	/* u8: enum cascade_daemon_state */
	CASCADE_A_LINK,		/* u8: enum cascade_link_state, as the daemon last said */
	CASCADE_A_SEND_ORDER,	/* u8: enum cascade_send_order */
	CASCADE_A_HUB_ACK,	/* u8: enum cascade_hub_ack */
	CASCADE_A_PUBLISHED,	/* u64: volume_seq */
	CASCADE_A_RECEIVED,	/* u64: volume_seq */
	CASCADE_A_STORED,	/* u64: volume_seq */
	CASCADE_A_RELEASED,	/* u64: volume_seq */
	CASCADE_A_WAITING,	/* u32: writes admitted and not yet completed */
	CASCADE_A_DEFERRED,	/* u32: writes held back because the ring is full or not started */
	CASCADE_A_RING_BYTES,	/* u64: payload area */
	CASCADE_A_RING_USED,	/* u64: of it in use */
	CASCADE_A_WRITES,	/* u64: records made since the ring began */
	CASCADE_A_WRITE_BYTES,	/* u64: bytes of payload copied since the ring began */
	CASCADE_A_WAKEUPS,	/* u64: times a sleeping daemon was woken */
	CASCADE_A_DOORBELLS,	/* u64: doorbells received */
	CASCADE_A_EVENT,	/* u8: enum cascade_event */
	CASCADE_A_INCARNATION,	/* binary, CASCADE_UUID_BYTES: of the ring */
	CASCADE_A_GENERATION,	/* binary, CASCADE_UUID_BYTES: which history of the volume */
	CASCADE_A_DIFFERS,	/* u32: CASCADE_DIFFERS_*, of dm_cascade_meta.h */
	CASCADE_A_LOCAL_ERRORS,	/* u64: local writes that failed since the area was formatted */
	CASCADE_A_OUT_OF_SYNC,	/* u64: bytes that have to be copied to the hub, in whole regions */
	CASCADE_A_MARKED,	/* u64: bytes that a crash would make so, those included */
	CASCADE_A_META_WRITES,	/* u64: bitmap blocks written since the ring began */
	CASCADE_A_RESYNCED,	/* u64: bytes read to be copied, since the ring began */
	CASCADE_A_RESYNC,	/* u8: enum cascade_resync_state */
	CASCADE_A_FENCE,	/* u8: enum cascade_fence */
	CASCADE_A_ALONE,	/* u64: since when it goes on alone, CLOCK_REALTIME ns; 0: it does not */
	CASCADE_A_LEASE,	/* u64: milliseconds that are left of its lease; 0: none */
	CASCADE_A_WHY,		/* u8: enum cascade_why_waiting */
	CASCADE_A_OLDEST,	/* u64: milliseconds that a write has waited, the oldest one; 0: none does */
	CASCADE_A_STALLED,	/* u8: enum cascade_why_waiting, if one has for long (stall_seconds) */
	__CASCADE_A_MAX,
};
#define CASCADE_A_MAX		(__CASCADE_A_MAX - 1)

enum cascade_daemon_state {
	CASCADE_DAEMON_ABSENT	= 1,	/* never attached, closed, or killed: records stay, writes wait */
	CASCADE_DAEMON_ATTACHED	= 2,
	CASCADE_DAEMON_REVOKED	= 3,	/* detached by the kernel: a word failed its check */
};

enum cascade_link_state {
	CASCADE_LINK_DOWN	= 1,
	CASCADE_LINK_CONNECTING	= 2,
	CASCADE_LINK_UP		= 3,
};

enum cascade_resync_state {
	CASCADE_RESYNC_NONE	= 1,	/* nothing is out of sync */
	CASCADE_RESYNC_WAITING	= 2,	/* something is, and the hub is not ready for it */
	CASCADE_RESYNC_PAUSED	= 3,	/* by the administrator */
	CASCADE_RESYNC_RUNNING	= 4,
};

enum cascade_send_order {
	CASCADE_SEND_PARALLEL	 = 1,	/* publish at once, beside the local write */
	CASCADE_SEND_LOCAL_FIRST = 2,	/* publish after the local write has completed */
};

enum cascade_hub_ack {
	CASCADE_ACK_SYNC	= 1,	/* a write completes when stored covers it */
	CASCADE_ACK_MEMORY_SYNC	= 2,	/* when received covers it; FLUSH and FUA wait for stored */
};

/* What a volume does when its hub is away. */
enum cascade_fence {
	CASCADE_FENCE_DATA	= 1,	/* writes wait */
	CASCADE_FENCE_NEVER	= 2,	/* writes go on alone, once the lease has run out */
	CASCADE_FENCE_STATUS	= 3,	/* they do once the hub has said that it takes itself for behind */
	CASCADE_FENCE_WITNESS	= 4,	/* as NEVER, but not before a third node has granted it */
};

/* Why writes wait for the hub, or to be marked. */
enum cascade_why_waiting {
	CASCADE_WAIT_NOTHING	= 0,	/* nothing waits */
	CASCADE_WAIT_NO_DAEMON	= 1,	/* none is attached */
	CASCADE_WAIT_NOT_STARTED = 2,	/* it has not learnt from the hub where to begin */
	CASCADE_WAIT_RING_FULL	= 3,
	CASCADE_WAIT_MARKING	= 4,	/* the bitmap on disk lacks a region of theirs */
	CASCADE_WAIT_NO_ACK	= 5,	/* written locally, not acknowledged */
};

enum cascade_event {
	CASCADE_EVENT_CREATED	= 1,
	CASCADE_EVENT_REMOVED	= 2,
	CASCADE_EVENT_DAEMON	= 3,	/* CASCADE_A_DAEMON changed */
	CASCADE_EVENT_LINK	= 4,	/* CASCADE_A_LINK changed */
	CASCADE_EVENT_DIFFERS	= 5,	/* CASCADE_A_DIFFERS or CASCADE_A_LOCAL_ERRORS changed */
	CASCADE_EVENT_ALONE	= 6,	/* CASCADE_A_ALONE changed */
	CASCADE_EVENT_STALLED	= 7,	/* CASCADE_A_STALLED changed */
	CASCADE_EVENT_RESIZED	= 8,	/* CASCADE_A_SECTORS changed */
};

#endif /* _UAPI_DM_CASCADE_H */
