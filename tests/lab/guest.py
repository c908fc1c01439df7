# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest: a QEMU process, its disks, and commands run in it."""
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import namedtuple

from . import image

Result = namedtuple("Result", "rc out err")

# What the kernel says when something is badly wrong. Taint alone is not.
TROUBLE = re.compile(
    r"Kernel panic|Oops|BUG:|kernel BUG|general protection|WARNING: (?:CPU|possible|inconsistent|"
    r"suspicious|bad unlock)|INFO: task .* blocked|INFO: possible recursive|rcu.*stall|soft lockup|"
    r"hard LOCKUP|refcount_t|Call Trace|list_add corruption|list_del corruption|use-after-free")


class CommandFailed(AssertionError):
    pass


class GuestGone(AssertionError):
    pass


class TimedOut(AssertionError):
    """Something took longer than it may on this machine; nothing was found to be wrong."""


class Process:
    """A command that was started in a guest and goes on by itself; @log: on the host."""

    def __init__(self, guest, pid, log):
        self.guest, self.pid, self.log = guest, pid, log

    def poll(self):
        return self.guest.ask({"op": "wait", "pid": self.pid, "block": False})["rc"]

    def wait(self, timeout=120):
        return self.guest.ask({"op": "wait", "pid": self.pid, "block": True}, timeout)["rc"]

    def kill(self, sig=signal.SIGTERM):
        self.guest.ask({"op": "kill", "pid": self.pid, "signal": int(sig)})

    def output(self):
        """Read on the host's side of the lab's folder: nothing has to run in the guest for it."""
        with open(self.log, errors="replace") as f:
            return f.read()


class Guest:
    """disks: [(name, bytes)], seen in the guest as /dev/lab/<name>."""

    tap_options = ""  # beyond those of each tap

    def __init__(self, lab, name, number, kernel, disks=(), memory=640, smp=1):
        self.lab, self.name, self.number, self.kernel = lab, name, number, kernel
        self.disks, self.memory, self.smp = list(disks), memory, smp
        self.dir = os.path.join(lab.dir, name)
        self.init = ""          # "systemd": boots as a whole machine, with what is in root/ installed
        self.nics = []          # (tap, mac, own address, peer's address), in order
        self.process = None
        self.made = set()       # for whoever makes something in it once a boot
        self._spawn_count = 0
        os.makedirs(self.dir, exist_ok=True)
        for disk, size in self.disks:
            with open(self.disk_path(disk), "wb") as f:
                f.truncate(size)

    @property
    def address(self):
        return f"10.77.0.{self.number}"

    def disk_path(self, disk):
        return os.path.join(self.dir, disk + ".img")

    # ---- life

    def _command(self):
        lab, d = self.lab, self.dir
        # Emulation keeps translated code by its address: with random ones each start of a program is
        # translated anew, which took a third of all processor time.
        append = ("console=ttyS0 loglevel=5 panic=-1 oops=panic mitigations=off nokaslr norandmaps "
                  "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 random.trust_cpu=on "
                  "hung_task_panic=0 net.ifnames=0 printk.time=1 "
                  f"dmc.name={self.name} dmc.top={image.TOP} dmc.init={self.init}")
        if not lab.kvm:
            append += f" tsc_early_khz={image.tsc_khz()}"
        cmd = ["ip", "netns", "exec", lab.netns] if lab.netns else []
        cmd += ["qemu-system-x86_64", "-M", "q35,usb=off,vmport=off", "-m", str(self.memory),
                "-smp", str(self.smp), "-display", "none", "-nodefaults", "-no-reboot",
                "-kernel", image.vmlinux(self.kernel), "-initrd", image.initramfs(self.kernel),
                "-append", append, "-serial", f"file:{d}/console.log",
                "-device", "virtio-rng-pci",
                "-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=host,mount_tag=host",
                "-fsdev", f"local,id=top,path={image.TOP},security_model=none,readonly=on",
                "-device", "virtio-9p-pci,fsdev=top,mount_tag=top",
                "-fsdev", f"local,id=lab,path={d},security_model=none",
                "-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab",
                "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=agent,path={d}/agent.sock,server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=agent",
                "-chardev", f"socket,id=qmp,path={d}/qmp.sock,server=on,wait=off",
                "-mon", "chardev=qmp,mode=control"]
        cmd += (["-accel", "kvm", "-cpu", "host"] if lab.kvm else
                ["-accel", "tcg,thread=multi,tb-size=256", "-cpu", "Nehalem"])
        for i, (disk, _) in enumerate(self.disks):
            cmd += ["-drive", f"file={self.disk_path(disk)},if=none,id=d{i},format=raw,"
                              "cache=writeback,discard=unmap,detect-zeroes=off",
                    "-device", f"virtio-blk-pci,drive=d{i},serial={disk}"]
        for i, (tap, mac, _, _) in enumerate(self.nics):
            cmd += ["-netdev", f"tap,id=n{i},ifname={tap},script=no,downscript=no",
                    "-device", f"virtio-net-pci,netdev=n{i},mac={mac},romfile="]
        return cmd

    def _launch(self):
        return subprocess.Popen(self._command(), stdin=subprocess.DEVNULL,
                                stdout=open(os.path.join(self.dir, "qemu.log"), "ab"),
                                stderr=subprocess.STDOUT)

    def start(self):
        """Starts the process; ready() waits for the guest to take commands."""
        for path in ("agent.sock", "qmp.sock"):
            if os.path.exists(os.path.join(self.dir, path)):
                os.unlink(os.path.join(self.dir, path))
        self.pending, self.next_id, self._log_checked = {}, 1, 0
        self.made.clear()
        self.lock = threading.Lock()
        self.up = threading.Event()
        self.process = self._launch()
        threading.Thread(target=self._listen, daemon=True).start()

    def ready(self, timeout=120):
        deadline = time.monotonic() + timeout
        while not self.up.wait(0.1):
            if self.process.poll() is not None:
                raise GuestGone(f"{self.name} did not come up:\n{self.console()[-2000:]}")
            if time.monotonic() > deadline:
                raise TimedOut(f"{self.name} did not come up:\n{self.console()[-2000:]}")
        self.configure_network()

    def _connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        while self.process.poll() is None:
            try:
                s.connect(os.path.join(self.dir, name))
                return s
            except OSError:
                time.sleep(0.05)
        return None

    def _listen(self):
        self.socket = self._connect("agent.sock")
        if self.socket is None:
            return
        for line in self.socket.makefile("rb"):
            reply = json.loads(line)
            if reply["id"] == 0:
                self.up.set()
                continue
            with self.lock:
                waiter = self.pending.pop(reply["id"], None)
            if waiter:
                waiter.reply = reply
                waiter.set()
        with self.lock:
            for waiter in self.pending.values():
                waiter.set()

    def configure_network(self):
        lines = []
        for i, (_, _, own, peer) in enumerate(self.nics):
            lines += [f"addr add {own} peer {peer} dev eth{i}", f"link set eth{i} up"]
        if lines:
            self.run("ip -batch - <<END\n" + "\n".join(lines) + "\nEND")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill_power(self):
        """The plug is pulled. What the guest wrote to its disks is there; what it did not flush is
        there too, the host's page cache keeps it."""
        if self.alive():
            self.process.kill()
        if self.process:
            self.process.wait()

    stop = kill_power

    def restart(self):
        self.kill_power()
        self.start()
        self.ready()

    def qmp(self, command):
        s = self._connect("qmp.sock")
        f = s.makefile("rwb", buffering=0)
        f.readline()
        for name in ("qmp_capabilities", command):
            f.write((json.dumps({"execute": name}) + "\n").encode())
            f.readline()
        s.close()

    def pause(self):
        self.qmp("stop")

    def resume(self):
        self.qmp("cont")

    # ---- commands

    def ask(self, request, timeout=60):
        waiter = threading.Event()
        waiter.reply = None
        with self.lock:
            request["id"] = self.next_id
            self.next_id += 1
            self.pending[request["id"]] = waiter
        self.socket.sendall((json.dumps(request) + "\n").encode())
        if not waiter.wait(timeout):
            raise TimedOut(f"{self.name}: no answer in {timeout} s to {request.get('cmd', request)}")
        if waiter.reply is None:
            raise GuestGone(f"{self.name} is gone:\n{self.console()[-2000:]}")
        if "error" in waiter.reply:
            raise CommandFailed(f"{self.name}: {waiter.reply['error']}")
        return waiter.reply

    def run(self, cmd, timeout=120, check=True):
        reply = self.ask({"op": "run", "cmd": cmd}, timeout)
        result = Result(reply["rc"], reply["out"], reply["err"])
        if check and result.rc != 0:
            raise CommandFailed(f"{self.name}: {cmd}\n  exit {result.rc}\n{result.out}{result.err}")
        return result

    def spawn(self, cmd):
        self._spawn_count += 1
        name = f"spawn-{self._spawn_count}.log"
        reply = self.ask({"op": "spawn", "cmd": cmd, "log": f"/run/lab/{name}"})
        return Process(self, reply["pid"], os.path.join(self.dir, name))

    def ask_socket(self, path, line):
        """The answer of whoever listens there, a line; None if nobody does."""
        return self.ask({"op": "line", "socket": path, "line": line})["line"]

    def write_file(self, path, text):
        self.ask({"op": "write", "path": path, "text": text})

    # ---- what the kernel says

    def console(self):
        try:
            with open(os.path.join(self.dir, "console.log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def check_kernel_log(self):
        """Raises if the kernel has complained since the last call: its warnings are on its console."""
        log = self.console()
        new, self._log_checked = log[self._log_checked:], len(log)
        found = TROUBLE.search(new)
        if found:
            raise AssertionError(f"{self.name}: the kernel says:\n" +
                                 new[max(0, found.start() - 500):found.start() + 3000])
