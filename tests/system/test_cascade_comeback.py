# SPDX-License-Identifier: GPL-2.0-or-later
"""What went away and comes back is taken up again by itself; nobody restarts a daemon."""
from tests.lab.cascade import CONFIG, MiB
from tests.lab.guest import TimedOut
from tests.lab.lab import wait_until
from tests.system.test_cascade_basics import fio
from tests.system.test_cascade_faults import QUICK


def codes(cascade, node):
    """Of all that is wrong there, of the node and of the group."""
    report = cascade.report(node) or {"conditions": [{"code": "silent"}], "groups": []}
    return {c["code"] for part in (report, *report["groups"]) for c in part["conditions"]}


def wait_for_code(cascade, node, code):
    wait_until(lambda: code in codes(cascade, node), 60, f"{node} says {code}")


def wait_well(cascade, timeout=90):
    try:
        wait_until(lambda: not any(codes(cascade, node) for node in cascade.g), timeout,
                   "nothing is wrong")
    except TimedOut as late:
        wrong = "\n".join(cascade.tool(node, "health", check=False).out for node in cascade.g)
        raise type(late)(f"{late}; {wrong}") from None


class WeakDisk:
    """A device-mapper device below a volume's disk or copy, that can be made to fail, or to grow."""

    def __init__(self, cascade, node, volume, part=1.0):
        """@part: so much of the disk, at first."""
        self.guest, self.below = cascade.g[node], f"/dev/lab/{volume}"
        self.whole = int(self.guest.run(f"blockdev --getsz {self.below}").out)
        self.sectors = self._part(part)
        self.guest.run(f"modprobe dm-mod; dmsetup create weak --table '{self._linear(0, self.sectors)}'"
                       " && dmsetup mknodes")
        name = node.lower()
        self.guest.run(f"sed -i '/^disk.*{volume}/s#{name} = \"{self.below}\""
                       f"#{name} = \"/dev/mapper/weak\"#' {CONFIG}")

    def _part(self, part):
        return int(self.whole * part) // 2048 * 2048 if part < 1 else self.whole

    def grow(self, part):
        self.sectors = self._part(part)
        self.works()

    def _linear(self, start, sectors):
        return f"{start} {sectors} linear {self.below} {start}"

    def _becomes(self, *lines):
        table = "\\n".join(lines)
        self.guest.run(f"dmsetup suspend --noflush --nolockfs weak && printf '{table}' | "
                       "dmsetup reload weak && dmsetup resume weak")

    def fails(self, at=0, bytes=None):
        first, count = at // 512, (bytes // 512 if bytes else self.sectors)
        lines = [f"{first} {count} error"]
        if first:
            lines.insert(0, self._linear(0, first))
        if first + count < self.sectors:
            lines.append(self._linear(first + count, self.sectors - first - count))
        self._becomes(*lines)

    def works(self):
        self._becomes(self._linear(0, self.sectors))

    def remove(self):
        self.guest.run("dmsetup remove weak")


def test_a_copy_that_fails_is_taken_up_again(cascade):
    """W5: EIO for some time at the hub and then at the remote; the other node knows of the remote."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    weak = {node: WeakDisk(cascade, node, "ledger") for node in ("H", "R")}
    cascade.start_daemons()
    cascade.create(new=True)
    cascade.wait_connected()
    for node in ("H", "R"):
        weak[node].fails()
        assert fio(cascade, "ledger", io="512k").wait(120) == 0, "writers don't wait for a copy"
        wait_for_code(cascade, node, "COPY_FAILED")
        health = cascade.tool(node, "health", check=False)
        assert health.rc == 2 and health.out.startswith("error: node"), health
        if node == "R":
            wait_for_code(cascade, "H", "REMOTE_COPIES_FAILED")
        weak[node].works()
        wait_well(cascade)
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
    for disk in weak.values():
        disk.remove()


def test_a_primarys_disk_that_fails_is_mended(cascade):
    """P10: the application is told, the hub does not get what the disk has not, status says so; and
    what failed is copied from the disk once it works again."""
    cascade.configure(daemon=QUICK, send_order="local-first")
    cascade.format_journals()
    disk = WeakDisk(cascade, "P1", "orders")
    cascade.start_daemons()
    cascade.create(new=True)
    cascade.wait_connected()
    assert fio(cascade, "orders", io="512k").wait(120) == 0
    disk.fails(at=8 * MiB, bytes=MiB)
    write = "dd if=/dev/urandom of=/dev/mapper/orders bs=64k seek={} count=1 oflag=direct"
    assert cascade.g["P1"].run(write.format(8 * 16), check=False).rc != 0, "the application is told"
    cascade.g["P1"].run(write.format(16))
    wait_for_code(cascade, "P1", "LOCAL_WRITE_ERRORS")
    assert cascade.tool("P1", "health", check=False).rc in (1, 2)
    disk.works()
    wait_well(cascade)
    assert cascade.tool("P1", "health").out.startswith("ok: node p1")
    cascade.wait_drained()
    cascade.compare()
    cascade.down()
    disk.remove()


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


def test_a_copy_that_cannot_zero_gets_zeroes_written(cascade):
    """W5: a file on a file system that has no zeroing (ext2), at the hub."""
    cascade.configure(daemon=QUICK)
    cascade.format_journals()
    hub, size = cascade.g["H"], cascade.volume_bytes("ledger")
    hub.run(f"modprobe -q ext4; modprobe brd rd_nr=1 rd_size={400 << 10} && mkfs.ext2 -q /dev/ram0 "
            "&& mkdir -p /mnt/old && mount /dev/ram0 /mnt/old && "
            f"truncate -s {size} /mnt/old/ledger")
    assert hub.run("fallocate -z -o 0 -l 4096 /mnt/old/ledger", check=False).rc != 0
    hub.run(f"sed -i '/^disk.*ledger/s#h = \"/dev/lab/ledger\"#h = \"/mnt/old/ledger\"#' {CONFIG}")
    cascade.start_daemons()
    cascade.create(new=True)
    cascade.wait_connected()
    assert fio(cascade, "ledger", io="4M", size="32M").wait(120) == 0
    cascade.g["P2"].run("blkdiscard -o 1M -l 9M /dev/mapper/ledger && "
                        "blkdiscard -z -o 20M -l 5M /dev/mapper/ledger")
    cascade.wait_drained()
    wait_well(cascade)
    sums = {node: cascade.g[node].run(f"head -c 64M {path} | sha256sum").out for node, path in
            (("P2", "/dev/lab/ledger"), ("H", "/mnt/old/ledger"), ("R", "/dev/lab/ledger"))}
    assert len(set(sums.values())) == 1, sums
    cascade.down()
    hub.run("umount /mnt/old && rmmod brd")
