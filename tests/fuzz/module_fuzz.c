// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The module's own ring (kmod/ring.c) under a daemon that writes anything into its words, at any
 * time. I9: it is detached exactly when a word breaks a rule; no write ends before its
 * acknowledgement, or twice; no slot is given back before it is stored and done locally.
 */
#include "cascade.h"

#include <stdio.h>

/* CASCADE_SLOTS_AT_ONCE is 3 here (CMakeLists.txt). */
#define SLOTS 16		/* of a ring made by hand: small, so that it is full often */
#define PAYLOAD (16 * 1024)
#define IOS 64

static struct cascade_volume volume;
static struct cascade_file *const owner = (void *)&volume;
static struct cascade_daemon_words words;
static bool revoked;

static struct {
	struct cascade_io io;
	bool used, finished;
} ios[IOS];
static u64 nr_ios;

#define must(what) do { if (!(what)) { fprintf(stderr, "%s\n", #what); abort(); } } while (0)

/* ---- what ring.c calls */

void cascade_revoke(struct cascade_volume *v, const char *why)
{
	must(v->daemon_words == &words && why);
	revoked = true;
	v->owner = NULL;
	v->daemon_words = NULL;
}

static bool queued;

void cascade_queue_work(struct cascade_volume *v)
{
	must(v == &volume);
	queued = true;
}

void cascade_end(struct cascade_volume *v, struct cascade_io *io, struct list_head *finished)
{
	must(v == &volume);
	list_add_tail(&io->list, finished);
}

void cascade_resync_stored(struct cascade_volume *v, struct cascade_slot *slot)
{
	must(v == &volume && slot->resync && !slot->io);
}

/* ---- the input */

static const u8 *input;
static size_t left;

static u8 byte(void)
{
	return left ? (left--, *input++) : 0;
}

static u64 any(void)
{
	u64 value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | byte();
	return value;
}

/* Near what is right, mostly. */
static u64 word(u64 near)
{
	u8 kind = byte();

	return kind < 250 ? near + kind % 8 - 2 : any();
}

/* ---- steps */

static struct bio make_bio(u8 *data)
{
	static const u32 ops[] = { REQ_OP_WRITE, REQ_OP_WRITE, REQ_OP_WRITE_ZEROES, REQ_OP_DISCARD };
	u8 kind = byte();

	return (struct bio){
		.bi_iter = { .bi_sector = kind, .bi_size = 512 * (1 + kind % 8) },
		.bi_opf = ops[kind % 4] | (kind & 16 ? REQ_FUA : 0), .data = data,
	};
}

static void write_one(void)
{
	static u8 data[4096];
	struct bio bio = make_bio(data);
	struct cascade_io *io;
	u64 before = volume.reserved;

	if (nr_ios == IOS)
		return;
	io = &ios[nr_ios].io;
	memset(io, 0, sizeof(*io));
	INIT_LIST_HEAD(&io->list);
	io->need_stored = bio.bi_opf & REQ_FUA;
	if (!cascade_ring_reserve(&volume, io, &bio)) {
		must(!volume.started || volume.reserved - volume.released == SLOTS ||
		     volume.payload_head - volume.payload_tail > PAYLOAD - 4096);
		return;
	}
	must(volume.reserved == before + 1 && volume.reserved - volume.released <= SLOTS);
	must(volume.payload_head - volume.payload_tail <= PAYLOAD);
	ios[nr_ios++].used = true;
	cascade_ring_fill(&volume, io, &bio);
	if (volume.send_order == CASCADE_SEND_PARALLEL) {
		cascade_slot(&volume, io->seq)->ready = true;
		cascade_ring_publish(&volume);
	}
}

static void finish(struct list_head *finished)
{
	struct cascade_io *io, *next;

	list_for_each_entry_safe(io, next, finished, list) {
		u64 at = container_of(io, __typeof__(ios[0]), io) - ios;

		must(!ios[at].finished && io->local_done);
		must(io->seq <= (volume.hub_ack == CASCADE_ACK_SYNC || io->need_stored ?
				 volume.stored : volume.received));
		ios[at].finished = true;
	}
}

/* As write.c's write_done() does for a good write. */
static void local_done(void)
{
	u64 at = byte() % IOS;
	struct cascade_io *io = &ios[at].io;
	struct cascade_slot *slot;
	LIST_HEAD(finished);

	if (!ios[at].used || io->local_done)
		return;
	slot = cascade_slot(&volume, io->seq);
	io->local_done = true;
	slot->local_done = true;
	if (!slot->ready) {
		if (byte() % 8 == 0)
			cascade_ring_void(&volume, io->seq);
		slot->ready = true;
		cascade_ring_publish(&volume);
	}
	if (cascade_acknowledged(&volume, io)) {
		slot->io = NULL;
		cascade_end(&volume, io, &finished);
	} else {
		cascade_ring_waits(&volume, io->seq);
	}
	cascade_ring_advance(&volume, &finished);
	cascade_ring_release(&volume);
	finish(&finished);
}

static void daemon_writes(void)
{
	u64 received = word(volume.received), stored = word(volume.stored);

	words.received = received;
	words.stored = stored;
	words.consumed = word(volume.published);
	words.waiting = byte();
}

static void doorbell(void)
{
	u64 old_received = volume.received, old_stored = volume.stored;
	bool listening = volume.daemon_words && volume.started;
	bool good = words.stored >= old_stored && words.received >= old_received &&
		    words.stored <= words.received && words.received <= volume.published;
	LIST_HEAD(finished);

	cascade_ring_advance(&volume, &finished);
	finish(&finished);
	if (!listening)
		return;
	must(revoked == !good);
	must(volume.received == (good ? words.received : old_received));
	must(volume.stored == (good ? words.stored : old_stored));
}

static void new_daemon(void)
{
	words.received = volume.received;
	words.stored = volume.stored;
	words.consumed = volume.stored;
	volume.owner = owner;
	volume.daemon_words = &words;
	revoked = false;
}

/* As write.c's worker: it goes on where others have looked at enough. */
static void work(void)
{
	while (queued) {
		LIST_HEAD(finished);

		queued = false;
		cascade_ring_advance(&volume, &finished);
		finish(&finished);
	}
}

static void check(void)
{
	work();
	must(volume.released <= volume.stored && volume.stored <= volume.received);
	must(volume.received <= volume.published && volume.published <= volume.reserved);
	must(volume.words->published == volume.published);
	must(volume.words->released == volume.released);
	for (u64 at = 0; at < nr_ios; at++) {
		struct cascade_io *io = &ios[at].io;

		must(io->local_done || io->seq > volume.released);
		/* Nobody waits for what has come. */
		if (io->local_done && volume.daemon_words)
			must(ios[at].finished == cascade_acknowledged(&volume, io));
		/* The daemon rings for the first that waits, or for one before it. */
		if (io->local_done && volume.daemon_words && !ios[at].finished)
			must(volume.words->ring_stored <= io->seq ||
			     volume.words->ring_received <= io->seq);
	}
}

static void set_up(void)
{
	memset(&volume, 0, sizeof(volume));
	memset(ios, 0, sizeof(ios));
	memset(&words, 0, sizeof(words));
	nr_ios = 0;
	queued = false;
	must(!cascade_ring_alloc(&volume, CASCADE_RING_KIB_MIN));
	/* The same arrays, used as a small ring. */
	volume.nr_slots = SLOTS;
	volume.payload_bytes = PAYLOAD;
	INIT_LIST_HEAD(&volume.flushes);
	volume.hub_ack = byte() & 1 ? CASCADE_ACK_SYNC : CASCADE_ACK_MEMORY_SYNC;
	volume.send_order = byte() & 1 ? CASCADE_SEND_PARALLEL : CASCADE_SEND_LOCAL_FIRST;
	new_daemon();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t bytes)
{
	input = data;
	left = bytes;
	set_up();
	while (left) {
		switch (byte() % 8) {
		case 0:
			if (!volume.started && volume.daemon_words)
				cascade_ring_start(&volume, any() % CASCADE_SEQ_MAX);
			else if (!volume.daemon_words)
				new_daemon();
			break;
		case 1: case 2: case 3:
			write_one();
			break;
		case 4: case 5:
			local_done();
			break;
		case 6:
			daemon_writes();
			break;
		default:
			doorbell();
			check();
		}
	}
	cascade_ring_free(&volume);
	return 0;
}
