# SPDX-License-Identifier: GPL-2.0-or-later
"""Which history is this: restored hubs, journals made anew, copies that do not fit. I3, I5."""
import re
import shutil
import subprocess

from tests.lab.cascade import CONFIG, VOLUMES, compare_images
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio, fio_on_both
from tests.system.test_cascade_faults import QUICK


def volume(cascade, node, name):
    return next(v for v in cascade.status(node)["volumes"] if v["name"] == name)


def ship_link(cascade):
    return next(link for link in cascade.status("H")["links"] if link["peer"] == "r")


def wait_refused_link(cascade, words):
    def refused():
        link = ship_link(cascade)
        return link["state"] != "connected" and words in link["reason"] and link
    return wait_until(refused, 60, f"the hub says that the remote {words}")


def save(cascade, node, disks, to):
    """Copies of a node's disks, on the host; its daemon is stopped."""
    cascade.g[node].run("sync")
    for disk in disks:
        subprocess.run(["cp", "--sparse=always", cascade.g[node].disk_path(disk), f"{to}-{disk}"],
                       check=True)


def restore(cascade, node, disks, source):
    for disk in disks:
        with open(f"{source}-{disk}", "rb") as old, \
                open(cascade.g[node].disk_path(disk), "r+b") as now:
            shutil.copyfileobj(old, now, 1 << 20)
    cascade.g[node].run("echo 3 > /proc/sys/vm/drop_caches")


def test_a_hub_restored_from_a_snapshot_is_not_taken_for_itself(cascade):
    """P7: whatever its numbers come to, the remote does not follow it, and keeps what it has."""
    disks = ("journal", *VOLUMES)
    snapshot = cascade.g["H"].disk_path("journal") + ".snapshot"
    cascade.up(daemon=QUICK)
    fio_on_both(cascade, io="256k", seed=1)
    cascade.wait_drained()
    cascade.stop_daemon("H")
    save(cascade, "H", disks, snapshot)
    cascade.start_daemon("H")
    cascade.wait_connected()
    fio_on_both(cascade, io="512k", seed=2)
    cascade.wait_drained()
    followed = cascade.status("R")["journal"]["received_seq"]
    remote_id = re.search(r"journal (\S+) on", cascade.tool("R", "journal show").out)[1]
    shown = cascade.tool("H", "journal show shop").out
    assert f"followed by journal {remote_id}" in shown and "volume orders: write" in shown, shown

    cascade.stop_daemon("H")
    restore(cascade, "H", disks, snapshot)
    cascade.start_daemon("H")
    for name, (primary, _) in VOLUMES.items():
        wait_until(lambda: volume(cascade, primary, name)["state"] == "refused", 60,
                   f"{name} is refused")
        assert "its journal was restored or made anew" in volume(cascade, primary, name)["reason"]
    wait_refused_link(cascade, "it is not the journal that this remote has followed")

    # The primaries begin new rings; the hub's numbers pass those of the remote.
    cascade.remove()
    cascade.create()
    jobs = [fio(cascade, name, io="2M", seed=3) for name in VOLUMES]
    for job in jobs:
        assert job.wait(180) == 0, job.output()
    assert cascade.status("H")["journal"]["received_seq"] > followed
    wait_refused_link(cascade, "holds another history")
    state = cascade.status("R")["journal"]
    assert state["received_seq"] == followed and state["applied_seq"] == followed, state
    assert "holds another history" in cascade.log("R"), "the remote is told too"
    cascade.down()


def test_a_remotes_journal_made_anew_is_named(cascade):
    """P7: copies of unknown content are not filled from the middle."""
    cascade.up(daemon=QUICK)
    fio_on_both(cascade, io="256k")
    cascade.wait_drained()
    cascade.stop_daemon("R")
    cascade.tool("R", "journal format shop --force")
    cascade.start_daemon("R")
    # Which of the two depends on whether the hub has given up its first writes by now.
    wait_until(lambda: any(words in ship_link(cascade)["reason"] for words in
                           ("made anew or exchanged", "the remote's journal is new")), 60,
               "the hub names the remote's journal")
    assert cascade.status("R")["journal"]["received_seq"] == 0
    cascade.down()


def test_a_copy_that_is_too_small_stops_its_volume_only(cascade):
    """P12: said before the first write, on both sides; in by itself once mended."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    hub = cascade.g["H"]
    hub.run("modprobe dm-mod; dmsetup create small --table '0 65536 linear /dev/lab/ledger 0' && "
            "dmsetup mknodes")
    hub.run(f"sed -i '/^disk.*ledger/s#h = \"/dev/lab/ledger\"#h = \"/dev/mapper/small\"#' {CONFIG}")
    cascade.start_daemons()
    cascade.create()
    wait_until(lambda: volume(cascade, "P2", "ledger")["state"] == "refused", 60, "ledger is refused")
    for node in ("P2", "H"):
        assert "the hub's copy only 33554432" in volume(cascade, node, "ledger")["reason"]
    waits = fio(cascade, "ledger", io="64k")
    runs = fio(cascade, "orders", io="256k")
    assert runs.wait(120) == 0, runs.output()
    assert waits.poll() is None, "a refused volume waits, it does not fail"

    cascade.stop_daemon("H")
    size = hub.run("blockdev --getsz /dev/lab/ledger").out.strip()
    hub.run(f"dmsetup suspend small && dmsetup reload small --table '0 {size} linear /dev/lab/ledger 0' "
            "&& dmsetup resume small")
    cascade.start_daemon("H")
    assert waits.wait(120) == 0, waits.output()
    cascade.wait_drained()
    hub.run("sync")
    compare_images(cascade.g["P2"].disk_path("ledger"), cascade.g["H"].disk_path("ledger"), "ledger")
    cascade.compare()
    cascade.down()
    hub.run("dmsetup remove small; rm -f /dev/mapper/small")


def test_a_volume_that_one_file_lacks_waits_alone(cascade):
    """W6: a primary gets its new file before the hub does; nobody else notices."""
    cascade.configure(daemon=QUICK)
    full = cascade.g["H"].run(f"cat {CONFIG}").out
    before = full[:full.index("\n[group.shop.volume.ledger]")] + full[full.index("\n[daemon]"):]
    for node in ("H", "R"):
        cascade.g[node].write_file(CONFIG, before)
    cascade.format_journals()
    cascade.start_daemons()
    cascade.create()
    wait_until(lambda: volume(cascade, "P2", "ledger")["state"] != "replicating", 60, "ledger waits")
    waits = fio(cascade, "ledger", io="64k")
    runs = fio(cascade, "orders", io="512k")
    assert runs.wait(120) == 0, runs.output()
    for node in ("H", "R"):
        assert waits.poll() is None
        cascade.g[node].write_file(CONFIG, full)
        cascade.stop_daemon(node)
        cascade.start_daemon(node)
    assert waits.wait(120) == 0, waits.output()
    cascade.wait_drained()
    cascade.compare()

    # And out again, hub first: what is left of it is drained, the other one goes on.
    cascade.tool("P2", "remove ledger")
    for node in ("H", "R"):
        cascade.g[node].write_file(CONFIG, before)
        cascade.stop_daemon(node)
        cascade.start_daemon(node)
    runs = fio(cascade, "orders", io="512k", seed=5)
    assert runs.wait(120) == 0, runs.output()
    wait_until(lambda: cascade.status("R")["journal"]["applied_seq"] ==
               cascade.status("H")["journal"]["received_seq"], 60, "the remote has it")
    cascade.tool("P1", "remove orders")
    cascade.stop_daemons()
