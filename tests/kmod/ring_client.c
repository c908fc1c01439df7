// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Acts as the daemon of one volume, for tests of the module: attaches, checks every record,
 * applies it to an image file, and acknowledges as told, or as no honest daemon would.
 *
 *   ring_client <volume uuid> [--image FILE] [--ack now|hold|received] [--delay MS] [--base SEQ]
 *               [--wait MS] [--resync [--compare]] [--verify [--content]] [--lease MS [--fence data|never|witness]] [--anew]
 *               [--hostile back|past-published|stored-past-received|random]
 *
 * The lease is taken once, or every 100 ms while everything is acknowledged.
 *
 * Signals: USR1 acknowledge all as stored from now on, USR2 hold from now on, HUP say the next link
 * state (connecting, up, down, up), ALRM say that the volume goes on alone now, or with --anew
 * that it begins anew, TERM end.
 */
#define _GNU_SOURCE
#include "ring.h"
#include "uapi/dm_cascade_meta.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum ack { ACK_NOW, ACK_HOLD, ACK_RECEIVED };

static struct options {
	const char *volume, *image, *hostile;
	bool resync, compare, verify, content, anew;
	unsigned int delay_ms, wait_ms, lease_ms, fence;
	uint64_t base;
} options = { .wait_ms = 5000, .fence = CASCADE_FENCE_NEVER };

static volatile sig_atomic_t ack = ACK_NOW;
static volatile sig_atomic_t stop;
static volatile sig_atomic_t links_wanted;
static volatile sig_atomic_t alone_wanted;

static void on_signal(int signal)
{
	if (signal == SIGUSR1)
		ack = ACK_NOW;
	else if (signal == SIGUSR2)
		ack = ACK_HOLD;
	else if (signal == SIGHUP)
		links_wanted++;
	else if (signal == SIGALRM)
		alone_wanted = 1;
	else
		stop = 1;
}

/* Without SA_RESTART, so that a signal ends a poll() and is acted on at once. */
static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGUSR2, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

static void usage(void)
{
	die(EXIT_USAGE, "usage: ring_client <volume uuid> [--image FILE] [--ack now|hold|received] [--delay MS] [--base SEQ] [--wait MS] [--resync [--compare]] [--verify [--content]] [--lease MS [--fence data|never|witness]] [--anew] [--hostile back|past-published|stored-past-received|random]");
}

static void parse_ack(const char *word)
{
	static const char *const words[] = { "now", "hold", "received" };

	for (unsigned int i = 0; i < 3; i++)
		if (!strcmp(word, words[i])) {
			ack = i;
			return;
		}
	usage();
}

static unsigned int parse_fence(const char *word)
{
	if (!strcmp(word, "witness"))
		return CASCADE_FENCE_WITNESS;
	return strcmp(word, "never") ? CASCADE_FENCE_DATA : CASCADE_FENCE_NEVER;
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = {
		{ "image", 1, NULL, 'i' }, { "ack", 1, NULL, 'a' }, { "delay", 1, NULL, 'd' },
		{ "resync", 0, NULL, 'r' }, { "verify", 0, NULL, 'v' }, { "content", 0, NULL, 'n' },
		{ "compare", 0, NULL, 'c' }, { "base", 1, NULL, 'b' }, { "wait", 1, NULL, 'w' }, { "hostile", 1, NULL, 'h' },
		{ "lease", 1, NULL, 'l' }, { "fence", 1, NULL, 'f' }, { "anew", 0, NULL, 'o' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (c) {
		case 'i': options.image = optarg; break;
		case 'a': parse_ack(optarg); break;
		case 'd': options.delay_ms = strtoul(optarg, NULL, 10); break;
		case 'b': options.base = strtoull(optarg, NULL, 10); break;
		case 'w': options.wait_ms = strtoul(optarg, NULL, 10); break;
		case 'r': options.resync = true; break;
		case 'c': options.compare = true; break;
		case 'v': options.verify = true; break;
		case 'n': options.content = true; break;
		case 'o': options.anew = true; break;
		case 'l': options.lease_ms = strtoul(optarg, NULL, 10); break;
		case 'f':
			options.fence = parse_fence(optarg);
			break;
		case 'h': options.hostile = optarg; break;
		default: usage();
		}
	}
	if (optind != argc - 1)
		usage();
	options.volume = argv[optind];
}

/* ---- the image */

static void write_all(int fd, const uint8_t *from, uint64_t bytes, uint64_t at)
{
	while (bytes) {
		ssize_t n = pwrite(fd, from, bytes, at);

		if (n <= 0)
			die(EXIT_BROKEN, "%s: %s", options.image, strerror(errno));
		from += n;
		at += n;
		bytes -= n;
	}
}

/* A hole reads as zeroes, and keeps an image in memory small. */
static void write_zeroes(int fd, uint64_t bytes, uint64_t at)
{
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes))
		die(EXIT_BROKEN, "%s: punching a hole: %s", options.image, strerror(errno));
}

static bool image_has_sum(int fd, uint64_t at, uint32_t bytes, uint32_t sum)
{
	static uint8_t there[CASCADE_META_REGION_SECTORS * CASCADE_SECTOR_BYTES];

	return pread(fd, there, bytes, at) == (ssize_t)bytes && crc32c(there, bytes) == sum;
}

static void apply(int fd, const struct cascade_record *r, const uint8_t *payload)
{
	uint64_t at = le64toh(r->sector) * CASCADE_SECTOR_BYTES;

	if (r->op == CASCADE_OP_NOOP && r->flags & CASCADE_FLAG_RESYNC) {
		printf("in sync\n");
		fflush(stdout);
	}
	if (fd < 0)
		return;
	if (r->op == CASCADE_OP_WRITE)
		write_all(fd, payload, le32toh(r->length), at);
	else if (r->op == CASCADE_OP_VERIFY &&
		 !image_has_sum(fd, at, le32toh(r->length), le32toh(r->payload_crc)))
		printf("sector %llu differs\n", (unsigned long long)le64toh(r->sector));
	else if (r->op == CASCADE_OP_WRITE_ZEROES || r->op == CASCADE_OP_DISCARD)
		write_zeroes(fd, le32toh(r->length), at);
}

static int open_image(uint64_t sectors)
{
	int fd;

	if (!options.image)
		return -1;
	fd = open(options.image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sectors * CASCADE_SECTOR_BYTES))
		die(EXIT_BROKEN, "%s: %s", options.image, strerror(errno));
	return fd;
}

/* ---- acknowledging */

static void stop_if_lost(short events)
{
	if (events & POLLHUP)
		die(EXIT_GONE, "the volume was removed");
	if (events & POLLERR)
		die(EXIT_REVOKED, "detached by the kernel");
}

static void tell(struct ring *ring, uint64_t received, uint64_t stored)
{
	int r = ring_acknowledge(ring, received, stored);

	if (r == -EIO)
		stop_if_lost(ring_sleep(ring, 0));
	if (r)
		die(EXIT_BROKEN, "doorbell: %s", strerror(-r));
}

static void wait_delay(void)
{
	const struct timespec delay = {
		.tv_sec = options.delay_ms / 1000,
		.tv_nsec = options.delay_ms % 1000 * 1000000l,
	};

	if (options.delay_ms)
		nanosleep(&delay, NULL);
}

static void acknowledge(struct ring *ring)
{
	static uint64_t received, stored;
	uint64_t want_stored;

	/* A new daemon never says less than the kernel already knows. */
	if (!received && !stored) {
		received = ring->daemon->received;
		stored = ring->daemon->stored;
	}
	if (ack == ACK_HOLD || ring->read <= stored)
		return;
	want_stored = ack == ACK_NOW ? ring->read : stored;
	if (ring->read <= received && want_stored == stored)
		return;
	wait_delay();
	received = ring->read > received ? ring->read : received;
	stored = want_stored;
	tell(ring, received, stored);
}

/* Breaks one rule of the words and rings; the kernel must answer by detaching us. */
static void be_hostile(struct ring *ring)
{
	uint64_t last = ring->read, received = last, stored = last;
	int r;

	if (!strcmp(options.hostile, "back"))
		received = stored = ring->daemon->stored - 1;
	else if (!strcmp(options.hostile, "past-published"))
		received = last + 1000000;
	else if (!strcmp(options.hostile, "stored-past-received"))
		received = last - 1;
	else if (!strcmp(options.hostile, "random"))
		received = stored = (uint64_t)random() << 33 ^ random() ^ 1ull << 63;
	else
		usage();
	__atomic_store_n(&ring->daemon->stored, stored, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->daemon->received, received, __ATOMIC_RELEASE);
	r = ring_doorbell(ring);
	if (r == -EIO)
		stop_if_lost(ring_sleep(ring, 0));
	die(EXIT_BROKEN, "hostile words were believed: doorbell says %d", r);
}

static void take_records(struct ring *ring, int image)
{
	const struct cascade_record *r;
	const uint8_t *payload;

	while (!stop && (r = ring_next(ring, &payload))) {
		apply(image, r, payload);
		ring_consume(ring);
	}
}

static void say_link(struct ring *ring)
{
	static const uint32_t states[] = {
		CASCADE_LINK_CONNECTING, CASCADE_LINK_UP, CASCADE_LINK_DOWN, CASCADE_LINK_UP
	};
	static int said;
	int r;

	if (said == links_wanted)
		return;
	r = ring_link(ring, states[said++ % 4]);
	if (r)
		die(EXIT_BROKEN, "link: %s", strerror(-r));
}

static void say_alone(struct ring *ring)
{
	int r;

	if (!alone_wanted)
		return;
	alone_wanted = 0;
	r = options.anew ? ring_anew(ring) : ring_alone(ring);
	printf("alone: %s\n", r ? strerror(-r) : "yes");
	fflush(stdout);
}

static void take_lease(struct ring *ring)
{
	int r = ring_lease(ring, options.lease_ms, options.fence);

	if (r == -EIO)
		stop_if_lost(ring_sleep(ring, 0));
	if (r)
		die(EXIT_BROKEN, "lease: %s", strerror(-r));
}

/* ---- comparing */

static void let_copy(struct ring *ring, uint64_t until)
{
	int r = ring_resync_until(ring, until);

	if (r)
		die(EXIT_BROKEN, "resync: %s", strerror(-r));
}

static bool image_holds(int image, const struct cascade_peek *peek, const uint8_t *here)
{
	static uint8_t there[CASCADE_META_REGION_SECTORS * CASCADE_SECTOR_BYTES];
	ssize_t n = pread(image, there, peek->bytes, peek->sector * CASCADE_SECTOR_BYTES);

	return n == (ssize_t)peek->bytes && !memcmp(here, there, n);
}

/* The next region that is out of sync, with the image; what differs may be copied behind us. */
static void compare_one(struct ring *ring, int image)
{
	static uint8_t here[CASCADE_META_REGION_SECTORS * CASCADE_SECTOR_BYTES];
	static uint64_t from;
	struct cascade_peek peek = { .from = from, .buffer = (uintptr_t)here };
	int r = ring_peek(ring, &peek);

	if (r == -EAGAIN)
		return;
	if (r)
		die(EXIT_BROKEN, "peek: %s", strerror(-r));
	if (!peek.bytes) {
		let_copy(ring, 0);
		options.compare = false;
		printf("compared\n");
		fflush(stdout);
		return;
	}
	if (!peek.error && image_holds(image, &peek, here)) {
		r = ring_same(ring, peek.sector, peek.bytes, peek.doubts);
		if (r)
			die(EXIT_BROKEN, "same: %s", strerror(-r));
	}
	from = peek.sector + CASCADE_META_REGION_SECTORS;
	let_copy(ring, from);
}

/* The next part of the volume, for apply() to compare, or with --content to write. */
static void verify_one(struct ring *ring)
{
	static uint64_t from, compared, out_of_sync, unreadable;
	const uint64_t part = CASCADE_META_REGION_SECTORS / 2;
	uint64_t sectors = ring->at.sectors - from < part ? ring->at.sectors - from : part;
	struct cascade_verify verify = {
		.sector = from, .bytes = sectors * CASCADE_SECTOR_BYTES, .content = options.content
	};
	int r = ring_verify(ring, &verify);

	if (r == -EAGAIN)
		return;
	if (r || (!verify.seq != (verify.out_of_sync || verify.error)))
		die(EXIT_BROKEN, "verify: %s", strerror(-r));
	compared += verify.seq ? sectors : 0;
	out_of_sync += verify.out_of_sync ? sectors : 0;
	unreadable += verify.error ? sectors : 0;
	from += sectors;
	if (from < ring->at.sectors)
		return;
	options.verify = false;
	printf("verified: compared=%llu out_of_sync=%llu unreadable=%llu\n",
	       (unsigned long long)compared, (unsigned long long)out_of_sync,
	       (unsigned long long)unreadable);
	fflush(stdout);
}

static void run(struct ring *ring, int image)
{
	while (!stop) {
		if (options.compare)
			compare_one(ring, image);
		if (options.verify)
			verify_one(ring);
		if (options.lease_ms && ack == ACK_NOW)
			take_lease(ring);
		take_records(ring, image);
		if (options.hostile && ring->read > ring->at.stored)
			be_hostile(ring);
		acknowledge(ring);
		say_link(ring);
		say_alone(ring);
		stop_if_lost(ring_sleep(ring, options.compare || options.verify ? 0 : 100));
	}
}

int main(int argc, char **argv)
{
	struct ring ring;
	int image, r;

	parse(argc, argv);
	catch_signals();
	srandom(time(NULL));
	ring_join(&ring, options.volume, options.wait_ms);
	image = open_image(ring.at.sectors);
	printf("attached started=%u published=%llu stored=%llu\n", ring.at.started,
	       ring.at.published, ring.at.stored);
	fflush(stdout);
	if (!ring.at.started) {
		r = ring_start(&ring, options.base);
		if (r)
			die(EXIT_BROKEN, "start: %s", strerror(-r));
	}
	if (options.resync && !options.compare)
		let_copy(&ring, 0);
	if (options.lease_ms)
		take_lease(&ring);
	run(&ring, image);
	printf("read=%llu received=%llu stored=%llu\n", (unsigned long long)ring.read,
	       ring.daemon->received, ring.daemon->stored);
	return EXIT_OK;
}
