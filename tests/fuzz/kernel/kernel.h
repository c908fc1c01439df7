/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * As much of a kernel as kmod/ring.c and kmod/pace.c need to be compiled in user space, unchanged.
 * One thread, so locks and barriers are nothing; a bio has one segment.
 */
#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <linux/types.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
typedef s64 ktime_t;
typedef u64 sector_t;
typedef u8 blk_status_t;
typedef struct { u8 b[16]; } uuid_t;
typedef struct { int unused; } spinlock_t;
typedef struct { int unused; } wait_queue_head_t;

struct kref { int count; };
struct mutex { int unused; };
struct rb_node { void *unused; };
struct rb_root_cached { void *unused; };
struct work_struct { int unused; };
struct delayed_work { int unused; };
struct workqueue_struct;
struct bio_set { int unused; };
struct page;
struct dm_target;
struct dm_dev;

#define DM_NAME_LEN 128
#define PAGE_SIZE 4096
#define ____cacheline_aligned_in_smp
#define SECTOR_SHIFT 9
#define BLK_STS_OK 0

/* ---- lists */

struct list_head { struct list_head *next, *prev; };

#define container_of(at, type, member) ((type *)((char *)(at) - offsetof(type, member)))
#define LIST_HEAD(name) struct list_head name = { &(name), &(name) }

static inline void INIT_LIST_HEAD(struct list_head *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list_head *l)
{
	return l->next == l;
}

static inline void list_add_tail(struct list_head *entry, struct list_head *head)
{
	entry->prev = head->prev;
	entry->next = head;
	head->prev->next = entry;
	head->prev = entry;
}

static inline void list_del_init(struct list_head *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	INIT_LIST_HEAD(entry);
}

static inline void list_move_tail(struct list_head *entry, struct list_head *head)
{
	list_del_init(entry);
	list_add_tail(entry, head);
}

#define list_for_each_entry_safe(pos, n, head, member)					\
	for (pos = container_of((head)->next, __typeof__(*pos), member),		\
	     n = container_of(pos->member.next, __typeof__(*pos), member);		\
	     &pos->member != (head);							\
	     pos = n, n = container_of(n->member.next, __typeof__(*n), member))

/* ---- bios */

#define REQ_OP_WRITE 1
#define REQ_OP_DISCARD 3
#define REQ_OP_WRITE_ZEROES 9
#define REQ_FUA (1u << 17)
#define REQ_NOUNMAP (1u << 24)

struct bvec_iter { sector_t bi_sector; u32 bi_size; };
struct bio { struct bvec_iter bi_iter; u32 bi_opf; void *data; };
struct bio_vec { void *data; u32 bv_len; };
struct bio_list { struct bio *head; };

#define bio_op(bio) ((bio)->bi_opf & 0xff)
#define bio_list_empty(list) (!(list)->head)
#define bio_for_each_segment(bv, bio, iter)						\
	for (iter = (bio)->bi_iter, bv = (struct bio_vec){ (bio)->data, iter.bi_size };	\
	     iter.bi_size; iter.bi_size = 0)
#define bvec_kmap_local(bv) ((bv)->data)
#define kunmap_local(at) ((void)(at))

/* ---- memory, order, numbers */

#define vmalloc_user(bytes) calloc(1, bytes)
#define vzalloc(bytes) calloc(1, bytes)
#define vfree(at) free(at)

#define READ_ONCE(x) (*(volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define smp_load_acquire(p) READ_ONCE(*(p))
#define smp_store_release(p, v) WRITE_ONCE(*(p), v)
#define smp_mb() ((void)0)
#define lockdep_assert_held(lock) ((void)(lock))
#define spin_lock_irq(lock) ((void)(lock))
#define spin_unlock_irq(lock) ((void)(lock))
#define BUILD_BUG_ON(bad) _Static_assert(!(bad), #bad)

#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define max3(a, b, c) max(a, max(b, c))
#define min_t(type, a, b) min((type)(a), (type)(b))

#define max_t(type, a, b) max((type)(a), (type)(b))
#ifndef clamp_t
#define clamp_t(type, a, low, high) min_t(type, max_t(type, a, low), high)
#endif
#ifndef DIV_ROUND_UP
#define DIV_ROUND_UP(a, b) (((a) + (b) - 1) / (b))
#endif
#ifndef NSEC_PER_MSEC
#define NSEC_PER_MSEC 1000000L
#endif
#define hweight64(x) ((u32)__builtin_popcountll(x))
#define __ffs64(x) ((u64)__builtin_ctzll(x))

#define le32_to_cpu(x) ((u32)(x))
#define le64_to_cpu(x) ((u64)(x))
#define cpu_to_le32(x) ((__le32)(x))
#define cpu_to_le64(x) ((__le64)(x))
#define wake_up_interruptible(queue) ((void)(queue))
#define wake_up(queue) ((void)(queue))

static inline void export_uuid(u8 *to, const uuid_t *from)
{
	memcpy(to, from->b, sizeof(from->b));
}

static inline u64 div_u64(u64 a, u32 b)
{
	return a / b;
}

static inline u64 ktime_get_ns(void)
{
	return 1;
}

static inline ktime_t ktime_get(void)
{
	return 1700000000000000000ll;
}

static inline ktime_t ktime_mono_to_real(ktime_t mono)
{
	return mono;
}

static inline s64 ktime_to_ns(ktime_t t)
{
	return t;
}

/* Without the inversions before and after, as the kernel's. */
static inline u32 crc32c(u32 crc, const void *data, size_t bytes)
{
	const u8 *at = data;

	while (bytes--) {
		crc ^= *at++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
	}
	return crc;
}

#endif
