// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table line:
 *
 *   <start> <length> cascade <volume uuid> <device> <offset> <metadata device> <offset>
 *                            [<#args> <arg>...]
 *
 *   send_order parallel|local-first    hub_ack sync|memory-sync
 *   ring_size <KiB>
 *   fence_level data|never|status|witness      on_fence suspend-io|io-error
 */
#include "cascade.h"
#include "compat.h"

#include <linux/log2.h>

static const char *const send_order_words[] = {
	[CASCADE_SEND_PARALLEL] = "parallel",
	[CASCADE_SEND_LOCAL_FIRST] = "local-first",
};

static const char *const hub_ack_words[] = {
	[CASCADE_ACK_SYNC] = "sync",
	[CASCADE_ACK_MEMORY_SYNC] = "memory-sync",
};

const char *cascade_send_order_word(enum cascade_send_order order)
{
	return send_order_words[order];
}

const char *cascade_hub_ack_word(enum cascade_hub_ack ack)
{
	return hub_ack_words[ack];
}

static const char *const fence_words[] = {
	[CASCADE_FENCE_DATA] = "data",
	[CASCADE_FENCE_NEVER] = "never",
	[CASCADE_FENCE_STATUS] = "status",
	[CASCADE_FENCE_WITNESS] = "witness",
};

static const char *const on_fence_words[] = {
	[CASCADE_ON_FENCE_SUSPEND_IO] = "suspend-io",
	[CASCADE_ON_FENCE_IO_ERROR] = "io-error",
};

const char *cascade_fence_word(enum cascade_fence fence)
{
	return fence_words[fence];
}

const char *cascade_on_fence_word(enum cascade_on_fence on_fence)
{
	return on_fence_words[on_fence];
}

/* Place of @word among @words, whose first is unused; 0 if it is not there. */
static int find_word(const char *word, const char *const *words, int nr)
{
	int i;

	for (i = 1; i < nr; i++)
		if (!strcasecmp(word, words[i]))
			return i;
	return 0;
}

static int fail(struct dm_target *ti, char *error)
{
	ti->error = error;
	return -EINVAL;
}

static int parse_ring_size(struct cascade_target *t, const char *value)
{
	unsigned int kib;

	if (kstrtouint(value, 10, &kib) || !is_power_of_2(kib) ||
	    kib < CASCADE_RING_KIB_MIN || kib > CASCADE_RING_KIB_MAX)
		return fail(t->ti, "ring_size must be a power of two from 1024 to 65536 (KiB)");
	t->options.ring_kib = kib;
	return 0;
}

bool cascade_parse_fence(struct cascade_options *options, const char *name, const char *value,
			 char **error)
{
	int word;

	if (!strcasecmp(name, "fence_level")) {
		word = find_word(value, fence_words, ARRAY_SIZE(fence_words));
		*error = "fence_level must be data, never, status or witness";
		options->fence = word ?: options->fence;
	} else {
		word = find_word(value, on_fence_words, ARRAY_SIZE(on_fence_words));
		*error = "on_fence must be suspend-io or io-error";
		options->on_fence = word ?: options->on_fence;
	}
	return word;
}

static int parse_option(struct cascade_target *t, const char *name, const char *value)
{
	int word;

	if (!strcasecmp(name, "send_order")) {
		word = find_word(value, send_order_words, ARRAY_SIZE(send_order_words));
		if (!word)
			return fail(t->ti, "send_order must be parallel or local-first");
		t->options.send_order = word;
		return 0;
	}
	if (!strcasecmp(name, "hub_ack")) {
		word = find_word(value, hub_ack_words, ARRAY_SIZE(hub_ack_words));
		if (!word)
			return fail(t->ti, "hub_ack must be sync or memory-sync");
		t->options.hub_ack = word;
		return 0;
	}
	if (!strcasecmp(name, "ring_size"))
		return parse_ring_size(t, value);
	if (!strcasecmp(name, "fence_level") || !strcasecmp(name, "on_fence"))
		return cascade_parse_fence(&t->options, name, value, &t->ti->error) ? 0 : -EINVAL;
	return fail(t->ti, "Unknown argument: known are send_order, hub_ack, ring_size, fence_level, on_fence");
}

static int parse_options(struct cascade_target *t, struct dm_arg_set *as)
{
	static const struct dm_arg count = {
		0, 10, "Invalid number of arguments: give the count of the words that follow"
	};
	unsigned int words;
	int r;

	r = dm_read_arg_group(&count, as, &words, &t->ti->error);
	if (r)
		return r;
	if (words % 2)
		return fail(t->ti, "Arguments come in pairs, a name and a value");
	while (words) {
		const char *name = dm_shift_arg(as);
		const char *value = dm_shift_arg(as);

		r = parse_option(t, name, value);
		if (r)
			return r;
		words -= 2;
	}
	if (as->argc)
		return fail(t->ti, "More words than the number of arguments says");
	return 0;
}

static int parse_uuid_word(struct cascade_target *t, const char *word)
{
	if (strlen(word) != UUID_STRING_LEN || uuid_parse(word, &t->options.uuid))
		return fail(t->ti, "Volume UUID must be 36 characters, xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
	if (uuid_is_null(&t->options.uuid))
		return fail(t->ti, "Volume UUID must not be all zeroes");
	return 0;
}

static int parse_offset(struct cascade_target *t, const char *word, sector_t *sector)
{
	unsigned long long offset;
	char dummy;

	if (sscanf(word, "%llu%c", &offset, &dummy) != 1 || offset != (sector_t)offset)
		return fail(t->ti, "Device offset must be a number of sectors");
	*sector = offset;
	return 0;
}

static int get_devices(struct cascade_target *t, const char *path, const char *meta_path)
{
	blk_mode_t mode = dm_table_get_mode(t->ti->table);
	int r;

	r = dm_get_device(t->ti, path, mode, &t->dev);
	if (r) {
		t->ti->error = "Backing device cannot be opened";
		return r;
	}
	r = dm_get_device(t->ti, meta_path, mode, &t->meta_dev);
	if (r) {
		t->ti->error = "Metadata device cannot be opened";
		dm_put_device(t->ti, t->dev);
	}
	return r;
}

int cascade_parse_table(struct cascade_target *t, unsigned int argc, char **argv)
{
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	const char *path, *meta_path;
	int r;

	if (argc < 5)
		return fail(t->ti, "Too few arguments: <volume uuid> <device> <offset> <metadata device> <offset> [<#args> <arg>...]");
	t->options.send_order = CASCADE_SEND_PARALLEL;
	t->options.hub_ack = CASCADE_ACK_SYNC;
	t->options.ring_kib = CASCADE_RING_KIB_DEFAULT;
	t->options.fence = CASCADE_FENCE_DATA;
	t->options.on_fence = CASCADE_ON_FENCE_SUSPEND_IO;
	r = parse_uuid_word(t, dm_shift_arg(&as));
	if (r)
		return r;
	path = dm_shift_arg(&as);
	r = parse_offset(t, dm_shift_arg(&as), &t->start);
	if (r)
		return r;
	meta_path = dm_shift_arg(&as);
	r = parse_offset(t, dm_shift_arg(&as), &t->meta_start);
	if (r)
		return r;
	if (as.argc) {
		r = parse_options(t, &as);
		if (r)
			return r;
	}
	return get_devices(t, path, meta_path);
}

void cascade_print_table(struct cascade_target *t, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	DMEMIT("%pUb %s %llu %s %llu 10 send_order %s hub_ack %s ring_size %u fence_level %s on_fence %s",
	       &t->options.uuid,
	       t->dev->name, (unsigned long long)t->start, t->meta_dev->name,
	       (unsigned long long)t->meta_start,
	       cascade_send_order_word(t->options.send_order),
	       cascade_hub_ack_word(t->options.hub_ack), t->options.ring_kib,
	       cascade_fence_word(t->options.fence), cascade_on_fence_word(t->options.on_fence));
}
