// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/dm-cascade: how a daemon gets at a volume's ring (uapi/dm_cascade.h, section 3).
 *
 * An open file holds a reference to its volume from attach to release, so the ring's memory
 * outlives the target if it must. The page of words that a daemon may write belongs to its file: an
 * old mapping never reaches the page of a new daemon.
 */
#include "cascade.h"
#include "compat.h"

#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

struct cascade_file {
	struct mutex mutex;		/* attach against everything else */
	struct cascade_volume *v;	/* set once by attach */
	struct page *words;		/* set once by attach */
	bool revoked;			/* under v->lock */
};

/* Where each part is mapped: far apart, so that no size ever overlaps. */
enum { PART_KERNEL_WORDS, PART_DAEMON_WORDS, PART_PAYLOAD_POS, PART_RECORDS, PART_PAYLOAD };
#define PART_SHIFT 32

static u64 part_offset(int part)
{
	return (u64)part << PART_SHIFT;
}

/* The daemon, if there is one, is not listened to any more; it may attach again. */
void cascade_let_go(struct cascade_volume *v, enum cascade_let_go why)
{
	lockdep_assert_held(&v->lock);
	if (!v->owner)
		return;
	v->daemon = CASCADE_DAEMON_ABSENT;
	v->link = CASCADE_LINK_DOWN;
	cascade_resync_run(v, false, 0);
	v->owner->revoked = true;
	WRITE_ONCE(v->words->let_go, why);
	v->owner = NULL;
	v->daemon_words = NULL;
	cascade_later_event(v, CASCADE_EVENT_DAEMON);
	wake_up_interruptible(&v->poll_wait);
}

/* The daemon broke the rules. */
void cascade_revoke(struct cascade_volume *v, const char *why)
{
	DMERR("%s: daemon detached: %s; restart dmcascaded", v->name, why);
	cascade_let_go(v, CASCADE_LET_GO_BROKEN);
	v->daemon = CASCADE_DAEMON_REVOKED;
}

static int cascade_open(struct inode *inode, struct file *file)
{
	struct cascade_file *f = kzalloc(sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	mutex_init(&f->mutex);
	file->private_data = f;
	return 0;
}

/* Close, exit or kill of the daemon: its records stay for the next one. */
static int cascade_release(struct inode *inode, struct file *file)
{
	struct cascade_file *f = file->private_data;
	struct cascade_volume *v = f->v;
	bool detached = false;

	if (v) {
		spin_lock_irq(&v->lock);
		if (v->owner == f) {
			v->owner = NULL;
			v->daemon_words = NULL;
			v->daemon = CASCADE_DAEMON_ABSENT;
			v->link = CASCADE_LINK_DOWN;
			cascade_resync_run(v, false, 0);
			detached = true;
		}
		spin_unlock_irq(&v->lock);
		if (detached)
			cascade_netlink_event(v, CASCADE_EVENT_DAEMON);
		put_page(f->words);
		cascade_volume_put(v);
	}
	mutex_destroy(&f->mutex);
	kfree(f);
	return 0;
}

/* ---- attach */

static int take_ownership(struct cascade_volume *v, struct cascade_file *f, struct page *page,
			  struct cascade_attach *a)
{
	struct cascade_daemon_words *words = page_address(page);
	int r = 0;

	spin_lock_irq(&v->lock);
	if (v->gone || !v->live) {
		r = -ENODEV;
	} else if (v->owner) {
		r = -EBUSY;
	} else if (v->parting) {
		r = -EAGAIN;
	} else {
		words->received = v->received;
		words->stored = v->stored;
		words->consumed = v->stored;
		v->owner = f;
		WRITE_ONCE(v->words->let_go, CASCADE_LET_GO_NOT);
		v->daemon_words = words;
		v->daemon = CASCADE_DAEMON_ATTACHED;
		v->woken = 0;
		v->failing = false;
		a->sectors = v->sectors;
		a->published = v->published;
		a->stored = v->stored;
		a->started = v->started && !v->alone;
		a->hub_ack = v->hub_ack;
		a->send_order = v->send_order;
		a->logical_block = v->logical_block;
		a->end_seq = v->end_seq;
		a->before = (v->was_clean ? CASCADE_META_CLEAN : 0) |
			    (v->was_numbered ? CASCADE_META_NUMBERED : 0);
		export_uuid(a->incarnation, &v->incarnation);
		export_uuid(a->generation, &v->generation);
		export_uuid(a->parent, &v->parent);
		if (v->alone) {
			/* What the last ring had is for the bitmap to know. */
			smp_store_release(&v->words->published, 0);
			smp_store_release(&v->words->released, 0);
		}
		export_uuid(a->journal, &v->journal);
	}
	spin_unlock_irq(&v->lock);
	return r;
}

static void describe_ring(struct cascade_volume *v, struct cascade_attach *a)
{
	a->slots = v->nr_slots;
	a->payload_bytes = v->payload_bytes;
	a->kernel_words_offset = part_offset(PART_KERNEL_WORDS);
	a->daemon_words_offset = part_offset(PART_DAEMON_WORDS);
	a->payload_pos_offset = part_offset(PART_PAYLOAD_POS);
	a->records_offset = part_offset(PART_RECORDS);
	a->payload_offset = part_offset(PART_PAYLOAD);
	a->features = CASCADE_FEATURES_KNOWN;
	a->reserved0 = 0;
	a->payload_max = CASCADE_PAYLOAD_MAX;
	a->zero_max = CASCADE_ZERO_MAX;
	memset(a->reserved, 0, sizeof(a->reserved));
}

static int attach_volume(struct cascade_file *f, struct cascade_attach *a)
{
	struct cascade_volume *v;
	struct page *page;
	int r;

	if (a->reserved_in)
		return -EINVAL;
	if (f->v)
		return -EBUSY;
	v = cascade_volume_find(a->volume);
	if (!v)
		return -ENODEV;
	page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	r = page ? take_ownership(v, f, page, a) : -ENOMEM;
	if (r) {
		if (page)
			put_page(page);
		cascade_volume_put(v);
		return r;
	}
	describe_ring(v, a);
	f->words = page;
	/* Pairs with the load in attached(): whoever sees the volume sees the words. */
	smp_store_release(&f->v, v);
	cascade_netlink_event(v, CASCADE_EVENT_DAEMON);
	return 0;
}

static long cascade_attach(struct cascade_file *f, struct cascade_attach __user *user)
{
	struct cascade_attach a;
	int r;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (copy_from_user(&a, user, sizeof(a)))
		return -EFAULT;
	if (a.abi_version != CASCADE_ABI_VERSION) {
		if (put_user(CASCADE_ABI_VERSION, &user->abi_version))
			return -EFAULT;
		return -EPROTONOSUPPORT;
	}
	if (a.features & ~CASCADE_FEATURES_KNOWN) {
		if (put_user(CASCADE_FEATURES_KNOWN, &user->features))
			return -EFAULT;
		return -EOPNOTSUPP;
	}
	mutex_lock(&f->mutex);
	r = attach_volume(f, &a);
	mutex_unlock(&f->mutex);
	if (r)
		return r;
	return copy_to_user(user, &a, sizeof(a)) ? -EFAULT : 0;
}

/* ---- what an attached daemon asks for */

/* Whether it still is the volume's daemon. */
static bool owns(struct cascade_volume *v, struct cascade_file *f)
{
	lockdep_assert_held(&v->lock);
	return v->owner == f && !v->gone;
}

static struct cascade_volume *attached(struct cascade_file *f)
{
	return smp_load_acquire(&f->v);
}

static int check_owner(struct cascade_volume *v, struct cascade_file *f)
{
	bool owner;

	spin_lock_irq(&v->lock);
	owner = owns(v, f);
	spin_unlock_irq(&v->lock);
	return owner ? 0 : -EIO;
}

static int may_start(struct cascade_volume *v, struct cascade_file *f, u64 base)
{
	lockdep_assert_held(&v->lock);
	if (!owns(v, f))
		return -EIO;
	if (v->started && !v->alone)
		return -EALREADY;
	return base < CASCADE_SEQ_MAX ? 0 : -EINVAL;
}

/* First on disk: else a crash would leave writes whose number nobody knows. */
static int start_numbered(struct cascade_volume *v, struct cascade_file *f,
			  const struct cascade_start *start)
{
	int r;

	spin_lock_irq(&v->lock);
	r = may_start(v, f, start->base_seq);
	spin_unlock_irq(&v->lock);
	if (!r)
		r = cascade_rejoin(v);
	if (r)
		return r;
	r = cascade_meta_numbered(v, start->base_seq, start->journal);
	spin_lock_irq(&v->lock);
	if (!r)
		r = may_start(v, f, start->base_seq);
	if (!r)
		cascade_ring_start(v, start->base_seq);
	spin_unlock_irq(&v->lock);
	cascade_rejoined(v);
	return r;
}

static long cascade_start(struct cascade_file *f, struct cascade_start __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_start start;
	int r;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&start, user, sizeof(start)))
		return -EFAULT;
	if (memchr_inv(start.reserved, 0, sizeof(start.reserved)))
		return -EINVAL;
	mutex_lock(&v->meta_mutex);
	r = start_numbered(v, f, &start);
	mutex_unlock(&v->meta_mutex);
	return r;
}

static long cascade_doorbell(struct cascade_file *f)
{
	struct cascade_volume *v = attached(f);
	LIST_HEAD(finished);
	int r = 0;

	if (!v)
		return -EINVAL;
	spin_lock_irq(&v->lock);
	if (owns(v, f)) {
		v->nr_doorbells++;
		cascade_ring_advance(v, &finished);
	}
	if (!owns(v, f))
		r = -EIO;
	spin_unlock_irq(&v->lock);
	cascade_finish(&finished);
	return r;
}

static long cascade_set_link(struct cascade_file *f, struct cascade_link __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_link link;
	bool changed = false;
	int r = -EIO;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&link, user, sizeof(link)))
		return -EFAULT;
	if (link.state < CASCADE_LINK_DOWN || link.state > CASCADE_LINK_UP ||
	    memchr_inv(link.reserved, 0, sizeof(link.reserved)))
		return -EINVAL;
	spin_lock_irq(&v->lock);
	if (owns(v, f)) {
		changed = v->link != link.state;
		v->link = link.state;
		r = 0;
	}
	spin_unlock_irq(&v->lock);
	if (changed)
		cascade_netlink_event(v, CASCADE_EVENT_LINK);
	return r;
}

static long cascade_set_resync(struct cascade_file *f, struct cascade_resync_run __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_resync_run resync;
	int r = -EIO;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&resync, user, sizeof(resync)))
		return -EFAULT;
	if (resync.run > 1 || resync.reserved0 ||
	    memchr_inv(resync.reserved, 0, sizeof(resync.reserved)))
		return -EINVAL;
	spin_lock_irq(&v->lock);
	if (owns(v, f)) {
		cascade_resync_run(v, resync.run, resync.until);
		r = 0;
	}
	spin_unlock_irq(&v->lock);
	return r;
}

static int check_peek(struct cascade_volume *v, struct cascade_file *f,
		      const struct cascade_peek *peek)
{
	if (peek->from % CASCADE_META_REGION_SECTORS ||
	    memchr_inv(peek->reserved, 0, sizeof(peek->reserved)))
		return -EINVAL;
	return check_owner(v, f);
}

/* Nothing is copied to the daemon under a lock: its page may have to be fetched through us. */
static long cascade_peek(struct cascade_file *f, struct cascade_peek __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_peek peek;
	void *buffer;
	int r;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&peek, user, sizeof(peek)))
		return -EFAULT;
	r = check_peek(v, f, &peek);
	if (r)
		return r;
	buffer = vmalloc(CASCADE_REGION_BYTES);
	if (!buffer)
		return -ENOMEM;
	r = cascade_resync_peek(v, &peek, buffer);
	if (!r && !peek.error && copy_to_user(u64_to_user_ptr(peek.buffer), buffer, peek.bytes))
		r = -EFAULT;
	vfree(buffer);
	if (r)
		return r;
	return copy_to_user(user, &peek, sizeof(peek)) ? -EFAULT : 0;
}

static long cascade_same(struct cascade_file *f, struct cascade_same __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_same same;
	int r;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&same, user, sizeof(same)))
		return -EFAULT;
	if (memchr_inv(same.reserved, 0, sizeof(same.reserved)))
		return -EINVAL;
	spin_lock_irq(&v->lock);
	r = owns(v, f) ? cascade_resync_same(v, &same) : -EIO;
	spin_unlock_irq(&v->lock);
	return r;
}

static long cascade_verify(struct cascade_file *f, struct cascade_verify __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_verify verify;
	int r;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&verify, user, sizeof(verify)))
		return -EFAULT;
	if (!verify.bytes || verify.bytes > CASCADE_REGION_BYTES || verify.content > 1)
		return -EINVAL;
	r = check_owner(v, f);
	if (!r)
		r = cascade_verify_range(v, &verify);
	if (r)
		return r;
	return copy_to_user(user, &verify, sizeof(verify)) ? -EFAULT : 0;
}

static long cascade_set_lease(struct cascade_file *f, struct cascade_lease __user *user)
{
	struct cascade_volume *v = attached(f);
	struct cascade_lease lease;
	int r = -EIO;

	if (!v)
		return -EINVAL;
	if (copy_from_user(&lease, user, sizeof(lease)))
		return -EFAULT;
	if (lease.fence < CASCADE_FENCE_DATA || lease.fence > CASCADE_FENCE_WITNESS ||
	    memchr_inv(lease.reserved, 0, sizeof(lease.reserved)))
		return -EINVAL;
	spin_lock_irq(&v->lock);
	if (owns(v, f))
		r = cascade_lease_take(v, lease.duration_ms, lease.fence);
	spin_unlock_irq(&v->lock);
	return r;
}

static long cascade_leave(struct cascade_file *f)
{
	struct cascade_volume *v = attached(f);
	const char *why;
	int r;

	if (!v)
		return -EINVAL;
	spin_lock_irq(&v->lock);
	r = owns(v, f) ? cascade_may_be_told(v, &why) : -EIO;
	spin_unlock_irq(&v->lock);
	if (r)
		return r;
	return cascade_go_alone(v, why) ? -EIO : 0;
}

static long cascade_anew(struct cascade_file *f)
{
	struct cascade_volume *v = attached(f);

	if (!v)
		return -EINVAL;
	if (check_owner(v, f))
		return -EIO;
	return cascade_begin_anew(v) ? -EIO : 0;
}

static long cascade_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct cascade_file *f = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case CASCADE_IOC_ATTACH:
		return cascade_attach(f, user);
	case CASCADE_IOC_START:
		return cascade_start(f, user);
	case CASCADE_IOC_DOORBELL:
		return cascade_doorbell(f);
	case CASCADE_IOC_LINK:
		return cascade_set_link(f, user);
	case CASCADE_IOC_RESYNC:
		return cascade_set_resync(f, user);
	case CASCADE_IOC_LEASE:
		return cascade_set_lease(f, user);
	case CASCADE_IOC_PEEK:
		return cascade_peek(f, user);
	case CASCADE_IOC_SAME:
		return cascade_same(f, user);
	case CASCADE_IOC_VERIFY:
		return cascade_verify(f, user);
	case CASCADE_IOC_ALONE:
		return cascade_leave(f);
	case CASCADE_IOC_ANEW:
		return cascade_anew(f);
	default:
		return -ENOTTY;
	}
}

static __poll_t cascade_poll(struct file *file, poll_table *wait)
{
	struct cascade_file *f = file->private_data;
	struct cascade_volume *v = attached(f);
	__poll_t mask = 0;

	if (!v)
		return EPOLLERR;
	poll_wait(file, &v->poll_wait, wait);
	spin_lock_irq(&v->lock);
	if (v->gone)
		mask |= EPOLLHUP;
	if (f->revoked)
		mask |= EPOLLERR;
	/* UNTRUSTED: a wrong value only hurts the daemon's own sleep. */
	if (v->owner == f && v->published > READ_ONCE(v->daemon_words->consumed))
		mask |= EPOLLIN | EPOLLRDNORM;
	spin_unlock_irq(&v->lock);
	return mask;
}

/* ---- memory */

static int map_daemon_words(struct cascade_file *f, struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, f->words);
}

static int map_readonly(struct vm_area_struct *vma, void *area)
{
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	vm_flags_clear(vma, VM_MAYWRITE);
	return remap_vmalloc_range(vma, area, 0);
}

static int cascade_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct cascade_file *f = file->private_data;
	struct cascade_volume *v = attached(f);
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;

	if (!v || !(vma->vm_flags & VM_SHARED) || offset & (BIT_ULL(PART_SHIFT) - 1))
		return -EINVAL;
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	switch (offset >> PART_SHIFT) {
	case PART_KERNEL_WORDS:
		return map_readonly(vma, v->words);
	case PART_DAEMON_WORDS:
		return map_daemon_words(f, vma);
	case PART_PAYLOAD_POS:
		return map_readonly(vma, v->payload_pos);
	case PART_RECORDS:
		return map_readonly(vma, v->records);
	case PART_PAYLOAD:
		return map_readonly(vma, v->payload);
	default:
		return -EINVAL;
	}
}

static const struct file_operations cascade_fops = {
	.owner = THIS_MODULE,
	.open = cascade_open,
	.release = cascade_release,
	.unlocked_ioctl = cascade_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = cascade_poll,
	.mmap = cascade_mmap,
	.llseek = noop_llseek,
};

static struct miscdevice cascade_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = CASCADE_DEVICE_NAME,
	.fops = &cascade_fops,
	.mode = 0600,
};

int cascade_cdev_init(void)
{
	return misc_register(&cascade_misc);
}

void cascade_cdev_exit(void)
{
	misc_deregister(&cascade_misc);
}
