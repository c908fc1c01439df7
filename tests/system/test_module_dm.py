# SPDX-License-Identifier: GPL-2.0-or-later
"""What users of device-mapper expect of any target, in one guest."""
import time

from tests.lab.lab import wait_until
from tests.system.module_rig import DMSETUP, SOURCES, DelayedDisk, Volume, load, ram_disk
from tests.system.test_module_data import virtio

SECTORS = 64 << 11
NOWAIT = """
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
buffer = mmap.mmap(-1, 4096)
buffer.write(b"now!" * 1024)
try:
    if sys.argv[2] == "read":
        print(os.preadv(fd, [buffer], int(sys.argv[3]), os.RWF_NOWAIT))
    else:
        print(os.pwritev(fd, [buffer], int(sys.argv[3]), os.RWF_NOWAIT))
except BlockingIOError:
    print("would block")
"""


def nowait(v, what, offset):
    v.guest.write_file("/dev/shm/nowait.py", NOWAIT)
    return v.guest.run(f"python3 /dev/shm/nowait.py {v.device} {what} {offset}", timeout=30).out.strip()


def test_who_must_not_wait_is_told_so(guest):
    """NOWAIT: a write that would be held back ends at once; one that would not, and reads, are done."""
    load(guest)
    with Volume(guest, virtio(guest), SECTORS) as v:
        assert nowait(v, "write", 0) == "would block", "there is no daemon"
        assert nowait(v, "read", 0) == "4096"
        client = v.daemon()
        assert nowait(v, "write", 0) == "would block", "its region is not marked"
        guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=2 oflag=direct status=none")
        assert nowait(v, "write", 4096) == "4096"
        guest.run(f"dd if={v.device} bs=4k skip=1 count=1 iflag=direct status=none | grep -q now!now!")
        v.compare()
        v.stop_daemon(client)


def test_reads_are_not_cut_into_records(guest):
    """Only a write has to fit a record: reads go through as they came."""
    load(guest)
    with Volume(guest, virtio(guest), SECTORS) as v:
        client = v.daemon()
        guest.run(f"dd if=/dev/urandom of={v.device} bs=1M count=16 oflag=direct status=none")
        v.drained()
        disk = guest.run(f"basename $(readlink -f {v.backing})").out.strip()

        def reads():
            words = guest.run(f"cat /sys/block/{disk}/stat").out.split()
            return int(words[0]) + int(words[1])

        before = reads()
        guest.run(f"dd if={v.device} of=/dev/null bs=1M count=16 iflag=direct status=none")
        # In two, where its pages lie so that they are more pieces than the disk takes at a time;
        # a record would make four of them.
        assert reads() - before <= 32, f"{reads() - before} reads of the disk for 16 of 1 MiB"
        assert v.status().published == 64, "a MiB is four records"
        v.compare()
        v.stop_daemon(client)


def test_a_write_stays_of_its_cgroup(guest):
    """K4: what a worker issues for a writer that was held back counts for the writer."""
    load(guest)
    with Volume(guest, virtio(guest), SECTORS) as v:
        numbers = guest.run(f"cat /sys/block/$(basename $(readlink -f {v.backing}))/dev").out.strip()
        guest.run("mkdir -p /dev/shm/cg && mount -t cgroup2 none /dev/shm/cg && "
                  "echo +io > /dev/shm/cg/cgroup.subtree_control && mkdir -p /dev/shm/cg/writer")
        try:
            writer = guest.spawn("sh -c 'echo $$ > /dev/shm/cg/writer/cgroup.procs && exec dd "
                                 f"if=/dev/urandom of={v.device} bs=64k count=1 oflag=direct'")
            v.wait_status(lambda s: s.deferred == 1 or writer.poll() is not None,
                          "write that is held back")
            assert writer.poll() is None, writer.output()
            client = v.daemon()
            assert writer.wait() == 0, writer.output()
            counted = guest.run("cat /dev/shm/cg/writer/io.stat").out
            line = next((x for x in counted.splitlines() if x.startswith(numbers + " ")), "")
            assert "wbytes=65536 " in line, f"{numbers}: {counted}"
            v.stop_daemon(client)
        finally:
            guest.run("rmdir /dev/shm/cg/writer; umount /dev/shm/cg")


def test_zeroes_that_are_written_by_hand_hold_nobody_up(guest):
    """K3: a device that refuses zeroing, and is slow: others' first writes don't wait behind it."""
    load(guest)
    with DelayedDisk(guest, SECTORS, write_ms=300) as slow:
        dm = f"{DMSETUP} %s odd"
        guest.run(f"{DMSETUP} create odd --table '0 {SECTORS} linear {virtio(guest)} 0'")
        try:
            with Volume(guest, "/dev/mapper/odd", SECTORS, below=slow.below) as v:
                client = v.daemon()
                guest.run(f"{DMSETUP} load odd --table '0 {SECTORS} linear {slow.path} 0' && "
                          f"{dm % 'suspend'} && {dm % 'resume'}")
                zeroing = guest.spawn(f"blkdiscard -o 16M -l 32M {v.device}")
                v.wait_status(lambda s: s.waiting > 0, "zeroing under way")
                guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=1 oflag=direct status=none")
                assert zeroing.poll() is None, f"a write waited for zeroes: {zeroing.output()}"
                assert zeroing.wait() == 0, zeroing.output()
                before = v.status().published
                guest.run(f"blkdiscard -o 1M -l 1M {v.device}", check=False)
                assert v.status().published == before, "a discard that has to be written is refused"
                guest.run(f"blkdiscard -z -o 4M -l 1M {v.device}")
                v.compare()
                v.stop_daemon(client)
        finally:
            guest.run(f"{DMSETUP} remove --retry odd")


def test_a_volume_that_was_renamed_is_called_by_its_new_name(guest):
    """K10: dm tells no target of a rename; whoever asks afterwards hears the new name."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        assert v.netlink()["name"] == v.name
        v.dm(f"rename {v.name} renamed")
        try:
            assert v.netlink()["name"] == "renamed"
        finally:
            v.dm(f"rename renamed {v.name}")


def test_a_suspend_waits_for_the_hub_while_writes_go_on(guest):
    """K10: under memory-sync a slow hub is waited for before I/O is frozen, and not much after."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="hub_ack memory-sync") as v:
        client = v.daemon("--ack received")
        guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=4 oflag=direct status=none")
        suspend = guest.spawn(f"env {DMSETUP} suspend {v.name}")
        time.sleep(1)
        assert suspend.poll() is None, "the hub has not stored what it has"
        guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=1 oflag=direct status=none",
                  timeout=5)
        client.kill(10)  # SIGUSR1: stored
        assert suspend.wait(30) == 0
        v.dm(f"resume {v.name}")
        wait_until(lambda: v.status().stored == 5, what="all stored")
        v.stop_daemon(client)


def test_a_new_size_is_told(guest):
    """K6: each time, to listeners and to the daemon."""
    load(guest)
    small = SECTORS // 2
    with Volume(guest, ram_disk(guest), small) as v:
        client = v.daemon()
        ear = guest.spawn(f"{SOURCES}/netlink_probe.py events 120")
        try:
            wait_until(lambda: "listening" in ear.output(), what="listener")
            for sectors in (small + 64, SECTORS):
                v.load(sectors=sectors)
                v.dm(f"resume {v.name}")
                wait_until(lambda: f'"sectors": {sectors}' in ear.output(), what="an event")
                assert v.netlink()["sectors"] == sectors
        finally:
            ear.kill(9)
        v.stop_daemon(client)


def test_a_flush_that_waits_is_seen(guest):
    """`dmsetup status` does not say "-" while an fsync waits for the hub."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="hub_ack memory-sync") as v:
        client = v.daemon("--ack received")
        guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=1 oflag=direct status=none")
        flush = guest.spawn(f"python3 -c 'import os; os.fsync(os.open(\"{v.device}\", os.O_RDWR))'")
        v.wait_status(lambda s: s.reason == "no-ack" and s.waiting == 1, "a flush that waits")
        client.kill(10)
        assert flush.wait() == 0
        v.stop_daemon(client)
