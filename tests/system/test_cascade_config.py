# SPDX-License-Identifier: GPL-2.0-or-later
"""The file is applied to a system that runs: volumes, peers and sizes come and go under load."""
import re

from tests.lab.cascade import CONFIG
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import end_fio, fio
from tests.system.test_cascade_comeback import WeakDisk, wait_well
from tests.system.test_cascade_faults import QUICK


def without(text, volume):
    """The configuration without that volume."""
    return re.sub(rf"\n\[group\.shop\.volume\.{volume}\]\n(?:[^\[\n].*\n)*", "\n", text)


def write_everywhere(cascade, text):
    for guest in cascade.g.values():
        guest.write_file(CONFIG, text)


def pids(cascade):
    return {node: guest.run("pidof dmcascaded").out.split() for node, guest in cascade.g.items()}


def test_the_file_is_applied_while_everything_runs(cascade):
    """A volume comes and goes by 'apply': no daemon is restarted, writers of others notice nothing."""
    cascade.configure(daemon=QUICK)
    whole = cascade.text
    assert "volume.ledger" not in without(whole, "ledger")
    write_everywhere(cascade, without(whole, "ledger"))
    cascade.format_journals()
    cascade.start_daemons()
    cascade.g["P2"].run("dd if=/dev/zero of=/dev/lab/ledger-meta bs=64k count=4 oflag=direct "
                        "status=none")  # as a volume that nobody has made yet
    before = pids(cascade)
    cascade.tool("P1", "create --new orders")
    writer = fio(cascade, "orders", io="64M", more="--rate=512k --time_based --runtime=600")
    write_everywhere(cascade, whole)
    planned = {node: cascade.tool(node, "apply --dry-run").out for node in cascade.g}
    assert "dmcascaded: would do: group shop: begins here" in planned["P2"], planned
    assert "ledger: would be created" in planned["P2"], planned
    assert "would do: group shop: begins anew" in planned["H"], planned
    assert cascade.tool("H", "apply --dry-run").out == planned["H"], "nothing was done"
    for node in ("H", "R", "P1"):
        assert "group shop: begins anew" in cascade.tool(node, "apply").out
    refused = cascade.tool("P2", "apply", check=False)
    assert refused.rc != 0 and "create --new ledger" in refused.err, refused
    cascade.tool("P2", "create --new ledger")
    for node in cascade.g:
        again = cascade.tool(node, "apply").out
        assert "dmcascaded: is as the file says" in again, again
    assert "ledger: is as the file says" in cascade.tool("P2", "apply").out
    assert fio(cascade, "ledger", io="512k").wait(120) == 0
    wait_well(cascade)

    hub = cascade.g["H"]
    hub.write_file(CONFIG, whole.replace('hub = "h"', 'hub = "x"'))
    wrong = cascade.tool("H", "--socket /run/dmcascade/dmcascaded.sock reload", check=False)
    assert wrong.rc == 8 and "names node 'x'" in wrong.err, wrong
    hub.run("kill -HUP $(pidof dmcascaded)")
    wait_until(lambda: cascade.log("H").count("what was read before goes on") == 2, 20, "it is said")
    hub.write_file(CONFIG, whole)

    last = cascade.status("H")["journal"]["received_seq"]
    wait_until(lambda: all(cascade.journal_at(n)["applied_seq"] >= last for n in "HR"), 60,
               "ledger is whole at hub and remote")
    write_everywhere(cascade, without(whole, "ledger"))
    for node in ("P2", "H", "R", "P1"):
        cascade.tool(node, "apply")
    assert "ledger" not in cascade.g["P2"].run("dmsetup ls").out
    assert cascade.report("P2")["groups"] == []
    assert [v["name"] for v in cascade.status("H")["volumes"]] == ["orders"]
    end_fio(writer)
    assert pids(cascade) == before
    wait_well(cascade)
    write_everywhere(cascade, whole)
    cascade.down()


def test_a_volume_and_its_copies_grow_in_use(cascade):
    """By 'resize' on the primary; a copy that grows later is noticed, and writers wait meanwhile."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    disks = {node: WeakDisk(cascade, node, "ledger", part=0.5) for node in ("R", "H", "P2")}
    cascade.start_daemons()
    cascade.create(new=True)
    cascade.wait_connected()
    writer = fio(cascade, "ledger", io="64M", more="--rate=256k --time_based --runtime=600")
    assert "as large as its disk" in cascade.tool("P2", "resize ledger").out
    for disk in disks.values():
        disk.grow(0.75)
    half, three_quarters = disks["P2"].whole // 2, disks["P2"].sectors
    grown = cascade.tool("P2", "resize ledger").out
    assert "instead of" in grown, grown
    assert cascade.volume_bytes("ledger") == three_quarters * 512
    cascade.g["P2"].run(f"dd if=/dev/urandom of=/dev/mapper/ledger bs=1M count=2 oflag=direct "
                        f"seek={half // 2048 + 8} status=none")
    wait_well(cascade)

    disks["P2"].grow(1)
    refused = cascade.tool("P2", "resize ledger", check=False)
    assert refused.rc == 5 and "the hub's copy only" in refused.err, refused
    disks["H"].grow(1)
    wait_until(lambda: "the remote's copy only" in str(cascade.status("H")["links"]), 60,
               "the remote does not take it")
    disks["R"].grow(1)
    wait_well(cascade)
    assert cascade.volume_bytes("ledger") == disks["P2"].whole * 512
    cascade.g["P2"].run("dd if=/dev/urandom of=/dev/mapper/ledger bs=1M count=1 oflag=direct "
                        f"seek={disks['P2'].whole // 2048 - 1} status=none")
    end_fio(writer)
    cascade.wait_drained()
    cascade.compare()
    internal = cascade.tool("P1", "resize orders", check=False)
    assert internal.rc == 5 and "at the end of its disk" in internal.err, internal
    cascade.down()
    for disk in disks.values():
        disk.remove()
