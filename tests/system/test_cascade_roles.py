# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes that take over each other's roles: the steps of the runbook, in its order."""
import random
import time

from tests.lab.cascade import CONFIG, DIR, GROUP, VOLUMES, Cascade, MiB, compare_images, load_module, meta_text
from tests.lab.lab import wait_until
from tests.system.test_cascade_faults import QUICK, conditions
from tests.system.test_cascade_identity import volume


def file_with(cascade, hub, meta, before=(), **primaries):
    """The file of a group without a remote. @meta: by volume; @before: nodes that kept a journal until now."""
    nodes = cascade.text[:cascade.text.index("[group.shop]")]
    volumes = ""
    for name, (_, uuid) in VOLUMES.items():
        disks = ", ".join(f'{node} = "/dev/lab/{name}"' for node in (primaries[name], hub))
        volumes += (f'\n[group.shop.volume.{name}]\nuuid = "{uuid}"\nprimary = "{primaries[name]}"\n'
                    f'disk = {{ {disks} }}\nmeta = {meta[name]}\n')
    return (f'{nodes}[group.shop]\nuuid = "{GROUP}"\nhub = "{hub}"\n'
            'journal = { ' + ", ".join(f'{node} = "/dev/lab/journal"' for node in (hub, *before)) + ' }\n'
            f'{volumes}\n[daemon]\n{QUICK}')


def in_sync(cascade, node, name):
    found = volume(cascade, node, name)
    return found["state"] == "replicating" and found["out_of_sync_bytes"] == 0


def tree(guest, name):
    """What the file system on the volume holds."""
    guest.run(f"mkdir -p /mnt/{name} && mount /dev/mapper/{name} /mnt/{name}")
    out = guest.run(f"cd /mnt/{name} && find . -type f | sort | xargs cat | sha256sum; cd / && umount /mnt/{name}").out
    return out


def compare(cascade, one, other):
    """Byte for byte, from outside, once everything is stored and applied there."""
    wait_until(lambda: all(v["ring"]["published"] == v["ring"]["stored"]
                           for v in cascade.status(one)["volumes"]), 60, "all is stored")
    wait_until(lambda: cascade.journal_at(other)["applied_seq"] == cascade.journal_at(other)["received_seq"], 60,
               "all is applied")
    for name in [v["name"] for v in cascade.status(one)["volumes"]]:
        bytes_ = int(cascade.tool(one, f"table {name}").out.split()[1]) * 512
        for node in (one, other):
            cascade.g[node].run("sync")
        compare_images(cascade.g[one].disk_path(name), cascade.g[other].disk_path(name), name, bytes_)


def write_files(guest, name, files, more=""):
    guest.run(f"modprobe ext4; mkdir -p /mnt/{name}; {more} mount /dev/mapper/{name} /mnt/{name} && "
              f"cp -r /usr/share/zoneinfo/{files} /mnt/{name} && umount /mnt/{name}", timeout=120)


def lose(cascade, *nodes):
    for node in nodes:
        cascade.g[node].kill_power()
        cascade.daemons.pop(node)


def test_a_remote_becomes_the_hub_and_then_the_primary(lab):
    """The hub is lost for good, then both primaries: each time those who are left go on, and mirror."""
    cascade = Cascade(lab, links=(("P1", "R"), ("P2", "R")))
    cascade.up(daemon=QUICK)
    for name, (primary, _) in VOLUMES.items():
        write_files(cascade.g[primary], name, "A*", f"mkfs.ext4 -q /dev/mapper/{name} &&")
    wanted = {name: tree(cascade.g[primary], name) for name, (primary, _) in VOLUMES.items()}
    lose(cascade, "H")

    text = file_with(cascade, "r", {n: meta_text(n, p) for n, (p, _) in VOLUMES.items()}, orders="p1", ledger="p2")
    for node in ("R", "P1", "P2"):
        cascade.g[node].write_file(CONFIG, text)
    for name, (primary, _) in VOLUMES.items():
        told = cascade.tool(primary, "swap shop --wait 1", check=False)
        # Whether its daemon has noticed yet, or not.
        reasons = (f"{name}: is waiting", f"{name}: removed in order, and the hub has not been told")
        assert any(reason in told.err for reason in reasons), told
        assert told.rc == 5 and "--force=compare-all" in told.err, told
        told = cascade.tool(primary, "swap shop --force=compare-all").out
        assert f"{name}: goes on with r, and is compared" in told and "created" in told, told
    assert "with what the copies hold" in cascade.tool("R", "swap shop").out
    for name, (primary, _) in VOLUMES.items():
        wait_until(lambda: in_sync(cascade, primary, name), 120, f"{name} is in sync")
        shown = volume(cascade, primary, name)
        assert shown["resynced_bytes"] < shown["same_bytes"] / 8, f"the remote had it: {shown}"
        assert tree(cascade.g[primary], name) == wanted[name]
        write_files(cascade.g[primary], name, "E*")
        wanted[name] = tree(cascade.g[primary], name)
        compare(cascade, primary, "R")

    lose(cascade, "P1", "P2")
    wait_until(lambda: all(link["state"] != "connected" for link in cascade.status("R")["links"]), 30, "R is alone")
    assert "no write that was acknowledged is missing" in cascade.tool("R", "promote shop --dry-run").out
    cascade.tool("R", "promote shop --yes")
    hub, primary = cascade.g["H"], cascade.g["R"]
    hub.start()
    hub.ready()
    hub.run(" && ".join(f"blkdiscard -z /dev/lab/{name}" for name in VOLUMES))
    load_module(primary)
    metas = {"orders": '{ r = "/dev/lab/small-journal" }', "ledger": '{ r = "/dev/lab/undo" }'}
    text = file_with(cascade, "h", metas, orders="r", ledger="r")
    hub.write_file(CONFIG, text)
    cascade.start_daemon("H")
    wait_until(lambda: cascade.opened("H"), 30, "its daemon is back")
    cascade.tool("H", "swap shop --force=give-up-writes")
    primary.write_file(CONFIG, text)
    told = cascade.tool("R", "swap shop", check=False)
    assert told.rc == 5 and "leave its entry in the file's 'journal'" in told.err, told
    text = file_with(cascade, "h", metas, before=("r",), orders="r", ledger="r")
    primary.write_file(CONFIG, text)
    told = cascade.tool("R", "swap shop").out
    assert all(f"{name}: goes on here as it is, and is compared" in told for name in VOLUMES), told
    for name in VOLUMES:
        wait_until(lambda: in_sync(cascade, "R", name), 120, f"{name} is in sync")
        assert tree(primary, name) == wanted[name]
        write_files(primary, name, "P*")
    compare(cascade, "R", "H")
    assert not conditions(cascade, "R") and not conditions(cascade, "H")


def swapped(cascade, primary, hub, remote):
    """The file of one volume that all three nodes can keep in any role."""
    nodes = cascade.text[:cascade.text.index("[group.shop]")]
    disks = ", ".join(f'{node} = "/dev/lab/orders"' for node in ("p1", "h", "r"))
    journals = ", ".join(f'{node} = "/dev/lab/journal"' for node in ("p1", "h", "r"))
    return (f'{nodes}[group.shop]\nuuid = "{GROUP}"\nhub = "{hub}"\nremote = "{remote}"\n'
            f'journal = {{ {journals} }}\n'
            f'[group.shop.volume.orders]\nuuid = "{VOLUMES["orders"][1]}"\nprimary = "{primary}"\n'
            f'disk = {{ {disks} }}\nmeta = "internal"\n[daemon]\n{QUICK}')


SWAPPED = ("P1", "H", "R")


def swap(cascade, roles, order):
    """@roles: primary, hub and remote, by the new file; @order: of the nodes that are told."""
    for node in SWAPPED:
        cascade.g[node].write_file(CONFIG, swapped(cascade, *roles))
    early = cascade.tool(order[1], "swap shop --wait 1", check=False)
    assert early.rc == 5 and "is connected: 'dmcascade swap shop' on it first" in early.err, early
    begun = time.monotonic()
    told = {node: cascade.tool(node, "swap shop").out for node in order}
    print(f"{roles}: swapped in {time.monotonic() - begun:.1f} s")
    primary, hub, remote = (node.upper() for node in roles)
    wait_until(lambda: in_sync(cascade, primary, "orders"), 60, "it is in sync")
    wait_until(lambda: not any(conditions(cascade, node) for node in SWAPPED), 60, "all is well")
    shown, lag = volume(cascade, primary, "orders"), cascade.status(hub)["remote"]
    assert shown["resynced_bytes"] == shown["same_bytes"] == lag["same_bytes"] == 0, "nothing is copied, or compared"
    for node in SWAPPED:
        assert cascade.tool(node, "swap shop").rc == 0, "once more does no harm"
    return told


def go_on(cascade, roles, wanted, files):
    """What was there is there, and what is written now arrives everywhere."""
    primary, hub, remote = (node.upper() for node in roles)
    assert tree(cascade.g[primary], "orders") == wanted
    write_files(cascade.g[primary], "orders", files)
    compare(cascade, primary, hub)
    wait_until(lambda: cascade.status(hub)["remote"]["backlog_writes"] == 0, 60, "the remote has all")
    compare(cascade, primary, remote)
    return tree(cascade.g[primary], "orders")


def begin(lab, roles):
    """The three of them, and what the first primary's file system holds."""
    cascade = Cascade(lab, links=(("P1", "R"),), more={"P1": [("journal", 128 * MiB)]})
    cascade.configure(daemon=QUICK)
    for node in SWAPPED:
        cascade.g[node].write_file(CONFIG, swapped(cascade, *roles))
        cascade.g[node].run("blkdiscard -z /dev/lab/orders")
    for node in ("H", "R"):
        cascade.tool(node, "journal format shop --force")
    load_module(cascade.g["H"])
    for node in SWAPPED:
        cascade.start_daemon(node)
    cascade.tool("P1", "create --new --force orders")
    write_files(cascade.g["P1"], "orders", "A*", "mkfs.ext4 -q /dev/mapper/orders &&")
    return cascade, tree(cascade.g["P1"], "orders")


def test_nodes_swap_their_roles_and_nothing_is_copied(lab):
    """I1, I5: primary and hub, then hub and remote, then all of it back: what each of them has is proved
    by what the others say."""
    cascade, wanted = begin(lab, ("p1", "h", "r"))

    roles = ("h", "p1", "r")
    told = swap(cascade, roles, ("P1", "H", "R"))
    assert "orders: removed" in told["P1"] and "its disk is a copy now, as of write" in told["P1"], told
    assert "orders: goes on here behind write" in told["H"] and "created /dev/mapper/orders" in told["H"], told
    assert "begins anew, with what the copies hold" in told["R"], told
    wanted = go_on(cascade, roles, wanted, "E*")

    roles = ("h", "r", "p1")
    told = swap(cascade, roles, ("H", "P1", "R"))
    assert "orders: goes on behind write" in told["H"] and "with r" in told["H"], told
    wanted = go_on(cascade, roles, wanted, "P*")

    roles = ("p1", "h", "r")
    swap(cascade, roles, ("H", "R", "P1"))
    go_on(cascade, roles, wanted, "M*")


def swap_without_power(cascade, before, roles, order, victim, delay):
    """The node loses power while it swaps, and goes on, or has to go back once more."""
    old, new = swapped(cascade, *before), swapped(cascade, *roles)
    for node in SWAPPED:
        cascade.g[node].write_file(CONFIG, new)
    for node in order:
        if node != victim:
            cascade.tool(node, "swap shop")
            continue
        cascade.g[node].spawn(f"{DIR}/dmcascade swap shop")
        time.sleep(delay)
        cascade.lose_power(node, daemon=False, text=new)
        load_module(cascade.g[node])
        cascade.start_daemon(node)
        wait_until(lambda: cascade.status(node), 30, "its daemon is back")
        told = cascade.tool(node, "swap shop --wait 10", check=False)
        print(f"{roles}: {node} without power after {delay:.2f} s: {told.err.strip() or 'goes on'}")
        if told.rc == 0:
            continue
        assert told.rc == 5 and "not closed in order" in told.err, told
        cascade.g[node].write_file(CONFIG, old)
        cascade.tool(node, "apply")
        if node == before[0].upper():
            wait_until(lambda: in_sync(cascade, node, "orders"), 120, "it is in sync")
        cascade.g[node].write_file(CONFIG, new)
        cascade.tool(node, "swap shop")
    wait_until(lambda: in_sync(cascade, roles[0].upper(), "orders"), 60, "it is in sync")
    wait_until(lambda: not any(conditions(cascade, node) for node in SWAPPED), 60, "all is well")


def test_a_swap_that_loses_power_ends_in_one_of_both_states(lab, seed, rounds):
    """I1, I5: whichever step it was at, of the old primary or of the new one; --rounds N swaps it N times."""
    lots = random.Random(seed)
    roles = ("p1", "h", "r")
    cascade, wanted = begin(lab, roles)
    for round_ in range(rounds or 1):
        before, roles = roles, (roles[1], roles[0], "r")
        old, new = (node.upper() for node in before[:2])
        swap_without_power(cascade, before, roles, (old, new, "R"), lots.choice((old, new)), lots.uniform(0, 1.2))
        wanted = go_on(cascade, roles, wanted, "EPMI"[round_ % 4] + "*")


def test_what_was_lost_comes_back_as_the_hub_of_what_was_promoted(lab):
    """The primary loses power, its hub is promoted and written to as it is; then it mirrors to the old
    primary, whose last writes are given up, and everybody is compared."""
    cascade, wanted = begin(lab, ("p1", "h", "r"))
    old, new = cascade.g["P1"], cascade.g["H"]
    old.run("mount /dev/mapper/orders /mnt/orders")
    old.spawn("dd if=/dev/urandom of=/mnt/orders/lost bs=64k count=4000 conv=fsync")
    time.sleep(2)
    old.kill_power()
    wait_until(lambda: all(link["state"] != "connected" for link in cascade.status("H")["links"]
                           if link["direction"] == "upstream"), 30, "the hub is alone")
    cascade.tool("H", "promote shop --yes")
    new.run("modprobe ext4; mkdir -p /mnt/orders && mount /dev/lab/orders /mnt/orders && rm -f /mnt/orders/lost && "
            "cp -r /usr/share/zoneinfo/E* /mnt/orders && umount /mnt/orders", timeout=120)
    roles = ("h", "p1", "r")
    cascade.daemons.pop("P1")
    old.start()
    old.ready()
    for node in SWAPPED:
        cascade.g[node].write_file(CONFIG, swapped(cascade, *roles))
    cascade.start_daemon("P1")
    wait_until(lambda: cascade.status("P1"), 30, "its daemon is back")
    told = cascade.tool("P1", "swap shop", check=False)
    assert told.rc == 5 and "not closed in order; --force=give-up-writes" in told.err, told
    told = cascade.tool("P1", "swap shop --force=give-up-writes").out
    assert "orders: its disk is a copy now, and is compared" in told, told
    told = cascade.tool("H", "swap shop").out
    assert "orders: goes on here as it is, and is compared" in told, told
    cascade.tool("R", "swap shop --force=give-up-writes")
    wait_until(lambda: in_sync(cascade, "H", "orders"), 120, "it is in sync")
    shown = volume(cascade, "H", "orders")
    assert shown["same_bytes"] > 200 * MiB, f"only what differs is copied: {shown}"
    wait_until(lambda: not any(conditions(cascade, node) for node in SWAPPED), 120, "all is well")
    assert wanted != tree(new, "orders")
    go_on(cascade, roles, tree(new, "orders"), "P*")
