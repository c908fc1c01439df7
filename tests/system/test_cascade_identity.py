# SPDX-License-Identifier: GPL-2.0-or-later
"""Which history is this: restored hubs, journals made anew, copies that do not fit. I3, I5."""
import itertools
import re
import shutil
import subprocess
import time

from tests.lab.cascade import CONFIG, DIR, VOLUMES, load_module
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import end_fio, fio, fio_on_both
from tests.system.test_cascade_faults import QUICK


AREAS = (("P1", "orders"), ("P2", "ledger-meta"))  # disks with a metadata area


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
    for node, name in AREAS:
        save(cascade, node, [name], snapshot)
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
        wait_until(lambda: "its journal was restored or made anew" in
                   volume(cascade, primary, name)["reason"], 60, f"{name} is refused")
        assert volume(cascade, primary, name)["state"] == "refused", "also while it asks again"
    wait_refused_link(cascade, "it is not the journal that this remote has followed")

    # A new ring does not help: the disks know that they were further.
    cascade.remove()
    cascade.create()
    wait_until(lambda: "the hub has lost writes" in volume(cascade, "P1", "orders")["reason"], 60,
               "a new ring is refused too")

    # Only with their own past restored the primaries go on; the hub's numbers pass the remote's.
    cascade.remove()
    for node, name in AREAS:
        restore(cascade, node, [name], snapshot)
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


def make_a_journal_anew(cascade, node):
    """That of one node, of a group that has written."""
    cascade.up(daemon=QUICK)
    fio_on_both(cascade, io="256k")
    cascade.wait_drained()
    cascade.stop_daemon(node)
    cascade.tool(node, "journal format shop --force")
    cascade.start_daemon(node)


def test_a_remotes_journal_made_anew_is_named(cascade):
    """P7: copies of unknown content are not filled from the middle."""
    make_a_journal_anew(cascade, "R")
    # Which of the two depends on whether the hub has given up its first writes by now.
    wait_until(lambda: any(words in ship_link(cascade)["reason"] for words in
                           ("made anew or exchanged", "the remote's journal is new")), 60,
               "the hub names the remote's journal")
    assert cascade.status("R")["journal"]["received_seq"] == 0
    cascade.down()


def test_a_hubs_journal_made_anew_is_named(cascade):
    """P7, first hop: nothing is taken into it, at hub and remote, until somebody decides."""
    make_a_journal_anew(cascade, "H")
    for name, (primary, _) in VOLUMES.items():
        for node in (primary, "H"):
            wait_until(lambda: "the hub's journal was made anew" in
                       volume(cascade, node, name)["reason"], 60, f"{node} names it for {name}")
    assert ship_link(cascade)["state"] != "connected"
    assert cascade.status("H")["journal"]["received_seq"] == 0
    cascade.down()


def test_a_cloned_primary_is_refused(cascade):
    """P8: the disk of P1 on another machine, beside the original and alone after its orderly end."""
    cascade.up(daemon=QUICK)
    fio(cascade, "orders", io="256k").wait(120)
    cascade.wait_drained()
    cascade.tool("P2", "remove ledger")
    cascade.stop_daemon("P2")
    clone = cascade.g["P2"]
    shutil.copy(cascade.g["P1"].disk_path("orders"), clone.disk_path("ledger"))
    text = clone.run(f"cat {CONFIG}").out
    clone.write_file(CONFIG, text.replace('p1 = "/dev/lab/orders"', 'p1 = "/dev/lab/clone"'))
    clone.run("ln -sf /dev/lab/ledger /dev/lab/clone; echo 3 > /proc/sys/vm/drop_caches")

    def as_p1(words, check=True):
        return cascade.tool("P2", f"--node p1 {words}", check=check)

    refused = as_p1("create orders", check=False)
    assert "is another device than last time" in refused.err, refused
    assert "may differ" in as_p1("create --accept-device orders").err
    daemon = cascade.daemons["P2"] = clone.spawn(f"{DIR}/dmcascaded --node p1")
    wait_until(lambda: cascade.opened("P2"), 30, "the clone's daemon answers")
    # As two machines behind one name do, they would take the session from each other.
    wait_until(lambda: "it is in a session from" in volume(cascade, "P2", "orders")["reason"], 60,
               "the clone is refused beside the original")
    fio(cascade, "orders", io="512k", seed=2).wait(120)
    assert volume(cascade, "P1", "orders")["state"] == "replicating"
    daemon.kill(15)
    assert daemon.wait(60) == 0

    # An orderly end of the original; a clone of that; and the original writes again.
    clone.run("dmsetup remove --force --noflush orders")
    cascade.tool("P1", "remove orders")
    shutil.copy(cascade.g["P1"].disk_path("orders"), clone.disk_path("ledger"))
    clone.run("echo 3 > /proc/sys/vm/drop_caches")
    cascade.tool("P1", "create orders")
    fio(cascade, "orders", io="256k", seed=3).wait(120)
    cascade.tool("P1", "remove orders")
    before = cascade.status("H")["journal"]["received_seq"]
    as_p1("create --accept-device orders")
    cascade.daemons["P2"] = clone.spawn(f"{DIR}/dmcascaded --node p1")
    wait_until(lambda: cascade.opened("P2"), 30, "the clone's daemon answers")
    wait_until(lambda: "its disk ended in order with write" in
               volume(cascade, "P2", "orders")["reason"], 60, "the clone is refused alone")
    assert cascade.status("H")["journal"]["received_seq"] == before
    clone.run("dmsetup remove --force --noflush orders; rm /dev/lab/clone")
    cascade.tool("P1", "create orders")
    wait_until(lambda: volume(cascade, "P1", "orders")["state"] == "replicating", 60,
               "the original goes on")
    assert volume(cascade, "P1", "orders")["differs"] == ""
    cascade.tool("P1", "remove orders")
    cascade.stop_daemons()


def test_an_exchanged_disk_is_named_and_left_alone(cascade):
    """A disk behind the same path that is not the one of last time."""
    cascade.up(daemon=QUICK)
    primary = cascade.g["P1"]
    cascade.tool("P1", "remove orders")
    size = primary.run("blockdev --getsz /dev/lab/orders").out.strip()
    primary.run(f"dmsetup create other --uuid LVM-other --table '0 {size} linear /dev/lab/orders 0' "
                "&& dmsetup mknodes")
    text = primary.run(f"cat {CONFIG}").out
    primary.write_file(CONFIG, text.replace('p1 = "/dev/lab/orders"', 'p1 = "/dev/mapper/other"'))
    before = primary.run("md5sum /dev/lab/orders").out
    refused = cascade.tool("P1", "create orders", check=False)
    assert refused.rc == 5 and "'dm LVM-other', it was 'serial " in refused.err, refused
    assert primary.run("md5sum /dev/lab/orders").out == before
    cascade.tool("P1", "create --accept-device orders")
    cascade.tool("P1", "remove orders")
    cascade.tool("P1", "create orders")
    assert fio(cascade, "orders", io="64k").wait(120) == 0
    cascade.wait_drained()
    cascade.tool("P1", "remove orders")
    primary.run("dmsetup remove other; rm -f /dev/mapper/other")

    # The hub's copy: the group stops there, and goes on once told.
    hub = cascade.g["H"]
    cascade.stop_daemon("H")
    hub.run(f"modprobe dm-mod; dmsetup create other --uuid LVM-other --table "
            f"'0 {size} linear /dev/lab/orders 0' && dmsetup mknodes")
    text = hub.run(f"cat {CONFIG}").out
    hub.write_file(CONFIG, text.replace('h = "/dev/lab/orders"', 'h = "/dev/mapper/other"'))
    for accepted in (False, True):
        if accepted:
            cascade.tool("H", "journal accept-copy orders")
        cascade.start_daemon("H")
        wait_until(lambda: cascade.opened("H"), 30, "the hub's daemon answers")
        state = cascade.status("H")["journal"]
        assert accepted or ("another device than last time" in state["reason"] and
                            "'dm LVM-other'" in state["reason"]), state
        assert (state["state"] == "ok") == accepted, state
        cascade.stop_daemon("H")
    hub.run("dmsetup remove other; rm -f /dev/mapper/other")
    cascade.tool("P2", "remove ledger")
    cascade.stop_daemons()


def up_with_a_small_copy(cascade):
    """The hub's copy of ledger has 32 MiB; the daemons run, and the volumes are there."""
    hub = cascade.g["H"]
    hub.run("modprobe dm-mod; dmsetup create small --table '0 65536 linear /dev/lab/ledger 0' && "
            "dmsetup mknodes")
    hub.run(f"sed -i '/^disk.*ledger/s#h = \"/dev/lab/ledger\"#h = \"/dev/mapper/small\"#' {CONFIG}")
    cascade.start_daemons()
    cascade.create(new=True)


def mend_the_small_copy(cascade):
    """While the hub's daemon is not there."""
    hub = cascade.g["H"]
    size = hub.run("blockdev --getsz /dev/lab/ledger").out.strip()
    hub.run(f"dmsetup suspend small && dmsetup reload small --table '0 {size} linear /dev/lab/ledger 0' "
            "&& dmsetup resume small")


def test_a_copy_that_is_too_small_stops_its_volume_only(cascade):
    """P12: said before the first write, on both sides; in by itself once mended."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    up_with_a_small_copy(cascade)
    wait_until(lambda: volume(cascade, "P2", "ledger")["state"] == "refused", 60, "ledger is refused")
    for node in ("P2", "H"):
        assert "the hub's copy only 33554432" in volume(cascade, node, "ledger")["reason"]
    waits = fio(cascade, "ledger", io="64k")
    runs = fio(cascade, "orders", io="256k")
    assert runs.wait(120) == 0, runs.output()
    assert waits.poll() is None, "a refused volume waits, it does not fail"

    cascade.stop_daemon("H")
    mend_the_small_copy(cascade)
    cascade.start_daemon("H")
    assert waits.wait(120) == 0, waits.output()
    cascade.wait_drained()
    cascade.g["H"].run("sync")
    cascade.compare()
    cascade.down()
    cascade.g["H"].run("dmsetup remove small; rm -f /dev/mapper/small")


def test_a_volume_that_one_file_lacks_waits_alone(cascade):
    """W6: a primary gets its new file before the hub does; nobody else notices."""
    cascade.configure(daemon=QUICK)
    full = cascade.g["H"].run(f"cat {CONFIG}").out
    before = full[:full.index("\n[group.shop.volume.ledger]")] + full[full.index("\n[daemon]"):]
    for node in ("H", "R"):
        cascade.g[node].write_file(CONFIG, before)
    cascade.format_journals()
    cascade.start_daemons()
    cascade.create(new=True)
    wait_until(lambda: volume(cascade, "P2", "ledger")["state"] != "replicating", 60, "ledger waits")
    waits = fio(cascade, "ledger", io="64k")
    runs = fio(cascade, "orders", io="512k")
    assert runs.wait(120) == 0, runs.output()
    assert waits.poll() is None
    for node in ("H", "R"):
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
    wait_until(lambda: cascade.journal_at("R")["applied_seq"] ==
               cascade.status("H")["journal"]["received_seq"], 60, "the remote has it")
    cascade.tool("P1", "remove orders")
    cascade.stop_daemons()


def test_a_new_volume_is_rolled_out_in_any_order(cascade):
    """W6: whichever node gets the new file first, the old volume writes on and the new one comes."""
    cascade.configure(daemon=QUICK)
    full = cascade.g["H"].run(f"cat {CONFIG}").out
    before = full[:full.index("\n[group.shop.volume.ledger]")] + full[full.index("\n[daemon]"):]
    # Three of the six orders on each kernel; --all tries all of them.
    half = cascade.g["P1"].kernel.startswith("6.1.")
    for order in list(itertools.permutations(("P2", "H", "R")))[half::2]:
        for guest in cascade.g.values():
            guest.write_file(CONFIG, before)
        cascade.format_journals()
        cascade.start_daemons()
        cascade.tool("P1", "create --new --force orders")
        runs = fio(cascade, "orders", io="1G", more="--rate_iops=200 --time_based --runtime=600")
        waits = None
        for node in order:
            cascade.g[node].write_file(CONFIG, full)
            cascade.stop_daemon(node)
            cascade.start_daemon(node)
            if node == "P2":
                cascade.tool("P2", "create --new --force ledger")
                waits = fio(cascade, "ledger", io="64k")
        assert waits.wait(60) == 0, f"{order}: {waits.output()}"
        end_fio(runs)
        cascade.g["P1"].write_file(CONFIG, full)
        cascade.wait_drained()
        cascade.compare()
        cascade.down()
