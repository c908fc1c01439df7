# SPDX-License-Identifier: GPL-2.0-or-later
"""Promotion of a hub or remote: what it says beforehand, what it hands over, and who is refused then."""
import json
import random
import signal
import time

from tests.lab import pingpong
from tests.lab.cascade import DIR, load_module
from tests.lab.lab import wait_until
from tests.system.test_cascade_drill import get_ready
from tests.system.test_cascade_faults import QUICK, conditions, copies, end, shipped, start_pingpong, wipe
from tests.system.test_cascade_postgres import make_database, start, sums, tool

FORCE = "--yes --force=may-lack-writes"


def plan(cascade, node):
    return json.loads(cascade.tool(node, "--json promote shop --dry-run").out)


def state(cascade, node):
    takeover = (cascade.status(node) or {}).get("takeover")
    return takeover and takeover["state"]


def forget_takeover(cascade, *nodes):
    """For the test that comes after this one."""
    for node in nodes:
        cascade.g[node].run("sync")
        cascade.tool(node, "journal format shop --force")


def test_a_remote_takes_over_under_load_refuses_its_hub_and_comes_back(cascade):
    """I3, I5: the copies are an image of one moment and plain devices; the rest is named, not merged.
    I2: given up, the remote is filled anew while writers go on."""
    cascade.up(daemon=QUICK)
    wipe(cascade)
    begun = cascade.status("R")["journal"]["applied_seq"]
    writers = start_pingpong(cascade)
    wait_until(lambda: cascade.journal_at("R")["applied_seq"] > begun + 100, 60, "writes arrive")
    early = cascade.tool("R", f"promote shop {FORCE}", check=False)
    assert early.rc == 5 and "--force=still-connected" in early.err, early
    link = cascade.lab.links["H-R"]
    link.cut()
    wait_until(lambda: "LINK_DOWN" in conditions(cascade, "R"), 20, "the remote has lost its hub")
    asked = cascade.tool("R", "promote shop", check=False)
    assert asked.rc == 5 and "say --yes --force=may-lack-writes" in asked.err, asked
    doubt, = plan(cascade, "R")["doubts"]
    assert doubt["force"] == "may-lack-writes" and "the hub, h, had" in doubt["text"], doubt
    assert cascade.tool("R", "promote shop --yes", check=False).rc == 5
    assert state(cascade, "R") is None
    told = cascade.tool("R", f"promote shop {FORCE}").out
    assert "group shop is promoted on r" in told and "orders: /dev/lab/orders" in told, told
    assert min(pingpong.check_copies(*copies(cascade, "R"))) > 20
    again = cascade.tool("R", "promote shop").out
    assert again.splitlines()[0] == told.splitlines()[-3], (told, again)
    cascade.g["R"].run("modprobe ext4; mkfs.ext4 -q -F /dev/lab/orders && mkdir -p /mnt/orders && "
                       "mount /dev/lab/orders /mnt/orders && head -c 4M /dev/urandom > /mnt/orders/new && "
                       "sync && cd /mnt/orders && sha256sum new > sum", timeout=120)

    link.heal()
    generation = cascade.status("R")["takeover"]["generation"]
    theirs = cascade.status("P1")["volumes"][0]["generation"]
    wait_until(lambda: any(generation in link["reason"] and theirs in link["reason"]
                           for link in cascade.status("H")["links"]), 30, "the hub is refused by both names")
    cascade.stop_daemon("R", signal.SIGKILL)
    cascade.start_daemon("R")
    wait_until(lambda: state(cascade, "R") == "promoted", 30, "it is still promoted")
    assert conditions(cascade, "R") == {"PROMOTED"}
    assert cascade.tool("R", "health").rc == 0
    cascade.g["R"].run("cd /mnt/orders && sha256sum -c --quiet sum && cd / && umount /mnt/orders && "
                       "e2fsck -fn /dev/lab/orders > /dev/null", timeout=120)
    # What was written there is given up.
    cascade.g["R"].run("mount /dev/lab/orders /mnt/orders")
    told = cascade.tool("R", "rejoin shop --yes --force=give-up-writes", check=False)
    assert told.rc != 0 and "/dev/lab/orders" in told.err, told
    cascade.g["R"].run("umount /mnt/orders")
    told = cascade.tool("R", "rejoin shop --yes", check=False)
    assert told.rc == 5 and generation in told.out and "--force=give-up-writes" in told.err, told
    before, _ = shipped(cascade)
    get_ready(cascade.g["R"])
    told = cascade.tool("R", "rejoin shop --yes --force=give-up-writes --keep --in /tmp").out
    assert "it follows again" in told and "/dev/mapper/orders-drill" in told, told
    wait_until(lambda: "CATCHING_UP" in conditions(cascade, "R"), 30, "the remote takes what is copied")
    assert "go past the bracket" in cascade.tool("R", "bracket apply shop").out
    wait_until(lambda: not any(conditions(cascade, node) - {"DRILL"} for node in cascade.g), 240, "all is well")
    volumes = sum(volume["size_bytes"] for volume in cascade.status("H")["volumes"])
    assert shipped(cascade)[0] - before < volumes / 2, "what the remote has already is not copied"
    cascade.g["R"].run("mount /dev/mapper/orders-drill /mnt/orders && cd /mnt/orders && sha256sum -c --quiet sum && "
                       "cd / && umount /mnt/orders", timeout=120)
    cascade.tool("R", "drill stop shop")
    end(writers)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def now_at(guest):
    return guest.run("date -u +%Y-%m-%dT%H:%M:%S.%3NZ").out.strip()


def test_a_remote_that_applies_later_shows_and_hands_over_what_was_there_before_a_mistake(cascade):
    """I3: as of a moment before a file was removed, though the removal is in the remote's journal; over a
    crash of the one that is promoted."""
    cascade.up(daemon=QUICK, apply_delay="1h")
    primary, remote = cascade.g["P1"], cascade.g["R"]

    def stored():
        wait_until(lambda: cascade.status("H")["remote"]["backlog_writes"] == 0, 60, "the remote has it")
        wait_until(lambda: cascade.journal_at("R")["stored_seq"] == cascade.journal_at("H")["stored_seq"], 60, "stored")

    primary.run("modprobe ext4; mkfs.ext4 -q /dev/mapper/orders && mkdir -p /mnt/orders && "
                "mount /dev/mapper/orders /mnt/orders && head -c 4M /dev/urandom > /mnt/orders/precious && sync && "
                "cd /mnt/orders && sha256sum precious > sum && sync", timeout=120)
    stored()
    time.sleep(0.5)
    before = now_at(remote)
    time.sleep(0.5)
    primary.run("rm /mnt/orders/precious && sync && cd / && umount /mnt/orders")
    stored()
    journal = cascade.journal_at("R")
    assert journal["apply_delay_seconds"] == 3600 and journal["applied_seq"] < journal["stored_seq"] - 20, journal
    get_ready(remote)
    assert "as of write" in cascade.tool("R", f"drill start shop --in /tmp --at {before}").out
    look = "mount -o ro,noload {} /mnt/orders && cd /mnt/orders && sha256sum -c --quiet sum && cd / && umount /mnt/orders"
    remote.run(look.format("/dev/mapper/orders-drill"))
    cascade.tool("R", "drill stop shop")
    late = cascade.tool("R", "drill start shop --in /tmp --at '1h ago'", check=False)
    assert late.rc == 5 and "can't go back to" in late.err, late
    held = cascade.journal_at("R")["applied_seq"]
    assert journal["applied_seq"] < held < journal["stored_seq"], "the copies wait again"

    cascade.lab.links["H-R"].cut()
    wait_until(lambda: "LINK_DOWN" in conditions(cascade, "R"), 20, "the remote has lost its hub")
    told = cascade.tool("R", f"promote shop --at {before} --dry-run").out
    assert f"as of {before}, at the most write" in told and f"after {before} stays out" in told, told
    remote.spawn(f"{DIR}/dmcascade promote shop --at {before} {FORCE}")
    cascade.lose_power("R")
    wait_until(lambda: cascade.opened("R"), 30, "its daemon is back")
    cascade.tool("R", f"promote shop --at {before} {FORCE}", timeout=120)
    get_ready(remote)
    remote.run(look.format("/dev/lab/orders"))
    cascade.lab.links["H-R"].heal()
    cascade.down()
    forget_takeover(cascade, "R")


def test_a_database_goes_on_at_its_hub_and_nothing_that_was_committed_is_missing(cascade, seed):
    """I1: its primary loses power under load; the hub, which proves that it lacks nothing, is promoted
    and loses power while it is; the remote, promoted too, has an earlier state that is whole."""
    cascade.up(daemon=QUICK)
    make_database(cascade)
    primary, hub = cascade.g["P1"], cascade.g["H"]
    tool(primary, "pgbench -n -c 2 -T 60 postgres", spawn=True)
    wait_until(lambda: sums(primary) > 20, 60, "transactions")
    committed = sums(primary)
    primary.kill_power()
    cascade.stop_daemon("P2")
    wait_until(lambda: all(link["state"] != "connected" for link in cascade.status("H")["links"]
                           if link["direction"] == "upstream"), 30, "the hub is alone")
    remote = plan(cascade, "R")
    assert not remote["lossless"] and remote["state"] == "follows", remote
    before = plan(cascade, "H")
    assert before["lossless"] and before["doubts"] == [], before
    hub.spawn(f"{DIR}/dmcascade promote shop --yes")
    time.sleep(random.Random(seed).uniform(0, 0.5))
    cascade.lose_power("H")
    wait_until(lambda: cascade.opened("H"), 30, "the hub's daemon is back")
    cascade.tool("H", "promote shop --yes", timeout=120)
    wait_until(lambda: "LINK_DOWN" in conditions(cascade, "R"), 30, "the remote is alone")
    cascade.tool("R", f"promote shop {FORCE}")
    counts = []
    for guest in (hub, cascade.g["R"]):
        guest.run("modprobe ext4; mkdir -p /mnt/orders && mount /dev/lab/orders /mnt/orders", timeout=60)
        start(guest)
        counts.append(sums(guest))
        tool(guest, "pg_ctl -D /mnt/orders/pg -m fast -w stop > /dev/null")
        guest.run("umount /mnt/orders")
    assert counts[0] >= committed and 0 < counts[1] <= counts[0], (committed, counts)
    cascade.daemons.pop("P1")
    primary.start()
    primary.ready()
    load_module(primary)
    cascade.stop_daemons()
    cascade.tool("P2", "remove ledger")
    forget_takeover(cascade, "H", "R")
