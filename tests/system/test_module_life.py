# SPDX-License-Identifier: GPL-2.0-or-later
"""What happens around a volume while writes are in flight: suspend, reload, the daemon's death,
lies and absence, removal, the module's own coming and going. One guest."""
import time

from tests.lab.lab import wait_until
from tests.system.frame import two_processors
from tests.system.module_rig import (DMSETUP, TOOLS, DelayedDisk, Volume, kernel_mark, kernel_said,
                                     load, parameter, ram_disk, unload)

SECTORS = 64 << 11
LOAD = "--rw=randwrite --bssplit=512/20:4k/60:64k/20 --blockalign=512 --size=16m --iodepth=32"


def one_write(v, seek=0):
    """A single write in the background."""
    return v.guest.spawn(f"dd if=/dev/urandom of={v.device} bs=4k count=1 seek={seek} "
                         "oflag=direct status=none")


@two_processors
def test_suspend_and_resume_under_load(guest):
    """I2, I7: no error, nothing lost, whether or not the suspend flushes."""
    load(guest)
    for mode in ("sync", "memory-sync"):
        with Volume(guest, ram_disk(guest), SECTORS, options=f"hub_ack {mode}") as v:
            client = v.daemon()
            writer = v.fio(LOAD, seconds=6, wait=False)
            for i in range(12):
                v.dm(f"suspend {'--noflush --nolockfs' if i % 2 else ''} {v.name}")
                v.dm(f"resume {v.name}")
                time.sleep(0.1)
            assert writer.wait() == 0, writer.output()
            v.compare()
            v.stop_daemon(client)


@two_processors
def test_a_reload_under_load_keeps_the_ring(guest):
    """I2, I7: same volume, other modes, a larger size; the daemon notices nothing."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS // 2) as v:
        guest.run(f"truncate -s {SECTORS * 512} {v.image}")
        client = v.daemon()
        writer = v.fio(LOAD, seconds=8, wait=False)
        for options in ("hub_ack memory-sync", "send_order local-first", "", "hub_ack sync") * 2:
            v.load(options=options, sectors=SECTORS)
            v.dm(f"resume {v.name}")
            time.sleep(0.2)
        v.sectors = SECTORS
        guest.run(f"dd if=/dev/urandom of={v.device} bs=1M seek=60 count=4 oflag=direct "
                  "status=none")
        assert writer.wait() == 0, writer.output()
        v.compare()
        assert client.poll() is None, client.output()
        v.stop_daemon(client)


def test_a_reload_onto_larger_blocks_is_refused(guest):
    """Ring positions are multiples of the old block; a larger one would be split between pages."""
    load(guest)
    guest.run("modprobe loop; truncate -s 64M /dev/shm/blocks; losetup -b 4096 /dev/loop7 "
              "/dev/shm/blocks")
    try:
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            client = v.daemon()
            guest.run(f"dd if=/dev/urandom of={v.device} bs=512 count=1 oflag=direct status=none")
            mark = kernel_mark(guest)
            v.load(backing="/dev/loop7")
            assert v.dm(f"resume {v.name}", check=False).rc != 0
            kernel_said(guest, mark, "blocks")
            v.load()
            v.dm(f"resume {v.name}")
            guest.run(f"dd if=/dev/urandom of={v.device} bs=4k count=1 oflag=direct status=none")
            v.compare()
            v.stop_daemon(client)
    finally:
        guest.run("losetup -d /dev/loop7; rm /dev/shm/blocks")


@two_processors
def test_a_killed_daemon_leaves_writes_waiting_for_the_next(guest):
    """I7: kill -9 under load, several times; no error, the next one goes on from the ring."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        writer = v.fio(LOAD, seconds=10, wait=False)
        for _ in range(6):
            time.sleep(0.5)
            client.kill(9)
            client.wait()
            v.wait_status(lambda s: s.daemon == "absent" and s.reason == "no-daemon", "absence")
            client = v.daemon()
            assert "started=1" in client.output(), client.output()
        assert writer.wait() == 0, writer.output()
        v.compare()
        v.stop_daemon(client)


def test_a_new_daemon_starts_where_nothing_can_be_overwritten(guest):
    """I7: records that the hub has but the local disk not yet must not be reused under a reader."""
    load(guest)
    with DelayedDisk(guest, SECTORS, write_ms=3000, slow_from=SECTORS // 2) as disk:
        with Volume(guest, disk.path, SECTORS, below=disk.below) as v:
            first = v.daemon()
            slow = one_write(v, SECTORS // 16)
            v.wait_status(lambda s: s.published == 1, "published write")
            assert one_write(v).wait() == 0
            s = v.status()
            assert s.stored == 2 and s.released == 0, f"not the state to be tested: {s}"
            first.kill(9)
            first.wait()
            second = v.daemon()
            assert "published=2 stored=2" in second.output(), second.output()
            assert slow.wait() == 0
            v.compare()
            v.stop_daemon(second)


@two_processors
def test_hostile_words_detach_the_daemon_and_nothing_else(guest):
    """I9: each broken rule is answered by POLLERR, one log line and the state "revoked"; writes
    wait, an honest daemon takes over, other volumes notice nothing."""
    load(guest)
    ram_disk(guest)
    with Volume(guest, "/dev/ram0", SECTORS) as v, Volume(guest, "/dev/ram1", SECTORS, 2) as w:
        neighbour = w.daemon()
        # "back" needs something to go back from.
        honest = v.daemon()
        assert one_write(v).wait() == 0
        v.stop_daemon(honest)
        for number, lie in enumerate(("past-published", "stored-past-received", "random", "back")):
            mark = kernel_mark(guest)
            liar = v.daemon(f"--hostile {lie}")
            writer = one_write(v, number)
            assert liar.wait() == 4, f"{lie}: {liar.output()}"
            kernel_said(guest, mark, "daemon detached")
            assert v.status().daemon == "revoked", lie
            assert writer.poll() is None, f"{lie}: a write ended without an acknowledgement"
            honest = v.daemon()
            assert writer.wait() == 0
            v.stop_daemon(honest)
        assert one_write(w).wait() == 0
        w.compare()
        w.stop_daemon(neighbour)
        honest = v.daemon()
        v.compare()
        v.stop_daemon(honest)


@two_processors
def test_random_words_while_writes_are_in_flight(guest):
    """I9 again, under load: whatever a daemon writes and whenever, no oops, and order returns."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        writer = v.fio(LOAD, seconds=8, wait=False)
        for _ in range(8):
            liar = v.daemon("--hostile random")
            assert liar.wait() == 4, liar.output()
        client = v.daemon()
        assert writer.wait() == 0, writer.output()
        v.compare()
        v.stop_daemon(client)


def test_the_kernel_says_when_writes_begin_to_wait_for_a_daemon(guest):
    load(guest)
    with parameter(guest, "stall_seconds", 1), Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        assert one_write(v).wait() == 0
        v.stop_daemon(client)
        mark = kernel_mark(guest)
        writer = one_write(v)
        kernel_said(guest, mark, "writes wait.*no daemon.*fail_writes")
        client = v.daemon()
        assert writer.wait() == 0
        v.stop_daemon(client)


@two_processors
def test_fail_writes_ends_all_that_waits(guest):
    """I8: the administrator's way out, with an error for the application and not a hang."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        writers = [one_write(v, n) for n in range(4)]      # deferred: not started
        v.wait_status(lambda s: s.deferred == 4, "deferred writes")
        v.dm(f"message {v.name} 0 fail_writes")
        assert all(w.wait() != 0 for w in writers)
        client = v.daemon("--ack hold")
        writers = [one_write(v, n) for n in range(4)]      # in the ring, unacknowledged
        v.wait_status(lambda s: s.waiting == 4, "waiting writes")
        v.dm(f"message {v.name} 0 fail_writes")
        assert all(w.wait() != 0 for w in writers)
        client.kill(10)
        v.compare()
        v.stop_daemon(client)


def test_fail_writes_also_ends_writes_that_are_still_on_the_local_disk(guest):
    load(guest)
    with DelayedDisk(guest, SECTORS, write_ms=2000) as disk:
        with Volume(guest, disk.path, SECTORS, below=disk.below) as v:
            client = v.daemon("--ack hold")
            writer = one_write(v)
            v.wait_status(lambda s: s.published == 1, "published write")
            v.dm(f"message {v.name} 0 fail_writes")
            wait_until(lambda: writer.poll() is not None, timeout=10,
                       what="the end of a write that was on its way to the local disk")
            assert writer.poll() != 0
            client.kill(10)
            assert one_write(v, 1).wait() == 0, "a later write failed although a daemon is there"
            v.compare()
            v.stop_daemon(client)


@two_processors
def test_a_noflush_suspend_without_a_daemon_returns_and_loses_nothing(guest):
    """I7: waiting writes go back to dm and are made again after the resume."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon("--ack hold")
        writers = [one_write(v, n) for n in range(6)]
        v.wait_status(lambda s: s.waiting == 6, "waiting writes")
        client.kill(9)
        client.wait()
        v.dm(f"suspend --noflush --nolockfs {v.name}", timeout=30)
        assert all(w.poll() is None for w in writers)
        v.dm(f"resume {v.name}")
        client = v.daemon()
        assert all(w.wait() == 0 for w in writers)
        v.compare()
        v.stop_daemon(client)


@two_processors
def test_forced_removal_works_without_a_daemon(guest):
    """With writes waiting and with none; a daemon that is attached sees POLLHUP."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        v.dm(f"remove --force {v.name}", timeout=30)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        writers = [one_write(v, n) for n in range(4)]
        v.wait_status(lambda s: s.deferred == 4, "deferred writes")
        v.dm(f"remove --force --noflush {v.name}", check=False, timeout=30)
        assert all(w.wait() != 0 for w in writers)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        v.dm(f"remove {v.name}")
        assert client.wait() == 5, client.output()


def test_fail_writes_then_removal_does_not_wait_again(guest):
    """Dirty pages behind the failed writes are written by the removal; they must fail too."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        writer = guest.spawn(f"dd if=/dev/urandom of={v.device} bs=1M count=8 status=none "
                             "conv=notrunc")
        v.wait_status(lambda s: s.deferred > 0, "deferred writes")
        v.dm(f"message {v.name} 0 fail_writes")
        writer.wait(timeout=30)
        assert one_write(v).wait() != 0, "a later write without a daemon did not fail"
        v.dm(f"remove --force {v.name}", timeout=30)


@two_processors
def test_the_module_comes_and_goes(guest):
    """Load and unload, with a volume and a daemon in between; refused while either is there."""
    load(guest)
    for _ in range(8):
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            client = v.daemon()
            assert one_write(v).wait() == 0
            assert guest.run("rmmod dm_cascade", check=False).rc != 0
            v.dm(f"remove {v.name}")
            client.wait()
        unload(guest)
        load(guest)


@two_processors
def test_an_attached_file_outlives_its_volume(guest):
    """Lifetime: START and DOORBELL on a volume that is gone; then close; then unload."""
    load(guest)
    for _ in range(10):
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            probe = guest.spawn(f"{TOOLS}/gone_probe {v.uuid} {v.name}")
            assert probe.wait() == 0, probe.output()
        unload(guest)
        load(guest)
