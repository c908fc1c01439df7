# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/run soak --minutes N: breaks and mends one thing at a time, drawn by lot, under load that
verifies what it reads; and demands that soon after each mending everything replicates, nothing is
wrong and all copies are equal. The seed is printed; the same one gives the same troubles."""
import random
import time

from tests.lab.cascade import CONFIG, VOLUMES
from tests.lab.guest import TimedOut
from tests.lab.lab import wait_until
from tests.system.test_cascade_comeback import WeakDisk, wait_well
from tests.system.test_cascade_faults import QUICK

WELL_AFTER = 60  # seconds from the mending
LOAD = ("fio --name=soak --filename=/dev/mapper/{name} --direct=1 --ioengine=libaio --iodepth=8 "
        "--rw=randwrite --bssplit=512/10:4k/60:16k/20:64k/10 --size=48M --io_size=2M --rate=256k "
        "--verify=crc32c --verify_fatal=1 --randseed={seed} --output-format=terse")
SOCKET = "/run/dmcascade/dmcascaded.sock"


class Troubles:
    """Each breaks something of the cascade, waits, mends it, and says what it was."""

    def __init__(self, cascade, lots, weak):
        self.c, self.lots, self.weak = cascade, lots, weak

    def node(self, among=("P1", "P2", "H", "R")):
        return self.lots.choice(among)

    def some_time(self, most=8):
        time.sleep(self.lots.uniform(0.2, most))

    def link(self):
        name = self.lots.choice(sorted(self.c.lab.links))
        link = self.c.lab.links[name]
        link.cut()
        self.some_time()
        link.heal()
        return f"the link {name}"

    def slow_link(self):
        name = self.lots.choice(["P1-H", "P2-H", "H-R"])
        self.c.lab.links[name].set_delay(self.lots.choice([20, 80]), self.lots.choice([0, 2]))
        self.some_time()
        self.c.lab.links[name].set_delay(0)
        return f"delay and loss on {name}"

    def daemon_killed(self):
        node = self.node()
        self.c.stop_daemon(node, 9)
        self.some_time(4)
        self.c.start_daemon(node)
        return f"the daemon of {node} killed"

    def daemon_stopped(self):
        node = self.node()
        self.c.stop_daemon(node)
        self.some_time(4)
        self.c.start_daemon(node)
        return f"the daemon of {node} stopped in order"

    def daemon_halted(self):
        node = self.node()
        self.c.daemons[node].kill(19)
        self.some_time()
        self.c.daemons[node].kill(18)
        return f"the daemon of {node} halted for a while"

    def machine_halted(self):
        node = self.node()
        self.c.g[node].pause()
        self.some_time()
        self.c.g[node].resume()
        return f"{node} halted for a while"

    def power(self):
        node = self.node(("H", "R"))
        self.c.lose_power(node, daemon=False)
        self.weak[node] = WeakDisk(self.c, node, "ledger")
        self.c.start_daemon(node)
        return f"the power of {node}"

    def copy(self):
        node = self.node(("H", "R"))
        self.weak[node].fails()
        self.some_time()
        self.weak[node].works()
        return f"a copy of {node}"

    def descriptors(self):
        node = self.node()
        pid = self.c.g[node].run("pidof dmcascaded").out.strip()
        limit = f"prlimit --pid {pid} --nofile="
        self.c.g[node].run(f"{limit}$(ls /proc/{pid}/fd | wc -l):")
        link = self.c.lab.links["H-R" if node == "R" else "P1-H"]
        link.cut()
        self.some_time()
        link.heal()
        self.c.g[node].run(f"{limit}$(prlimit --pid {pid} --nofile -o HARD --noheadings):")
        return f"descriptors of {node}, and a link meanwhile"

    def clock(self):
        node, hours = self.node(), self.lots.choice([-1, 1])
        self.c.g[node].run(f"date -s '{hours:+d} hour'")
        self.some_time()
        self.c.g[node].run(f"date -s '{-hours:+d} hour'")
        return f"the clock of {node} by {hours} h"

    def configuration(self):
        node = self.node()
        guest = self.c.g[node]
        text = guest.run(f"cat {CONFIG}").out
        guest.write_file(CONFIG, text.replace("version = 1", "version = 2"))
        guest.run("kill -HUP $(pidof dmcascaded)")
        self.some_time(3)
        guest.write_file(CONFIG, text)
        self.c.tool(node, "reload")
        return f"the file of {node}"

    def settings(self):
        """Everywhere, one after the other, as an administrator would."""
        beat = self.lots.choice((150, 200, 250, 300))
        for node in self.lots.sample(sorted(self.c.g), 4):
            self.c.g[node].run(f"sed -i 's/^heartbeat = .*/heartbeat = \"{beat}ms\"/' {CONFIG}")
            self.c.tool(node, "apply")
        return f"heartbeats of {beat} ms by 'apply'"

    def socket(self):
        node = self.node()
        self.c.g[node].run(f"rm -f {SOCKET}")
        return f"the control socket of {node}"

    def journal(self):
        """The remote is away until the hub's journal is short of room."""
        self.c.stop_daemon("R", 9)
        self.c.g["P1"].run("fio --name=fill --filename=/dev/mapper/orders --direct=1 --offset=64M "
                           "--size=48M --io_size=144M --rw=write --bs=256k --ioengine=libaio "
                           "--iodepth=4 --output-format=terse", timeout=180)
        self.c.start_daemon("R")
        return "the remote away for longer than the journal holds"

    ALL = ("link", "slow_link", "daemon_killed", "daemon_stopped", "daemon_halted", "machine_halted",
           "power", "copy", "descriptors", "clock", "configuration", "settings", "socket", "journal")


def one_round(cascade, troubles, lots, number):
    load = [cascade.g[primary].spawn(LOAD.format(name=name, seed=lots.randrange(1 << 30)))
            for name, (primary, _) in VOLUMES.items()]
    time.sleep(lots.uniform(0, 2))
    what = getattr(troubles, lots.choice(troubles.ALL))()
    mended = time.monotonic()
    print(f"     {number}: {what}", flush=True)
    for writer in load:
        assert writer.wait(240) == 0, f"after {what}: {writer.output()}"
    try:
        wait_until(lambda: all(cascade.report(node) for node in cascade.g), 30, "daemons answer")
        wait_well(cascade, WELL_AFTER)
        cascade.wait_drained(WELL_AFTER)
    except TimedOut as late:
        raise AssertionError(f"after {what}: {late}") from None  # that is what it is about
    print(f"        well after {time.monotonic() - mended:.0f} s", flush=True)
    cascade.compare()


def test_what_breaks_is_mended(cascade, seed, minutes):
    """I1, I2, I7 for as long as is asked for."""
    print(f"     seed {seed}, {minutes} minutes", flush=True)
    lots = random.Random(seed)
    undo = '{ h = "/dev/lab/undo", r = "/dev/lab/undo" }'
    cascade.configure(daemon=QUICK, devices={"undo": undo})
    cascade.format_journals()
    weak = {node: WeakDisk(cascade, node, "ledger") for node in ("H", "R")}
    cascade.start_daemons()
    cascade.create(new=True)
    cascade.wait_connected()
    troubles, end, number = Troubles(cascade, lots, weak), time.monotonic() + 60 * minutes, 0
    while number == 0 or time.monotonic() < end:
        number += 1
        one_round(cascade, troubles, lots, number)
    cascade.down()
    for disk in weak.values():
        disk.remove()
