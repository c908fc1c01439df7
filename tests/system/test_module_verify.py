# SPDX-License-Identifier: GPL-2.0-or-later
"""Comparing the volume with a copy in the order of the writes: no difference that is none, and none missed."""
import re

from tests.lab.lab import wait_until
from tests.system.frame import two_processors
from tests.system.module_rig import DMSETUP, DelayedDisk, Volume, load, ram_disk
from tests.system.test_module_bitmap import REGION
from tests.system.test_module_resync import SECTORS, copy_everything, doubt_everything, in_sync


def verified(client, timeout=120):
    """What ring_client counts in sectors: compared, out of sync, unreadable."""
    found = wait_until(lambda: re.search(r"verified: compared=(\d+) out_of_sync=(\d+) unreadable=(\d+)",
                                         client.output()) or client.poll() is not None,
                       timeout, "the end of the comparison")
    assert client.poll() is None, client.output()
    return tuple(int(n) for n in found.groups())


def differing(client):
    return [int(sector) for sector in re.findall(r"sector (\d+) differs", client.output())]


def test_verify_finds_what_differs_and_nothing_else(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        copy_everything(v)
        v.guest.run(f"dd if=/dev/zero of={v.image} bs=512 seek={7 * REGION + 100} count=1 conv=notrunc status=none")
        client = v.daemon("--verify")
        assert verified(client) == (SECTORS, 0, 0)
        v.drained()
        v.stop_daemon(client)
        assert differing(client) == [7 * REGION], client.output()


@two_processors
def test_verify_mends_a_copy_beside_writers(guest):
    """What was read is written there, at its place among the writes: a copy that is whole stays what it is."""
    load(guest)
    for options in ("", "send_order local-first"):
        with Volume(guest, ram_disk(guest), SECTORS, options=options) as v:
            copy_everything(v)
            guest.run(f"dd if=/dev/urandom of={v.image} bs=128k count={SECTORS // 512} conv=notrunc status=none")
            client = v.daemon("--verify --content")
            fio = v.fio("--rw=randwrite --bsrange=512-64k --bs_unaligned=0 --iodepth=32 --size=24M", seconds=3, wait=False)
            assert verified(client, 300) == (SECTORS, 0, 0)
            assert fio.wait(120) == 0, fio.output()
            v.compare()
            v.stop_daemon(client)


def test_verify_fills_the_ring_and_goes_on_while_nobody_writes(guest):
    """Nobody waits for an acknowledgement then, so that no doorbell says that the ring has room."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="ring_size 1024") as v:
        copy_everything(v)
        guest.run(f"dd if=/dev/urandom of={v.below} bs=1M count=8 conv=notrunc oflag=direct status=none")
        client = v.daemon("--verify --content")
        assert verified(client) == (SECTORS, 0, 0)
        v.stop_daemon(client)


@two_processors
def test_verify_finds_nothing_beside_writers(guest):
    load(guest)
    for options in ("", "send_order local-first"):
        with Volume(guest, ram_disk(guest), SECTORS, options=options) as v:
            copy_everything(v)
            for _ in range(2):
                client = v.daemon("--verify")
                fio = v.fio("--rw=randwrite --bsrange=512-64k --bs_unaligned=0 --iodepth=32 --size=24M",
                            seconds=4, wait=False)
                assert verified(client) == (SECTORS, 0, 0)
                assert fio.wait(120) == 0, fio.output()
                v.drained()
                v.stop_daemon(client)
                assert not differing(client), client.output()
            v.compare()


def test_verify_waits_for_writes_that_are_on_their_way_to_a_slow_disk(guest):
    """They have their places in the order before it, and the disk does not hold them yet."""
    load(guest)
    with DelayedDisk(guest, SECTORS, 30) as disk, Volume(guest, disk.path, SECTORS, below=disk.below) as v:
        copy_everything(v)
        fio = v.fio("--rw=randwrite --bs=4k --iodepth=64 --size=4M", seconds=20, wait=False)
        v.wait_status(lambda s: s.waiting > 8, "writers")
        client = v.daemon("--verify")
        assert verified(client) == (SECTORS, 0, 0)
        assert fio.wait(120) == 0, fio.output()
        v.compare()
        v.stop_daemon(client)
        assert not differing(client), client.output()


def test_verify_leaves_what_is_out_of_sync_to_the_resync(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        v.lose_writes((3, 17, 255))
        v.create_again()
        client = v.daemon("--verify")
        assert verified(client) == (SECTORS - 3 * REGION, 3 * REGION, 0)
        v.stop_daemon(client)


def test_verify_goes_on_beside_a_resync_and_after_a_suspend(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        doubt_everything(v)
        client = v.daemon("--resync --verify")
        verified(client)
        in_sync(v, client)
        v.stop_daemon(client)
        assert not differing(client), client.output()
        v.dm(f"suspend {v.name}")
        client = v.daemon("--verify")
        guest.run("sleep 0.5")
        assert "verified" not in client.output(), "nothing is read from a suspended device"
        v.dm(f"resume {v.name}")
        assert verified(client) == (SECTORS, 0, 0)
        v.compare()
        v.stop_daemon(client)


def test_verify_tells_apart_what_cannot_be_read(guest):
    load(guest)
    below = ram_disk(guest)
    bad = f"0 {20 * REGION} linear {below} 0\n{20 * REGION} 8 error\n" \
          f"{20 * REGION + 8} {SECTORS - 20 * REGION - 8} linear {below} {20 * REGION + 8}"
    guest.run(f"{DMSETUP} create bad --table '0 {SECTORS} linear {below} 0'")
    try:
        with Volume(guest, "/dev/mapper/bad", SECTORS, below=below) as v:
            guest.run(f"printf '{bad}' | {DMSETUP} load bad && {DMSETUP} resume bad")
            client = v.daemon("--verify")
            assert verified(client) == (SECTORS - REGION // 2, 0, REGION // 2)
            v.stop_daemon(client)
    finally:
        guest.run(f"{DMSETUP} remove --retry bad")
