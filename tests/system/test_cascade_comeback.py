# SPDX-License-Identifier: GPL-2.0-or-later
"""What went away and comes back is taken up again by itself; nobody restarts a daemon."""
from tests.lab.cascade import CONFIG
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import QUICK


def codes(cascade, node):
    """Of all that is wrong there, of the node and of the group."""
    report = cascade.report(node) or {"conditions": [{"code": "silent"}], "groups": []}
    return {c["code"] for part in (report, *report["groups"]) for c in part["conditions"]}


def wait_for_code(cascade, node, code):
    wait_until(lambda: code in codes(cascade, node), 60, f"{node} says {code}")


def wait_well(cascade):
    wait_until(lambda: not any(codes(cascade, node) for node in cascade.g), 90, "nothing is wrong")


def test_a_copy_that_fails_is_taken_up_again(cascade):
    """W5: EIO for some time at the hub and then at the remote; the other node knows of the remote."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    for node in ("H", "R"):
        guest = cascade.g[node]
        size = guest.run("blockdev --getsz /dev/lab/ledger").out.strip()
        guest.run(f"modprobe dm-mod; dmsetup create weak --table '0 {size} linear /dev/lab/ledger 0'"
                  " && dmsetup mknodes")
        guest.run(f"sed -i '/^disk.*ledger/s#{node.lower()} = \"/dev/lab/ledger\""
                  f"#{node.lower()} = \"/dev/mapper/weak\"#' {CONFIG}")
    cascade.start_daemons()
    cascade.create(new=True)
    cascade.wait_connected()

    def becomes(node, line):
        cascade.g[node].run(f"dmsetup suspend --noflush --nolockfs weak && "
                            f"dmsetup reload weak --table '0 {size} {line}' && dmsetup resume weak")

    for node in ("H", "R"):
        becomes(node, "error")
        assert fio(cascade, "ledger", io="512k").wait(120) == 0, "writers don't wait for a copy"
        wait_for_code(cascade, node, "COPY_FAILED")
        if node == "R":
            wait_for_code(cascade, "H", "REMOTE_COPIES_FAILED")
        becomes(node, "linear /dev/lab/ledger 0")
        wait_well(cascade)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
    for node in ("H", "R"):
        cascade.g[node].run("dmsetup remove weak")


def test_what_is_not_there_yet_is_waited_for(cascade):
    """W4, W8: a hub whose journal and address come later than its daemon; and its socket in /run."""
    cascade.up(daemon=QUICK)
    hub = cascade.g["H"]
    cascade.stop_daemon("H")
    hub.run("mv /dev/lab/journal /dev/lab/later")
    hub.run("for d in eth0 eth1 eth2; do ip addr flush dev $d; done")
    waits = fio(cascade, "orders", io="256k")
    cascade.start_daemon("H")
    for code in ("NOT_LISTENING", "DEVICE_MISSING"):
        wait_for_code(cascade, "H", code)
    assert waits.poll() is None, waits.output()
    hub.run("mv /dev/lab/later /dev/lab/journal")
    hub.configure_network()
    assert waits.wait(120) == 0, waits.output()
    hub.run("rm /run/dmcascade/dmcascaded.sock")
    wait_until(lambda: cascade.tool("H", "status", check=False).rc == 0, 30, "the socket is back")
    wait_well(cascade)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
