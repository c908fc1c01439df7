# SPDX-License-Identifier: GPL-2.0-or-later
"""Drills: images of a group at hub and remote, consistent across volumes, while everything goes on."""
import random
import signal
import time

from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import PINGPONG, QUICK, conditions, start_pingpong, wipe
from tests.system.test_cascade_postgres import DATA, make_database, start, sums, tool

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
    for writer in writers:
        writer.kill(signal.SIGTERM)
        writer.wait()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def test_a_database_is_tried_at_the_remote_while_it_follows(cascade):
    """A drill through everything that happens to one: use, a daemon's death, no space, loss of power."""
    cascade.up(daemon=QUICK)
    make_database(cascade)
    remote = cascade.g["R"]
    get_ready(remote)
    load = [tool(cascade.g["P1"], "pgbench -n -c 2 -T 900 postgres", spawn=True),
            fio(cascade, "ledger", more="--rate=1M --time_based --runtime=900")]
    wait_until(lambda: sums(cascade.g["P1"]) > 20, 60, "transactions")
    cascade.wait_connected()
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
    start(remote)
    shown = sums(remote)
    assert shown > 0
    applied = cascade.journal_at("R")["applied_seq"]
    tool(remote, "pgbench -n -t 20 postgres > /dev/null 2>&1")
    assert sums(remote) == shown + 20
    wait_until(lambda: cascade.journal_at("R")["applied_seq"] > applied + 50, 60, "the copies go on")
    assert conditions(cascade, "R") == {"DRILL"} and cascade.tool("R", "health").rc == 0
    refused(cascade, "R", "a drill runs here; 'dmcascade drill stop shop'")
    refused(cascade, "R", "a drill runs here", "promote shop --dry-run")
    refused(cascade, "R", "in use", "drill stop shop")
    cascade.stop_daemon("R", signal.SIGKILL)
    cascade.start_daemon("R")
    wait_until(lambda: (drill_of(cascade, "R") or {}).get("since") == drill["since"], 30, "the same drill")
    tool(remote, f"pg_ctl -D {DATA} -m fast -w stop > /dev/null")
    remote.run("umount /mnt/orders")
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
    for job in load:
        assert job.poll() is None, job.output()
        job.kill(signal.SIGTERM)
        job.wait()
    tool(cascade.g["P1"], f"pg_ctl -D {DATA} -m fast -w stop > /dev/null")
    cascade.g["P1"].run("umount /mnt/orders")
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
