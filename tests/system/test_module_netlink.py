# SPDX-License-Identifier: GPL-2.0-or-later
"""The module's generic netlink family, spoken to with plain sockets, in one guest."""
import json
import signal

from tests.lab.lab import wait_until
from tests.system.frame import two_processors
from tests.system.module_rig import (DMSETUP, META_SECTORS, SOURCES, TOOLS, UUID, Volume,
                                     kernel_mark, kernel_said, load, meta_disk, ram_disk)

SECTORS = 64 << 11
PROBE = f"{SOURCES}/netlink_probe.py"
MANY = 24


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def get(v):
    return lines(v.guest.run(f"{PROBE} get {v.uuid}").out)[0]


def test_get_shows_what_status_shows(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS, options="hub_ack memory-sync") as v:
        client = v.daemon()
        guest.run(f"dd if=/dev/urandom of={v.device} bs=64k count=5 oflag=direct status=none")
        s, n = v.drained(), get(v)
        assert (n["volume"], n["name"], n["sectors"]) == (v.uuid, v.name, SECTORS), n
        assert (n["daemon"], n["send_order"], n["hub_ack"]) == (2, 1, 2), n
        assert all(n[f] == getattr(s, f) for f in ("published", "received", "stored", "released",
                                                   "waiting", "deferred")), (n, s)
        assert (n["writes"], n["write_bytes"], n["ring_used"]) == (5, 5 << 16, 0), n
        assert n["ring_bytes"] == 8 << 20 and n["doorbells"] > 0, n
        v.stop_daemon(client)


def test_link_state_is_set_shown_and_reset_when_the_daemon_goes(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        client = v.daemon()
        for word in ("connecting", "up", "down", "up"):
            client.kill(signal.SIGHUP)
            v.wait_status(lambda s: s.link == word, f"link {word}")
        v.stop_daemon(client)
        assert v.status().link == "down"


def test_wrong_requests_are_refused(guest):
    load(guest)
    with Volume(guest, ram_disk(guest), SECTORS) as v:
        r = guest.run(f"{PROBE} get {UUID % 0xfff}", check=False)
        assert r.rc != 0 and r.err[:1].isdigit(), r
        assert get(v)["name"] == v.name


def test_each_ring_has_an_incarnation_of_its_own(guest):
    """The same volume made anew is another ring."""
    load(guest)
    seen = set()
    for _ in range(2):
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            first = get(v)["incarnation"]
            v.stop_daemon(v.daemon())
            assert get(v)["incarnation"] == first, "a new daemon does not make it another ring"
            seen.add(first)
    assert len(seen) == 2, seen


def test_events_tell_of_volumes_daemons_and_links(guest):
    load(guest)
    ear = guest.spawn(f"{PROBE} events 120")
    try:
        wait_until(lambda: "listening" in ear.output(), what="listener")
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            client = v.daemon()
            client.kill(signal.SIGHUP)
            client.kill(signal.SIGHUP)
            v.wait_status(lambda s: s.link == "up", "link up")
            v.stop_daemon(client)

        def told():
            return [(e["event"], e["daemon"], e["link"]) for e in lines(ear.output())]
        # created; attached; link connecting, up; daemon gone (and its link); removed
        wait_until(lambda: len(told()) >= 6, what="six events", timeout=20)
        assert told() == [(1, 1, 1), (3, 2, 1), (4, 2, 2), (4, 2, 3), (3, 1, 1), (2, 1, 1)], told()
    finally:
        ear.kill(9)


def test_what_waits_for_long_is_told_with_its_reason_and_age(guest):
    """An event, a table event and a line of the log; and again, once nothing waits any more."""
    load(guest)
    ear = guest.spawn(f"{PROBE} events 120")
    try:
        wait_until(lambda: "listening" in ear.output(), what="listener")
        with Volume(guest, ram_disk(guest), SECTORS) as v:
            count = v.dm(f"info -c --noheadings -o events {v.name}").out.strip()
            mark = kernel_mark(guest)
            waits = guest.spawn(f"env {DMSETUP} wait {v.name} {count}")
            writer = guest.spawn(f"dd if=/dev/urandom of={v.device} bs=4k count=1 oflag=direct")
            v.wait_status(lambda s: s.oldest > 0, "a write that waits")

            def stalled():
                return [(e["stalled"], e["oldest"] >= 4900) for e in lines(ear.output())
                        if e["event"] == 7]
            wait_until(lambda: stalled() == [(1, True)], 20, "told that it waits for a daemon")
            assert waits.wait(20) == 0
            kernel_said(guest, mark, "writes wait: no daemon is attached; start dmcascaded")
            assert v.status().oldest >= 4900 and get(v)["why"] == 1
            client = v.daemon()
            assert writer.wait() == 0
            wait_until(lambda: stalled()[1:] == [(0, False)], 20, "told that nothing waits")
            assert v.drained().oldest == 0 and get(v)["why"] == 0
            v.stop_daemon(client)
    finally:
        ear.kill(9)


@two_processors
def test_a_list_of_many_volumes_is_whole_and_has_none_twice(guest):
    """With receives so small that the kernel has to go on in several parts."""
    load(guest)
    backing, meta = ram_disk(guest), meta_disk(guest)
    names = [f"many{n}" for n in range(MANY)]
    guest.run("\n".join(
        f"{TOOLS}/meta_tool format {meta} {n * META_SECTORS} {UUID % (n + 256)} {SECTORS} && "
        f"{DMSETUP} create many{n} --table '0 {SECTORS} cascade {UUID % (n + 256)} {backing} 0 "
        f"{meta} {n * META_SECTORS} 2 ring_size 1024' || exit 1" for n in range(MANY)), timeout=300)
    try:
        *volumes, end = lines(guest.run(f"{PROBE} list 4096").out)
        assert end["parts"] > 1, "everything came in one part: the test shows nothing"
        assert [v["name"] for v in volumes] == names, [v["name"] for v in volumes]
    finally:
        guest.run(f"for n in {' '.join(names)}; do {DMSETUP} remove $n; done", timeout=300)
