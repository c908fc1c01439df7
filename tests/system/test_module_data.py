# SPDX-License-Identifier: GPL-2.0-or-later
"""What is written: read back right, the same at the hub, in every mode, in one guest. I2."""
from tests.lab.lab import wait_until
from tests.system.frame import two_processors
from tests.system.module_rig import DMSETUP, DelayedDisk, Volume, load, ram_disk

SECTORS = 64 << 11
MODES = [f"send_order {order} hub_ack {ack}" for order in ("parallel", "local-first")
         for ack in ("sync", "memory-sync")]


def virtio(guest):
    """A disk with a volatile cache, discard and write zeroes."""
    return "/dev/lab/data"


@two_processors
def test_random_writes_verify_and_both_copies_are_equal_in_every_mode(guest):
    """I2, with payloads of one sector to more than a record may hold, and a ring that wraps."""
    load(guest)
    backing = ram_disk(guest)
    for options in MODES:
        with Volume(guest, backing, SECTORS, options=options + " ring_size 1024") as v:
            client = v.daemon()
            v.guest.run(f"fio --name=t --filename={v.device} --ioengine=libaio --direct=1 "
                        "--randrepeat=0 --rw=randwrite --bsrange=512-384k --iodepth=32 "
                        "--bssplit=512/20:4k/40:12k/20:64k/15:384k/5 --blockalign=512 "
                        "--size=64m --io_size=96m --verify=crc32c --verify_fatal=1", timeout=300)
            v.compare()
            assert v.status().published > 1000
            v.stop_daemon(client)


@two_processors
def test_overlapping_writes_leave_both_copies_equal(guest):
    """I2 for writes in flight to the same blocks: ring and disk must take them in one order."""
    load(guest)
    backing = ram_disk(guest)
    for options in MODES:
        with Volume(guest, backing, SECTORS, options=options) as v:
            client = v.daemon()
            v.fio("--rw=randwrite --bssplit=512/30:4k/30:24k/30:256k/10 --blockalign=512 "
                  "--size=1m --iodepth=32 --numjobs=4 --norandommap --serialize_overlap=0 "
                  "--buffer_compress_percentage=0 --refill_buffers", seconds=5)
            v.compare()
            v.stop_daemon(client)


@two_processors
def test_overlapping_writes_on_a_slow_disk_leave_both_copies_equal(guest):
    """As before, with the local write far slower than the ring, so that many wait for their turn."""
    load(guest)
    with DelayedDisk(guest, SECTORS, write_ms=20) as disk:
        with Volume(guest, disk.path, SECTORS, below=disk.below) as v:
            client = v.daemon()
            v.fio("--rw=randwrite --bssplit=512/40:4k/40:64k/20 --blockalign=512 --size=256k "
                  "--iodepth=32 --numjobs=4 --norandommap --serialize_overlap=0 "
                  "--refill_buffers", seconds=8)
            v.compare()
            v.stop_daemon(client)


def test_discard_and_zeroing_leave_the_same_bytes_on_both_copies(guest):
    """I2: a discard reads as zeroes everywhere, or copies would differ by what a disk does."""
    load(guest)
    for options in MODES[:2]:
        with Volume(guest, virtio(guest), SECTORS, options=options) as v:
            client = v.daemon()
            guest.run(f"dd if=/dev/urandom of={v.device} bs=1M count=64 oflag=direct status=none")
            guest.run(f"blkdiscard -o 4M -l 8M {v.device}")
            guest.run(f"blkdiscard -z -o {20 << 20} -l {3 << 20} {v.device}")
            guest.run(f"fallocate -z -n -o {30 << 20} -l {5 << 20} {v.device}")
            guest.run(f"fallocate -p -o {40 << 20} -l {1 << 20} {v.device}")
            v.compare()
            guest.run(f"cmp -n {8 << 20} -i {4 << 20}:0 {v.device} /dev/zero")
            guest.run(f"blkdiscard {v.device}")
            v.compare()
            guest.run(f"cmp -n {SECTORS * 512} {v.device} /dev/zero")
            v.stop_daemon(client)


def test_a_device_that_stops_zeroing_gets_zeroes_written(guest):
    """I2: the record says zeroes, so a refusal by the local device must not keep its old bytes."""
    load(guest)
    able, unable = virtio(guest), ram_disk(guest)
    dm = f"{DMSETUP} %s odd"
    guest.run(f"{DMSETUP} create odd --table '0 {SECTORS} linear {able} 0'")
    try:
        with Volume(guest, "/dev/mapper/odd", SECTORS) as v:
            client = v.daemon()
            guest.run(f"{DMSETUP} load odd --table '0 {SECTORS} linear {unable} 0' && "
                      f"{dm % 'suspend'} && {dm % 'resume'} && dd if=/dev/zero of={unable} bs=1M "
                      "count=64 oflag=direct status=none")
            guest.run(f"dd if=/dev/urandom of={v.device} bs=1M count=8 oflag=direct status=none")
            guest.run(f"blkdiscard -o 1M -l 2M {v.device} && blkdiscard -z -o 4M -l 1M {v.device}")
            v.compare()
            guest.run(f"cmp -n {2 << 20} -i {1 << 20}:0 {unable} /dev/zero")
            v.stop_daemon(client)
    finally:
        guest.run(f"{DMSETUP} remove --retry odd")


def test_discard_is_offered_only_where_zeroing_can_mirror_it(guest):
    """I2: offered if and only if the backing device can zero, and never more than it can."""
    load(guest)
    for backing in (ram_disk(guest), virtio(guest)):
        with Volume(guest, backing, SECTORS) as v:
            own = v.dm(f"info -c --noheadings -o blkdevname {v.name}").out.strip()
            below = guest.run(f"basename $(readlink -f {backing})").out.strip()
            zeroes, discard, limit = (int(n) for n in guest.run(
                f"cd /sys/block && cat {own}/queue/write_zeroes_max_bytes "
                f"{own}/queue/discard_max_bytes {below}/queue/write_zeroes_max_bytes").out.split())
            assert bool(zeroes) == bool(discard) == bool(limit), (zeroes, discard, limit)
            assert zeroes <= limit and discard <= limit, (zeroes, discard, limit)


def test_file_systems_on_a_volume_are_whole_on_the_other_copy(guest):
    """I2: the hub's copy, opened on its own, is a clean file system with the same files."""
    load(guest)
    size = 320 << 11
    for mkfs, check in (("mkfs.ext4 -q -F", "e2fsck -fn"), ("mkfs.xfs -q -f", "xfs_repair -n")):
        with Volume(guest, virtio(guest), size, options="hub_ack memory-sync") as v:
            client = v.daemon()
            guest.run(f"{mkfs} {v.device} && mkdir -p /mnt/v && mount {v.device} /mnt/v",
                      timeout=300)
            guest.run("cp -r /usr/include/linux /mnt/v/ && sync && rm -r /mnt/v/linux/can && "
                      "fstrim /mnt/v && cp -r /usr/include/linux/usb /mnt/v/ && umount /mnt/v",
                      timeout=300)
            v.compare()
            guest.run(f"{check} {v.image}", timeout=300)
            v.stop_daemon(client)


@two_processors
def test_payload_is_copied_before_a_writer_can_change_it(guest):
    """A buffer changed during the write must not make copies differ: mmap writers do that."""
    load(guest)
    with Volume(guest, virtio(guest), SECTORS) as v:
        client = v.daemon()
        guest.run(f"fio --name=t --filename={v.device} --ioengine=mmap --rw=randwrite --bs=4k "
                  "--size=8m --numjobs=2 --time_based --runtime=6 --fsync=16 --norandommap "
                  "--minimal", timeout=120)
        guest.run(f"blockdev --flushbufs {v.device}")
        v.compare()
        v.stop_daemon(client)


def test_memory_sync_flush_waits_until_the_hub_has_stored(guest):
    """I1 under memory-sync: a write completes on receipt, a flush and FUA only when stored."""
    load(guest)
    for backing in (virtio(guest), ram_disk(guest)):
        with Volume(guest, backing, SECTORS, options="hub_ack memory-sync") as v:
            client = v.daemon("--ack received")
            guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=4 oflag=direct status=none")
            flush = guest.spawn("python3 -c 'import os; "
                                f"os.fsync(os.open(\"{v.device}\", os.O_RDWR))'")
            fua = guest.spawn(f"dd if=/dev/urandom of={v.device} bs=4k count=1 seek=9 "
                              "oflag=direct,dsync status=none")
            v.wait_status(lambda s: s.received == 5 and s.waiting >= 1, "FUA write that waits")
            assert v.status().stored == 0
            assert flush.poll() is None, "a flush ended before the hub had stored"
            assert fua.poll() is None, "a FUA write ended before the hub had stored"
            client.kill(10)  # SIGUSR1: stored
            assert flush.wait() == 0 and fua.wait() == 0
            v.compare()
            v.stop_daemon(client)


@two_processors
def test_a_full_ring_holds_writers_back_and_lets_them_go(guest):
    """I8: the ring is bounded; deferred writes are admitted in order when space returns."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="ring_size 1024") as v:
        client = v.daemon("--ack hold")
        writer = v.fio("--rw=write --bs=64k --size=32m --iodepth=64 --refill_buffers --loops=1",
                       seconds=5, wait=False)
        s = v.wait_status(lambda s: s.deferred > 0 and s.reason == "ring-full", "full ring")
        assert s.ring == "1024/1024", s
        client.kill(10)
        assert writer.wait() == 0, writer.output()
        v.compare()
        v.stop_daemon(client)


@two_processors
def test_acknowledgements_are_taken_without_losing_a_wakeup(guest):
    """Single writes at queue depth 1 with a daemon that sleeps between: a lost one would hang."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        v.fio("--rw=randwrite --bs=512 --iodepth=1 --numjobs=3 --size=1m --offset_increment=1m",
              seconds=6)
        s = v.drained()
        assert s.published > 300, s
        v.stop_daemon(client)
        assert wait_until(lambda: v.status().daemon == "absent", what="daemon gone")
