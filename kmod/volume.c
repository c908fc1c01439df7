// SPDX-License-Identifier: GPL-2.0-only
/*
 * Volumes, found by their UUID. A table joins the volume that exists, or makes a new one.
 */
#include "cascade.h"
#include "compat.h"

#include <linux/sched/mm.h>

DEFINE_MUTEX(cascade_volumes_mutex);
LIST_HEAD(cascade_volumes);

static u64 next_id = 1;		/* under cascade_volumes_mutex */

static struct cascade_volume *find(const uuid_t *uuid)
{
	struct cascade_volume *v;

	lockdep_assert_held(&cascade_volumes_mutex);
	list_for_each_entry(v, &cascade_volumes, list)
		if (uuid_equal(&v->uuid, uuid))
			return v;
	return NULL;
}

struct cascade_volume *cascade_volume_find(const u8 *uuid)
{
	struct cascade_volume *v;
	uuid_t wanted;

	import_uuid(&wanted, uuid);
	mutex_lock(&cascade_volumes_mutex);
	v = find(&wanted);
	if (v)
		kref_get(&v->kref);
	mutex_unlock(&cascade_volumes_mutex);
	return v;
}

static void free_volume(struct kref *kref)
{
	struct cascade_volume *v = container_of(kref, struct cascade_volume, kref);

	cancel_delayed_work_sync(&v->sweep_work);
	cancel_delayed_work_sync(&v->lease_work);
	cancel_delayed_work_sync(&v->stall_work);
	cancel_delayed_work_sync(&v->resync.work);
	cancel_work_sync(&v->event_work);
	destroy_workqueue(v->wq);
	bioset_exit(&v->bios);
	cascade_ring_free(v);
	cascade_resync_free(v);
	cascade_bitmap_free(&v->bitmap);
	free_page((unsigned long)v->meta_block);
	free_page((unsigned long)v->meta);
	kfree(v);
}

void cascade_volume_put(struct cascade_volume *v)
{
	kref_put(&v->kref, free_volume);
}

/* Events from atomic context. Apart from the worker, which must never wait for memory. */
static void send_events(struct work_struct *work)
{
	struct cascade_volume *v = container_of(work, struct cascade_volume, event_work);
	unsigned long events;
	unsigned int event;

	spin_lock_irq(&v->lock);
	events = v->events;
	v->events = 0;
	spin_unlock_irq(&v->lock);
	if (events & BIT(CASCADE_EVENT_DIFFERS))
		cascade_meta_save(v);
	for_each_set_bit(event, &events, BITS_PER_LONG)
		cascade_netlink_event(v, event);
}

void cascade_later_event(struct cascade_volume *v, enum cascade_event event)
{
	lockdep_assert_held(&v->lock);
	v->events |= BIT(event);
	schedule_work(&v->event_work);
}

static struct cascade_volume *make_volume(const struct cascade_target *t)
{
	const struct cascade_options *options = &t->options;
	struct cascade_volume *v = kzalloc(sizeof(*v), GFP_KERNEL);

	if (!v)
		return NULL;
	kref_init(&v->kref);
	uuid_copy(&v->uuid, &options->uuid);
	uuid_gen(&v->incarnation);
	mutex_init(&v->meta_mutex);
	mutex_init(&v->bitmap_mutex);
	v->meta_dev = t->meta_dev->bdev->bd_dev;
	v->meta_start = t->meta_start;
	spin_lock_init(&v->lock);
	v->tree = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&v->issue);
	INIT_LIST_HEAD(&v->zeroing);
	INIT_LIST_HEAD(&v->flushes);
	bio_list_init(&v->deferred);
	bio_list_init(&v->unmarked);
	init_waitqueue_head(&v->poll_wait);
	init_waitqueue_head(&v->quiet);
	INIT_WORK(&v->work, cascade_work);
	INIT_WORK(&v->zero_work, cascade_zero_work);
	INIT_WORK(&v->mark_work, cascade_mark_work);
	INIT_DELAYED_WORK(&v->sweep_work, cascade_sweep_work);
	INIT_DELAYED_WORK(&v->lease_work, cascade_lease_work);
	INIT_DELAYED_WORK(&v->stall_work, cascade_stall_work);
	INIT_WORK(&v->event_work, send_events);
	v->daemon = CASCADE_DAEMON_ABSENT;
	v->link = CASCADE_LINK_DOWN;
	v->meta = (void *)__get_free_page(GFP_KERNEL);
	v->meta_block = (void *)__get_free_page(GFP_KERNEL);
	if (!v->meta || !v->meta_block)
		goto free_meta;
	if (cascade_bitmap_alloc(&v->bitmap, t->ti->len))
		goto free_meta;
	if (cascade_resync_alloc(v))
		goto free_bitmap;
	if (cascade_ring_alloc(v, options->ring_kib))
		goto free_resync;
	if (bioset_init(&v->bios, BIO_POOL_SIZE, 0, BIOSET_NEED_BVECS | BIOSET_NEED_RESCUER))
		goto free_ring;
	v->wq = alloc_workqueue("dm-cascade", WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_PERCPU, 0);
	if (!v->wq)
		goto exit_bios;
	return v;

exit_bios:
	bioset_exit(&v->bios);
free_ring:
	cascade_ring_free(v);
free_resync:
	cascade_resync_free(v);
free_bitmap:
	cascade_bitmap_free(&v->bitmap);
free_meta:
	free_page((unsigned long)v->meta_block);
	free_page((unsigned long)v->meta);
	kfree(v);
	return NULL;
}

/* Whether another device than @t's has the volume; its own earlier table is no other. */
bool cascade_volume_taken(struct cascade_volume *v, struct cascade_target *t)
{
	lockdep_assert_held(&cascade_volumes_mutex);
	return v->live &&
	       dm_table_get_md(v->live->ti->table) != dm_table_get_md(t->ti->table);
}

static int may_join(struct cascade_volume *v, struct cascade_target *t)
{
	if (cascade_volume_taken(v, t)) {
		t->ti->error = "Volume UUID is in use by another device";
		return -EBUSY;
	}
	if (v->payload_bytes != (u64)t->options.ring_kib * 1024) {
		t->ti->error = "ring_size cannot be changed by a reload: remove the device and create it anew";
		return -EINVAL;
	}
	if (v->meta_dev != t->meta_dev->bdev->bd_dev || v->meta_start != t->meta_start) {
		t->ti->error = "The metadata area cannot be moved by a reload: remove the device and create it anew";
		return -EINVAL;
	}
	return 0;
}

int cascade_volume_join(struct cascade_target *t)
{
	struct cascade_volume *v;
	unsigned int noio;
	int r = 0;

	mutex_lock(&cascade_volumes_mutex);
	/* Whoever is to free memory by writing to another volume may need the mutex for that. */
	noio = memalloc_noio_save();
	v = find(&t->options.uuid);
	if (v) {
		r = may_join(v, t);
		if (r)
			goto unlock;
		kref_get(&v->kref);
	} else {
		v = make_volume(t);
		if (!v) {
			t->ti->error = "Not enough memory for the ring and the bitmap";
			r = -ENOMEM;
			goto unlock;
		}
		v->id = next_id++;
		list_add_tail(&v->list, &cascade_volumes);
	}
	v->targets++;
	t->v = v;
unlock:
	memalloc_noio_restore(noio);
	mutex_unlock(&cascade_volumes_mutex);
	return r;
}

/*
 * Called from the destructor: dm has waited for every bio of the table, so no cascade_io and no
 * local write of this target is left. What may still refer to the volume:
 *   1. another table of the same device: counted in @targets, the volume stays;
 *   2. the workers: flushed below, and nothing queues them again without bios or a daemon;
 *   3. the daemon's open file: holds a reference, sees @gone;
 *   4. whoever published a write and is about to wake the daemon: under RCU.
 */
void cascade_volume_leave(struct cascade_target *t)
{
	struct cascade_volume *v = t->v;
	bool last, removed;
	u64 lost;

	mutex_lock(&v->meta_mutex);
	mutex_lock(&cascade_volumes_mutex);
	last = !--v->targets;
	if (last)
		list_del(&v->list);
	spin_lock_irq(&v->lock);
	removed = v->live == t;
	if (removed)
		v->live = NULL;
	if (last)
		v->gone = true;
	lost = v->published - v->stored;
	spin_unlock_irq(&v->lock);
	mutex_unlock(&cascade_volumes_mutex);
	mutex_unlock(&v->meta_mutex);

	/* The workers may still be on their way out of the function that ended the last bio. */
	flush_work(&v->zero_work);
	flush_work(&v->mark_work);
	flush_work(&v->work);
	if (last) {
		wake_up_all(&v->poll_wait);
		flush_work(&v->event_work);
		if (removed && lost)
			DMWARN("%s: removed with %llu writes that the hub has not stored", v->name,
			       lost);
		if (removed)
			cascade_netlink_event(v, CASCADE_EVENT_REMOVED);
		synchronize_rcu();
	}
	cascade_volume_put(v);
}

/* For `dmsetup wait`. The mutex keeps the live table from going away meanwhile. */
void cascade_table_event(struct cascade_volume *v)
{
	mutex_lock(&cascade_volumes_mutex);
	if (v->live)
		dm_table_event(v->live->ti->table);
	mutex_unlock(&cascade_volumes_mutex);
}

void cascade_volume_look_up_name(struct cascade_volume *v)
{
	char name[DM_NAME_LEN], uuid[DM_UUID_LEN];

	lockdep_assert_held(&cascade_volumes_mutex);
	if (!v->live || dm_copy_name_and_uuid(dm_table_get_md(v->live->ti->table), name, uuid))
		return;
	spin_lock_irq(&v->lock);
	strscpy(v->name, name, sizeof(v->name));
	spin_unlock_irq(&v->lock);
}

void cascade_volume_name(struct cascade_volume *v)
{
	mutex_lock(&cascade_volumes_mutex);
	cascade_volume_look_up_name(v);
	mutex_unlock(&cascade_volumes_mutex);
}

void cascade_queue_work(struct cascade_volume *v)
{
	queue_work(v->wq, &v->work);
}
