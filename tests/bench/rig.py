# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks in User-mode Linux guests share: guests with RAM disks, and a cascade in them."""
import json
import sys

from tests.bench.figures import say
from tests.lab import uml
from tests.lab.cascade import BUILD, CONFIG, MiB, SOCKET
from tests.lab.lab import Lab, wait_until

SIZE = 96 * MiB         # of what is written and compared
JOURNAL_MIB = 256       # and the size of each RAM disk, which takes memory for what is written
OUR_DISK, JOURNAL = "/dev/ram2", "/dev/ram3"


def boot(names, links):
    """Guests with a processor each, in turn, and four RAM disks."""
    try:
        tree = uml.kernel(say)
    except RuntimeError as error:
        sys.exit(str(error))
    lab = Lab(tree, guest=uml.UmlGuest)
    try:
        for i, name in enumerate(names):
            lab.guest(name, processor=i)
        for pair in links:
            lab.link(*pair)
        lab.boot()
        for g in lab.guests.values():
            g.run(f"insmod {tree}/drivers/block/brd.ko rd_nr=4 rd_size={JOURNAL_MIB * 1024} && "
                  "mkdir -p /run/dmcascade")
    except BaseException:
        lab.close()
        raise
    return lab


def check_same(a, b, disk):
    """SIZE bytes from the beginning; past the page cache, which knows nothing of what others write there."""
    sums = [g.run(f"dd if={disk} bs=1M count={SIZE // MiB} iflag=direct status=none | sha1sum", timeout=120).out
            for g in (a, b)]
    if sums[0] != sums[1]:
        sys.exit(f"{disk} of {a.name} and {b.name} differ")


class Cascade:
    """Guests p, h and maybe r; volume v. @settings: lines of the group."""
    device = "/dev/mapper/v"

    def __init__(self, p, h, r=None, settings=""):
        self.p, self.h, self.r = p, h, r
        self.daemons = {}
        self.nodes = [g for g in (p, h, r) if g]
        self.configure(settings)
        p.run(f"insmod {uml.module(p.kernel)}")
        for g in self.nodes[1:]:
            self.tool(g, f"journal format bench --size {JOURNAL_MIB}MiB --force")
        for g in reversed(self.nodes):
            self.start(g)
        self.tool(p, "create --new --force v")
        wait_until(lambda: self.status(p)["volumes"][0]["state"] == "replicating", 30, "the volume replicates")

    def configure(self, settings=""):
        holders = [g.name for g in self.nodes[1:]]
        disks = ", ".join(f'{g.name} = "{OUR_DISK}"' for g in self.nodes)
        text = "version = 1\n" + "".join(f'[node.{g.name}]\naddress = "{g.address}:7420"\n' for g in self.nodes) + (
            '[group.bench]\nuuid = "6b6f0c1e-1111-4a2b-8c3d-0000000000b2"\nhub = "h"\n'
            + ('remote = "r"\n' if self.r else "")
            + f'journal = {{ {", ".join(f"{n} = {json.dumps(JOURNAL)}" for n in holders)} }}\n{settings}\n'
            '[group.bench.volume.v]\nuuid = "0b9c6f0e-2222-4a2b-8c3d-0000000000b2"\nprimary = "p"\n'
            f'meta = "internal"\ndisk = {{ {disks} }}\n[daemon]\nreconnect-max = "200ms"\n')
        for g in self.nodes:
            g.write_file(CONFIG, text)

    def start(self, guest):
        self.daemons[guest.name] = guest.spawn(f"{BUILD}/daemon/dmcascaded")
        wait_until(lambda: self.status(guest), 30, f"the daemon of {guest.name} answers")

    def stop(self, guest):
        self.daemons[guest.name].kill()
        self.daemons.pop(guest.name).wait(60)

    def tool(self, guest, words):
        return guest.run(f"{BUILD}/tools/dmcascade {words}", timeout=60).out

    def status(self, guest):
        answer = guest.ask_socket(SOCKET, '{"command": "status"}')
        return answer and json.loads(answer)["groups"][0]

    def wait_applied(self, timeout=60):
        """Until every copy has what the hub has received."""
        last = self.status(self.h)["journal"]["received_seq"]
        for g in self.nodes[1:]:
            wait_until(lambda: self.status(g)["journal"]["applied_seq"] >= last, timeout,
                       f"the copy of {g.name} has everything")

    def use(self):
        pass

    def compare(self):
        self.wait_applied()
        for g in self.nodes[1:]:
            check_same(self.p, g, OUR_DISK)
