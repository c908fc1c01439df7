// SPDX-License-Identifier: GPL-2.0-only
/*
 * Generic netlink family (uapi/dm_cascade.h, section 4): what there is, how it is, and events.
 */
#include "cascade.h"

#include <net/genetlink.h>

static struct genl_family cascade_family;

enum { GROUP_EVENTS };

static const struct genl_multicast_group cascade_groups[] = {
	[GROUP_EVENTS] = { .name = CASCADE_GENL_EVENTS },
};

static const struct nla_policy cascade_policy[CASCADE_A_MAX + 1] = {
	[CASCADE_A_VOLUME] = NLA_POLICY_EXACT_LEN(CASCADE_UUID_BYTES),
};

struct reading {
	char name[DM_NAME_LEN];
	u64 sectors, published, received, stored, released, ring_used, writes, bytes, wakeups,
		doorbells;
	u64 resynced, local_errors, out_of_sync, marked, meta_writes, alone_ns, lease_ms,
		oldest_ms;
	u32 waiting, deferred, differs;
	uuid_t incarnation, generation;
	u8 resync, daemon, link, send_order, hub_ack, fence, why, stalled;
};

static void read_volume(struct cascade_volume *v, struct reading *r)
{
	cascade_look(v);
	spin_lock_irq(&v->lock);
	*r = (struct reading){
		.sectors = v->sectors,
		.published = v->published,
		.received = v->received,
		.stored = v->stored,
		.released = v->released,
		.ring_used = v->payload_head - v->payload_tail,
		.writes = v->nr_writes,
		.bytes = v->nr_write_bytes,
		.wakeups = v->nr_wakeups,
		.doorbells = v->nr_doorbells,
		.waiting = v->nr_ios,
		.deferred = v->nr_deferred,
		.daemon = v->daemon,
		.link = v->link,
		.send_order = v->send_order,
		.hub_ack = v->hub_ack,
		.incarnation = v->incarnation,
		.generation = v->generation,
		.fence = v->fence,
		.alone_ns = v->alone ? v->alone_ns : 0,
		.lease_ms = cascade_lease_left(v),
		.differs = v->differs,
		.local_errors = v->local_errors,
		.out_of_sync = v->bitmap.nr_out_of_sync * CASCADE_META_REGION_SECTORS,
		.marked = v->bitmap.nr_marked * CASCADE_META_REGION_SECTORS,
		.meta_writes = v->nr_meta_writes,
		.resynced = v->resync.bytes,
		.resync = cascade_resync_state(v),
		.why = cascade_why_waiting(v),
		.stalled = v->stalled,
		.oldest_ms = cascade_oldest_ms(v),
	};
	strscpy(r->name, v->name, sizeof(r->name));
	spin_unlock_irq(&v->lock);
}

static bool put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return !nla_put_u64_64bit(skb, attr, value, CASCADE_A_PAD);
}

static bool put_state(struct sk_buff *skb, struct cascade_volume *v, const struct reading *r)
{
	return !nla_put(skb, CASCADE_A_VOLUME, CASCADE_UUID_BYTES, &v->uuid) &&
	       !nla_put(skb, CASCADE_A_INCARNATION, CASCADE_UUID_BYTES, &r->incarnation) &&
	       !nla_put(skb, CASCADE_A_GENERATION, CASCADE_UUID_BYTES, &r->generation) &&
	       !nla_put_u32(skb, CASCADE_A_DIFFERS, r->differs) &&
	       !nla_put_string(skb, CASCADE_A_NAME, r->name) &&
	       !nla_put_u8(skb, CASCADE_A_DAEMON, r->daemon) &&
	       !nla_put_u8(skb, CASCADE_A_LINK, r->link) &&
	       !nla_put_u8(skb, CASCADE_A_SEND_ORDER, r->send_order) &&
	       !nla_put_u8(skb, CASCADE_A_HUB_ACK, r->hub_ack) &&
	       !nla_put_u8(skb, CASCADE_A_RESYNC, r->resync) &&
	       !nla_put_u8(skb, CASCADE_A_FENCE, r->fence) &&
	       !nla_put_u8(skb, CASCADE_A_WHY, r->why) &&
	       !nla_put_u8(skb, CASCADE_A_STALLED, r->stalled) &&
	       !nla_put_u32(skb, CASCADE_A_WAITING, r->waiting) &&
	       !nla_put_u32(skb, CASCADE_A_DEFERRED, r->deferred);
}

static bool put_counts(struct sk_buff *skb, struct cascade_volume *v, const struct reading *r)
{
	return put_u64(skb, CASCADE_A_SECTORS, r->sectors) &&
	       put_u64(skb, CASCADE_A_PUBLISHED, r->published) &&
	       put_u64(skb, CASCADE_A_RECEIVED, r->received) &&
	       put_u64(skb, CASCADE_A_STORED, r->stored) &&
	       put_u64(skb, CASCADE_A_RELEASED, r->released) &&
	       put_u64(skb, CASCADE_A_RING_BYTES, v->payload_bytes) &&
	       put_u64(skb, CASCADE_A_RING_USED, r->ring_used) &&
	       put_u64(skb, CASCADE_A_WRITES, r->writes) &&
	       put_u64(skb, CASCADE_A_WRITE_BYTES, r->bytes) &&
	       put_u64(skb, CASCADE_A_WAKEUPS, r->wakeups) &&
	       put_u64(skb, CASCADE_A_DOORBELLS, r->doorbells) &&
	       put_u64(skb, CASCADE_A_LOCAL_ERRORS, r->local_errors) &&
	       put_u64(skb, CASCADE_A_OUT_OF_SYNC, r->out_of_sync << SECTOR_SHIFT) &&
	       put_u64(skb, CASCADE_A_MARKED, r->marked << SECTOR_SHIFT) &&
	       put_u64(skb, CASCADE_A_META_WRITES, r->meta_writes) &&
	       put_u64(skb, CASCADE_A_RESYNCED, r->resynced) &&
	       put_u64(skb, CASCADE_A_ALONE, r->alone_ns) &&
	       put_u64(skb, CASCADE_A_LEASE, r->lease_ms) &&
	       put_u64(skb, CASCADE_A_OLDEST, r->oldest_ms);
}

/* @event: 0 for an answer. */
static int put_volume(struct sk_buff *skb, struct cascade_volume *v, u32 portid, u32 seq, int flags,
		      u8 cmd, u8 event)
{
	struct reading r;
	void *head;

	head = genlmsg_put(skb, portid, seq, &cascade_family, flags, cmd);
	if (!head)
		return -EMSGSIZE;
	read_volume(v, &r);
	if (!put_state(skb, v, &r) || !put_counts(skb, v, &r) ||
	    (event && nla_put_u8(skb, CASCADE_A_EVENT, event))) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

static struct cascade_volume *wanted_volume(struct genl_info *info)
{
	struct cascade_volume *v;

	if (!info->attrs[CASCADE_A_VOLUME]) {
		GENL_SET_ERR_MSG(info, "name the volume by its UUID");
		return ERR_PTR(-EINVAL);
	}
	v = cascade_volume_find(nla_data(info->attrs[CASCADE_A_VOLUME]));
	if (!v) {
		GENL_SET_ERR_MSG(info, "no such volume");
		return ERR_PTR(-ENODEV);
	}
	return v;
}

static int get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct cascade_volume *v = wanted_volume(info);
	struct sk_buff *reply;
	int r;

	if (IS_ERR(v))
		return PTR_ERR(v);
	cascade_volume_name(v);
	reply = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	r = reply ? put_volume(reply, v, info->snd_portid, info->snd_seq, 0, CASCADE_CMD_GET, 0) :
		    -ENOMEM;
	cascade_volume_put(v);
	if (r) {
		nlmsg_free(reply);
		return r;
	}
	return genlmsg_reply(reply, info);
}

/* cb->args[0]: the last volume that earlier parts have shown. */
static int get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct cascade_volume *v;

	mutex_lock(&cascade_volumes_mutex);
	list_for_each_entry(v, &cascade_volumes, list) {
		if (v->id <= cb->args[0])
			continue;
		cascade_volume_look_up_name(v);
		if (put_volume(skb, v, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			       NLM_F_MULTI, CASCADE_CMD_GET, 0))
			break;
		cb->args[0] = v->id;
	}
	mutex_unlock(&cascade_volumes_mutex);
	return skb->len;
}

static const struct genl_ops cascade_ops[] = {
	{
		.cmd = CASCADE_CMD_GET,
		.doit = get_doit,
		.dumpit = get_dumpit,
	},
};

static struct genl_family cascade_family __ro_after_init = {
	.name = CASCADE_GENL_NAME,
	.version = CASCADE_GENL_VERSION,
	.maxattr = CASCADE_A_MAX,
	.policy = cascade_policy,
	.module = THIS_MODULE,
	.ops = cascade_ops,
	.n_ops = ARRAY_SIZE(cascade_ops),
	/* Every command's reserved header bytes are checked. */
	.resv_start_op = 0,
	.mcgrps = cascade_groups,
	.n_mcgrps = ARRAY_SIZE(cascade_groups),
};

static void tell_listeners(struct cascade_volume *v, enum cascade_event event)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_NOIO);

	if (!skb)
		return;
	if (put_volume(skb, v, 0, 0, 0, CASCADE_CMD_EVENT, event)) {
		nlmsg_free(skb);
		return;
	}
	/* Nobody listening is no error. */
	genlmsg_multicast(&cascade_family, skb, 0, GROUP_EVENTS, GFP_NOIO);
}

/* Tells listeners and wakes `dmsetup wait`, which does not depend on the former. */
void cascade_netlink_event(struct cascade_volume *v, enum cascade_event event)
{
	cascade_volume_name(v);
	tell_listeners(v, event);
	cascade_table_event(v);
}

int cascade_netlink_init(void)
{
	return genl_register_family(&cascade_family);
}

void cascade_netlink_exit(void)
{
	genl_unregister_family(&cascade_family);
}
