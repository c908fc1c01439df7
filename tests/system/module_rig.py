# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for tests of the module in one guest: volumes, their daemon, status, comparing copies.

The daemon here is tests/kmod/ring_client: it applies every record to an image file, so what the
hub would hold can be compared with the backing device byte for byte.
"""
import contextlib
import itertools
import json
import os
import re
import shlex
import subprocess
import threading
from collections import namedtuple

from tests.lab import image
from tests.lab.guest import TimedOut
from tests.lab.lab import wait_until

SOURCES = os.path.join(image.TOP, "tests", "kmod")
TOOLS = os.path.join(image.TOP, "build", "tests-kmod")
UUID = "6f1c0a52-7c1e-4d7e-9a51-0e5d7c5be%03x"
DMSETUP = "DM_DISABLE_UDEV=1 dmsetup"

Status = namedtuple("Status", "daemon link hub_ack send_order published received stored released "
                              "waiting deferred ring reason differs generation out_of_sync "
                              "marked resync fence lease errors oldest")
Meta = namedtuple("Meta", "clean numbered differs end_seq errors counter")
META_SECTORS = 256
building, built = threading.Lock(), set()
marks = itertools.count(1)


def build(kernel):
    """The module and the tools, on the host, once; returns the module's path."""
    series = re.match(r"\d+\.\d+", kernel).group()
    with building:
        if kernel not in built:
            make(series)
        built.add(kernel)
    return os.path.join(image.TOP, "kmod", "build", kernel, "dm-cascade.ko")


def make(series):
    subprocess.run(["make", "-s", "-j2", "-C", os.path.join(image.TOP, "kmod"), f"KVER={series}"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["make", "-s", "-C", SOURCES, f"OUT={TOOLS}"], check=True)


def load(guest, parameters=""):
    guest.run("grep -q ^dm_cascade /proc/modules || { modprobe dm-mod && modprobe libcrc32c && "
              f"insmod {build(guest.kernel)} {parameters}; }}")


def unload(guest):
    guest.run("rmmod dm_cascade")


class Volume:
    """One volume on a backing device of the guest. Close it; it leaves nothing behind."""

    def __init__(self, guest, backing, sectors, number=1, options="", offset=0, below=None):
        """@below: the device under a slow or odd @backing, to be cleared and compared instead."""
        self.guest, self.backing, self.sectors, self.offset = guest, backing, sectors, offset
        self.below = below or backing
        self.name, self.uuid, self.options = f"v{number}", UUID % number, options
        self.device, self.image = f"/dev/mapper/v{number}", f"/dev/shm/v{number}.img"
        self.meta = f"{meta_disk(guest)} {number * META_SECTORS}"
        self.clients = []
        guest.run(f"rm -f {self.image}; truncate -s {sectors * 512} {self.image}")

    def __enter__(self):
        self.create()
        return self

    def __exit__(self, *_):
        self.close()

    def table(self, options=None, sectors=None, backing=None):
        words = (self.options if options is None else options).split()
        return (f"0 {sectors or self.sectors} cascade {self.uuid} {backing or self.backing} "
                f"{self.offset} {self.meta}" + (f" {len(words)} {' '.join(words)}" if words else ""))

    def dm(self, words, check=True, timeout=120):
        return self.guest.run(f"{DMSETUP} {words}", check=check, timeout=timeout)

    def create(self):
        """Both copies start equal. One script: each command of its own costs a round trip."""
        self.guest.run(f"dd if=/dev/zero of={self.below} bs=1M oflag=direct "
                       f"count={(self.offset + self.sectors) * 512 >> 20} status=none && "
                       f"{TOOLS}/meta_tool format {self.meta} {self.uuid} {self.sectors} && "
                       f"{DMSETUP} {self.create_words()}")

    def create_words(self):
        return f"create {self.name} --table {shlex.quote(self.table())}"

    def create_again(self):
        """With copies and metadata area as they are."""
        self.dm(self.create_words())

    def area(self):
        """What the metadata area says on disk."""
        return Meta(*map(int, self.guest.run(f"{TOOLS}/meta_tool show {self.meta}").out.split()))

    def marks(self):
        """Regions that the bitmap on disk marks, and how many of its blocks are damaged."""
        words = self.guest.run(f"{TOOLS}/meta_tool marks {self.meta} {self.sectors}").out.split()
        return set(map(int, words[1:])), int(words[0])

    def netlink(self):
        """What the netlink family says of it."""
        out = self.guest.run(f"{SOURCES}/netlink_probe.py get {self.uuid}").out
        return next(json.loads(line) for line in out.splitlines() if line.startswith("{"))

    def damage_marks(self):
        """The first block of the bitmap on disk is not whole any more; nobody has the area."""
        disk, offset = self.meta.split()
        self.guest.run(f"printf x | dd of={disk} bs=1 seek={int(offset) * 512 + 65536 + 2000} "
                       "conv=notrunc status=none; sync")

    def generation(self):
        return self.netlink()["generation"]

    def lose_writes(self, regions):
        """Ends with a write into each of these regions that is on the disk and not at the hub."""
        client = self.daemon("--ack hold")
        writers = [self.guest.spawn(f"dd if=/dev/urandom of={self.device} bs=4k count=1 "
                                    f"seek={region * 64} oflag=direct") for region in regions]
        self.wait_status(lambda s: s.waiting == len(regions), "writes that the hub does not have")
        self.stop_daemon(client)
        self.dm(f"message {self.name} 0 fail_writes")
        assert all(writer.wait() != 0 for writer in writers)
        self.dm(f"remove {self.name}")

    def load(self, **changes):
        self.dm(f"load {self.name} --table {shlex.quote(self.table(**changes))}")

    def client_command(self, words=""):
        return f"{TOOLS}/ring_client {self.uuid} --image {self.image} {words}"

    def daemon(self, words=""):
        """Starts one and waits until it is attached and the ring is started."""
        client = self.guest.spawn(self.client_command(words))
        self.clients.append(client)
        wait_until(lambda: client.output().startswith("attached") or client.poll() is not None,
                   what="attached daemon")
        return client

    def stop_daemon(self, client):
        client.kill()
        rc = client.wait()
        assert rc == 0, f"the daemon ended with {rc}: {client.output()}"

    def status(self):
        words = self.dm(f"status {self.name}").out.split()[3:]
        assert len(words) == 21, f"status has {len(words)} words: {words}"
        s = Status(*words)
        return s._replace(**{f: int(getattr(s, f)) for f in
                             ("published", "received", "stored", "released", "waiting",
                              "deferred", "out_of_sync", "marked", "errors", "oldest")})

    def wait_status(self, condition, what, timeout=60):
        try:
            return wait_until(lambda: (lambda s: condition(s) and s)(self.status()), timeout, what)
        except TimedOut as late:
            raise type(late)(f"{late}; it is {self.status()}") from None

    def drained(self):
        """Nothing in flight, everything stored and given back."""
        return self.wait_status(lambda s: s.published == s.released and not s.waiting and
                                not s.deferred, "drained ring")

    def compare(self):
        """The hub's copy and the backing device, byte for byte, by a program that is not ours;
        what the device holds, past all caches."""
        self.drained()
        size = self.sectors * 512
        self.guest.run(f"sync; dd if={self.below} bs=1M iflag=direct,skip_bytes,count_bytes "
                       f"skip={self.offset * 512} count={size} status=none | "
                       f"cmp -n {size} - {self.image}")

    def fio(self, words, seconds=6, wait=True):
        """Random writes to the volume with fio's own verification of what it reads back."""
        command = (f"fio --name=t --filename={self.device} --ioengine=libaio --direct=1 "
                   f"--time_based --runtime={seconds} --group_reporting --randrepeat=0 "
                   f"--output-format=terse --minimal {words}")
        return self.guest.run(command, timeout=300) if wait else self.guest.spawn(command)

    def close(self):
        for client in self.clients:
            if client.poll() is None:
                client.kill(9)
                client.wait()
        self.guest.run(f"if {DMSETUP} info {self.name} > /dev/null 2>&1; then "
                       f"{DMSETUP} message {self.name} 0 fail_writes 2> /dev/null; "
                       f"{DMSETUP} remove --force --noflush {self.name} || exit 1; fi; "
                       f"rm -f {self.image}")


def ram_disk(guest, mib=64):
    """A RAM disk of the guest: shows the module's own path, without a disk's latency."""
    if "ram disk" not in guest.made:
        guest.run(f"modprobe brd rd_nr=3 rd_size={mib * 1024}")
    guest.made.add("ram disk")
    return "/dev/ram0"


@contextlib.contextmanager
def parameter(guest, name, value):
    """A parameter of the module, for as long."""
    path = f"/sys/module/dm_cascade/parameters/{name}"
    before = guest.run(f"cat {path} && echo {value} > {path}").out.strip()
    try:
        yield
    finally:
        guest.run(f"echo {before} > {path}")


def meta_disk(guest):
    """Where metadata areas of tests are: 128 KiB each."""
    ram_disk(guest)
    return "/dev/ram2"


class FragileMeta:
    """A volume, created anew, whose metadata area can be held or broken under it."""

    def __init__(self, volume):
        self.v, self.good = volume, volume.meta
        disk, offset = volume.meta.split()
        self.line = f"0 {META_SECTORS} linear {disk} {offset}"

    def __enter__(self):
        self.v.dm(f"remove {self.v.name}")
        self.v.dm(f"create meta --table '{self.line}'")
        self.v.meta = "/dev/mapper/meta 0"
        self.v.create_again()
        return self

    def replace(self, line):
        self.v.dm(f"suspend meta && {DMSETUP} load meta --table '{line}' && {DMSETUP} resume meta")

    def break_it(self):
        self.replace(f"0 {META_SECTORS} error")

    def mend(self):
        self.replace(self.line)

    def hold(self):
        """What is read and written there waits."""
        self.v.dm("suspend --noflush meta")

    def go_on(self):
        self.v.dm("resume meta")

    def __exit__(self, *_):
        self.v.meta = self.good
        self.v.dm("resume meta", check=False)
        self.v.dm(f"remove --retry --force {self.v.name}", check=False)
        self.v.dm("remove --retry meta")


class DelayedDisk:
    """A RAM disk whose writes take this long, from sector @slow_from on."""

    def __init__(self, guest, sectors, write_ms, slow_from=0):
        self.guest, self.path = guest, "/dev/mapper/slow"
        self.below = ram_disk(guest)
        lines = [f"{slow_from} {sectors - slow_from} delay {self.below} {slow_from} 0 "
                 f"{self.below} {slow_from} {write_ms}"]
        if slow_from:
            lines.insert(0, f"0 {slow_from} linear {self.below} 0")
        guest.run(f"modprobe dm-delay && printf '%s\\n' {' '.join(map(shlex.quote, lines))} | "
                  f"{DMSETUP} create slow")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.guest.run(f"{DMSETUP} remove --retry slow")


def kernel_said(guest, mark, pattern, timeout=10):
    """Waits for a kernel line after @mark; see kernel_mark()."""
    def look():
        lines = guest.run("dmesg").out.partition(mark)[2].splitlines()
        return [line for line in lines if re.search(pattern, line)]
    return wait_until(look, timeout, f"kernel line /{pattern}/")


def kernel_mark(guest):
    """A place in the kernel's log, which drops its oldest lines when it is full."""
    mark = f"mark {next(marks)} of the tests"
    guest.run(f"echo '{mark}' > /dev/kmsg")
    return mark
