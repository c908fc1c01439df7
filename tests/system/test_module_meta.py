# SPDX-License-Identifier: GPL-2.0-or-later
"""The metadata area as the module keeps it: clean, not clean, and why copies may differ."""
from tests.lab.lab import wait_until
from tests.system.module_rig import (DMSETUP, SOURCES, FragileMeta, Volume, kernel_mark, kernel_said,
                                     load, ram_disk)

SECTORS = 64 << 11
UNCLEAN, LOCAL = 1, 2


def write(v, count=1, check=True):
    return v.guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count={count} oflag=direct "
                       "status=none", check=check)


def test_an_orderly_end_is_clean_with_its_last_number(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        assert v.area()[:4] == (0, 0, 0, 0), "open before the first write"
        client = v.daemon()
        assert v.area()[:4] == (0, 1, 0, 0), "numbered before the first write"
        write(v, 5)
        v.drained()
        v.dm(f"suspend {v.name}")
        assert v.area()[:4] == (1, 1, 0, 5), v.area()
        v.dm(f"resume {v.name}")
        assert v.area().clean == 0, "writes may come"
        v.stop_daemon(client)
        v.dm(f"remove {v.name}")
        assert v.area()[:4] == (1, 1, 0, 5), v.area()

        v.create_again()
        assert v.status().differs == "-"
        v.dm(f"remove {v.name}")
        assert v.area()[:4] == (1, 1, 0, 5), "nobody has numbered this ring: as it was"


def test_an_end_with_writes_under_way_is_named_for_good(guest):
    """P9: as after a loss of power."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        v.lose_writes([0])
        assert v.area()[:3] == (0, 1, 0), v.area()

        mark = kernel_mark(guest)
        for _ in range(2):
            v.create_again()
            kernel_said(guest, mark, "was not closed in order")
            assert v.status().differs == "unclean"
            assert v.netlink()["differs"] == UNCLEAN
            v.dm(f"remove {v.name}")
            assert v.area().differs == UNCLEAN, v.area()


def test_a_failed_local_write_never_leaves_when_sent_after_it(guest):
    """U8: with local-first the hub gets a record without effect, and both copies stay equal."""
    load(guest)
    below = ram_disk(guest)
    line = f"0 {SECTORS} linear {below} 0"
    guest.run(f"{DMSETUP} create bad --table '{line}'")
    try:
        with Volume(guest, "/dev/mapper/bad", SECTORS, below=below,
                    options="send_order local-first") as v:
            client = v.daemon()
            write(v, 2)
            guest.run(f"{DMSETUP} load bad --table '0 {SECTORS} error' && {DMSETUP} resume bad")
            assert write(v, check=False).rc != 0
            guest.run(f"{DMSETUP} load bad --table '{line}' && {DMSETUP} resume bad")
            write(v)
            assert v.drained().published >= 4
            v.compare()
            v.stop_daemon(client)
    finally:
        guest.run(f"{DMSETUP} remove --retry bad")


def test_a_failed_local_write_is_counted_told_and_kept(guest):
    """P10: the hub has it, the disk does not."""
    load(guest)
    below = ram_disk(guest)
    line = f"0 {SECTORS} linear {below} 0"
    guest.run(f"{DMSETUP} create bad --table '{line}'")
    ear = guest.spawn(f"{SOURCES}/netlink_probe.py events 60")
    try:
        with Volume(guest, "/dev/mapper/bad", SECTORS, below=below) as v:
            wait_until(lambda: "listening" in ear.output(), what="listener")
            client = v.daemon()
            write(v)
            assert v.status().differs == "-"
            guest.run(f"{DMSETUP} load bad --table '0 {SECTORS} error' && {DMSETUP} resume bad")
            assert write(v, check=False).rc != 0
            guest.run(f"{DMSETUP} load bad --table '{line}' && {DMSETUP} resume bad")
            assert v.status().differs == "local-error" and v.status().errors >= 1
            v.drained()
            wait_until(lambda: v.area().errors >= 1, 10, "the area has it")
            assert v.area().differs == LOCAL and v.netlink()["local_errors"] >= 1
            wait_until(lambda: '"event": 5' in ear.output(), 10, "an event")
            v.stop_daemon(client)
            v.dm(f"remove {v.name}")
            assert v.area().clean == 1, "the ring ended in order all the same"
            v.create_again()
            assert v.status().differs == "local-error", "it stays"
    finally:
        ear.kill(9)
        guest.run(f"{DMSETUP} remove --retry bad")


def test_an_area_that_cannot_be_written_stops_the_start(guest):
    """What is not on disk must not be relied on: no resume, and no numbering."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v, FragileMeta(v) as meta:
        mark = kernel_mark(guest)
        meta.break_it()
        client = guest.spawn(v.client_command())
        assert client.wait() != 0, "the ring was started without a note on disk"
        kernel_said(guest, mark, "cannot write the metadata area")
        v.dm(f"suspend {v.name}")
        assert v.dm(f"resume {v.name}", check=False).rc != 0
        v.dm(f"remove --force {v.name}", check=False)


def test_a_disk_written_outside_is_named(guest):
    """P15: a file system mounted from the backing device, as far as it can be seen."""
    load(guest)
    below, backing = ram_disk(guest), "/dev/mapper/counted"  # a RAM disk does not count
    guest.run(f"{DMSETUP} create counted --table '0 {SECTORS} linear {below} 0'")
    try:
        with Volume(guest, backing, SECTORS, below=below) as v:
            client = v.daemon()
            write(v, 3)
            v.stop_daemon(client)
            for _ in range(2):
                v.dm(f"remove {v.name}")
                v.create_again()
                assert v.status().differs == "-", "nobody else has written"
            v.dm(f"remove {v.name}")
            guest.run(f"dd if=/dev/urandom of={backing} bs=4k count=1 oflag=direct status=none")
            mark = kernel_mark(guest)
            v.create_again()
            assert v.status().differs == "outside"
            kernel_said(guest, mark, "was written while no target had it")

        # What the volume itself wrote is not taken for somebody else's, however it ends.
        with Volume(guest, backing, SECTORS, below=below) as v:
            v.stop_daemon(v.daemon())
            v.dm(f"remove {v.name}")
            v.create_again()
            v.lose_writes([0])
            v.create_again()
            assert v.status().differs == "unclean"
    finally:
        guest.run(f"{DMSETUP} remove --retry counted")
