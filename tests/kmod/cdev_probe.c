// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Asks the character device for what it must refuse, and checks each answer. One line for each
 * wrong one; exit 0 only if all were right. The volume must exist, without a daemon, and be new
 * (not started).
 *
 *   cdev_probe <volume uuid>
 */
#include "ring.h"
#include "uapi/dm_cascade_meta.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned int wrong, asked;

/* @got: 0 or -errno. */
static void expect(const char *what, int got, int wanted)
{
	asked++;
	if (got == wanted)
		return;
	wrong++;
	printf("%s: got %s, wanted %s\n", what, strerror(-got), strerror(-wanted));
}

static int do_ioctl(int fd, unsigned long command, void *argument)
{
	return ioctl(fd, command, argument) ? -errno : 0;
}

static int try_map(int fd, uint64_t offset, uint64_t bytes, int prot, int flags)
{
	void *p = mmap(NULL, bytes, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, bytes);
	return 0;
}

static void before_attach(void)
{
	struct cascade_link link = { .state = CASCADE_LINK_UP };
	struct cascade_start start = { };
	struct cascade_peek peek = { };
	struct cascade_same same = { };
	int fd = ring_open_device();
	struct pollfd p = { .fd = fd, .events = POLLIN };

	expect("start before attach", do_ioctl(fd, CASCADE_IOC_START, &start), -EINVAL);
	expect("link before attach", do_ioctl(fd, CASCADE_IOC_LINK, &link), -EINVAL);
	expect("peek before attach", do_ioctl(fd, CASCADE_IOC_PEEK, &peek), -EINVAL);
	expect("same before attach", do_ioctl(fd, CASCADE_IOC_SAME, &same), -EINVAL);
	expect("doorbell before attach", do_ioctl(fd, CASCADE_IOC_DOORBELL, NULL), -EINVAL);
	expect("mmap before attach", try_map(fd, 0, 4096, PROT_READ, MAP_SHARED), -EINVAL);
	expect("unknown ioctl", do_ioctl(fd, _IO(CASCADE_IOC_MAGIC, 99), NULL), -ENOTTY);
	expect("attach at a bad address", do_ioctl(fd, CASCADE_IOC_ATTACH, (void *)8), -EFAULT);
	expect("poll before attach", poll(&p, 1, 0) == 1 && p.revents & POLLERR ? 0 : -EPROTO, 0);
	close(fd);
}

static void refused_attaches(const char *volume)
{
	struct cascade_attach at = { .abi_version = CASCADE_ABI_VERSION + 1 };
	int fd = ring_open_device();

	expect("attach with another ABI", do_ioctl(fd, CASCADE_IOC_ATTACH, &at),
	       -EPROTONOSUPPORT);
	expect("the kernel names its ABI", at.abi_version == CASCADE_ABI_VERSION ? 0 : -EPROTO, 0);
	at = (struct cascade_attach){ .abi_version = CASCADE_ABI_VERSION, .reserved_in = 1 };
	uuid_from_text(volume, at.volume);
	expect("attach with reserved bits", do_ioctl(fd, CASCADE_IOC_ATTACH, &at), -EINVAL);
	at = (struct cascade_attach){ .abi_version = CASCADE_ABI_VERSION, .features = 1ull << 40 };
	uuid_from_text(volume, at.volume);
	expect("attach with an unknown feature", do_ioctl(fd, CASCADE_IOC_ATTACH, &at),
	       -EOPNOTSUPP);
	expect("the kernel names its features",
	       at.features == CASCADE_FEATURES_KNOWN ? 0 : -EPROTO, 0);
	expect("attach to no such volume",
	       ring_attach(fd, "00000000-0000-4000-8000-00000000dead", &at), -ENODEV);
	close(fd);
}

static void second_attaches(int fd, const char *volume)
{
	struct cascade_attach at;
	int other = ring_open_device();

	expect("second attach of the same file", ring_attach(fd, volume, &at), -EBUSY);
	expect("attach to a volume with a daemon", ring_attach(other, volume, &at), -EBUSY);
	close(other);
}

static void readonly_part(int fd, const char *name, uint64_t offset)
{
	char what[80];
	void *p;

	snprintf(what, sizeof(what), "%s writable", name);
	expect(what, try_map(fd, offset, 4096, PROT_READ | PROT_WRITE, MAP_SHARED), -EPERM);
	snprintf(what, sizeof(what), "%s read-only", name);
	p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, offset);
	expect(what, p == MAP_FAILED ? -errno : 0, 0);
	if (p == MAP_FAILED)
		return;
	snprintf(what, sizeof(what), "%s made writable later", name);
	expect(what, mprotect(p, 4096, PROT_READ | PROT_WRITE) ? -errno : 0, -EACCES);
	munmap(p, 4096);
}

static void bad_mappings(int fd, const struct cascade_attach *at)
{
	const uint64_t past = at->payload_bytes + 4096;

	readonly_part(fd, "kernel words", at->kernel_words_offset);
	readonly_part(fd, "payload positions", at->payload_pos_offset);
	readonly_part(fd, "records", at->records_offset);
	readonly_part(fd, "payload", at->payload_offset);
	expect("past the payload's end",
	       try_map(fd, at->payload_offset, past, PROT_READ, MAP_SHARED), -EINVAL);
	expect("daemon words, two pages",
	       try_map(fd, at->daemon_words_offset, 8192, PROT_READ | PROT_WRITE, MAP_SHARED),
	       -EINVAL);
	expect("daemon words, private",
	       try_map(fd, at->daemon_words_offset, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE),
	       -EINVAL);
	expect("nowhere", try_map(fd, 1ull << 45, 4096, PROT_READ, MAP_SHARED), -EINVAL);
}

static void starting(struct ring *ring)
{
	struct cascade_start reserved = { .base_seq = 1, .reserved = { 1 } };
	struct cascade_link wrong_link = { .state = CASCADE_LINK_UP, .reserved = { 1 } };

	expect("start with reserved bits", do_ioctl(ring->fd, CASCADE_IOC_START, &reserved),
	       -EINVAL);
	expect("link with reserved bits", do_ioctl(ring->fd, CASCADE_IOC_LINK, &wrong_link),
	       -EINVAL);
	expect("link in no state", ring_link(ring, 0), -EINVAL);
	expect("link in an unknown state", ring_link(ring, CASCADE_LINK_UP + 1), -EINVAL);
	expect("start above the largest number", ring_start(ring, CASCADE_SEQ_MAX + 1), -EINVAL);
	expect("start", ring_start(ring, 41), 0);
	expect("start again", ring_start(ring, 41), -EALREADY);
	expect("words after start",
	       ring->daemon->received == 41 && ring->daemon->stored == 41 &&
	       ring->kernel->published == 41 && ring->kernel->released == 41 ? 0 : -EPROTO, 0);
	expect("doorbell without news", ring_doorbell(ring), 0);
	expect("nothing to read", ring_sleep(ring, 0), 0);
}

/* Of a new volume all is out of sync, or nothing. */
static void comparing(struct ring *ring)
{
	static uint8_t buffer[CASCADE_META_REGION_SECTORS * CASCADE_SECTOR_BYTES];
	struct cascade_peek peek = { .buffer = (uintptr_t)buffer, .reserved = { 1 } };
	struct cascade_same same = { .reserved = { 1 } };

	expect("peek with reserved bits", do_ioctl(ring->fd, CASCADE_IOC_PEEK, &peek), -EINVAL);
	expect("same with reserved bits", do_ioctl(ring->fd, CASCADE_IOC_SAME, &same), -EINVAL);
	peek = (struct cascade_peek){ .from = 1, .buffer = (uintptr_t)buffer };
	expect("peek within a region", ring_peek(ring, &peek), -EINVAL);
	peek = (struct cascade_peek){ .from = 1ull << 62, .buffer = (uintptr_t)buffer };
	expect("peek past the end", ring_peek(ring, &peek), 0);
	expect("nothing is there", peek.bytes, 0);
	expect("same within a region", ring_same(ring, 1, sizeof(buffer), 0), -EINVAL);
	expect("same past the end", ring_same(ring, 1ull << 62, sizeof(buffer), 0), -EINVAL);
	peek = (struct cascade_peek){ .buffer = (uintptr_t)buffer };
	expect("peek", ring_peek(ring, &peek), 0);
	expect("same, once doubted", ring_same(ring, 0, sizeof(buffer), peek.doubts + 1), -EAGAIN);
	expect("same, of another size", ring_same(ring, 0, 512, peek.doubts), -EINVAL);
	if (!peek.bytes)
		return;
	peek.buffer = 8;
	expect("peek to a bad address", ring_peek(ring, &peek), -EFAULT);
}

static void reattach(const char *volume, const struct cascade_attach *before)
{
	struct cascade_attach at;
	int fd = ring_open_device();

	expect("attach after a close", ring_attach(fd, volume, &at), 0);
	expect("the ring stays the same",
	       !memcmp(at.incarnation, before->incarnation, sizeof(at.incarnation)) ? 0 : -EPROTO,
	       0);
	expect("it says what it can",
	       at.logical_block >= 512 && at.payload_max == 256 * 1024 && at.zero_max &&
	       at.hub_ack && at.send_order ? 0 : -EPROTO, 0);
	expect("the ring stays started",
	       at.started && at.published == 41 && at.stored == 41 ? 0 : -EPROTO, 0);
	close(fd);
}

int main(int argc, char **argv)
{
	struct cascade_attach at;
	struct ring ring;
	int fd;

	if (argc != 2)
		die(EXIT_USAGE, "usage: cdev_probe <volume uuid>");
	before_attach();
	refused_attaches(argv[1]);
	fd = ring_open_device();
	expect("attach", ring_attach(fd, argv[1], &at), 0);
	second_attaches(fd, argv[1]);
	bad_mappings(fd, &at);
	ring_map(&ring, fd, &at);
	starting(&ring);
	comparing(&ring);
	ring_leave(&ring);
	reattach(argv[1], &at);
	printf("%u of %u answers wrong\n", wrong, asked);
	return wrong ? EXIT_BROKEN : EXIT_OK;
}
