# SPDX-License-Identifier: GPL-2.0-or-later
"""A PostgreSQL with pgbench on a primary through the loss of its hub, lone time and resync. I2, I3."""
import glob
import shlex

from tests.lab.lab import wait_until
from tests.system.test_cascade_alone import LEASE, wait_alone, wait_healthy
from tests.system.test_cascade_faults import QUICK

DATA = "/mnt/orders/pg"
SETTINGS = ("listen_addresses = ''", "unix_socket_directories = '/tmp'", "shared_buffers = 32MB",
            "max_connections = 8", "wal_level = minimal", "max_wal_senders = 0",
            "min_wal_size = 32MB", "max_wal_size = 64MB", "autovacuum = off")
# What each transaction of pgbench changes by the same amount.
SUMS = ("SELECT (SELECT count(*) FROM pgbench_history), "
        "(SELECT coalesce(sum(delta), 0) FROM pgbench_history), "
        "(SELECT sum(abalance) FROM pgbench_accounts), "
        "(SELECT sum(tbalance) FROM pgbench_tellers), "
        "(SELECT sum(bbalance) FROM pgbench_branches)")


def tool(guest, words, timeout=180, spawn=False):
    path = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    command = f"runuser -u postgres -- env PATH={path}:$PATH PGHOST=/tmp sh -c {shlex.quote(words)}"
    return guest.spawn(command) if spawn else guest.run(command, timeout=timeout)


def start(guest):
    tool(guest, f"pg_ctl -D {DATA} -l /tmp/pg.log -w -t 120 start > /dev/null || "
                "{ cat /tmp/pg.log; exit 1; }")


def sums(guest):
    """How many transactions the database holds; they have to fit together."""
    out = tool(guest, f"psql -qtA -F ' ' -c {shlex.quote(SUMS)} postgres").out.split()
    count, history, *others = map(int, out)
    assert all(other == history for other in others), out
    return count


def make_database(cascade):
    guest = cascade.g["P1"]
    guest.run("modprobe ext4; mkfs.ext4 -q /dev/mapper/orders && mkdir -p /mnt/orders && "
              f"mount /dev/mapper/orders /mnt/orders && install -d -o postgres {DATA} && "
              "chmod 700 " + DATA, timeout=180)
    tool(guest, f"initdb -D {DATA} -N > /dev/null")
    guest.run(f"printf '%s\\n' {' '.join(map(shlex.quote, SETTINGS))} >> {DATA}/postgresql.conf && sync")
    start(guest)
    tool(guest, "pgbench -q -i postgres 2> /dev/null")


def open_at_remote(cascade):
    """In a drill, recovered by PostgreSQL itself, and used."""
    remote = cascade.g["R"]
    remote.run("modprobe -a dm-snapshot loop ext4; mkdir -p /mnt/orders")
    cascade.tool("R", "drill start shop --in /tmp")
    remote.run("mount /dev/mapper/orders-drill /mnt/orders", timeout=60)
    start(remote)
    found = sums(remote)
    tool(remote, "pgbench -n -t 10 postgres > /dev/null 2>&1")
    assert sums(remote) == found + 10
    tool(remote, f"pg_ctl -D {DATA} -m immediate -w stop > /dev/null")
    remote.run("umount /mnt/orders")
    cascade.tool("R", "drill stop shop")
    return found


def test_a_database_goes_on_without_its_hub_and_is_whole_at_the_remote(cascade):
    """No transaction fails; the remote's copy, opened while P1 is alone and at the end, is whole."""
    cascade.up(daemon=QUICK, fence_level="never", lease=LEASE)
    make_database(cascade)
    primary, link = cascade.g["P1"], cascade.lab.links["P1-H"]
    bench = tool(primary, "pgbench -n -c 2 -T 40 postgres", spawn=True)
    wait_until(lambda: sums(primary) > 20, 60, "transactions before the cut")
    link.cut()
    wait_alone(cascade, "orders")
    at_cut = sums(primary)
    wait_until(lambda: sums(primary) > at_cut + 20, 60, "transactions go on alone")
    assert 0 < open_at_remote(cascade) <= at_cut
    link.heal()
    wait_healthy(cascade)
    assert bench.wait(180) == 0, bench.output()
    assert "number of failed transactions: 0 " in bench.output(), bench.output()
    in_all = sums(primary)
    tool(primary, f"pg_ctl -D {DATA} -m fast -w stop > /dev/null")
    primary.run("umount /mnt/orders")
    cascade.wait_drained()
    cascade.compare()
    assert open_at_remote(cascade) == in_all
    cascade.down()
