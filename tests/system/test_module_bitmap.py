# SPDX-License-Identifier: GPL-2.0-or-later
"""The dirty bitmap: on disk before a write has its place, kept while a region is hot. I6."""
import signal
import time

from tests.system.frame import kernels, two_processors
from tests.system.module_rig import (DMSETUP, SOURCES, TOOLS, FragileMeta, Volume, kernel_mark, kernel_said,
                                     load, parameter, ram_disk)

SECTORS = 64 << 11
REGION = 512  # sectors


def write(v, region=0, check=True):
    return v.guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=1 seek={region * 64} oflag=direct "
                       "conv=notrunc status=none", check=check)


def meta_writes(v):
    return v.netlink()["meta_writes"]


def test_a_region_is_marked_on_disk_before_its_write_has_a_place(guest):
    """I6: while the bitmap can't be written, nothing is published, nor waits behind it."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v, FragileMeta(v) as meta:
        client = v.daemon()
        write(v, 7)
        assert v.marks() == ({7}, 0)
        meta.hold()
        writer = guest.spawn(f"dd if=/dev/urandom of={v.device} bs=4k count=1 seek={20 * 64} "
                             "oflag=direct")
        v.wait_status(lambda s: s.reason == "marking" and s.published == 1, "a write held back")
        write(v, 7)
        assert v.status().published == 2, "a marked region does not wait"
        assert writer.poll() is None
        meta.go_on()
        assert writer.wait(30) == 0
        assert v.marks() == ({7, 20}, 0)
        v.stop_daemon(client)


def test_a_write_without_a_mark_fails(guest):
    """The metadata device is broken: what can't be remembered is not done."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v, FragileMeta(v) as meta:
        client = v.daemon()
        write(v, 3)
        mark = kernel_mark(guest)
        meta.break_it()
        assert write(v, 4, check=False).rc != 0
        kernel_said(guest, mark, "cannot write the bitmap")
        write(v, 3)
        meta.mend()
        write(v, 4)
        v.stop_daemon(client)


@kernels("6.12")
def test_a_steady_load_costs_no_metadata_io(guest):
    load(guest)
    with (parameter(guest, "sweep_seconds", 1),
          Volume(guest, ram_disk(guest), SECTORS) as v):
        client = v.daemon()
        job = v.fio("--rw=randwrite --bs=4k --size=1m --iodepth=8", seconds=120, wait=False)
        v.wait_status(lambda s: s.marked == 4 * REGION, "all that fio writes to is marked")
        before = meta_writes(v)
        time.sleep(4)
        assert meta_writes(v) == before, "several sweeps later"
        assert job.poll() is None, job.output()
        job.kill(signal.SIGTERM)
        assert job.wait(60) in (0, 128), job.output()  # 128: fio, when it was told to end
        v.wait_status(lambda s: s.marked == 0, "marks of a cold region go", 20)
        assert v.marks() == (set(), 0)
        v.stop_daemon(client)


def test_what_is_not_stored_stays_marked(guest):
    load(guest)
    with (parameter(guest, "sweep_seconds", 1),
          Volume(guest, ram_disk(guest), SECTORS, options="hub_ack memory-sync") as v):
        client = v.daemon("--ack received")
        write(v, 11)
        time.sleep(3)
        assert v.status().stored == 0 and v.marks() == ({11}, 0)
        v.stop_daemon(client)
        client = v.daemon()
        v.drained()
        v.wait_status(lambda s: s.marked == 0, "stored, and swept", 20)
        v.stop_daemon(client)


def test_an_orderly_end_leaves_no_mark(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        for region in range(0, 60, 7):
            write(v, region)
        assert len(v.marks()[0]) >= 9
        v.stop_daemon(client)
        v.dm(f"remove {v.name}")
        assert v.area().clean == 1 and v.marks() == (set(), 0)
        v.create_again()
        assert v.status().out_of_sync == 0


@two_processors
def test_an_end_with_writes_under_way_leaves_exactly_their_marks(guest):
    """I6, P9: what the hub may lack is known, and known again after the next end."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        for region in range(40):
            write(v, region)
        v.stop_daemon(client)
        v.lose_writes((50, 9, 51))
        assert v.marks() == ({9, 50, 51}, 0)
        for _ in range(2):
            v.create_again()
            assert v.status().out_of_sync == 3 * REGION and v.status().marked == 3 * REGION
            client = v.daemon()
            write(v, 5)
            v.stop_daemon(client)
            v.dm(f"remove {v.name}")
            assert v.marks() == ({9, 50, 51}, 0), "nobody has copied them"


def test_a_crash_leaves_the_hot_set_marked(guest):
    """As after a loss of power: the module has written nothing at the end."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        for region in (1, 2, 30):
            write(v, region)
        disk, offset = v.meta.split()
        guest.run(f"dd if={disk} of=/dev/shm/meta skip={offset} count=256 iflag=direct status=none")
        v.stop_daemon(client)
        v.dm(f"remove {v.name}")
        guest.run(f"dd if=/dev/shm/meta of={disk} seek={offset} count=256 oflag=direct status=none")
        v.create_again()
        assert v.status().differs == "unclean"
        assert v.status().out_of_sync == 3 * REGION, v.status()


def test_an_unclean_end_without_marks_leaves_nothing_to_doubt(guest):
    """Power was lost while nobody wrote: there is nothing to copy, so nothing may differ."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        v.dm(f"remove --force --noflush {v.name}")
        assert v.area().clean == 0
        v.create_again()
        s = v.status()
        assert s.differs == "-" and s.out_of_sync == 0, s
        client = v.daemon()
        write(v, 1)
        v.compare()
        v.stop_daemon(client)


def test_a_damaged_block_counts_as_all_marked(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        v.dm(f"remove {v.name}")
        v.damage_marks()
        assert v.marks()[1] == 1
        mark = kernel_mark(guest)
        v.create_again()
        kernel_said(guest, mark, "1 of 1 bitmap blocks .* damaged")
        assert v.status().out_of_sync == SECTORS, v.status()
        client = v.daemon()
        write(v, 1)
        assert v.marks()[1] == 0, "the next mark mends it"
        v.stop_daemon(client)


def test_a_grown_device_is_out_of_sync_where_it_is_new(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS // 2) as v:
        v.load(sectors=SECTORS)
        v.dm(f"suspend {v.name} && {DMSETUP} resume {v.name}")
        assert v.status().out_of_sync == SECTORS // 2
        v.sectors = SECTORS
        assert v.marks() == (set(range(SECTORS // 2 // REGION, SECTORS // REGION)), 0)


def test_a_writer_in_order_marks_ahead(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        guest.run(f"dd if=/dev/zero of={v.device} bs=256k count=200 oflag=direct status=none")
        assert meta_writes(v) < 30, "200 regions"
        v.drained()
        v.stop_daemon(client)


@kernels("6.12")
def test_a_bitmap_of_a_hundred_terabytes(guest):
    """The size that kernel notes state memory and time for; the volume is a device that forgets."""
    load(guest)
    sectors = 100 * 10**12 // 512
    area = (64 << 10) + -(-sectors // (REGION * 32512)) * 4096
    guest.run(f"{DMSETUP} create vast --table '0 {sectors} zero'")
    try:
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            v.dm(f"remove {v.name}")
            small = v.meta
            v.backing, v.sectors, v.meta = "/dev/mapper/vast", sectors, "/dev/ram1 0"
            guest.run(f"{TOOLS}/meta_tool format {v.meta} {v.uuid} {sectors} {area}")
            for what in ("made", "loaded"):
                start = time.monotonic()
                v.create_again()
                print(f"  bitmap {what} in {time.monotonic() - start:.1f} s", flush=True)
                assert v.status().out_of_sync == 0
                v.dm(f"remove {v.name}")
            v.create_again()
            v.meta, v.sectors = small, SECTORS
    finally:
        guest.run(f"{DMSETUP} remove --force v1; {DMSETUP} remove --retry vast; "
                  "dd if=/dev/zero of=/dev/ram1 bs=64k count=1 oflag=direct", check=False)


@kernels("6.12")
def test_no_loss_of_power_finds_a_region_without_its_mark(guest):
    """I6: from the log of everything that was written below the volume, at each entry; writers in and out
    of the hot set, flushes, sweeps, alone and not."""
    load(guest)
    area = 4 << 11
    guest.run(f"modprobe -a dm-log-writes loop && truncate -s {(SECTORS + area) * 512} /dev/shm/below && "
              "truncate -s 420M /dev/shm/log && losetup /dev/loop1 /dev/shm/below && "
              "losetup /dev/loop2 /dev/shm/log && "
              f"{DMSETUP} create logged --table '0 {SECTORS + area} log-writes /dev/loop1 /dev/loop2'")
    try:
        with (parameter(guest, "sweep_seconds", 1),
              Volume(guest, "/dev/mapper/logged", SECTORS, options="fence_level never") as v):
            v.dm(f"remove {v.name}")
            v.meta = f"/dev/mapper/logged {SECTORS}"
            guest.run(f"{TOOLS}/meta_tool format {v.meta} {v.uuid} {v.sectors}")
            guest.run("sync /dev/mapper/logged")  # what was before is in the log before the mark
            v.dm("message logged 0 mark begin")
            v.create_again()
            client = v.daemon("--lease 60000")
            for offset in range(3):
                v.fio(f"--rw=randwrite --bsrange=4k-64k --iodepth=8 --fsync=16 --size=6M "
                      f"--rate=4M --offset={offset * 20}M", seconds=3)
            v.stop_daemon(client)
            client = v.daemon("--lease 300 --ack hold")
            v.fio("--rw=randwrite --bs=16k --iodepth=4 --fsync=16 --size=6M --rate=4M --offset=12M",
                  seconds=3)
            v.stop_daemon(v.daemon(f"--base {v.status().stored} --resync"))
            v.dm(f"remove {v.name}")
        guest.run(f"{DMSETUP} remove --retry logged; sync")
        writes, marks, drops = map(int, guest.run(
            f"{SOURCES}/log_marks.py /dev/shm/log {SECTORS} {SECTORS + 128}", timeout=120).out.split())
        assert writes > 100 and marks > 10 and drops > 2, (writes, marks, drops)
    finally:
        guest.run(f"{DMSETUP} remove --retry logged; losetup -d /dev/loop1; losetup -d /dev/loop2; "
                  "rm -f /dev/shm/below /dev/shm/log", check=False)
