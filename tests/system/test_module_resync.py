# SPDX-License-Identifier: GPL-2.0-or-later
"""Copying what is out of sync through the ring, beside writers, over interruptions. I2, I6."""
from tests.lab.lab import wait_until
from tests.system.frame import two_processors
from tests.system.module_rig import DMSETUP, Volume, load, ram_disk
from tests.system.test_module_bitmap import REGION, write

SECTORS = 64 << 11


def forget_copy(v):
    """The hub's copy is empty again."""
    v.guest.run(f"rm {v.image}; truncate -s {v.sectors * 512} {v.image}")


def doubt_everything(v):
    """Random bytes on the disk, none of them in the image, and a bitmap that is damaged."""
    v.dm(f"remove {v.name}")
    v.guest.run(f"dd if=/dev/urandom of={v.below} bs=1M count={SECTORS // 2048 - 8} oflag=direct status=none")
    v.damage_marks()
    v.create_again()
    assert v.status().out_of_sync == SECTORS


def in_sync(v, client, timeout=60):
    wait_until(lambda: "in sync" in client.output() or client.poll() is not None, timeout,
               "the end of the resync")
    assert client.poll() is None, client.output()
    v.wait_status(lambda s: s.out_of_sync == 0 and s.resync == "-", "nothing out of sync")


def copy_everything(v):
    """Disk and image are the same random bytes."""
    doubt_everything(v)
    client = v.daemon("--resync")
    in_sync(v, client)
    v.stop_daemon(client)


def test_what_is_out_of_sync_is_copied_and_nothing_else(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        v.lose_writes((3, 17, 255))
        forget_copy(v)
        v.create_again()
        assert v.status().out_of_sync == 3 * REGION
        client = v.daemon()
        write(v, 40)
        v.drained()
        assert v.status().resync == "waiting", "the hub is not ready for it"
        assert v.status().out_of_sync == 3 * REGION
        v.stop_daemon(client)
        client = v.daemon("--resync")
        in_sync(v, client)
        assert v.netlink()["resynced"] == 3 * REGION * 512
        assert v.status().differs == "-", "they are the same again"
        v.compare()
        v.stop_daemon(client)
        v.dm(f"remove {v.name}")
        assert v.area()[:3] == (1, 1, 0) and v.marks() == (set(), 0), v.area()


@two_processors
def test_everything_is_copied_beside_writers(guest):
    """Also through a ring that the writers fill."""
    load(guest)
    for options in ("", "ring_size 1024"):
        with Volume(guest, ram_disk(guest), SECTORS, options=options) as v:
            doubt_everything(v)
            client = v.daemon("--resync")
            v.fio("--rw=randwrite --bsrange=512-64k --bs_unaligned=0 --iodepth=32 --verify=crc32c "
                  "--verify_backlog=64", seconds=5)
            in_sync(v, client, 120)
            v.compare()
            v.stop_daemon(client)


def test_what_the_hub_has_already_is_compared_and_not_copied(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        copy_everything(v)
        v.dm(f"remove {v.name}")
        v.damage_marks()
        v.create_again()
        v.guest.run(f"dd if=/dev/zero of={v.image} bs=512 seek={7 * REGION} count=1 conv=notrunc status=none")
        assert v.status().out_of_sync == SECTORS, "nobody knows what is the same"
        client = v.daemon("--resync --compare")
        in_sync(v, client)
        assert v.netlink()["resynced"] == REGION * 512, "only what differs"
        v.compare()
        v.stop_daemon(client)


@two_processors
def test_what_is_compared_beside_writers_is_the_same_in_the_end(guest):
    """And what differs is copied while the rest is compared."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        copy_everything(v)
        for _ in range(3):
            v.dm(f"remove --retry {v.name}")
            v.damage_marks()
            v.guest.run(f"dd if=/dev/urandom of={v.image} bs=1M seek=20 count=20 conv=notrunc status=none")
            v.create_again()
            client = v.daemon("--resync --compare")
            v.fio("--rw=randwrite --bsrange=512-64k --bs_unaligned=0 --iodepth=32 --size=24M", seconds=3)
            in_sync(v, client, 120)
            assert 0 < v.netlink()["resynced"] < SECTORS * 512
            v.compare()
            v.stop_daemon(client)


def test_a_resync_goes_on_where_it_stopped(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        doubt_everything(v)
        left = SECTORS
        for _ in range(3):
            client = v.daemon("--resync --delay 30")
            v.wait_status(lambda s: s.out_of_sync < left - 8 * REGION, "some of it is copied")
            client.kill(9)
            client.wait()
            v.wait_status(lambda s: s.resync == "waiting" and s.out_of_sync < left, "it waits")
            left = v.status().out_of_sync
            assert left > 0
        client = v.daemon("--resync")
        in_sync(v, client)
        assert v.netlink()["resynced"] <= SECTORS * 512 + 3 * 10 * REGION * 512
        v.compare()
        v.stop_daemon(client)


def test_a_resync_is_paused_resumed_and_slowed_down(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        doubt_everything(v)
        v.dm(f"message {v.name} 0 resync rate 2048")
        client = v.daemon("--resync")
        v.wait_status(lambda s: s.out_of_sync < SECTORS, "it has begun")
        v.dm(f"message {v.name} 0 resync pause")
        v.drained()
        at = v.status()
        assert at.resync == "paused" and at.out_of_sync > SECTORS // 2, at
        guest.run("sleep 1")
        assert v.status().out_of_sync == at.out_of_sync
        v.dm(f"message {v.name} 0 resync rate 0")
        v.dm(f"message {v.name} 0 resync resume")
        in_sync(v, client)
        v.compare()
        assert v.dm(f"message {v.name} 0 resync faster", check=False).rc != 0
        v.stop_daemon(client)


def test_a_resync_waits_for_a_suspended_device_and_survives_its_end(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        doubt_everything(v)
        client = v.daemon("--resync --delay 10")
        v.wait_status(lambda s: s.out_of_sync < SECTORS, "it has begun")
        v.dm(f"suspend {v.name}")
        at = v.status().out_of_sync
        assert 0 < at < SECTORS
        assert v.area().clean == 1, "all that was sent is stored"
        v.dm(f"resume {v.name}")
        v.wait_status(lambda s: s.out_of_sync < at, "it goes on")
        v.stop_daemon(client)
        v.dm(f"remove --retry {v.name}")
        v.create_again()
        left = v.status().out_of_sync
        assert 0 < left < at, (left, at)
        client = v.daemon("--resync")
        in_sync(v, client)
        v.compare()
        v.stop_daemon(client)


def test_a_region_that_cannot_be_read_stays_out_of_sync(guest):
    load(guest)
    below = ram_disk(guest)
    good = f"0 {SECTORS} linear {below} 0"
    bad = f"0 {20 * REGION} linear {below} 0\n{20 * REGION} 8 error\n" \
          f"{20 * REGION + 8} {SECTORS - 20 * REGION - 8} linear {below} {20 * REGION + 8}"
    guest.run(f"{DMSETUP} create bad --table '{good}'")
    try:
        with Volume(guest, "/dev/mapper/bad", SECTORS, below=below) as v:
            doubt_everything(v)
            guest.run(f"printf '{bad}' | {DMSETUP} load bad && {DMSETUP} resume bad")
            client = v.daemon("--resync")
            v.wait_status(lambda s: s.out_of_sync == REGION, "all others are copied")
            assert "in sync" not in client.output()
            v.stop_daemon(client)
            client = v.daemon("--resync --compare")
            wait_until(lambda: "compared" in client.output(), 60, "the end of the comparison")
            assert v.status().out_of_sync == REGION, "what can't be read is not the same"
            guest.run(f"{DMSETUP} load bad --table '{good}' && {DMSETUP} resume bad")
            in_sync(v, client)
            v.compare()
            v.stop_daemon(client)
    finally:
        guest.run(f"{DMSETUP} remove --retry bad")
