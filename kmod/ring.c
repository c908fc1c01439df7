// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's side of the ring (uapi/dm_cascade.h, section 2).
 *
 * SECURITY: the daemon must be assumed to be malicious. Of what it writes, only four words are ever
 * read, each once (tagged UNTRUSTED); none becomes an index before it has passed its check, and
 * @waiting and @consumed are only hints.
 */
#include "cascade.h"

#include <linux/crc32c.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/vmalloc.h>

int cascade_ring_alloc(struct cascade_volume *v, unsigned int ring_kib)
{
	BUILD_BUG_ON(sizeof(struct cascade_record) != CASCADE_RECORD_BYTES);
	BUILD_BUG_ON(offsetof(struct cascade_record, volume) != 8);
	BUILD_BUG_ON(offsetof(struct cascade_record, sector) != 24);
	BUILD_BUG_ON(offsetof(struct cascade_record, volume_seq) != 40);
	BUILD_BUG_ON(offsetof(struct cascade_record, primary_time_ns) != 56);
	BUILD_BUG_ON(sizeof(struct cascade_kernel_words) > PAGE_SIZE);
	BUILD_BUG_ON(sizeof(struct cascade_daemon_words) > PAGE_SIZE);

	v->payload_bytes = (u64)ring_kib * 1024;
	v->nr_slots = v->payload_bytes / CASCADE_SLOT_BYTES;
	v->words = vmalloc_user(PAGE_SIZE);
	v->payload_pos = vmalloc_user(v->nr_slots * sizeof(u64));
	v->records = vmalloc_user(v->nr_slots * sizeof(struct cascade_record));
	v->payload = vmalloc_user(v->payload_bytes);
	v->slots = vzalloc(v->nr_slots * sizeof(struct cascade_slot));
	if (v->words && v->payload_pos && v->records && v->payload && v->slots) {
		v->words->ring_received = CASCADE_RING_NEVER;
		v->words->ring_stored = CASCADE_RING_NEVER;
		return 0;
	}
	cascade_ring_free(v);
	return -ENOMEM;
}

/* Pages that a daemon still maps live on until it unmaps them. */
void cascade_ring_free(struct cascade_volume *v)
{
	vfree(v->slots);
	vfree(v->payload);
	vfree(v->records);
	vfree(v->payload_pos);
	vfree(v->words);
}

/* What the daemon may see of the copies' difference. */
void cascade_ring_tell(struct cascade_volume *v)
{
	lockdep_assert_held(&v->lock);
	WRITE_ONCE(v->words->local_errors, v->local_errors);
	WRITE_ONCE(v->words->differs, v->differs);
	WRITE_ONCE(v->words->resynced, v->resync.bytes);
	WRITE_ONCE(v->words->fence, v->fence);
	WRITE_ONCE(v->words->clean, v->clean);
	WRITE_ONCE(v->words->sectors, v->sectors);
	WRITE_ONCE(v->words->alone_ns, v->alone ? v->alone_ns : 0);
	WRITE_ONCE(v->words->out_of_sync, v->bitmap.nr_out_of_sync * CASCADE_META_REGION_SECTORS);
}

struct cascade_slot *cascade_slot(struct cascade_volume *v, u64 seq)
{
	return &v->slots[seq & (v->nr_slots - 1)];
}

/* ---- making records */

/*
 * The next number, with a slot and room for a payload; NULL if there is none now. It is done locally,
 * belongs to nobody, and is not ready.
 */
struct cascade_slot *cascade_ring_take(struct cascade_volume *v, sector_t start, sector_t last,
				       u32 bytes)
{
	struct cascade_slot *slot;
	u64 seq;

	lockdep_assert_held(&v->lock);
	if ((!v->started && !v->alone) || v->reserved - v->released >= v->nr_slots ||
	    v->payload_head + bytes - v->payload_tail > v->payload_bytes)
		return NULL;
	seq = ++v->reserved;
	slot = cascade_slot(v, seq);
	v->payload_pos[seq & (v->nr_slots - 1)] = v->payload_head;
	v->payload_head += bytes;
	*slot = (struct cascade_slot){
		.start = start, .last = last, .payload_end = v->payload_head, .local_done = true,
		.taken = v->resync.wanted ? ktime_get_ns() : 0,
	};
	return slot;
}

/* Gives @bio a number, a slot and room for its payload. False if there is none now. */
bool cascade_ring_reserve(struct cascade_volume *v, struct cascade_io *io, struct bio *bio)
{
	u32 bytes = bio_op(bio) == REQ_OP_WRITE ? bio->bi_iter.bi_size : 0;
	struct cascade_slot *slot = cascade_ring_take(v, io->start, io->last, bytes);

	if (!slot)
		return false;
	io->seq = v->reserved;
	io->epoch = v->epoch;
	slot->io = io;
	slot->local_done = false;
	v->nr_ios++;
	v->nr_writes++;
	v->nr_write_bytes += bytes;
	return true;
}

static void copy_piece(struct cascade_volume *v, u64 pos, const void *from, size_t bytes)
{
	u64 offset = pos & (v->payload_bytes - 1);
	size_t to_end = min_t(u64, bytes, v->payload_bytes - offset);

	memcpy(v->payload + offset, from, to_end);
	memcpy(v->payload, from + to_end, bytes - to_end);
}

static void copy_payload(struct cascade_volume *v, u64 pos, struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;

	bio_for_each_segment(bv, bio, iter) {
		void *from = bvec_kmap_local(&bv);

		copy_piece(v, pos, from, bv.bv_len);
		kunmap_local(from);
		pos += bv.bv_len;
	}
}

/* Of the ring's copy: what the application changes meanwhile does not matter. */
static u32 payload_crc(struct cascade_volume *v, u64 pos, u32 bytes)
{
	u64 offset = pos & (v->payload_bytes - 1);
	u32 to_end = min_t(u64, bytes, v->payload_bytes - offset);
	u32 crc = crc32c(~0U, v->payload + offset, to_end);

	return ~crc32c(crc, v->payload, bytes - to_end);
}

static u8 record_op(struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_WRITE_ZEROES:
		return CASCADE_OP_WRITE_ZEROES;
	case REQ_OP_DISCARD:
		return CASCADE_OP_DISCARD;
	default:
		return CASCADE_OP_WRITE;
	}
}

static void seal(struct cascade_record *r)
{
	r->record_crc = cpu_to_le32(~crc32c(~0U, (u8 *)r + sizeof(r->record_crc),
					    sizeof(*r) - sizeof(r->record_crc)));
}

/* What every record has. @came: when its write came. */
static struct cascade_record *begin_record(struct cascade_volume *v, u64 seq, u8 op, u8 flags,
					   sector_t start, u32 bytes, ktime_t came)
{
	struct cascade_record *r = &v->records[seq & (v->nr_slots - 1)];

	memset(r, 0, sizeof(*r));
	r->version = CASCADE_RECORD_VERSION;
	r->op = op;
	r->flags = flags;
	export_uuid(r->volume, &v->uuid);
	r->sector = cpu_to_le64(start);
	r->length = cpu_to_le32(bytes);
	r->volume_seq = cpu_to_le64(seq);
	r->primary_time_ns = cpu_to_le64(ktime_to_ns(ktime_mono_to_real(came)));
	return r;
}

void cascade_ring_fill(struct cascade_volume *v, struct cascade_io *io, struct bio *bio)
{
	u64 pos = v->payload_pos[io->seq & (v->nr_slots - 1)];
	u32 bytes = bio->bi_iter.bi_size;
	u8 op = record_op(bio), flags = bio->bi_opf & REQ_FUA ? CASCADE_FLAG_FUA : 0;
	struct cascade_record *r;

	if (op == CASCADE_OP_WRITE_ZEROES && bio->bi_opf & REQ_NOUNMAP)
		flags |= CASCADE_FLAG_NOUNMAP;
	r = begin_record(v, io->seq, op, flags, io->start, bytes, io->came);
	if (op == CASCADE_OP_WRITE) {
		copy_payload(v, pos, bio);
		r->payload_crc = cpu_to_le32(payload_crc(v, pos, bytes));
	}
	seal(r);
}

/* @bytes of @data are the payload of a WRITE; of zeroes they are the length alone. */
void cascade_ring_fill_read(struct cascade_volume *v, u64 seq, u8 op, u8 flags, sector_t start,
			    u32 bytes, const void *data)
{
	u64 pos = v->payload_pos[seq & (v->nr_slots - 1)];
	struct cascade_record *r = begin_record(v, seq, op, flags, start, bytes, ktime_get());

	if (op == CASCADE_OP_WRITE) {
		copy_piece(v, pos, data, bytes);
		r->payload_crc = cpu_to_le32(payload_crc(v, pos, bytes));
	}
	seal(r);
}

/* @crc is that of what the range holds. */
void cascade_ring_fill_verify(struct cascade_volume *v, u64 seq, sector_t start, u32 bytes, u32 crc)
{
	struct cascade_record *r = begin_record(v, seq, CASCADE_OP_VERIFY, 0, start, bytes,
						ktime_get());

	r->payload_crc = cpu_to_le32(crc);
	seal(r);
}

void cascade_ring_void(struct cascade_volume *v, u64 seq)
{
	struct cascade_record *r = &v->records[seq & (v->nr_slots - 1)];

	lockdep_assert_held(&v->lock);
	r->op = CASCADE_OP_NOOP;
	r->flags = 0;
	r->sector = 0;
	r->length = 0;
	r->payload_crc = 0;
	seal(r);
}

/*
 * Moves @published over all slots that are ready. Returns whether a daemon sleeps that nobody has
 * woken yet.
 */
bool cascade_ring_publish(struct cascade_volume *v)
{
	u64 before = v->published;
	u32 sleep;

	lockdep_assert_held(&v->lock);
	if (v->alone) {
		cascade_ring_release(v);
		return false;
	}
	while (v->published < v->reserved && cascade_slot(v, v->published + 1)->ready)
		v->published++;
	if (v->published == before)
		return false;
	/* Pairs with the daemon's load acquire: records and payload before their count. */
	smp_store_release(&v->words->published, v->published);
	/* Pairs with the daemon's barrier between setting @waiting and looking at @published. */
	smp_mb();
	/* UNTRUSTED: a hint only. */
	sleep = v->daemon_words ? READ_ONCE(v->daemon_words->waiting) : 0;
	if (!sleep || sleep == v->woken)
		return false;
	v->woken = sleep;
	v->nr_wakeups++;
	return true;
}

/* The slot is filled. lock not held */
void cascade_ring_ready(struct cascade_volume *v, struct cascade_slot *slot)
{
	bool wake;

	spin_lock_irq(&v->lock);
	slot->ready = true;
	wake = cascade_ring_publish(v);
	spin_unlock_irq(&v->lock);
	if (wake)
		wake_up_interruptible(&v->poll_wait);
}

/* Whether the slot behind @released has served: stored at the hub, if there is one, and done here. */
static bool has_served(struct cascade_volume *v)
{
	struct cascade_slot *slot = cascade_slot(v, v->released + 1);

	if (v->alone)
		return v->released < v->reserved && slot->ready && slot->local_done;
	/* Whoever waited for it knows. */
	return v->released < v->looked_stored && slot->local_done;
}

/* Gives back slots that have served, in order; if there are many, the worker goes on. */
void cascade_ring_release(struct cascade_volume *v)
{
	unsigned int left = CASCADE_SLOTS_AT_ONCE;
	u64 before = v->released;

	lockdep_assert_held(&v->lock);
	for (; left && has_served(v); left--) {
		struct cascade_slot *slot = cascade_slot(v, ++v->released);

		v->payload_tail = slot->payload_end;
		if (slot->resync)
			cascade_resync_stored(v, slot);
		else if (slot->taken && !v->alone)
			cascade_pace_own(&v->resync.pace, ktime_get_ns() - slot->taken);
	}
	if (v->released == before)
		return;
	if (v->rejoining && v->released == v->reserved)
		wake_up(&v->quiet);
	/* Pairs with the daemon's load acquire. */
	if (!v->alone)
		smp_store_release(&v->words->released, v->released);
	if (!left || !bio_list_empty(&v->deferred))
		cascade_queue_work(v);
}

/* Numbers the ring: its first record gets @base + 1. */
void cascade_ring_start(struct cascade_volume *v, u64 base)
{
	lockdep_assert_held(&v->lock);
	v->reserved = base;
	v->published = base;
	v->received = base;
	v->stored = base;
	v->released = base;
	v->looked_received = base;
	v->looked_stored = base;
	v->none_waits = base;
	v->ended = base;
	v->epoch++;
	v->alone = false;
	v->started = true;
	v->daemon_words->received = base;
	v->daemon_words->stored = base;
	v->daemon_words->consumed = base;
	smp_store_release(&v->words->released, base);
	smp_store_release(&v->words->published, base);
	cascade_ring_tell(v);
	cascade_queue_work(v);
}

/* ---- taking acknowledgements */

bool cascade_acknowledged(struct cascade_volume *v, struct cascade_io *io)
{
	if (v->alone)
		return true;
	if (v->hub_ack == CASCADE_ACK_MEMORY_SYNC && !io->need_stored)
		return io->seq <= v->received;
	return io->seq <= v->stored;
}

/* The io of a slot that waits for its acknowledgement. */
void cascade_end_slot(struct cascade_volume *v, struct cascade_slot *slot, blk_status_t status,
		      struct list_head *finished)
{
	struct cascade_io *io = slot->io;

	slot->io = NULL;
	v->nr_ack_waiting--;
	io->status = status;
	cascade_end(v, io, finished);
}

/* The flushes that wait for what @stored covers. */
void cascade_end_flushes(struct cascade_volume *v, u64 stored, blk_status_t status,
			 struct list_head *finished)
{
	struct cascade_io *io, *next;

	list_for_each_entry_safe(io, next, &v->flushes, list) {
		if (io->seq > stored)
			continue;
		list_del_init(&io->list);
		io->status = status;
		cascade_end(v, io, finished);
	}
}

/*
 * Bios of the slots behind @at through @to that are done locally and acknowledged are finished.
 * Returns how far it came with @left slots.
 */
static u64 acknowledge(struct cascade_volume *v, u64 at, u64 to, unsigned int *left,
		       struct list_head *finished)
{
	for (at = max(at, v->released); at < to && *left; --*left) {
		struct cascade_slot *slot = cascade_slot(v, ++at);
		struct cascade_io *io = slot->io;

		if (!io || !io->local_done || !cascade_acknowledged(v, io))
			continue;
		cascade_end_slot(v, slot, BLK_STS_OK, finished);
	}
	return at;
}

/*
 * Under memory-sync a write waits for the one word or the other: a slot that is stored when it is
 * looked at for its receipt needs no second look.
 */
static void acknowledge_some(struct cascade_volume *v, unsigned int *left,
			     struct list_head *finished)
{
	u64 before = v->looked_received, stored = min(v->stored, before);

	if (v->hub_ack == CASCADE_ACK_SYNC) {
		v->looked_stored = acknowledge(v, v->looked_stored, v->stored, left, finished);
		v->looked_received = v->looked_stored;
		return;
	}
	v->looked_received = acknowledge(v, before, v->received, left, finished);
	v->looked_stored = acknowledge(v, v->looked_stored, stored, left, finished);
	if (v->looked_stored >= stored)
		v->looked_stored = max(v->looked_stored, min(v->stored, v->looked_received));
}

/* The daemon's words, checked. False if there is nothing to believe. */
static bool read_words(struct cascade_volume *v, u64 *received, u64 *stored)
{
	if (!v->daemon_words || !v->started || v->alone)
		return false;
	/* UNTRUSTED. In this order: the daemon writes received first. */
	*stored = smp_load_acquire(&v->daemon_words->stored);
	*received = smp_load_acquire(&v->daemon_words->received);
	if (*stored < v->stored || *received < v->received)
		cascade_revoke(v, "an acknowledgement went back");
	else if (*stored > *received || *received > v->published)
		cascade_revoke(v, "an acknowledgement is past what was published");
	else
		return true;
	return false;
}

static void take_words(struct cascade_volume *v, unsigned int *left, struct list_head *finished)
{
	u64 received, stored;

	if (!read_words(v, &received, &stored))
		return;
	v->received = received;
	v->stored = stored;
	acknowledge_some(v, left, finished);
	cascade_end_flushes(v, v->stored, BLK_STS_OK, finished);
	cascade_ring_release(v);
}

/* The first write behind @after that is done locally and waits; NEVER if there is none. */
static u64 first_waiting(struct cascade_volume *v, u64 after)
{
	u64 seq = max3(after, v->released, v->none_waits) + 1;

	for (; seq <= v->reserved; seq++) {
		struct cascade_slot *slot = cascade_slot(v, seq);

		if (slot->io && slot->io->local_done)
			break;
	}
	v->none_waits = seq - 1;
	return seq <= v->reserved ? seq : CASCADE_RING_NEVER;
}

/* Which acknowledgements are worth a doorbell: those that end what waits. */
static void worth_a_doorbell(struct cascade_volume *v, u64 *received, u64 *stored)
{
	*received = CASCADE_RING_NEVER;
	*stored = CASCADE_RING_NEVER;
	if (!list_empty(&v->flushes) || !bio_list_empty(&v->deferred) || v->resync.in_flight)
		*stored = v->stored + 1;
	if (!v->nr_ack_waiting)
		return;
	if (v->hub_ack == CASCADE_ACK_SYNC) {
		*stored = min(*stored, first_waiting(v, v->stored));
	} else {
		*received = first_waiting(v, v->received);
		/* Of those that are received some may wait for more: FUA. */
		*stored = v->stored + 1;
	}
}

/* Whether the daemon has to be listened to once more. */
static bool ask_for_doorbell(struct cascade_volume *v)
{
	u64 received, stored;

	worth_a_doorbell(v, &received, &stored);
	if (v->words->ring_received == received && v->words->ring_stored == stored)
		return false;
	WRITE_ONCE(v->words->ring_received, received);
	WRITE_ONCE(v->words->ring_stored, stored);
	/* Pairs with the daemon's barrier between its acknowledgement and its look at these words. */
	smp_mb();
	return true;
}

/*
 * Takes in what the daemon has acknowledged. Collects finished bios on @finished, for
 * cascade_finish() once the lock is dropped. Ends: each turn follows a change of what is waited
 * for, and the daemon can't acknowledge more than what is published. If that is much, the worker
 * goes on.
 */
void cascade_ring_advance(struct cascade_volume *v, struct list_head *finished)
{
	unsigned int left = CASCADE_SLOTS_AT_ONCE;

	lockdep_assert_held(&v->lock);
	do
		take_words(v, &left, finished);
	while (ask_for_doorbell(v) && left);
	if (!left)
		cascade_queue_work(v);
}

/* A write that is done locally has begun to wait. */
void cascade_ring_waits(struct cascade_volume *v, u64 seq)
{
	lockdep_assert_held(&v->lock);
	v->nr_ack_waiting++;
	v->none_waits = min(v->none_waits, seq - 1);
}
