/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A volume's ring as a test sees it: attach, map every part, look at records, acknowledge. Written
 * from uapi/dm_cascade.h alone, apart from the daemon's own code, so that one checks the other.
 * Functions end the process with one line on stderr when the module breaks a promise.
 */
#ifndef CASCADE_TEST_RING_H
#define CASCADE_TEST_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "uapi/dm_cascade.h"

/* Exit codes of the tools. */
enum {
	EXIT_OK = 0,
	EXIT_USAGE = 2,
	EXIT_BROKEN = 3,	/* the ring, or an answer of the module, is wrong */
	EXIT_REVOKED = 4,	/* POLLERR: the kernel has detached us */
	EXIT_GONE = 5,		/* POLLHUP: the volume was removed */
};

struct ring {
	int fd;
	struct cascade_attach at;	/* as answered by the kernel */
	const struct cascade_kernel_words *kernel;
	struct cascade_daemon_words *daemon;
	const uint64_t *payload_pos;
	const struct cascade_record *records;
	const uint8_t *payload;		/* mapped twice, back to back */
	uint64_t read;			/* last volume_seq consumed */
	uint32_t sleeps;		/* which one this is; never 0 */
	uint64_t next_pos;		/* where the next payload must begin; ~0 before the first */
};

void __attribute__((noreturn, format(printf, 2, 3))) die(int code, const char *format, ...);

/* Text to CASCADE_UUID_BYTES; false if @text is no UUID. */
bool uuid_from_text(const char *text, uint8_t *uuid);

uint32_t crc32c(const void *data, uint64_t bytes);

int ring_open_device(void);
/* -errno or 0. */
int ring_attach(int fd, const char *volume, struct cascade_attach *at);
void ring_map(struct ring *ring, int fd, const struct cascade_attach *at);
/* Open, attach (with retries for @wait_ms while the volume does not exist), map. */
void ring_join(struct ring *ring, const char *volume, unsigned int wait_ms);
/* Unmaps and closes: the module sees the daemon gone only then, a mapping keeps the file. */
void ring_leave(struct ring *ring);
/* -errno or 0. */
int ring_start(struct ring *ring, uint64_t base);
/* What is out of sync before that sector may be copied; 0: all. */
int ring_resync_until(struct ring *ring, uint64_t until);
int ring_peek(struct ring *ring, struct cascade_peek *peek);
int ring_same(struct ring *ring, uint64_t sector, uint32_t bytes, uint32_t doubts);
int ring_verify(struct ring *ring, struct cascade_verify *verify);
/* Says that the volume goes on alone now. Returns 0 or -errno. */
int ring_alone(struct ring *ring);
/* Says that the hub has given up what it had. Returns 0 or -errno. */
int ring_anew(struct ring *ring);
int ring_lease(struct ring *ring, uint32_t ms, uint32_t fence);	/* enum cascade_fence */
int ring_link(struct ring *ring, uint32_t state);	/* enum cascade_link_state */
int ring_doorbell(struct ring *ring);

/* The next record, checked in every field, or NULL if none is published. */
const struct cascade_record *ring_next(struct ring *ring, const uint8_t **payload);
void ring_consume(struct ring *ring);
/* Received before stored, as the header asks; rings if the kernel wants it. -errno or 0. */
int ring_acknowledge(struct ring *ring, uint64_t received, uint64_t stored);
/* Sleeps for at most @ms until there is something to read; poll()'s revents. */
short ring_sleep(struct ring *ring, int ms);

#endif
