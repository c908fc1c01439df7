/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share.
 *
 * A volume outlives its tables: a reload brings a new target to the same volume, whose ring goes
 * on. Its life ends with its last target; its memory with the last of target and open file.
 *
 * Lock order: cascade_volume.meta_mutex, cascade_file.mutex > cascade_volume.bitmap_mutex >
 * cascade_volumes_mutex > cascade_volume.lock (irq-safe).
 */
#ifndef CASCADE_H
#define CASCADE_H

#include <linux/bio.h>
#include <linux/device-mapper.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/uuid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "uapi/dm_cascade.h"
#include "uapi/dm_cascade_meta.h"

#define DM_MSG_PREFIX "cascade"

#define CASCADE_PAYLOAD_MAX	(256 * 1024)	/* bytes of one record: what bios are split to */
#define CASCADE_RING_KIB_MIN	1024
#define CASCADE_RING_KIB_MAX	(64 * 1024)	/* bounds the slots walked under the lock */
#define CASCADE_RING_KIB_DEFAULT 8192
#define CASCADE_ZERO_MAX	(128 * 1024 * 1024)	/* bytes zeroed by one record */
#define CASCADE_REGION_BYTES (CASCADE_META_REGION_SECTORS << SECTOR_SHIFT)
#define CASCADE_SLOT_BYTES	2048		/* of payload area for each slot */
/* Looked at with interrupts off, by whoever comes first; the worker goes on. */
#ifndef CASCADE_SLOTS_AT_ONCE
#define CASCADE_SLOTS_AT_ONCE	256
#endif

struct cascade_file;
struct cascade_target;

/* One bio on its way; lives in the bio's per-bio data. */
struct cascade_io {
	struct rb_node rb;		/* in volume->tree while the local write is not done */
	u64 start, last;		/* sectors, both inclusive */
	u64 subtree_last;
	struct list_head list;		/* on issue, flushes, or a list of finished ones */
	struct cascade_target *t;
	ktime_t came;			/* CLOCK_MONOTONIC */
	u64 seq;			/* of a write; of a flush: stored must reach it */
	unsigned int blockers;		/* earlier overlapping local writes not done, +1 while filling */
	unsigned int fail_round;	/* of the volume when it came */
	unsigned int epoch;		/* of the volume's numbers when it got @seq */
	bool flush;
	bool need_stored;		/* FUA: received is not enough */
	bool local_done;
	blk_status_t status;
};

/* What the kernel knows of a slot beside the shared record. */
struct cascade_slot {
	u64 start, last;		/* sectors, both inclusive */
	struct cascade_io *io;		/* until its bio is completed */
	u64 payload_end;
	u64 taken;			/* ktime_get_ns() while a resync is wanted; else 0 */
	unsigned int doubts;		/* of the volume, when a resync's region was read */
	u8 resync;			/* CASCADE_RESYNC_*, or a write's */
	bool ready;			/* may be published */
	bool local_done;
};

/* What fence_level data does once the lease has run out. */
enum cascade_on_fence {
	CASCADE_ON_FENCE_SUSPEND_IO = 1,
	CASCADE_ON_FENCE_IO_ERROR = 2,
};

/*
 * A part of a region; the last one of it, with which all of it has been copied; the last word; nothing
 * that is copied, but compared.
 */
enum {
	CASCADE_RESYNC_PART = 1,
	CASCADE_RESYNC_REGION = 2,
	CASCADE_RESYNC_END = 3,
	CASCADE_RESYNC_VERIFY = 4,
};

/* pace.c */
struct cascade_pace {
	u64 own_ns;			/* round trip of the volume's writes, as if alone; 0: not known */
	u64 copy_ns;			/* of the last copy that was sent alone */
	unsigned int bytes;		/* of a copy while somebody writes; a power of two */
	unsigned int rate_kib;		/* a second; 0: no limit */
};

struct cascade_pace_step {
	unsigned int bytes;		/* of the next copy, at most */
	unsigned int pause_ms;		/* from its beginning to that of the one behind it */
	unsigned int together;		/* copies that may be on their way */
};

struct cascade_bitmap_block {
	u64 counter;			/* of the block on disk */
	u32 nr_marked;
};

/* bitmap.c; bits of a block follow those of the block before it without a gap. */
struct cascade_bitmap {
	u64 nr_regions;
	unsigned int nr_blocks;
	struct cascade_bitmap_block *blocks;
	u64 *marked, *out_of_sync, *used;
	u64 nr_marked, nr_out_of_sync;
};

/*
 * resync.c, verify.c; under cascade_volume.lock, but for the buffer, which is meta_mutex's, and so is
 * whatever was closed last.
 */
struct cascade_resync {
	struct delayed_work work;
	void *buffer;			/* of one region */
	bool wanted;			/* by the daemon: the hub has opened the bracket */
	u64 until;			/* regions from this on have to wait; U64_MAX: none */
	bool paused;			/* by the administrator */
	bool held;			/* the device is suspended, or about to be */
	bool end_published;
	bool closed;			/* nobody gets a place in the ring for @start to @last */
	sector_t start, last;
	u64 next;			/* regions before it have been read */
	sector_t part;			/* of the next region: sectors before it have been read */
	unsigned int in_flight;		/* slots that are not stored */
	unsigned int doubts;		/* of the volume, when the region was begun */
	struct cascade_pace pace;
	unsigned long not_before;	/* jiffies: the next copy */
	u64 writes_seen;
	u64 bytes;			/* that were read */
};

struct cascade_volume {
	struct list_head list;		/* cascade_volumes; under cascade_volumes_mutex */
	struct kref kref;
	u64 id;				/* never used again; orders netlink dumps */
	unsigned int targets;		/* under cascade_volumes_mutex */
	uuid_t uuid;
	uuid_t incarnation;		/* of the ring: random, made at its birth */
	char name[DM_NAME_LEN];		/* of the live device; under lock */

	/* The ring; fixed for the volume's life. */
	u64 nr_slots;
	u64 payload_bytes;
	struct cascade_kernel_words *words;
	u64 *payload_pos;
	struct cascade_record *records;
	void *payload;
	struct cascade_slot *slots;

	/* The metadata area; fixed place. */
	dev_t meta_dev;
	sector_t meta_start;
	struct mutex meta_mutex;	/* the page below, changes of @live, superblock I/O */
	struct cascade_meta_super *meta;	/* a page: as last read or written */
	wait_queue_head_t quiet;	/* the ring is empty; while @rejoining */
	bool meta_known;		/* it was read: there was a first resume */
	struct mutex bitmap_mutex;	/* bitmap I/O, the page below, changes of the bitmap's size */
	struct cascade_meta_block *meta_block;	/* a page: as it is written next */

	/* Apart from what filling a slot reads without it. */
	spinlock_t lock ____cacheline_aligned_in_smp;	/* everything below */
	/* Whose table is in use; NULL before the first resume. Changed under meta_mutex and lock. */
	struct cascade_target *live;
	bool was_clean, was_numbered;	/* as the area said before this ring */
	u64 end_seq;			/* likewise */
	uuid_t generation, parent, journal;	/* likewise; null parent: none */
	u32 differs;			/* CASCADE_DIFFERS_*: stay until a resync, or the area is made anew */
	u64 local_errors;		/* since then */
	sector_t sectors;
	unsigned int logical_block;	/* bytes, of the live device */
	enum cascade_send_order send_order;
	enum cascade_hub_ack hub_ack;
	enum cascade_fence fence;
	enum cascade_on_fence on_fence;
	u64 lease_until;		/* CLOCK_BOOTTIME, ns; 0: there is none */
	enum cascade_fence lease_fence;	/* as the hub knows it */
	bool lease_over;		/* it has run out, and nobody waited */
	bool fenced;			/* it has: writes fail */
	bool alone;			/* it has: the ring is ours alone, with numbers of its own */
	bool parting;			/* that is being written; no daemon may attach meanwhile */
	bool rejoining;			/* nothing gets a place in it */
	bool clean;			/* suspended in order, as the area says */
	u64 alone_ns;			/* CLOCK_REALTIME: since then */
	unsigned int epoch;		/* grows when numbers begin anew */
	bool started;
	bool gone;			/* last target is gone */
	bool requeue;			/* noflush suspend: waiting bios go back to dm */
	bool failing;			/* told to fail writes until a daemon attaches */
	unsigned int fail_round;	/* how often told to fail: older ios do not wait */
	bool watched;			/* something waits, and @stall_work looks for how long */
	enum cascade_why_waiting stalled;	/* for long, as was told last */
	u64 ended;			/* highest volume_seq completed without error */
	u64 reserved, published, received, stored, released;	/* volume_seq */
	u64 looked_received, looked_stored;	/* slots through these know of the acknowledgement */
	u64 none_waits;			/* no slot through this is worth a doorbell */
	u64 payload_head, payload_tail;	/* free-running bytes */
	struct rb_root_cached tree;
	struct list_head issue;		/* unblocked: local write to be issued by the worker */
	struct list_head zeroing;	/* the device can't zero: zeroes are written */
	bool cannot_zero;		/* as the live device has shown */
	struct list_head flushes;	/* done locally, waiting for stored */
	struct bio_list deferred;	/* held back: ring full or not started */
	struct bio_list unmarked;	/* held back: the bitmap on disk lacks a region of theirs */
	unsigned int nr_deferred;	/* on either, or on its way between them */
	struct cascade_bitmap bitmap;
	u64 nr_meta_writes;		/* bitmap blocks written */
	unsigned int doubts;		/* grows when regions become out of sync under way, or grow */
	struct cascade_resync resync;
	unsigned int nr_ios;		/* admitted and not completed */
	unsigned int nr_ack_waiting;	/* of those, done locally */

	struct cascade_file *owner;
	struct cascade_daemon_words *daemon_words;	/* of the owner; NULL without one */
	enum cascade_daemon_state daemon;
	enum cascade_link_state link;
	wait_queue_head_t poll_wait;
	u32 woken;			/* the daemon's sleep that was ended last */

	unsigned long events;		/* bits of enum cascade_event: to be told by event_work */

	u64 nr_writes, nr_write_bytes, nr_wakeups, nr_doorbells;

	struct workqueue_struct *wq;	/* its own: stacked volumes must not wait for each other */
	struct work_struct work;	/* in the way of writes: never waits for memory */
	struct work_struct zero_work;	/* writes zeroes for what is on @zeroing; waits for the disk */
	struct work_struct mark_work;	/* writes marks for what is unmarked; waits for the disk */
	struct delayed_work sweep_work;	/* drops marks that nobody needs */
	struct delayed_work lease_work;	/* looks whether the lease has run out */
	struct delayed_work stall_work;	/* tells of what waits for long */
	struct work_struct event_work;	/* tells user space, and the area, what atomic context saw */
	struct bio_set bios;
};

struct cascade_options {
	uuid_t uuid;
	enum cascade_send_order send_order;
	enum cascade_hub_ack hub_ack;
	enum cascade_fence fence;
	enum cascade_on_fence on_fence;
	unsigned int ring_kib;
};

/* One table's target. */
struct cascade_target {
	struct dm_target *ti;
	struct cascade_volume *v;
	struct dm_dev *dev;
	sector_t start;			/* on dev */
	struct dm_dev *meta_dev;
	sector_t meta_start;
	struct cascade_options options;
};

/* args.c: the table line, both ways */
int cascade_parse_table(struct cascade_target *t, unsigned int argc, char **argv);
void cascade_print_table(struct cascade_target *t, char *result, unsigned int maxlen);
const char *cascade_send_order_word(enum cascade_send_order order);
const char *cascade_hub_ack_word(enum cascade_hub_ack ack);
const char *cascade_fence_word(enum cascade_fence fence);
const char *cascade_on_fence_word(enum cascade_on_fence on_fence);
/* A pair of words that sets a fence, of a table or a message. False: what is wrong is in @error. */
bool cascade_parse_fence(struct cascade_options *options, const char *name, const char *value,
			 char **error);

/* volume.c: volumes by UUID. May sleep. */
extern struct mutex cascade_volumes_mutex;
extern struct list_head cascade_volumes;
int cascade_volume_join(struct cascade_target *t);
void cascade_volume_leave(struct cascade_target *t);
struct cascade_volume *cascade_volume_find(const u8 *uuid);	/* takes a reference */
bool cascade_volume_taken(struct cascade_volume *v, struct cascade_target *t);	/* mutex held */
void cascade_volume_put(struct cascade_volume *v);
void cascade_volume_name(struct cascade_volume *v);	/* as it is called now: dm tells nobody */
void cascade_volume_look_up_name(struct cascade_volume *v);	/* the same, mutex held */
void cascade_table_event(struct cascade_volume *v);
void cascade_queue_work(struct cascade_volume *v);		/* any context */
void cascade_later_event(struct cascade_volume *v, enum cascade_event event);	/* lock held */

/* meta.c: the metadata area. May sleep. */
void cascade_meta_init(void);
int cascade_meta_check(struct cascade_target *t);	/* for the table: sets ti->error */
int cascade_meta_open(struct cascade_target *t);	/* before writes come; meta_mutex held */
void cascade_meta_close(struct cascade_target *t);	/* no write is on its way */
/* The ring goes on behind @base of the hub's journal; meta_mutex held */
int cascade_meta_numbered(struct cascade_volume *v, u64 base, const u8 *journal);
void cascade_meta_save(struct cascade_volume *v);	/* what has changed */
/* From now on it is a history of its own, which has left its hub; meta_mutex held */
int cascade_meta_part(struct cascade_volume *v, const uuid_t *incarnation, bool forgets_hub);

/* bitmap.c: which regions may differ */
int cascade_bitmap_alloc(struct cascade_bitmap *b, sector_t sectors);
void cascade_bitmap_free(struct cascade_bitmap *b);
bool cascade_bitmap_covers(const struct cascade_bitmap *b, sector_t sectors);
void cascade_bitmap_copy(struct cascade_bitmap *to, const struct cascade_bitmap *from);
/* volume->lock held, for a volume's: */
bool cascade_bitmap_use(struct cascade_bitmap *b, sector_t start, sector_t last);
bool cascade_bitmap_follows(const struct cascade_bitmap *b, sector_t start);
bool cascade_bitmap_is_marked(const struct cascade_bitmap *b, unsigned int index, sector_t start,
			      sector_t last);
void cascade_bitmap_out_of_sync(struct cascade_bitmap *b, sector_t start, sector_t last);
void cascade_bitmap_in_sync(struct cascade_bitmap *b, u64 region);
void cascade_bitmap_doubt(struct cascade_bitmap *b);
u64 cascade_bitmap_next(const struct cascade_bitmap *b, u64 from);
bool cascade_bitmap_sweep(struct cascade_bitmap *b, unsigned int index);
void cascade_bitmap_forget_use(struct cascade_bitmap *b, unsigned int index);
void cascade_bitmap_encode(struct cascade_bitmap *b, unsigned int index,
			   struct cascade_meta_block *out);
void cascade_bitmap_learn(struct cascade_bitmap *b, const struct cascade_meta_block *block);
bool cascade_bitmap_decode(struct cascade_bitmap *b, unsigned int index,
			   struct cascade_meta_block *in);
/* of a block alone: */
void cascade_bitmap_add(struct cascade_meta_block *out, sector_t start, sector_t last);
void cascade_bitmap_seal(struct cascade_meta_block *out);
__le32 cascade_page_checksum(void *page, __le32 *field);

/* mark.c: the bitmap on disk. May sleep. */
int cascade_marks_open(struct cascade_target *t);	/* meta_mutex held; the superblock is known */
int cascade_marks_all(struct cascade_volume *v);	/* out of sync; meta_mutex held */
int cascade_marks_settle(struct cascade_target *t);	/* keeps what is not stored or out of sync */
void cascade_mark_work(struct work_struct *work);
void cascade_sweep_work(struct work_struct *work);
void cascade_sweep_later(struct cascade_volume *v);

/* pace.c: how fast; volume->lock held */
void cascade_pace_init(struct cascade_pace *p);
void cascade_pace_own(struct cascade_pace *p, u64 ns);
void cascade_pace_copied(struct cascade_pace *p, u64 ns);
struct cascade_pace_step cascade_pace_next(const struct cascade_pace *p, bool busy, u64 ring_bytes);

/* resync.c: what is out of sync */
int cascade_resync_alloc(struct cascade_volume *v);
void cascade_resync_free(struct cascade_volume *v);
void cascade_resync_hold(struct cascade_volume *v, bool hold);
void cascade_resync_set(struct cascade_volume *v, bool paused, unsigned int rate_kib);
int cascade_resync_peek(struct cascade_volume *v, struct cascade_peek *peek, void *buffer);
/* meta_mutex held: */
int cascade_resync_read(struct cascade_target *t, sector_t start, unsigned int bytes,
			void *buffer);
/* volume->lock held: */
enum cascade_resync_state cascade_resync_state(struct cascade_volume *v);
void cascade_resync_run(struct cascade_volume *v, bool run, u64 until);	/* a sector; 0: all */
int cascade_resync_same(struct cascade_volume *v, const struct cascade_same *same);
void cascade_resync_abandon(struct cascade_volume *v);	/* what is in the ring will not arrive */
bool cascade_resync_closed(struct cascade_volume *v, sector_t start, sector_t last);
void cascade_resync_stored(struct cascade_volume *v, struct cascade_slot *slot);
void cascade_resync_open(struct cascade_volume *v);	/* what is closed */

/* verify.c: comparing with the copies; may sleep */
int cascade_verify_range(struct cascade_volume *v, struct cascade_verify *verify);

/* alone.c: the lease, and going on without the hub */
void cascade_lease_work(struct work_struct *work);
int cascade_go_alone(struct cascade_volume *v, const char *why);	/* may sleep */
int cascade_begin_anew(struct cascade_volume *v);	/* likewise */
int cascade_rejoin(struct cascade_volume *v);		/* may sleep; meta_mutex held */
void cascade_rejoined(struct cascade_volume *v);
/* volume->lock held: */
int cascade_lease_take(struct cascade_volume *v, unsigned int ms, enum cascade_fence level);
void cascade_lease_drop(struct cascade_volume *v);
u64 cascade_lease_left(struct cascade_volume *v);	/* ms */
void cascade_lease_look(struct cascade_volume *v);
int cascade_may_be_told(struct cascade_volume *v, const char **why);
void cascade_set_fence(struct cascade_volume *v, enum cascade_fence fence,
		       enum cascade_on_fence on_fence);
void cascade_alone_begin(struct cascade_volume *v);

/* wait.c: what waits; volume->lock held */
bool cascade_anybody_waits(struct cascade_volume *v);
enum cascade_why_waiting cascade_why_waiting(struct cascade_volume *v);
u64 cascade_oldest_ms(struct cascade_volume *v);
void cascade_waits(struct cascade_volume *v);
/* not held: */
const char *cascade_waiting_word(enum cascade_why_waiting why);
void cascade_stall_work(struct work_struct *work);

/* order.c: overlapping writes. volume->lock held. */
bool cascade_order_busy(struct cascade_volume *v, sector_t start, sector_t last);
void cascade_order_enter(struct cascade_volume *v, struct cascade_io *io);
bool cascade_order_leave(struct cascade_volume *v, struct cascade_io *io);

/* ring.c: slots and sequence numbers */
int cascade_ring_alloc(struct cascade_volume *v, unsigned int ring_kib);
void cascade_ring_free(struct cascade_volume *v);
/* volume->lock held: */
struct cascade_slot *cascade_ring_take(struct cascade_volume *v, sector_t start, sector_t last,
				       u32 bytes);	/* without a write's io */
bool cascade_ring_reserve(struct cascade_volume *v, struct cascade_io *io, struct bio *bio);
bool cascade_ring_publish(struct cascade_volume *v);	/* true: wake poll_wait, better unlocked */
void cascade_ring_release(struct cascade_volume *v);
void cascade_ring_start(struct cascade_volume *v, u64 base);
void cascade_ring_void(struct cascade_volume *v, u64 seq);	/* not published yet: no write at all */
void cascade_ring_tell(struct cascade_volume *v);
bool cascade_acknowledged(struct cascade_volume *v, struct cascade_io *io);
void cascade_ring_waits(struct cascade_volume *v, u64 seq);
void cascade_end_slot(struct cascade_volume *v, struct cascade_slot *slot, blk_status_t status,
		      struct list_head *finished);
void cascade_end_flushes(struct cascade_volume *v, u64 stored, blk_status_t status,
			 struct list_head *finished);
void cascade_ring_advance(struct cascade_volume *v, struct list_head *finished);
/* no lock, the caller owns the reserved slot: */
void cascade_ring_fill(struct cascade_volume *v, struct cascade_io *io, struct bio *bio);
void cascade_ring_fill_read(struct cascade_volume *v, u64 seq, u8 op, u8 flags, sector_t start,
			    u32 bytes, const void *data);
void cascade_ring_fill_verify(struct cascade_volume *v, u64 seq, sector_t start, u32 bytes, u32 crc);
void cascade_ring_ready(struct cascade_volume *v, struct cascade_slot *slot);
struct cascade_slot *cascade_slot(struct cascade_volume *v, u64 seq);

/* write.c: the life of a write */
int cascade_map(struct dm_target *ti, struct bio *bio);
void cascade_work(struct work_struct *work);
void cascade_zero_work(struct work_struct *work);
/* An io's bio ends with cascade_finish(); volume->lock held for the one, not for the other. */
void cascade_end(struct cascade_volume *v, struct cascade_io *io, struct list_head *finished);
void cascade_finish(struct list_head *finished);
void cascade_look(struct cascade_volume *v);	/* at the daemon's words, for whoever asks; no lock held */
void cascade_give_up(struct cascade_volume *v, blk_status_t status);		/* may sleep */
void cascade_marked(struct cascade_volume *v, struct bio_list *bios, blk_status_t status);
struct cascade_io *cascade_io_of(struct bio *bio);

/* cdev.c */
int cascade_cdev_init(void);
void cascade_cdev_exit(void);
void cascade_revoke(struct cascade_volume *v, const char *why);	/* volume->lock held */
/* Of the daemon; likewise. */
void cascade_let_go(struct cascade_volume *v, enum cascade_let_go why);

/* netlink.c */
int cascade_netlink_init(void);
void cascade_netlink_exit(void);
void cascade_netlink_event(struct cascade_volume *v, enum cascade_event event);	/* may sleep */

#endif /* CASCADE_H */
