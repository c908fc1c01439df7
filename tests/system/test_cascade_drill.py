# SPDX-License-Identifier: GPL-2.0-or-later
"""Drills: images of a group at hub and remote, consistent across volumes, while everything goes on."""
import random
import signal
import time

from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import PINGPONG, QUICK, conditions, end, start_pingpong, wipe

IMAGES = "/dev/mapper/orders-drill /dev/mapper/ledger-drill"
DRILLS = 4


def get_ready(guest):
    guest.run("modprobe -a dm-snapshot loop ext4; mkdir -p /mnt/orders")


def drill_of(cascade, node):
    return (cascade.status(node) or {}).get("drill")


def nothing_left(guest):
    assert "drill" not in guest.run("dmsetup ls").out
    assert not guest.run("cat /sys/block/loop*/loop/backing_file 2> /dev/null || true").out


def refused(cascade, node, words, command="drill start shop --in /tmp"):
    result = cascade.tool(node, command, check=False)
    assert result.rc != 0 and words in result.err and len(result.err.splitlines()) == 1, result


def test_a_drill_shows_every_effect_with_its_cause(cascade, seed, rounds):
    """I3: at random moments of a load in which writes of each primary depend on the other's."""
    lots = random.Random(seed)
    cascade.up(daemon=QUICK)
    wipe(cascade)
    writers = start_pingpong(cascade)
    for node in "HR":
        get_ready(cascade.g[node])
    for i in range(rounds or DRILLS):
        time.sleep(lots.uniform(0.1, 1))
        node = "HR"[i % 2]
        cascade.tool(node, "drill start shop --in /tmp")
        shown = cascade.g[node].run(f"{PINGPONG} check {IMAGES}").out.split()
        time.sleep(lots.uniform(0, 0.5))
        assert cascade.g[node].run(f"{PINGPONG} check {IMAGES}").out.split() == shown, "it stays as it is"
        assert min(map(int, shown)) > 0
        cascade.tool(node, "drill stop shop")
        nothing_left(cascade.g[node])
    end(writers)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_a_drill_goes_through_whatever_happens_to_it(cascade):
    """Use, a daemon's death, no space, no daemon, loss of power: the copies go on, and are equal."""
    cascade.up(daemon=QUICK)
    primary, remote = cascade.g["P1"], cascade.g["R"]
    get_ready(remote)
    primary.run("modprobe ext4; mkfs.ext4 -q /dev/mapper/orders && mkdir -p /mnt/orders && "
                "mount /dev/mapper/orders /mnt/orders && cp -r /usr/share/zoneinfo/A* /mnt/orders && sync", timeout=120)
    cascade.wait_drained()
    files = len(primary.run("find /mnt/orders").out.split())
    more = "--rate=1M --time_based --runtime=900"
    load = [primary.spawn(f"fio --name=load --directory=/mnt/orders --rw=randwrite --bs=4k --direct=1 --size=8M {more}"),
            fio(cascade, "ledger", more=more)]
    refused(cascade, "R", "/nowhere: No such file", "drill start shop --in /nowhere")
    refused(cascade, "R", "cannot reserve", "drill start shop --in /tmp --space 900GiB")
    refused(cascade, "P1", "keeps no copies")
    assert drill_of(cascade, "R") is None
    nothing_left(remote)

    told = cascade.tool("R", "drill start shop --in /tmp --space 64MiB").out
    assert "orders: /dev/mapper/orders-drill" in told, told
    drill = drill_of(cascade, "R")
    assert drill["state"] == "running" and len(drill["images"]) == 2, drill
    remote.run("mount /dev/mapper/orders-drill /mnt/orders", timeout=60)
    assert len(remote.run("find /mnt/orders").out.split()) >= files
    applied = cascade.journal_at("R")["applied_seq"]
    remote.run("rm -r /mnt/orders/A*; head -c 4M /dev/urandom > /mnt/orders/tried; sync")
    wait_until(lambda: cascade.journal_at("R")["applied_seq"] > applied + 50, 60, "the copies go on")
    assert conditions(cascade, "R") == {"DRILL"} and cascade.tool("R", "health").rc == 0
    refused(cascade, "R", "a drill runs here; 'dmcascade drill stop shop'")
    refused(cascade, "R", "a drill runs here", "promote shop --dry-run")
    refused(cascade, "R", "in use", "drill stop shop")
    cascade.stop_daemon("R", signal.SIGKILL)
    cascade.start_daemon("R")
    wait_until(lambda: (drill_of(cascade, "R") or {}).get("since") == drill["since"], 30, "the same drill")
    remote.run("umount /mnt/orders && e2fsck -fn /dev/mapper/orders-drill", timeout=60)
    assert "the drill is over" in cascade.tool("R", "drill stop shop").out
    assert "no drill runs here" in cascade.tool("R", "drill stop shop").out
    nothing_left(remote)

    cascade.tool("R", "drill start shop --in /tmp --space 128KiB")
    wait_until(lambda: "DRILL_BROKEN" in conditions(cascade, "R"), 60, "its space is full")
    applied = cascade.journal_at("R")["applied_seq"]
    wait_until(lambda: cascade.journal_at("R")["applied_seq"] > applied + 50, 60, "the copies go on")
    cascade.stop_daemon("R")
    refused(cascade, "R", "a drill runs here")
    assert "the drill is over" in cascade.tool("R", "drill stop shop").out
    cascade.start_daemon("R")
    wait_until(lambda: cascade.opened("R"), 30, "the remote's daemon answers")
    cascade.tool("R", "drill start shop --in /tmp")
    cascade.lose_power("R")
    nothing_left(remote)
    assert all(job.poll() is None for job in load)
    end(load)
    primary.run("umount /mnt/orders")
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
