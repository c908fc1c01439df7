# SPDX-License-Identifier: GPL-2.0-or-later
"""Table lines, status, messages, netlink and the character device's refusals, in one guest."""
import shlex

from tests.system.module_rig import (DMSETUP, TOOLS, UUID, Volume, kernel_mark, kernel_said, load,
                                     ram_disk)

SECTORS = 64 << 11
ME = UUID % 1

# (what follows "0 <sectors> cascade", what the kernel log must say)
BAD_LINES = [
    ("", r"[Tt]oo few|Needs"),
    (f"{ME} /dev/ram0", r"[Tt]oo few|Needs"),
    ("not-a-uuid /dev/ram0 0", r"UUID must be"),
    (f"{ME[:-1]} /dev/ram0 0", r"UUID must be"),
    ("00000000-0000-0000-0000-000000000000 /dev/ram0 0", r"not.* all zero"),
    (f"{ME} /dev/nowhere 0", r"[Bb]acking device"),
    (f"{ME} /dev/ram0 minus", r"[Oo]ffset must be"),
    (f"{ME} /dev/ram0 -8", r"[Oo]ffset must be"),
    (f"{ME} /dev/ram0 8", r"too small|smaller"),
    (f"{ME} /dev/ram0 18446744073709551608", r"too small|smaller|[Oo]ffset must be"),
    (f"{ME} /dev/ram0 0 x", r"number"),
    (f"{ME} /dev/ram0 0 1 send_order", r"pairs"),
    (f"{ME} /dev/ram0 0 4 send_order parallel", r"number"),
    (f"{ME} /dev/ram0 0 2 send_order parallel hub_ack sync", r"number"),
    (f"{ME} /dev/ram0 0 2 send_order sideways", r"send_order must be parallel or local-first"),
    (f"{ME} /dev/ram0 0 2 hub_ack maybe", r"hub_ack must be sync or memory-sync"),
    (f"{ME} /dev/ram0 0 2 ring_size 1000", r"ring_size must be a power of two"),
    (f"{ME} /dev/ram0 0 2 ring_size 512", r"ring_size must be a power of two"),
    (f"{ME} /dev/ram0 0 2 ring_size 2097152", r"ring_size must be a power of two"),
    (f"{ME} /dev/ram0 0 2 fence_level never", r"not supported by this version"),
    (f"{ME} /dev/ram0 0 2 fence_level status", r"not supported by this version"),
    (f"{ME} /dev/ram0 0 2 fence_level sometimes", r"fence_level must be data"),
    (f"{ME} /dev/ram0 0 2 on_fence io-error", r"not supported by this version"),
    (f"{ME} /dev/ram0 0 2 on_fence explode", r"on_fence must be suspend-io"),
    (f"{ME} /dev/ram0 0 2 colour blue", r"[Uu]nknown (argument|option)"),
]

GOOD_OPTIONS = ["", "send_order local-first", "hub_ack memory-sync", "ring_size 1024",
                "fence_level data on_fence suspend-io",
                "send_order parallel hub_ack sync ring_size 2048 fence_level data "
                "on_fence suspend-io"]


def refused(guest, name, table):
    """dmsetup must fail and leave no device behind."""
    r = guest.run(f"{DMSETUP} create {name} --table {shlex.quote(table)}", check=False)
    assert r.rc != 0, f"accepted: {table}"
    assert f"{name}\t" not in guest.run(f"{DMSETUP} ls").out, f"left behind: {table}"


def test_bad_table_lines_are_refused_with_a_reason(guest):
    load(guest)
    ram_disk(guest)
    for words, reason in BAD_LINES:
        mark = kernel_mark(guest)
        refused(guest, "bad", f"0 {SECTORS} cascade {words}")
        kernel_said(guest, mark, reason, timeout=3)


def test_two_lines_of_one_volume_in_a_table_are_refused(guest):
    """Else both would number their sectors from 0 of the same volume: I2."""
    load(guest)
    backing = ram_disk(guest)
    half = SECTORS // 2
    r = guest.run(f"printf '0 {half} cascade {ME} {backing} 0\\n"
                  f"{half} {half} cascade {ME} {backing} {half}\\n' | {DMSETUP} create bad",
                  check=False)
    if r.rc == 0:
        guest.run(f"{DMSETUP} remove bad")
    assert r.rc != 0, "a table with two lines of one volume was accepted"


def test_a_table_line_is_printed_as_it_can_be_given(guest):
    load(guest)
    backing = ram_disk(guest)
    for options in GOOD_OPTIONS:
        with Volume(guest, backing, SECTORS, options=options) as v:
            first = v.dm(f"table {v.name}").out.strip()
            v.dm(f"load {v.name} --table {shlex.quote(first)}")
            v.dm(f"resume {v.name}")
            assert v.dm(f"table {v.name}").out.strip() == first
            for word in options.partition("fence_level")[0].split():  # the rest has one value
                assert word in first.split(), f"{word} not in {first}"


def test_status_names_modes_and_why_writes_wait(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="send_order local-first") as v:
        s = v.status()
        assert (s.daemon, s.link, s.hub_ack, s.send_order) == ("absent", "down", "sync",
                                                               "local-first"), s
        writer = v.guest.spawn(f"dd if=/dev/urandom of={v.device} bs=4k count=1 oflag=direct")
        v.wait_status(lambda s: s.deferred == 1 and s.reason == "no-daemon", "deferred write")
        client = v.daemon("--ack hold")
        v.wait_status(lambda s: s.waiting == 1 and s.reason == "no-ack", "waiting write")
        client.kill(10)  # SIGUSR1: acknowledge
        assert writer.wait() == 0
        s = v.drained()
        assert s.published == 1 and s.reason == "-", s
        v.stop_daemon(client)


def test_a_reload_cannot_change_the_ring(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        mark = kernel_mark(guest)
        r = v.dm(f"load {v.name} --table {shlex.quote(v.table('ring_size 2048'))}", check=False)
        assert r.rc != 0
        kernel_said(guest, mark, "ring_size can.?not change|ring_size can't change|"
                                 "ring_size cannot be changed")


def test_one_volume_uuid_on_two_devices_is_refused(guest):
    """I5, one host: a second device with the UUID must not come alive."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        refused(guest, "twin", f"0 {SECTORS} cascade {v.uuid} /dev/ram1 0")
        assert v.status().daemon == "absent"


def test_unknown_messages_are_refused(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        mark = kernel_mark(guest)
        for words in ("explode", "fail_writes now"):
            assert v.dm(f"message {v.name} 0 {words}", check=False).rc != 0
        kernel_said(guest, mark, "known: fail_writes")


def test_the_character_device_refuses_what_it_must(guest):
    """I9: read-only maps, one owner, one start, ABI handshake."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        r = guest.run(f"{TOOLS}/cdev_probe {v.uuid}", check=False)
        assert r.rc == 0, r.out + r.err


def test_the_target_says_its_version(guest):
    load(guest)
    assert "cascade          v0.1.0" in guest.run(f"{DMSETUP} targets").out
