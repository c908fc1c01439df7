# SPDX-License-Identifier: GPL-2.0-or-later
"""The cascade on bad days: cut links, killed daemons, a hub without power."""
import random
import signal
import time

from tests.lab import image, pingpong
from tests.lab.cascade import VOLUMES
from tests.lab.lab import wait_until
from tests.system.frame import BOTH_KERNELS
from tests.system.test_cascade_basics import fio, fio_on_both

QUICK = 'heartbeat = "200ms"\nsession-timeout = "1s"\nreconnect-min = "50ms"\nreconnect-max = "300ms"\n'
PINGPONG = f"/usr/bin/python3 -S -E {image.TOP}/tests/lab/pingpong.py"
PORT = 7999
CUTS = 20
MiB = 1 << 20
SMALL_JOURNALS = {"hub_journal": "/dev/lab/small-journal", "remote_journal": "/dev/lab/small-journal"}


def start_pingpong(cascade):
    """The two sides talk over a link of their own."""
    return [cascade.g["P1"].spawn(f"{PINGPONG} /dev/mapper/orders listen {PORT}"),
            cascade.g["P2"].spawn(f"{PINGPONG} /dev/mapper/ledger connect "
                                  f"{cascade.g['P1'].address} {PORT}")]


def end(writers):
    for writer in writers:
        writer.kill(signal.SIGTERM)
        writer.wait()


def conditions(cascade, node):
    return {c["code"] for c in (cascade.status(node) or {"conditions": []}).get("conditions", [])}


def copies(cascade, node):
    return [cascade.g[node].disk_path(name) for name in ("orders", "ledger")]


def remote_is_quiet(cascade):
    """The remote has lost its session and has applied all that it holds and may apply."""
    state = cascade.status("R")
    journal, bracket = state["journal"], state["bracket"]
    through = bracket["applied_through"] if bracket else journal["received_seq"]
    return state["links"][0]["state"] != "connected" and journal["applied_seq"] == through


def wipe(cascade):
    for name, (primary, _) in VOLUMES.items():
        cascade.g[primary].run(f"blkdiscard -z /dev/mapper/{name}")
    cascade.wait_drained()


def test_remote_is_a_prefix_wherever_its_link_is_cut(cascade, seed, rounds):
    """I3, I2: writes of each primary depend on the other's; the remote holds no effect without its
    cause at 20 random cuts of the link, and its point in time never goes back."""
    lots = random.Random(seed)
    cascade.up(daemon=QUICK)
    wipe(cascade)
    writers = start_pingpong(cascade)
    before = (0, 0)
    link = cascade.lab.links["H-R"]
    for _ in range(rounds or CUTS):
        time.sleep(lots.uniform(0.05, 0.6))
        link.cut()
        wait_until(lambda: remote_is_quiet(cascade), 30, "the remote is quiet")
        now = pingpong.check_copies(*copies(cascade, "R"))
        assert now[0] >= before[0] and now[1] >= before[1], f"went back from {before} to {now}"
        before = now
        link.heal()
        wait_until(lambda: cascade.status("R")["links"][0]["state"] == "connected", 30,
                   "the remote is connected again")
    assert min(before) > 20, f"hardly anything was written: {before}"
    end(writers)
    cascade.wait_drained()
    pingpong.check_copies(*copies(cascade, "H"))
    cascade.compare()
    cascade.down()


def _kill_and_start(cascade, node):
    cascade.stop_daemon(node, signal.SIGKILL)
    cascade.start_daemon(node)
    wait_until(lambda: cascade.opened(node), 30, f"the daemon of {node} is back")


def _survive_kills(cascade, node, seed, **choices):
    lots = random.Random(seed)
    cascade.up(daemon=QUICK, **choices)
    jobs = [fio(cascade, name, size="8M", io="10M", seed=seed % 1000 + 1,
                more="--verify=crc32c --do_verify=1 --verify_backlog=512") for name in VOLUMES]
    for _ in range(3):
        time.sleep(lots.uniform(0.2, 1.2))
        _kill_and_start(cascade, node)
    for job in jobs:
        assert job.wait(240) == 0, job.output()
    cascade.wait_connected()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


@BOTH_KERNELS
def test_primary_daemon_killed_under_load(cascade, seed):
    """I7, I1, I2: no I/O error, nothing lost, nothing repeated."""
    _survive_kills(cascade, "P1", seed)


def test_hub_daemon_killed_under_load(cascade, seed):
    """I7, I1, I2."""
    _survive_kills(cascade, "H", seed)


def test_remote_daemon_killed_under_load(cascade, seed):
    """I7, I2."""
    _survive_kills(cascade, "R", seed)


def test_hub_daemon_killed_under_load_with_memory_sync(cascade, seed):
    """I7, I2: what was only received is sent again by the rings."""
    _survive_kills(cascade, "H", seed, hub_ack="memory-sync", ship="received",
                   remote_ack="memory-sync")


def test_memory_sync_keeps_cause_and_effect_over_a_hub_crash(cascade, seed):
    """I3: rings send again in any order what a crashed hub had only received; neither hub nor remote
    shows any of it before all of it is back."""
    lots = random.Random(seed)
    hub = cascade.g["H"]
    # A slow journal, so that much has been received and not stored when the hub dies.
    hub.run("modprobe -a dm-mod dm-delay && dmsetup create slow --table \"0 $(blockdev --getsz "
            "/dev/lab/journal) delay /dev/lab/journal 0 0 /dev/lab/journal 0 300\" && dmsetup mknodes")
    cascade.up(daemon=QUICK, devices={"hub_journal": "/dev/mapper/slow"}, hub_ack="memory-sync", ship="received",
               remote_ack="memory-sync")
    wipe(cascade)
    writers = start_pingpong(cascade)
    before = (0, 0)
    for _ in range(4):
        time.sleep(lots.uniform(0.3, 1.0))
        cascade.stop_daemon("H", signal.SIGKILL)
        cascade.lab.links["P1-H"].cut()  # one primary comes back later than the other
        cascade.start_daemon("H")
        time.sleep(lots.uniform(0.5, 1.5))
        cascade.lab.links["H-R"].cut()
        wait_until(lambda: remote_is_quiet(cascade), 30, "the remote is quiet")
        now = pingpong.check_copies(*copies(cascade, "R"))
        assert min(now) >= min(before), f"went back from {before} to {now}"
        before = now
        cascade.lab.links["H-R"].heal()
        cascade.lab.links["P1-H"].heal()
        cascade.wait_connected()
    end(writers)
    cascade.wait_drained()
    last = pingpong.check_copies(*copies(cascade, "R"))
    assert min(last) > 20, f"hardly anything was written: {last}"
    cascade.compare()
    cascade.down()
    hub.run("dmsetup remove slow; rm -f /dev/mapper/slow")


def test_a_volume_made_anew_while_the_hub_is_away_replicates(cascade):
    """I7: the daemon lets go of the removed volume's ring and finds the new one's."""
    cascade.up(daemon=QUICK)
    fio_on_both(cascade, io="256k")
    cascade.wait_drained()
    cascade.lab.links["P1-H"].cut()
    wait_until(lambda: cascade.status("P1")["links"][0]["state"] != "connected", 30, "P1 is alone")
    cascade.tool("P1", "remove orders")
    cascade.tool("P1", "create orders")
    job = fio(cascade, "orders", io="512k")
    time.sleep(1)
    assert job.poll() is None, "a volume without its hub must wait"
    cascade.lab.links["P1-H"].heal()
    assert job.wait(120) == 0, job.output()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_link_of_a_primary_cut_under_load(cascade):
    """I1, I2: with fence level data I/O waits, without an error, and goes on; the other primary is
    not disturbed."""
    cascade.up(daemon=QUICK)
    slow = fio(cascade, "orders", io="8M")
    cascade.lab.links["P1-H"].cut()
    other = fio(cascade, "ledger", io="1M")
    assert other.wait(120) == 0, other.output()
    assert slow.poll() is None, slow.output()
    status = cascade.g["P1"].run("dmsetup status orders").out
    assert "no-ack" in status or "ring-full" in status, status
    cascade.lab.links["P1-H"].heal()
    assert slow.wait(120) == 0, slow.output()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


@BOTH_KERNELS
def test_hub_loses_power_under_load(cascade):
    """I1, I7: every acknowledged write is in the hub's journal or copy when it comes back."""
    cascade.up(daemon=QUICK)
    jobs = [fio(cascade, name, io="8M", more="--verify=crc32c --do_verify=1") for name in VOLUMES]
    time.sleep(1)
    assert all(job.poll() is None for job in jobs)
    cascade.lose_power("H")
    for job in jobs:
        assert job.wait(240) == 0, job.output()
    cascade.wait_connected()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_journal_smaller_than_what_is_written(cascade):
    """I8, I2: the journal goes round; with the remote away it fills, writers are slowed down and
    wait at last, as told, and go on."""
    cascade.up(daemon=QUICK, devices=SMALL_JOURNALS, on_journal_full="throttle")
    cascade.lab.links["H-R"].cut()
    jobs = [fio(cascade, name, size="16M", io="16M", depth=32) for name in VOLUMES]
    wait_until(lambda: "full" in cascade.journal_at("H")["reason"], 120, "the journal is full")
    assert "JOURNAL_FULL" in conditions(cascade, "H")
    assert all(job.poll() is None for job in jobs)
    cascade.lab.links["H-R"].heal()
    for job in jobs:
        assert job.wait(300) == 0, job.output()
    cascade.wait_drained(240)
    cascade.compare()
    cascade.down()


def test_a_remote_away_for_longer_than_the_journal_holds(cascade):
    """I2, I3, I8: nobody waits for it. Hub and remote lose power on the way; it catches up by copies
    of what differs, in a bracket that its journal can't hold either."""
    cascade.up(daemon=QUICK, devices={**SMALL_JOURNALS, "undo": '{ r = "/dev/lab/undo" }'})
    cascade.lab.links["H-R"].cut()
    fio_on_both(cascade, size="24M", io="32M", depth=32)
    state = cascade.status("H")
    assert state["remote"]["out_of_sync_bytes"] >= 16 * MiB and state["remote"]["lag_seconds"] > 1, state
    assert "REMOTE_BEHIND" in conditions(cascade, "H"), state
    cascade.lose_power("H")
    wait_until(lambda: "REMOTE_BEHIND" in conditions(cascade, "H"), 60, "the hub remembers")
    fio_on_both(cascade, io="1M", seed=2)

    cascade.lab.links["H-R"].heal()
    wait_until(lambda: {"CATCHING_UP", "BRACKET_PASSED"} <= conditions(cascade, "R"), 120,
               "the remote's copies have gone past the bracket")
    assert cascade.status("R")["bracket"]["past"] == "undo"
    cascade.lose_power("R")
    fio_on_both(cascade, io="1M", seed=3)
    wait_until(lambda: not cascade.status("H")["remote"]["behind_since"], 240, "it has caught up")
    cascade.wait_drained()
    for node in ("H", "R"):
        assert not {c for c in conditions(cascade, node) if not c.startswith("JOURNAL")}, node
    assert cascade.status("R")["journal"]["consistent"]
    cascade.compare()
    cascade.down()


def test_the_remote_gets_as_much_as_ship_rate_says(cascade):
    """Writers do not wait for it; what is lifted in the file is lifted by a reload."""
    cascade.up(ship_rate="128KiB")
    begun = time.monotonic()
    fio_on_both(cascade, io="2M")
    remote = cascade.status("H")["remote"]
    took = time.monotonic() - begun
    assert remote["ship_rate_bytes"] == 128 * 1024, remote
    arrived = 4 * MiB - remote["backlog_bytes"]
    assert arrived < 128 * 1024 * (took + 2), (arrived, took)
    assert "limited to 128 KiB/s" in cascade.tool("H", "status").out
    cascade.configure()
    cascade.tool("H", "reload")
    begun = time.monotonic()
    cascade.wait_drained()
    assert time.monotonic() - begun < remote["backlog_bytes"] / (128 * 1024), "it was lifted"
    assert cascade.status("H")["remote"]["ship_rate_bytes"] is None
    cascade.compare()
    cascade.down()


def shipped(cascade):
    """Bytes of data that the hub has sent the remote, and what they would have been."""
    link = next(l for l in cascade.status("H")["links"] if l["direction"] == "downstream")
    return link["sent_bytes"], link["unpacked_bytes"]


def test_what_is_shipped_is_compressed_where_that_pays(cascade):
    """Zeroes and noise in turn, by both codecs; status says what it saved, and the copies are equal. Beside
    that the congestion control that was asked for is the connection's, or its absence a condition."""
    for codec, congestion in (("zstd", "bbr"), ("lz4", "nothing")):
        cascade.up(ship_compress=codec, ship_congestion=congestion)
        sockets = cascade.g["H"].run(f"ss -tin dst {cascade.g['R'].address}").out
        assert (" bbr " in sockets) == (congestion == "bbr"), sockets
        assert ("CONGESTION_CONTROL" in conditions(cascade, "H")) == (congestion == "nothing")
        for source, share in (("zero", 0.1), ("urandom", 1.1)):
            sent, plain = shipped(cascade)
            for name, (primary, _) in VOLUMES.items():
                cascade.g[primary].run(f"dd if=/dev/{source} of=/dev/mapper/{name} bs=64k count=32 oflag=direct "
                                       "conv=fsync status=none")
            cascade.wait_drained()
            sent, plain = (now - before for now, before in zip(shipped(cascade), (sent, plain)))
            assert plain >= 4 * MiB and sent < share * plain, (codec, source, sent, plain)
            assert source == "zero" or sent > 0.9 * plain, (codec, sent, plain)
        text = cascade.tool("H", "status").out
        assert f"{codec} to r: " in text and " sent as " in text, text
        cascade.compare()
        cascade.down()


def bracket_waits_for(cascade, node):
    state = cascade.status(node)
    bracket = state and state["bracket"]
    return {v["volume"]: v["waits_for"] for v in bracket["volumes"]} if bracket else {}


def test_a_bracket_is_shown_and_ended_by_name(cascade):
    """I3, I8: one volume does not come back after a crash of a memory-sync hub; the others wait for
    it visibly, writers do not, and an operator lets the group go on without it."""
    cascade.up(daemon=QUICK, hub_ack="memory-sync")
    fio_on_both(cascade, io="256k")
    cascade.wait_drained()
    cascade.stop_daemon("H", signal.SIGKILL)
    cascade.lab.links["P1-H"].cut()
    cascade.start_daemon("H")
    wait_until(lambda: list(bracket_waits_for(cascade, "H")) == ["orders"], 60,
               "the hub waits for orders alone")
    assert "p1 has not come back" in bracket_waits_for(cascade, "H")["orders"]
    wait_until(lambda: list(bracket_waits_for(cascade, "R")) == ["orders"], 60,
               "the remote knows of the bracket")
    assert fio(cascade, "ledger", io="256k", seed=3).wait(120) == 0, "writers of ledger do not wait"
    for node in ("H", "R"):
        state = cascade.status(node)
        assert state["journal"]["applied_seq"] == state["bracket"]["applied_through"]
        assert state["bracket"]["held_writes"] >= 4
    assert "bracket open" in cascade.tool("H", "status").out
    assert cascade.tool("R", "bracket end shop --without orders", check=False).rc == 5

    assert "past the bracket" in cascade.tool("R", "bracket apply shop").out
    wait_until(lambda: cascade.status("R")["bracket"]["past"] == "gone", 30, "the remote's copies go past it")
    assert "BRACKET_PASSED" in conditions(cascade, "R") and not cascade.status("R")["journal"]["consistent"]

    told = cascade.tool("H", "bracket end shop --without orders").out
    assert "stay behind" in told, told
    assert cascade.tool("H", "bracket end shop --without orders", check=False).rc == 5
    wait_until(lambda: not cascade.status("R")["bracket"], 60, "the bracket is closed everywhere")
    wait_until(lambda: cascade.journal_at("R")["consistent"], 60, "ledger is applied")
    assert cascade.tool("R", "bracket apply shop", check=False).rc == 5
    behind = next(v for v in cascade.status("R")["volumes"] if v["name"] == "orders")
    assert behind["state"] == "behind", behind

    cascade.lab.links["P1-H"].heal()
    cascade.wait_connected()
    cascade.wait_drained()
    for node in ("H", "R"):
        assert all(v["state"] == "replicating" for v in cascade.status(node)["volumes"])
    cascade.compare()
    cascade.down()
