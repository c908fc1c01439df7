// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * See ring.h. The barriers are those of uapi/dm_cascade.h, section 2: acquire to read what the
 * kernel has published, release to acknowledge, a full one before each look at a sleeping flag.
 */
#include "ring.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct cascade_record) == CASCADE_RECORD_BYTES, "record size");

void die(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(code);
}

bool uuid_from_text(const char *text, uint8_t *uuid)
{
	unsigned int i, at = 0;

	for (i = 0; i < CASCADE_UUID_BYTES; i++) {
		if (text[at] == '-')
			at++;
		if (sscanf(text + at, "%2hhx", &uuid[i]) != 1)
			return false;
		at += 2;
	}
	return !text[at];
}

/* Bytewise, from RFC 3720's polynomial: slow, and no relation to any code under test. */
uint32_t crc32c(const void *data, uint64_t bytes)
{
	static uint32_t table[256];
	const uint8_t *byte = data;
	uint32_t crc = ~0u;

	for (uint32_t i = 0; !table[255] && i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0x82f63b78 : 0);
	}
	while (bytes--)
		crc = table[(crc ^ *byte++) & 0xff] ^ crc >> 8;
	return ~crc;
}

int ring_open_device(void)
{
	int fd = open("/dev/" CASCADE_DEVICE_NAME, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		die(EXIT_BROKEN, "/dev/" CASCADE_DEVICE_NAME ": %s", strerror(errno));
	return fd;
}

int ring_attach(int fd, const char *volume, struct cascade_attach *at)
{
	*at = (struct cascade_attach){ .abi_version = CASCADE_ABI_VERSION };
	if (!uuid_from_text(volume, at->volume))
		die(EXIT_USAGE, "%s: not a UUID", volume);
	return ioctl(fd, CASCADE_IOC_ATTACH, at) ? -errno : 0;
}

static void *map(int fd, uint64_t offset, uint64_t bytes, int prot, void *at)
{
	uint64_t page = sysconf(_SC_PAGESIZE);
	void *p = mmap(at, (bytes + page - 1) / page * page, prot,
		       MAP_SHARED | (at ? MAP_FIXED : 0), fd, offset);

	if (p == MAP_FAILED)
		die(EXIT_BROKEN, "mmap of %llu bytes at %#llx: %s", (unsigned long long)bytes,
		    (unsigned long long)offset, strerror(errno));
	return p;
}

static const uint8_t *map_payload_twice(int fd, const struct cascade_attach *at)
{
	uint8_t *room = mmap(NULL, 2 * at->payload_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);

	if (room == MAP_FAILED)
		die(EXIT_BROKEN, "no address space for the payload: %s", strerror(errno));
	map(fd, at->payload_offset, at->payload_bytes, PROT_READ, room);
	map(fd, at->payload_offset, at->payload_bytes, PROT_READ, room + at->payload_bytes);
	return room;
}

void ring_map(struct ring *ring, int fd, const struct cascade_attach *at)
{
	ring->fd = fd;
	ring->at = *at;
	ring->kernel = map(fd, at->kernel_words_offset, sizeof(*ring->kernel), PROT_READ, NULL);
	ring->daemon = map(fd, at->daemon_words_offset, sizeof(*ring->daemon),
			   PROT_READ | PROT_WRITE, NULL);
	ring->payload_pos = map(fd, at->payload_pos_offset, at->slots * 8, PROT_READ, NULL);
	ring->records = map(fd, at->records_offset, at->slots * CASCADE_RECORD_BYTES, PROT_READ,
			    NULL);
	ring->payload = map_payload_twice(fd, at);
	ring->read = at->stored;
	ring->next_pos = ~0ull;
}

static void unmap(const volatile void *at, uint64_t bytes)
{
	uint64_t page = sysconf(_SC_PAGESIZE);

	munmap((void *)at, (bytes + page - 1) / page * page);
}

void ring_leave(struct ring *ring)
{
	unmap(ring->kernel, sizeof(*ring->kernel));
	unmap(ring->daemon, sizeof(*ring->daemon));
	unmap(ring->payload_pos, ring->at.slots * 8);
	unmap(ring->records, ring->at.slots * CASCADE_RECORD_BYTES);
	unmap(ring->payload, 2 * ring->at.payload_bytes);
	close(ring->fd);
}

void ring_join(struct ring *ring, const char *volume, unsigned int wait_ms)
{
	const struct timespec step = { .tv_nsec = 20 * 1000 * 1000 };
	struct cascade_attach at;
	int fd = ring_open_device();
	int r = ring_attach(fd, volume, &at);

	for (; (r == -ENODEV || r == -EBUSY || r == -EAGAIN) && wait_ms >= 20; wait_ms -= 20) {
		nanosleep(&step, NULL);
		r = ring_attach(fd, volume, &at);
	}
	if (r)
		die(EXIT_BROKEN, "attach to %s: %s", volume, strerror(-r));
	ring_map(ring, fd, &at);
}

int ring_start(struct ring *ring, uint64_t base)
{
	struct cascade_start start = { .base_seq = base };

	if (ioctl(ring->fd, CASCADE_IOC_START, &start))
		return -errno;
	ring->read = base;
	return 0;
}

int ring_alone(struct ring *ring)
{
	return ioctl(ring->fd, CASCADE_IOC_ALONE) ? -errno : 0;
}

int ring_anew(struct ring *ring)
{
	return ioctl(ring->fd, CASCADE_IOC_ANEW) ? -errno : 0;
}

int ring_lease(struct ring *ring, uint32_t ms, uint32_t fence)
{
	struct cascade_lease lease = { .duration_ms = ms, .fence = fence };

	return ioctl(ring->fd, CASCADE_IOC_LEASE, &lease) < 0 ? -errno : 0;
}

int ring_link(struct ring *ring, uint32_t state)
{
	struct cascade_link link = { .state = state };

	return ioctl(ring->fd, CASCADE_IOC_LINK, &link) ? -errno : 0;
}

int ring_resync_until(struct ring *ring, uint64_t until)
{
	struct cascade_resync_run resync = { .run = 1, .until = until };

	return ioctl(ring->fd, CASCADE_IOC_RESYNC, &resync) ? -errno : 0;
}

int ring_peek(struct ring *ring, struct cascade_peek *peek)
{
	return ioctl(ring->fd, CASCADE_IOC_PEEK, peek) ? -errno : 0;
}

int ring_same(struct ring *ring, uint64_t sector, uint32_t bytes, uint32_t doubts)
{
	struct cascade_same same = { .sector = sector, .bytes = bytes, .doubts = doubts };

	return ioctl(ring->fd, CASCADE_IOC_SAME, &same) ? -errno : 0;
}

int ring_verify(struct ring *ring, struct cascade_verify *verify)
{
	return ioctl(ring->fd, CASCADE_IOC_VERIFY, verify) ? -errno : 0;
}

int ring_doorbell(struct ring *ring)
{
	return ioctl(ring->fd, CASCADE_IOC_DOORBELL) ? -errno : 0;
}

static uint64_t published(const struct ring *ring)
{
	return __atomic_load_n(&ring->kernel->published, __ATOMIC_ACQUIRE);
}

static void want(bool good, const char *what, uint64_t seq)
{
	if (!good)
		die(EXIT_BROKEN, "record %llu: %s", (unsigned long long)seq, what);
}

static void check_fields(const struct ring *ring, const struct cascade_record *r, uint64_t seq)
{
	uint32_t length = le32toh(r->length);

	want(le32toh(r->record_crc) == crc32c(&r->version, sizeof(*r) - sizeof(r->record_crc)),
	     "wrong record checksum", seq);
	want(le64toh(r->volume_seq) == seq, "wrong volume_seq", seq);
	want(r->version == CASCADE_RECORD_VERSION && !r->reserved && !r->group_seq,
	     "wrong version, reserved or group_seq", seq);
	want(!(r->flags & ~CASCADE_FLAGS_KNOWN), "unknown flags", seq);
	want(!(r->flags & CASCADE_FLAG_NOUNMAP) || r->op == CASCADE_OP_WRITE_ZEROES,
	     "NOUNMAP of no zeroes", seq);
	want(!memcmp(r->volume, ring->at.volume, CASCADE_UUID_BYTES), "wrong volume", seq);
	want((r->op >= CASCADE_OP_WRITE && r->op <= CASCADE_OP_DISCARD) ||
	     r->op == CASCADE_OP_NOOP || r->op == CASCADE_OP_VERIFY, "unknown op", seq);
	want(r->op != CASCADE_OP_VERIFY || (!r->flags && length <= 256 * 1024), "bad VERIFY", seq);
	want((r->op == CASCADE_OP_NOOP) == !length && length % CASCADE_SECTOR_BYTES == 0, "bad length", seq);
	want(le64toh(r->primary_time_ns) > 1600000000ull * 1000000000ull, "bad time", seq);
}

static void check_payload(struct ring *ring, const struct cascade_record *r, uint64_t seq,
			  const uint8_t **payload)
{
	uint64_t pos = ring->payload_pos[seq & (ring->at.slots - 1)];
	uint32_t bytes = r->op == CASCADE_OP_WRITE ? le32toh(r->length) : 0;

	want(pos % CASCADE_SECTOR_BYTES == 0, "payload position not in sectors", seq);
	want(ring->next_pos == ~0ull || pos == ring->next_pos, "payload not contiguous", seq);
	want(bytes <= 256 * 1024, "payload too large", seq);
	/* Behind a NOOP there may be a gap. */
	ring->next_pos = r->op == CASCADE_OP_NOOP ? ~0ull : pos + bytes;
	*payload = ring->payload + (pos & (ring->at.payload_bytes - 1));
	want(r->op == CASCADE_OP_VERIFY ||
	     le32toh(r->payload_crc) == (bytes ? crc32c(*payload, bytes) : 0),
	     "wrong payload checksum", seq);
}

const struct cascade_record *ring_next(struct ring *ring, const uint8_t **payload)
{
	uint64_t seq = ring->read + 1;
	const struct cascade_record *r = &ring->records[seq & (ring->at.slots - 1)];

	if (published(ring) < seq)
		return NULL;
	check_fields(ring, r, seq);
	check_payload(ring, r, seq, payload);
	return r;
}

void ring_consume(struct ring *ring)
{
	ring->read++;
	__atomic_store_n(&ring->daemon->consumed, ring->read, __ATOMIC_RELEASE);
}

int ring_acknowledge(struct ring *ring, uint64_t received, uint64_t stored)
{
	__atomic_store_n(&ring->daemon->received, received, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->daemon->stored, stored, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (received < __atomic_load_n(&ring->kernel->ring_received, __ATOMIC_RELAXED) &&
	    stored < __atomic_load_n(&ring->kernel->ring_stored, __ATOMIC_RELAXED))
		return 0;
	return ring_doorbell(ring);
}

short ring_sleep(struct ring *ring, int ms)
{
	struct pollfd p = { .fd = ring->fd, .events = POLLIN };

	if (!++ring->sleeps)
		++ring->sleeps;
	__atomic_store_n(&ring->daemon->waiting, ring->sleeps, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (published(ring) > ring->read)
		ms = 0;
	if (poll(&p, 1, ms) < 0)
		p.revents = 0;
	__atomic_store_n(&ring->daemon->waiting, 0, __ATOMIC_RELAXED);
	return p.revents;
}
