# SPDX-License-Identifier: GPL-2.0-or-later
"""Several guests and the links between them. A context manager: nothing of it stays behind."""
import atexit
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time

from . import image
from .guest import Guest, TimedOut

GiB = 1 << 30


def wait_until(condition, timeout=60, what="the condition", interval=0.1):
    """Waits for condition() to be true; returns its value. Looking takes a guest's time, which has better
    to do: no more than half of it."""
    deadline = time.monotonic() + timeout
    while True:
        began = time.monotonic()
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimedOut(f"{what}: not within {timeout} s")
        time.sleep(max(interval, time.monotonic() - began))


class Link:
    """One wire between two guests. Cutting it drops packets without a word to either end."""

    def __init__(self, lab, a, b, bridge):
        self.lab, self.a, self.b, self.bridge = lab, a, b, bridge

    def cut(self):
        self.lab.ip(f"link set {self.bridge} down")

    def heal(self):
        self.lab.ip(f"link set {self.bridge} up")

    def set_delay(self, ms, loss=0):
        """Each way, in each guest."""
        for guest, peer in ((self.a, self.b), (self.b, self.a)):
            nic = next(i for i, n in enumerate(guest.nics) if n[3] == peer.address)
            guest.run("modprobe sch_netem; tc qdisc replace dev eth%d root netem delay %dms loss %g%%"
                      % (nic, ms, loss))


class Lab:
    """Lab(kernel="6.1"): add guests and links, then boot(). @guest: of which kind they are; of others than
    those in QEMU, @kernel is what they take."""

    def __init__(self, kernel="6.1", keep=False, guest=Guest):
        self.kernel = image.newest_kernel(kernel) if guest is Guest else kernel
        self._guest = guest
        self.keep = keep
        self.guests, self.links = {}, {}
        self.netns = None
        _remove_dead_labs()
        self.dir = os.path.join(_base(), f"dmc-lab-{os.getpid()}-{next(_numbers)}")
        os.makedirs(self.dir)
        self.kvm = guest is Guest and _kvm_works()
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ip(self, args, netns=True):
        prefix = ["ip", "-n", self.netns] if netns else ["ip"]
        subprocess.run(prefix + args.split(), check=True, capture_output=True, text=True)

    def guest(self, name, **options):
        options.setdefault("kernel", self.kernel)
        g = self._guest(self, name, len(self.guests) + 1, **options)
        self.guests[name] = g
        return g

    def link(self, a, b):
        """Before boot. Names of guests."""
        if self.netns is None:
            self.netns = os.path.basename(self.dir)
            self.ip(f"netns add {self.netns}", netns=False)
        n = len(self.links) + 1
        bridge = f"br{n}"
        self.ip(f"link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0")
        self.ip(f"link set {bridge} up")
        ends = self.guests[a], self.guests[b]
        for own, peer in (ends, ends[::-1]):
            tap = f"tap{n}{'ab'[own is ends[1]]}"
            self.ip(f"tuntap add {tap} mode tap{own.tap_options}")
            self.ip(f"link set {tap} master {bridge}")
            self.ip(f"link set {tap} up")
            own.nics.append((tap, f"52:54:00:77:{n:02x}:{own.number:02x}", own.address, peer.address))
        self.links[f"{a}-{b}"] = Link(self, *ends, bridge)
        return self.links[f"{a}-{b}"]

    def boot(self):
        for g in self.guests.values():
            g.start()
        for g in self.guests.values():
            g.ready()
        return self

    def check_kernel_logs(self):
        for g in self.guests.values():
            g.check_kernel_log()

    def close(self):
        atexit.unregister(self.close)
        for g in self.guests.values():
            g.kill_power()
        if self.netns:
            subprocess.run(["ip", "netns", "del", self.netns], capture_output=True)
            self.netns = None
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)


_numbers = itertools.count(1)


def _base():
    """Disk images live in memory if there is room for them."""
    shm = os.statvfs("/dev/shm")
    if shm.f_bavail * shm.f_frsize > 4 * GiB:
        return "/dev/shm"
    os.makedirs(image.CACHE, exist_ok=True)
    return image.CACHE


def _remove_dead_labs():
    """What a lab left behind whose process was killed."""
    for base in {_base(), image.CACHE}:
        if not os.path.isdir(base):
            continue
        for name in os.listdir(base):
            if not name.startswith("dmc-lab-"):
                continue
            if os.path.exists(f"/proc/{name.split('-')[2]}"):
                continue
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)


def _kvm_works():
    """Whether a guest boots under KVM; tried once. On some machines it exists and hangs."""
    answer = os.path.join(image.CACHE, "kvm")
    if not os.path.exists("/dev/kvm"):
        return False
    os.makedirs(image.CACHE, exist_ok=True)
    with open(os.path.join(image.CACHE, "kvm.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(answer):
            works = _try_kvm()
            with open(answer, "w") as f:
                f.write("yes" if works else "no")
    with open(answer) as f:
        return f.read() == "yes"


def _try_kvm():
    version = image.newest_kernel("6.1")
    cmd = ["timeout", "15", "qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256",
           "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel",
           image.vmlinux(version), "-append", "console=ttyS0 panic=-1 root=/none"]
    out = subprocess.run(cmd, stdin=subprocess.DEVNULL, capture_output=True).stdout
    return b"Kernel panic" in out  # no root file system: it came as far as to look for one


def exit_on_signals():
    """SIGTERM like Ctrl-C: context managers and atexit clean up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
