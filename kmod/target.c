// SPDX-License-Identifier: GPL-2.0-only
/*
 * dm target "cascade": the hooks of device-mapper, and the module itself.
 */
#include "cascade.h"
#include "compat.h"

#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/module.h>

/*
 * How long a suspend waits for the hub to store what is on its way: while writes go on, and then for
 * the rest, while they stand.
 */
#define SETTLE_MS_RUNNING 10000
#define SETTLE_MS_FROZEN 1000
#define SETTLE_MS_STEP 20

static int check_device(struct cascade_target *t)
{
	struct block_device *bdev = t->dev->bdev;
	sector_t sectors = bdev_nr_sectors(bdev);
	u32 block = bdev_logical_block_size(bdev) >> SECTOR_SHIFT;

	if (t->start > sectors || t->ti->len > sectors - t->start) {
		t->ti->error = "Backing device is too small for offset and length";
		return -EINVAL;
	}
	if ((t->start | t->ti->len) & (block - 1)) {
		t->ti->error = "Offset and length must be multiples of the device's logical block";
		return -EINVAL;
	}
	if (bdev_is_zoned(bdev)) {
		t->ti->error = "Zoned backing devices are not supported";
		return -EINVAL;
	}
	return 0;
}

static void set_features(struct dm_target *ti, struct block_device *bdev)
{
	bool zeroes = bdev_write_zeroes_sectors(bdev);

	ti->per_io_data_size = sizeof(struct cascade_io);
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->limit_swap_bios = true;
	/* A discard is carried out as zeroing, on every copy; without that there is none. */
	ti->num_discard_bios = zeroes;
	ti->discards_supported = zeroes;
	ti->num_write_zeroes_bios = zeroes;
}

static int cascade_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct cascade_target *t = kzalloc(sizeof(*t), GFP_KERNEL);
	int r;

	if (!t) {
		ti->error = "Not enough memory";
		return -ENOMEM;
	}
	t->ti = ti;
	r = cascade_parse_table(t, argc, argv);
	if (r)
		goto free_target;
	r = check_device(t);
	if (r)
		goto put_device;
	r = cascade_meta_check(t);
	if (r)
		goto put_device;
	r = cascade_volume_join(t);
	if (r)
		goto put_device;
	set_features(ti, t->dev->bdev);
	ti->private = t;
	return 0;

put_device:
	dm_put_device(ti, t->meta_dev);
	dm_put_device(ti, t->dev);
free_target:
	kfree(t);
	return r;
}

static void cascade_dtr(struct dm_target *ti)
{
	struct cascade_target *t = ti->private;

	cascade_volume_leave(t);
	dm_put_device(ti, t->meta_dev);
	dm_put_device(ti, t->dev);
	kfree(t);
}

/* ---- suspend and resume */

static void end_requeue(struct cascade_volume *v)
{
	spin_lock_irq(&v->lock);
	v->requeue = false;
	cascade_queue_work(v);
	spin_unlock_irq(&v->lock);
}

static void cascade_presuspend_undo(struct dm_target *ti)
{
	struct cascade_target *t = ti->private;

	end_requeue(t->v);
	cascade_resync_hold(t->v, false);
}

/* Whether the hub has stored what was there when @seq was the last. */
static bool settled(struct cascade_volume *v, u64 seq)
{
	bool done;

	cascade_look(v);
	spin_lock_irq(&v->lock);
	done = v->stored >= seq || v->alone || v->daemon != CASCADE_DAEMON_ATTACHED;
	spin_unlock_irq(&v->lock);
	return done;
}

static bool settle(struct cascade_volume *v, int ms_max)
{
	u64 seq;
	int ms;

	spin_lock_irq(&v->lock);
	seq = v->reserved;
	spin_unlock_irq(&v->lock);
	for (ms = 0; !settled(v, seq); ms += SETTLE_MS_STEP) {
		if (ms >= ms_max)
			return false;
		msleep(SETTLE_MS_STEP);
	}
	return true;
}

static void cascade_presuspend(struct dm_target *ti)
{
	struct cascade_target *t = ti->private;
	struct cascade_volume *v = t->v;

	cascade_resync_hold(v, true);
	if (!dm_noflush_suspending(ti)) {
		settle(v, SETTLE_MS_RUNNING);
		return;
	}
	spin_lock_irq(&v->lock);
	v->requeue = true;
	spin_unlock_irq(&v->lock);
	cascade_give_up(v, BLK_STS_DM_REQUEUE);
}

static void cascade_postsuspend(struct dm_target *ti)
{
	struct cascade_target *t = ti->private;

	if (t->v->requeue)
		return;
	/* Under memory-sync completed writes may not be stored yet. */
	if (!settle(t->v, SETTLE_MS_FROZEN))
		DMWARN("%s: suspended before the hub has stored all writes it has received",
		       t->v->name);
	cascade_meta_close(t);
}

/* Whether this table may come alive; meta_mutex held, so nobody else does meanwhile. */
static int may_live(struct cascade_target *t, const char *name)
{
	struct cascade_volume *v = t->v;
	u32 block = bdev_logical_block_size(t->dev->bdev);
	bool taken, unaligned;

	mutex_lock(&cascade_volumes_mutex);
	spin_lock_irq(&v->lock);
	taken = cascade_volume_taken(v, t);
	unaligned = v->payload_head & (block - 1);
	spin_unlock_irq(&v->lock);
	mutex_unlock(&cascade_volumes_mutex);
	if (taken) {
		DMERR("%s: volume UUID is in use by another device", name);
		return -EBUSY;
	}
	if (unaligned) {
		DMERR("%s: the ring holds smaller blocks than the new device has: remove the device and create it anew",
		      name);
		return -EINVAL;
	}
	return 0;
}

static void take_over(struct cascade_target *t, const char *name)
{
	struct cascade_volume *v = t->v;
	bool resized;

	mutex_lock(&cascade_volumes_mutex);
	spin_lock_irq(&v->lock);
	v->live = t;
	v->requeue = false;
	resized = v->sectors && v->sectors != t->ti->len;
	v->sectors = t->ti->len;
	v->logical_block = bdev_logical_block_size(t->dev->bdev);
	v->send_order = t->options.send_order;
	v->cannot_zero = false;
	/* What waits may wait for the other word now. */
	v->none_waits = 0;
	v->hub_ack = t->options.hub_ack;
	cascade_set_fence(v, t->options.fence, t->options.on_fence);
	strscpy(v->name, name, sizeof(v->name));
	/* Before a write there can be published. */
	cascade_ring_tell(v);
	if (resized)
		cascade_later_event(v, CASCADE_EVENT_RESIZED);
	spin_unlock_irq(&v->lock);
	mutex_unlock(&cascade_volumes_mutex);
}

static int cascade_preresume(struct dm_target *ti)
{
	struct cascade_target *t = ti->private;
	struct cascade_volume *v = t->v;
	char name[DM_NAME_LEN], uuid[DM_UUID_LEN];
	bool first;
	int r;

	if (dm_copy_name_and_uuid(dm_table_get_md(ti->table), name, uuid))
		strscpy(name, dm_table_device_name(ti->table), sizeof(name));
	mutex_lock(&v->meta_mutex);
	first = !v->live;
	r = may_live(t, name);
	if (!r)
		r = cascade_meta_open(t);
	if (!r)
		take_over(t, name);
	mutex_unlock(&v->meta_mutex);
	if (!r && first)
		cascade_netlink_event(v, CASCADE_EVENT_CREATED);
	return r;
}

static void cascade_resume(struct dm_target *ti)
{
	struct cascade_target *t = ti->private;

	cascade_queue_work(t->v);
	cascade_resync_hold(t->v, false);
}

/* ---- status and messages */

static const char *daemon_word(enum cascade_daemon_state state)
{
	switch (state) {
	case CASCADE_DAEMON_ATTACHED:
		return "attached";
	case CASCADE_DAEMON_REVOKED:
		return "revoked";
	default:
		return "absent";
	}
}

static const char *link_word(enum cascade_link_state state)
{
	switch (state) {
	case CASCADE_LINK_UP:
		return "up";
	case CASCADE_LINK_CONNECTING:
		return "connecting";
	default:
		return "down";
	}
}

/* Why the volume and the hub's copy may differ. */
static const char *differs_word(u32 differs)
{
	static const char *const words[CASCADE_DIFFERS_KNOWN + 1] = {
		"-",
		"unclean",
		"local-error",
		"unclean,local-error",
		"outside",
		"unclean,outside",
		"local-error,outside",
		"unclean,local-error,outside",
	};

	return words[differs & CASCADE_DIFFERS_KNOWN];
}

static const char *resync_word(struct cascade_volume *v)
{
	static const char *const words[] = {
		[CASCADE_RESYNC_NONE] = "-",
		[CASCADE_RESYNC_WAITING] = "waiting",
		[CASCADE_RESYNC_PAUSED] = "paused",
		[CASCADE_RESYNC_RUNNING] = "running",
	};

	return words[cascade_resync_state(v)];
}

static void print_info(struct cascade_target *t, char *result, unsigned int maxlen)
{
	struct cascade_volume *v = t->v;
	unsigned int sz = 0;
	u64 lease;

	cascade_look(v);
	spin_lock_irq(&v->lock);
	DMEMIT("%s %s %s %s %llu %llu %llu %llu %u %u %llu/%llu %s %s %4phN %llu %llu %s",
	       daemon_word(v->daemon), link_word(v->link), cascade_hub_ack_word(t->options.hub_ack),
	       cascade_send_order_word(t->options.send_order), v->published, v->received,
	       v->stored, v->released, v->nr_ios, v->nr_deferred,
	       (v->payload_head - v->payload_tail) / 1024, v->payload_bytes / 1024,
	       cascade_waiting_word(cascade_why_waiting(v)), differs_word(v->differs), &v->generation,
	       v->bitmap.nr_out_of_sync * CASCADE_META_REGION_SECTORS,
	       v->bitmap.nr_marked * CASCADE_META_REGION_SECTORS, resync_word(v));
	lease = cascade_lease_left(v);
	DMEMIT(" %s ", cascade_fence_word(t->options.fence));
	if (v->alone || !lease)
		DMEMIT("%s", v->alone ? "alone" : "-");
	else
		DMEMIT("%llu", lease);
	DMEMIT(" %llu %llu", v->local_errors, cascade_oldest_ms(v));
	spin_unlock_irq(&v->lock);
}

static void print_ima(struct cascade_target *t, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	DMEMIT_TARGET_NAME_VERSION(t->ti->type);
	DMEMIT(",volume=%pUb,device_name=%s,start=%llu,meta_device_name=%s,meta_start=%llu",
	       &t->options.uuid, t->dev->name, (unsigned long long)t->start, t->meta_dev->name,
	       (unsigned long long)t->meta_start);
	DMEMIT(",send_order=%s,hub_ack=%s,ring_size=%u,fence_level=%s,on_fence=%s;",
	       cascade_send_order_word(t->options.send_order),
	       cascade_hub_ack_word(t->options.hub_ack), t->options.ring_kib,
	       cascade_fence_word(t->options.fence), cascade_on_fence_word(t->options.on_fence));
}

static void cascade_status(struct dm_target *ti, status_type_t type, unsigned int status_flags,
			   char *result, unsigned int maxlen)
{
	struct cascade_target *t = ti->private;

	switch (type) {
	case STATUSTYPE_INFO:
		print_info(t, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		cascade_print_table(t, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		print_ima(t, result, maxlen);
		break;
	}
}

/* Without a daemon, writes go on failing until one attaches. */
static void fail_writes(struct cascade_volume *v)
{
	DMWARN("%s: failing all waiting writes, as told", v->name);
	spin_lock_irq(&v->lock);
	v->failing = v->daemon != CASCADE_DAEMON_ATTACHED && !v->alone;
	v->fail_round++;
	spin_unlock_irq(&v->lock);
	cascade_give_up(v, BLK_STS_IOERR);
}

static int resync_message(struct cascade_volume *v, unsigned int argc, char **argv)
{
	unsigned int rate;

	if (argc == 1 && !strcasecmp(argv[0], "pause"))
		cascade_resync_set(v, true, v->resync.pace.rate_kib);
	else if (argc == 1 && !strcasecmp(argv[0], "resume"))
		cascade_resync_set(v, false, v->resync.pace.rate_kib);
	else if (argc == 2 && !strcasecmp(argv[0], "rate") && !kstrtouint(argv[1], 10, &rate))
		cascade_resync_set(v, v->resync.paused, rate);
	else
		goto unknown;
	return 0;

unknown:
	DMERR("%s: resync takes pause, resume, or rate <KiB a second, 0: no limit>", v->name);
	return -EINVAL;
}

/* As a reload would set it, and as the table says from then on. */
static int fence_message(struct cascade_target *t, const char *name, const char *value)
{
	struct cascade_options options = t->options;
	char *error;

	if (!cascade_parse_fence(&options, name, value, &error)) {
		DMERR("%s: %s", t->v->name, error);
		return -EINVAL;
	}
	spin_lock_irq(&t->v->lock);
	t->options.fence = options.fence;
	t->options.on_fence = options.on_fence;
	if (t->v->live == t)
		cascade_set_fence(t->v, options.fence, options.on_fence);
	spin_unlock_irq(&t->v->lock);
	return 0;
}

static int cascade_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			   unsigned int maxlen)
{
	struct cascade_target *t = ti->private;

	if (argc == 1 && !strcasecmp(argv[0], "fail_writes")) {
		fail_writes(t->v);
		return 0;
	}
	if (argc == 1 && !strcasecmp(argv[0], "go_alone"))
		return cascade_go_alone(t->v, "told to");
	if (argc >= 2 && !strcasecmp(argv[0], "resync"))
		return resync_message(t->v, argc - 1, argv + 1);
	if (argc == 2 && (!strcasecmp(argv[0], "fence_level") || !strcasecmp(argv[0], "on_fence")))
		return fence_message(t, argv[0], argv[1]);
	DMERR("%s: unknown message %s; known: fail_writes, go_alone, fence_level, on_fence, resync pause|resume|rate", t->v->name,
	      argc ? argv[0] : "(none)");
	return -EINVAL;
}

/* ---- the backing device */

static int cascade_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct cascade_target *t = ti->private;

	return fn(ti, t->dev, t->start, ti->len, data);
}

static void cascade_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	struct cascade_target *t = ti->private;
	unsigned int zeroes = min_t(unsigned int, bdev_write_zeroes_sectors(t->dev->bdev),
				    CASCADE_ZERO_MAX >> SECTOR_SHIFT);

	limits->max_write_zeroes_sectors = zeroes;
	cascade_limit_unmap(limits, zeroes);
	cascade_max_discard(limits) = zeroes;
	limits->max_secure_erase_sectors = 0;
	if (zeroes && !limits->discard_granularity)
		limits->discard_granularity = limits->physical_block_size;
}

static struct target_type cascade_target_type = {
	.name = "cascade",
	.version = { 0, 1, 0 },
	/*
	 * Two targets of one volume in a table would mirror into each other's sectors. No PASSES_CRYPTO:
	 * what travels is what the bio holds, so inline encryption has to be done above.
	 */
	.features = DM_TARGET_SINGLETON | DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = cascade_ctr,
	.dtr = cascade_dtr,
	.map = cascade_map,
	.presuspend = cascade_presuspend,
	.presuspend_undo = cascade_presuspend_undo,
	.postsuspend = cascade_postsuspend,
	.preresume = cascade_preresume,
	.resume = cascade_resume,
	.status = cascade_status,
	.message = cascade_message,
	.iterate_devices = cascade_iterate_devices,
	.io_hints = cascade_io_hints,
};

static int __init cascade_init(void)
{
	int r;

	cascade_meta_init();
	r = cascade_netlink_init();
	if (r)
		return r;
	r = cascade_cdev_init();
	if (r)
		goto exit_netlink;
	r = dm_register_target(&cascade_target_type);
	if (r)
		goto exit_cdev;
	return 0;

exit_cdev:
	cascade_cdev_exit();
exit_netlink:
	cascade_netlink_exit();
	return r;
}

static void __exit cascade_exit(void)
{
	dm_unregister_target(&cascade_target_type);
	cascade_cdev_exit();
	cascade_netlink_exit();
}

module_init(cascade_init);
module_exit(cascade_exit);

MODULE_DESCRIPTION("Device-mapper target that mirrors writes to a hub through a user-space daemon");
MODULE_AUTHOR("The dm-cascade developers");
MODULE_LICENSE("GPL");
