# SPDX-License-Identifier: GPL-2.0-or-later
"""Table lines, status, messages, netlink and the character device's refusals, in one guest."""
import re
import shlex

from tests.system.module_rig import (DMSETUP, META_SECTORS, TOOLS, UUID, Volume, kernel_mark,
                                     kernel_said, load, meta_disk, ram_disk)

SECTORS = 64 << 11
ME = UUID % 1
DATA = f"{ME} /dev/ram0 0"
META = f"/dev/ram2 {META_SECTORS}"

# (what follows "0 <sectors> cascade", what the kernel log must say)
BAD_LINES = [
    ("", r"[Tt]oo few|Needs"),
    (f"{ME} /dev/ram0", r"[Tt]oo few|Needs"),
    (DATA, r"[Tt]oo few.*metadata device"),
    (f"not-a-uuid /dev/ram0 0 {META}", r"UUID must be"),
    (f"{ME[:-1]} /dev/ram0 0 {META}", r"UUID must be"),
    (f"00000000-0000-0000-0000-000000000000 /dev/ram0 0 {META}", r"not.* all zero"),
    (f"{ME} /dev/nowhere 0 {META}", r"[Bb]acking device"),
    (f"{ME} /dev/ram0 minus {META}", r"[Oo]ffset must be"),
    (f"{ME} /dev/ram0 -8 {META}", r"[Oo]ffset must be"),
    (f"{ME} /dev/ram0 8 {META}", r"too small|smaller"),
    (f"{ME} /dev/ram0 18446744073709551608 {META}", r"too small|smaller|[Oo]ffset must be"),
    (f"{DATA} /dev/nowhere 0", r"Metadata device cannot be opened"),
    (f"{DATA} /dev/ram2 -8", r"[Oo]ffset must be"),
    (f"{DATA} /dev/ram2 7", r"multiple of 8"),
    (f"{DATA} /dev/ram2 18446744073709551608", r"Metadata device is too small"),
    (f"{DATA} /dev/ram1 0", r"No whole metadata area there; 'dmcascade create --new'"),
    (f"{DATA} /dev/ram2 {2 * META_SECTORS}", r"Metadata area is of another volume"),
    (f"{DATA} /dev/ram2 {3 * META_SECTORS}", r"Volume is shorter than its metadata area says"),
    (f"{DATA} /dev/ram0 {SECTORS - META_SECTORS}", r"Metadata area and volume overlap"),
    (f"{DATA} {META} x", r"number"),
    (f"{DATA} {META} 1 send_order", r"pairs"),
    (f"{DATA} {META} 4 send_order parallel", r"number"),
    (f"{DATA} {META} 2 send_order parallel hub_ack sync", r"number"),
    (f"{DATA} {META} 2 send_order sideways", r"send_order must be parallel or local-first"),
    (f"{DATA} {META} 2 hub_ack maybe", r"hub_ack must be sync or memory-sync"),
    (f"{DATA} {META} 2 ring_size 1000", r"ring_size must be a power of two"),
    (f"{DATA} {META} 2 ring_size 512", r"ring_size must be a power of two"),
    (f"{DATA} {META} 2 ring_size 2097152", r"ring_size must be a power of two"),
    (f"{DATA} {META} 2 fence_level sometimes", r"fence_level must be data, never, status or witness"),
    (f"{DATA} {META} 2 on_fence explode", r"on_fence must be suspend-io or io-error"),
    (f"{DATA} {META} 2 colour blue", r"[Uu]nknown (argument|option)"),
]

GOOD_OPTIONS = ["", "send_order local-first", "hub_ack memory-sync", "ring_size 1024",
                "fence_level data on_fence suspend-io", "fence_level data on_fence io-error",
                "fence_level never", "fence_level status",
                "send_order parallel hub_ack sync ring_size 2048 fence_level data "
                "on_fence suspend-io"]


def refused(guest, name, table):
    """dmsetup must fail and leave no device behind."""
    r = guest.run(f"{DMSETUP} create {name} --table {shlex.quote(table)}", check=False)
    assert r.rc != 0, f"accepted: {table}"
    assert f"{name}\t" not in guest.run(f"{DMSETUP} ls").out, f"left behind: {table}"


def test_bad_table_lines_are_refused_with_a_reason(guest):
    load(guest)
    disk = meta_disk(guest)
    for place, uuid, sectors in ((1, ME, SECTORS), (2, UUID % 2, SECTORS), (3, ME, SECTORS + 8)):
        guest.run(f"{TOOLS}/meta_tool format {disk} {place * META_SECTORS} {uuid} {sectors}")
    guest.run(f"{TOOLS}/meta_tool format /dev/ram0 {SECTORS - META_SECTORS} {ME} {SECTORS}")
    # All in one go: a word to the guest and back costs more than a table.
    script = "\n".join(
        f"echo 'line {n} of test' > /dev/kmsg\n"
        f"{DMSETUP} create bad --table {shlex.quote(f'0 {SECTORS} cascade {words}')} 2>/dev/null "
        f"&& echo 'accepted {n}'\n{DMSETUP} info bad >/dev/null 2>&1 && echo 'left behind {n}'"
        for n, (words, _) in enumerate(BAD_LINES))
    guest.write_file("/run/bad-lines.sh", script + "\necho 'line end of test' > /dev/kmsg\n")
    wrong = guest.run("sh /run/bad-lines.sh").out
    assert not wrong, f"{wrong}: {BAD_LINES[int(wrong.split()[-1])][0]}"
    said = re.split(r"line \w+ of test", guest.run("dmesg").out)[-len(BAD_LINES) - 1:-1]
    for (words, reason), lines in zip(BAD_LINES, said):
        assert re.search(reason, lines), f"{words}: {lines}"


def test_two_lines_of_one_volume_in_a_table_are_refused(guest):
    """Else both would number their sectors from 0 of the same volume: I2."""
    load(guest)
    backing = ram_disk(guest)
    half = SECTORS // 2
    guest.run(f"{TOOLS}/meta_tool format {meta_disk(guest)} {META_SECTORS} {ME} {half}")
    r = guest.run(f"printf '0 {half} cascade {ME} {backing} 0 {META}\\n"
                  f"{half} {half} cascade {ME} {backing} {half} {META}\\n' | "
                  f"{DMSETUP} create bad",
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
            for word in options.split():
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


def test_a_reload_cannot_move_the_metadata_area(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        guest.run(f"{TOOLS}/meta_tool format {meta_disk(guest)} {9 * META_SECTORS} {v.uuid} {SECTORS}")
        mark, place = kernel_mark(guest), v.meta
        v.meta = f"/dev/ram2 {9 * META_SECTORS}"
        assert v.dm(f"load {v.name} --table {shlex.quote(v.table())}", check=False).rc != 0
        v.meta = place
        kernel_said(guest, mark, "metadata area cannot be moved by a reload")


def test_one_volume_uuid_on_two_devices_is_refused(guest):
    """I5, one host: a second device with the UUID must not come alive."""
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        refused(guest, "twin", f"0 {SECTORS} cascade {v.uuid} /dev/ram1 0 {v.meta}")
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
