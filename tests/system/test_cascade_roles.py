# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes that take over each other's roles for good: the steps of the runbook, in its order."""
from tests.lab.cascade import CONFIG, GROUP, VOLUMES, Cascade, compare_images, load_module, meta_text
from tests.lab.lab import wait_until
from tests.system.test_cascade_faults import QUICK, conditions
from tests.system.test_cascade_identity import volume


def file_with(cascade, hub, meta, **primaries):
    """The file of a group without a remote. @meta: by volume."""
    nodes = cascade.text[:cascade.text.index("[group.shop]")]
    volumes = ""
    for name, (_, uuid) in VOLUMES.items():
        disks = ", ".join(f'{node} = "/dev/lab/{name}"' for node in (primaries[name], hub))
        volumes += (f'\n[group.shop.volume.{name}]\nuuid = "{uuid}"\nprimary = "{primaries[name]}"\n'
                    f'disk = {{ {disks} }}\nmeta = {meta[name]}\n')
    return (f'{nodes}[group.shop]\nuuid = "{GROUP}"\nhub = "{hub}"\n'
            f'journal = {{ {hub} = "/dev/lab/journal" }}\n{volumes}\n[daemon]\n{QUICK}')


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
    cascade.stop_daemon("R")
    cascade.tool("R", "journal format shop --force")
    cascade.start_daemon("R")
    for name, (primary, _) in VOLUMES.items():
        assert "begins anew" in cascade.tool(primary, "apply").out
        cascade.tool(primary, f"remove {name}")
        cascade.tool(primary, f"resync {name} --from primary")
        cascade.tool(primary, f"create {name}")
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
    text = file_with(cascade, "h", {"orders": '{ r = "/dev/lab/small-journal" }', "ledger": '{ r = "/dev/lab/undo" }'},
                     orders="r", ledger="r")
    hub.write_file(CONFIG, text)
    cascade.tool("H", "journal format shop --force")
    cascade.start_daemon("H")
    primary.write_file(CONFIG, text)
    told = cascade.tool("R", "apply", check=False)
    assert told.rc == 4 and "begins anew" in told.out and "with --sync" in told.err, told
    for name in VOLUMES:
        cascade.tool("R", f"create --new --sync {name}")
    for name in VOLUMES:
        wait_until(lambda: in_sync(cascade, "R", name), 120, f"{name} is in sync")
        assert tree(primary, name) == wanted[name]
        write_files(primary, name, "P*")
    compare(cascade, "R", "H")
    assert not conditions(cascade, "R") and not conditions(cascade, "H")
