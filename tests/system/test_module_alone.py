# SPDX-License-Identifier: GPL-2.0-or-later
"""The lease, fence levels, and a volume that goes on without its hub. I2, I6, I7."""
import re
import signal

from tests.lab.lab import wait_until
from tests.system.frame import two_processors
from tests.system.module_rig import (DMSETUP, FragileMeta, Volume, kernel_mark, kernel_said, load,
                                     ram_disk)
from tests.system.test_module_bitmap import REGION, write
from tests.system.test_module_resync import in_sync

SECTORS = 64 << 11
NEVER = "fence_level never"
REVOKED, REMOTE_IO = 4, 1


def writer(v, region):
    return v.guest.spawn(f"dd if=/dev/urandom of={v.device} bs=4k count=1 seek={region * 64} "
                         "oflag=direct")


def lose_hub(v, words="--lease 1000"):
    """A daemon whose hub is silent from now on."""
    return v.daemon(f"{words} --ack hold")


def alone(v):
    return v.wait_status(lambda s: s.lease == "alone", "the volume goes on alone")


def make_alone(v, region):
    """Its hub is lost, and a write into @region finds that out; it waits for the lease, and no longer."""
    lose_hub(v, "--lease 300")
    assert writer(v, region).wait(timeout=60) == 0
    alone(v)


def part_in_vain(v, meta):
    """Its hub is lost, and the area can't say that it goes alone. Returns the daemon, and a write that waits."""
    client = v.daemon("--lease 60000")
    write(v, 2)
    v.stop_daemon(client)
    client = lose_hub(v, "--lease 1000")
    mark = kernel_mark(v.guest)
    meta.break_it()
    waits = writer(v, 2)
    kernel_said(v.guest, mark, "cannot write the metadata area")
    return client, waits


def say_alone(v, client, answers):
    """The daemon says that the volume may go on alone; what the kernel answered, so far."""
    client.kill(signal.SIGALRM)
    said = wait_until(lambda: (found := re.findall(r"alone: (.*)", client.output())) and
                      len(found) == answers and found, 60, "an answer")
    return said[-1]


def come_back(v, client_words="--resync --lease 60000"):
    client = v.daemon(f"--base {v.status().stored} {client_words}")
    in_sync(v, client)
    return client


def test_writes_go_on_when_the_lease_has_run_out(guest):
    """One pause, no error, even if the daemon is dead; and only what the hub lacks is copied."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v:
        client = v.daemon("--lease 60000")
        write(v, 1)
        v.drained()
        before = v.generation()
        v.stop_daemon(client)
        client = lose_hub(v)
        assert writer(v, 3).wait(timeout=60) == 0
        s = alone(v)
        assert s.out_of_sync == REGION and s.daemon == "absent", s
        assert client.wait() == REVOKED
        write(v, 5)
        assert v.status().out_of_sync == 2 * REGION
        assert {3, 5} <= v.marks()[0], "on disk before the write has completed"
        assert v.generation() != before, "it is another history now"
        guest.run(f"blockdev --flushbufs {v.device}; sync")
        client = come_back(v)
        s = v.status()
        assert s.lease != "alone" and s.out_of_sync == 0, s
        write(v, 7)
        v.compare()
        v.stop_daemon(client)


def test_it_is_the_kernel_that_looks_at_the_clock(guest):
    """The daemon is killed, and nobody starts it: writes go on nevertheless."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v:
        client = lose_hub(v)
        client.kill(9)
        client.wait()
        assert writer(v, 2).wait(timeout=60) == 0
        alone(v)


def test_nobody_is_alone_without_need_or_leave(guest):
    """An idle volume stays with its hub; so does one whose hub knows it under another level."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v:
        client = lose_hub(v, "--lease 300")
        guest.run("sleep 1")
        assert v.status().lease == "-" and v.status().daemon == "attached"
        v.stop_daemon(client)
        client = lose_hub(v, "--lease 300 --fence data")
        waits = writer(v, 2)
        guest.run("sleep 1")
        s = v.status()
        assert s.lease == "-" and s.waiting == 1 and s.reason == "no-ack", s
        client.kill(10)  # SIGUSR1: the hub is back
        assert waits.wait(timeout=60) == 0
        v.stop_daemon(client)


def test_a_level_is_changed_while_it_runs(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        assert v.status().fence == "data"
        client = lose_hub(v, "--lease 60000")
        v.dm(f"message {v.name} 0 fence_level never")
        s = v.status()
        assert s.fence == "never" and s.lease == "-", "the hub has to hear of it first"
        assert "fence_level never" in v.dm(f"table {v.name}").out
        assert v.dm(f"message {v.name} 0 fence_level perhaps", check=False).rc != 0
        v.stop_daemon(client)
        client = lose_hub(v, "--lease 300")
        waits = writer(v, 2)
        assert waits.wait(timeout=60) == 0
        alone(v)
        v.load(options="fence_level data")
        v.dm(f"resume {v.name}")
        write(v, 4)
        assert v.status().lease == "alone", "until its hub is back"
        v.stop_daemon(come_back(v))
        assert v.status().fence == "data"


def test_io_error_fails_writes_until_the_hub_is_back(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="on_fence io-error") as v:
        client = lose_hub(v, "--lease 1000 --fence data")
        assert writer(v, 2).wait(timeout=60) == REMOTE_IO
        assert writer(v, 3).wait(timeout=60) == REMOTE_IO, "and no other is let in"
        guest.run(f"dd if={v.device} of=/dev/null bs=4k count=1 iflag=direct status=none")
        client.kill(10)  # SIGUSR1
        v.wait_status(lambda s: s.lease != "-", "the hub is back")
        write(v, 4)
        v.compare()
        v.stop_daemon(client)


def test_a_lone_volume_is_so_after_a_restart(guest):
    """It knows from its metadata area; what it wrote is known by its marks."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v:
        make_alone(v, 3)
        here = v.generation()
        v.dm(f"remove {v.name}")
        v.create_again()
        write(v, 5)
        s = v.status()
        assert s.lease == "alone" and s.out_of_sync >= 2 * REGION, s
        assert v.generation() == here
        v.stop_daemon(come_back(v))
        v.dm(f"remove {v.name}")
        v.create_again()
        assert v.status().lease == "-", "its hub has been back"
        waits = writer(v, 6)
        v.wait_status(lambda s: s.reason == "no-daemon", "it waits for a daemon")
        v.stop_daemon(v.daemon(f"--base {v.area().end_seq}"))
        waits.wait()


def test_a_lone_volume_is_not_alone_under_another_level(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v:
        make_alone(v, 3)
        v.dm(f"remove {v.name}")
        v.options = ""
        v.create_again()
        waits = writer(v, 5)
        s = v.wait_status(lambda s: s.deferred == 1, "it waits for its hub")
        assert s.lease == "-" and s.out_of_sync >= REGION, s
        client = v.daemon(f"--base {v.area().end_seq} --resync")
        assert waits.wait(timeout=60) == 0
        in_sync(v, client)
        v.compare()
        v.stop_daemon(client)


@two_processors
def test_alone_and_back_under_load(guest):
    """Writers see pauses and no error, and verify what they read; again and again."""
    load(guest)
    for options in (NEVER, NEVER + " ring_size 1024 send_order local-first",
                    NEVER + " hub_ack memory-sync"):
        with Volume(guest, ram_disk(guest), SECTORS, options=options) as v:
            fio = v.fio("--rw=randwrite --bsrange=512-64k --bs_unaligned=0 --iodepth=16 --fsync=32 "
                        "--verify=crc32c --verify_backlog=64 --size=32M", seconds=8, wait=False)
            for _ in range(2):
                client = v.daemon("--lease 60000") if not v.clients else come_back(v)
                guest.run("sleep 0.5")
                client.kill(9)
                client.wait()
                client = lose_hub(v, "--lease 300")
                assert writer(v, 200).wait(timeout=60) == 0, "also when fio is done already"
                alone(v)
                guest.run("sleep 0.5")
            client = come_back(v)
            assert fio.wait(timeout=120) == 0, fio.output()
            v.compare()
            v.stop_daemon(client)


def test_nobody_goes_alone_whose_area_can_not_say_so(guest):
    """Else a crash would forget that the hub lacks something: I5, I6."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v, FragileMeta(v) as meta:
        client, waits = part_in_vain(v, meta)
        assert v.status().lease == "-" and waits.poll() is None
        meta.mend()
        assert waits.wait(timeout=60) == 0
        alone(v)
        client.wait()


def test_an_administrator_may_let_it_go(guest):
    """Without a lease, without a daemon, at any level; nothing but that the area can't be written keeps it."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        waits = writer(v, 2)
        v.wait_status(lambda s: s.reason == "no-daemon", "it waits for a daemon")
        v.dm(f"message {v.name} 0 go_alone")
        assert waits.wait(timeout=60) == 0
        assert alone(v).out_of_sync == REGION
        assert v.dm(f"message {v.name} 0 go_alone", check=False).rc != 0
        client = come_back(v)
        client.kill(12)  # SIGUSR2: hold
        waits = writer(v, 4)
        v.wait_status(lambda s: s.waiting == 1, "a write waits")
        v.dm(f"message {v.name} 0 go_alone")
        assert waits.wait(timeout=60) == 0 and client.wait() == REVOKED
        client = come_back(v)
        v.compare()
        v.stop_daemon(client)


def test_a_parting_that_could_not_be_written_leaves_nothing_behind(guest):
    """The hub is back before the area can be written: the volume never was alone, nor is after a restart."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v, FragileMeta(v) as meta:
        here = v.generation()
        client, waits = part_in_vain(v, meta)
        assert client.wait() == REVOKED
        client = v.daemon("--lease 60000")
        assert waits.wait(timeout=60) == 0
        meta.mend()
        v.stop_daemon(client)
        v.dm(f"remove {v.name}")
        v.create_again()
        assert v.status().lease == "-" and v.generation() == here, (v.status(), here)


def test_a_daemon_that_comes_while_a_volume_parts_finds_it_alone(guest):
    """Else it would go on with a ring and a history that are no more, and nobody would bring the hub back."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v, FragileMeta(v) as meta:
        client = v.daemon()
        write(v, 1)
        v.drained()
        meta.hold()
        parting = guest.spawn(f"env {DMSETUP} message {v.name} 0 go_alone")
        assert client.wait() == REVOKED
        client = guest.spawn(v.client_command("--base 1 --resync --lease 60000"))
        v.clients.append(client)
        guest.run("sleep 0.5")
        assert parting.poll() is None and v.status().lease == "-", v.status()
        meta.go_on()
        assert parting.wait(timeout=60) == 0
        in_sync(v, client)
        write(v, 2)
        v.compare()
        v.stop_daemon(client)


def test_under_witness_writes_wait_until_somebody_has_granted_it(guest):
    """Not before the lease is over, whoever says so; and not by itself when it is, nor with an error."""
    load(guest)
    words = "--fence witness --lease"
    with Volume(guest, ram_disk(guest), SECTORS, options="fence_level witness on_fence io-error") as v:
        assert v.status().fence == "witness"
        client = lose_hub(v, f"{words} 60000")
        waits = writer(v, 3)
        v.wait_status(lambda s: s.waiting == 1, "a write waits")
        assert say_alone(v, client, 1) == "Resource temporarily unavailable"
        v.stop_daemon(client)
        client = lose_hub(v, f"{words} 500")
        v.wait_status(lambda s: s.lease == "-", "the lease is over")
        assert waits.poll() is None and v.status().out_of_sync == 0
        assert say_alone(v, client, 1) == "yes"
        assert waits.wait(timeout=60) == 0, waits.output()
        assert alone(v).out_of_sync == REGION
        assert client.wait() == REVOKED
        v.stop_daemon(come_back(v, f"--resync {words} 60000"))
    with Volume(guest, ram_disk(guest), SECTORS, options=NEVER) as v:
        client = v.daemon("--lease 500 --fence witness --ack hold")
        assert say_alone(v, client, 1) == "Invalid argument", "the table does not ask for it"
        v.stop_daemon(client)


def begin_anew(v, client, in_vain=False):
    said = say_alone(v, client, 1)
    assert said == ("Input/output error" if in_vain else "yes"), said
    assert client.wait() == REVOKED


def empty_hub(v):
    """Another one in its place, with zeroes."""
    v.guest.run(f"truncate -s 0 {v.image} && truncate -s {SECTORS * 512} {v.image}")


def test_a_volume_begins_anew_under_its_writers(guest):
    """The hub has given up what it had: all is out of sync, no writer waits for that or fails, and whoever comes
    next gets all of it."""
    load(guest)
    everything = set(range(SECTORS // REGION))
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon("--anew --lease 60000")
        write(v, 1)
        v.drained()
        before = v.generation()
        client.kill(signal.SIGUSR2)  # holds
        waits = writer(v, 3)
        v.wait_status(lambda s: s.waiting == 1, "a write waits")
        begin_anew(v, client)
        assert waits.wait(timeout=60) == 0, waits.output()
        assert alone(v).out_of_sync == SECTORS
        assert v.marks()[0] == everything and v.generation() != before
        assert v.area()[1] == 0 and v.area()[3] == 0, "it knows no hub"
        write(v, 5)
        empty_hub(v)
        client = v.daemon("--base 0 --resync --lease 60000")
        in_sync(v, client)
        write(v, 7)
        v.compare()
        v.stop_daemon(client)


def test_a_volume_that_cannot_say_so_does_not_begin_anew(guest):
    """It stays with its hub, which is sent more than it needs."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v, FragileMeta(v) as meta:
        client = v.daemon("--anew")
        write(v, 1)
        v.drained()
        before = v.generation()
        meta.break_it()
        begin_anew(v, client, in_vain=True)
        meta.mend()
        s = v.status()
        assert s.lease != "alone" and s.out_of_sync == SECTORS and v.generation() == before, s
        assert v.area()[1] == 1, "it still knows its hub"
        client = v.daemon("--resync")
        in_sync(v, client)
        write(v, 2)
        v.compare()
        v.stop_daemon(client)
