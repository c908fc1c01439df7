# SPDX-License-Identifier: GPL-2.0-or-later
"""The cascade on a good day: every setting of design.md's claims, file systems, tools."""
import itertools
import json
import signal

from tests.lab.cascade import VOLUMES
from tests.lab.lab import wait_until
from tests.system.frame import BOTH_KERNELS, kernels

FIO = ("fio --name=w --filename=/dev/mapper/{name} --direct=1 --ioengine=libaio --rw=randwrite "
       "--bssplit=512/10:4k/60:16k/20:64k/10 --iodepth={depth} --size={size} --io_size={io} "
       "--randseed={seed} --output-format=terse {more}")


def fio(cascade, name, depth=16, size="32M", io="4M", seed=1, more=""):
    primary = VOLUMES[name][0]
    return cascade.g[primary].spawn(FIO.format(name=name, depth=depth, size=size, io=io, seed=seed,
                                               more=more))


def end_fio(job):
    """Of one that writes until it is told to stop: it had no error, and has none now."""
    assert job.poll() is None, job.output()
    job.kill(signal.SIGINT)
    rc, said = job.wait(60), job.output()
    assert rc == 128 and "err=" not in said, f"exit {rc}: {said}"  # 128: nothing but the signal


def fio_on_both(cascade, **options):
    jobs = [fio(cascade, name, **options) for name in VOLUMES]
    for job in jobs:
        assert job.wait(180) == 0, job.output()


@BOTH_KERNELS
def test_file_systems_arrive_whole(cascade):
    """I2: ext4 and xfs, written through the page cache, equal on all three copies."""
    cascade.up()
    for name, (primary, _) in VOLUMES.items():
        mkfs = "mkfs.ext4 -q" if name == "orders" else "mkfs.xfs -q -m crc=1"
        cascade.g[primary].run(f"modprobe -q xfs; {mkfs} /dev/mapper/{name} && mkdir -p /mnt/{name} && "
                               f"mount /dev/mapper/{name} /mnt/{name} && "
                               f"cp -r /usr/share/zoneinfo/A* /mnt/{name}/ && sync && "
                               f"rm -r /mnt/{name}/A*/B* ; umount /mnt/{name}", timeout=180)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


def _combination(cascade, send_order, hub_ack, ship, remote_ack):
    cascade.up(send_order=send_order, hub_ack=hub_ack, ship=ship, remote_ack=remote_ack)
    fio_on_both(cascade, io="2M", more="--fsync=32")
    for name, (primary, _) in VOLUMES.items():
        cascade.g[primary].run(f"blkdiscard -o 1M -l 2M /dev/mapper/{name}; "
                               f"blkdiscard -z -o 8M -l 1M /dev/mapper/{name}")
    cascade.wait_drained()
    cascade.compare()
    state = cascade.status("H")
    assert (state["send_order"], state["hub_ack"], state["ship"], state["remote_ack"]) == \
        (send_order, hub_ack, ship, remote_ack)
    cascade.down()


def _claim(words):
    """The test of one row of the claims table, named after it."""
    def test(cascade):
        _combination(cascade, *words)
    test.__name__ = "test_claim_" + "_".join(w.replace("-", "_") for w in words)
    # Settings are the daemon's business but for two words in the table: one kernel is enough.
    kernels("6.1")(test)
    test.__doc__ = "I2: equal copies with send-order %s, hub-ack %s, ship %s, remote-ack %s." % words
    return test


for _words in itertools.product(("parallel", "local-first"), ("sync", "memory-sync"),
                                ("stored", "received"), ("sync", "memory-sync")):
    globals()[_claim(_words).__name__] = _claim(_words)


def check_latency(cascade):
    """Each node knows the stages that are its own, and has counted each write that fio made in them."""
    writes = cascade.report("P1")["groups"][0]["volumes"][0]["ring"]["published"]
    for node, wanted in {"P1": ["ring", "send", "hub", "write"], "H": ["journal", "ship", "remote"],
                         "R": ["journal"]}.items():
        found = json.loads(cascade.tool(node, "--json latency shop").out)
        assert found["schema"] == "dmcascade.latency/1" and found["node"] == node.lower(), found
        stages = found["groups"][0]["stages"]
        assert [s["stage"] for s in stages] == wanted, stages
        assert all(s["count"] >= writes > 0 and s["p50_us"] <= s["p99_us"] for s in stages), stages
        table = cascade.tool(node, "latency").out
        assert table.startswith("group shop\n") and all(f"\n  {s} " in table for s in wanted), table
    whole, part = (next(s for s in json.loads(cascade.tool("P1", "--json latency").out)["groups"][0]["stages"]
                        if s["stage"] == name) for name in ("write", "hub"))
    assert whole["sum_seconds"] >= part["sum_seconds"], (whole, part)
    quiet = cascade.tool("P1", "latency --interval 0.1 --count 1").out
    assert " 0 " in quiet.splitlines()[-1] and "-" in quiet.splitlines()[-1], quiet
    unknown = cascade.tool("P1", "latency nothing", check=False)
    assert unknown.rc == 4 and "nothing" in unknown.err, unknown


def test_status_says_what_is(cascade):
    """Status as text and as JSON; without a daemon it still says what waits, and exits 3."""
    cascade.up()
    fio_on_both(cascade, io="256k")
    cascade.wait_drained()
    hub = json.loads(cascade.tool("H", "--json status").out)
    assert hub["schema"] == "dmcascade.status/1" and hub["node"] == "h"
    group = hub["groups"][0]
    assert group["roles"] == ["hub"] and group["remote"]["backlog_writes"] == 0
    assert group["remote"]["lag_seconds"] == 0 and isinstance(group["remote"]["lag_seconds"], (int, float))
    assert sorted(v["name"] for v in group["volumes"]) == sorted(VOLUMES)
    text = cascade.tool("H", "status").out
    assert "remote: 0.0 s behind, 0 writes" in text and "replicating" in text, text
    check_latency(cascade)
    cascade.stop_daemon("P1")
    gone = cascade.tool("P1", "status", check=False)
    assert gone.rc == 3 and "does not answer" in gone.err and "volume orders" in gone.out, gone
    cascade.start_daemon("P1")
    cascade.wait_connected()
    cascade.down()


def test_lag_is_counted_while_the_remote_is_away(cascade):
    """The primaries go on; status counts writes, bytes and seconds; then all of it arrives."""
    cascade.up(daemon='heartbeat = "200ms"\nsession-timeout = "1s"\nreconnect-max = "500ms"\n')
    cascade.lab.links["H-R"].cut()
    fio_on_both(cascade, io="1M")
    behind = wait_until(lambda: (lambda r: r if r["lag_seconds"] > 1 else None)
                        (cascade.status("H")["remote"]), 30, "the lag is more than a second")
    assert behind["backlog_writes"] > 0 and behind["backlog_bytes"] >= 1 << 20, behind
    cascade.lab.links["H-R"].heal()
    cascade.wait_drained()
    assert cascade.status("H")["remote"]["lag_seconds"] == 0
    cascade.compare()
    cascade.down()


def test_a_daemon_that_is_told_to_stop_stops_cleanly(cascade):
    """SIGTERM: exit 0 on every node, journals closed, numbers go on where they were."""
    cascade.up()
    fio_on_both(cascade, io="512k")
    cascade.wait_drained()
    before = cascade.status("H")["journal"]["received_seq"]
    for node in ("P1", "P2", "H", "R"):
        assert cascade.stop_daemon(node) == 0
    for node in ("R", "H", "P2", "P1"):
        cascade.start_daemon(node)
    wait_until(lambda: cascade.opened("H"), 30, "the hub is back")
    assert "recovered after a crash" not in cascade.log("H")
    assert cascade.status("H")["journal"]["received_seq"] == before
    cascade.wait_connected()
    fio_on_both(cascade, io="512k", seed=2)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()


@BOTH_KERNELS
def test_volumes_come_and_go_while_the_daemon_runs(cascade):
    """create and remove, twice, are idempotent; the other volume is not disturbed."""
    cascade.up()
    background = fio(cascade, "ledger", io="2M")
    assert "already there" in cascade.tool("P1", "create orders").out
    cascade.tool("P1", "remove orders")
    assert "not there" in cascade.tool("P1", "remove orders").out
    cascade.tool("P1", "create --all")
    cascade.wait_connected()
    fio_on_both(cascade, io="512k", seed=3)
    assert background.wait(120) == 0, background.output()
    table = cascade.tool("P1", "table orders").out.split()
    real = cascade.g["P1"].run("dmsetup table orders").out.split()
    for devices in (6, 4):  # the kernel prints devices as numbers
        del table[devices], real[devices]
    assert table == real, (table, real)
    assert cascade.tool("P1", "--version").out.strip()
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
