# SPDX-License-Identifier: GPL-2.0-or-later
"""Inside a guest: takes commands as lines of JSON over a virtio port or a terminal line, many at a time.

  {"id": 1, "op": "run", "cmd": "..."}       -> {"id": 1, "rc": 0, "out": "...", "err": "..."}
  {"id": 2, "op": "spawn", "cmd": "...", "log": "/path"} -> {"id": 2, "pid": 123}
  {"id": 3, "op": "wait", "pid": 123, "block": false}    -> {"id": 3, "rc": null}
  {"id": 4, "op": "kill", "pid": 123, "signal": 9}       -> {"id": 4, "rc": 0}
  {"id": 5, "op": "line", "socket": "/path", "line": "..."} -> {"id": 5, "line": "..." or null}
  {"id": 6, "op": "write", "path": "/path", "text": "..."}  -> {"id": 6}
"""
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import tty

PORT_NAME = "agent"
spawned = {}
lock = threading.Lock()


def open_port():
    if "DMC_AGENT_PORT" in os.environ:  # a terminal line
        port = open(os.environ["DMC_AGENT_PORT"], "r+b", buffering=0)
        tty.setraw(port)
        return port
    for port in os.listdir("/sys/class/virtio-ports"):
        with open(f"/sys/class/virtio-ports/{port}/name") as f:
            if f.read().strip() == PORT_NAME:
                return open(f"/dev/{port}", "r+b", buffering=0)
    sys.exit("no virtio port named " + PORT_NAME)


def run(request):
    done = subprocess.run(["/bin/sh", "-c", request["cmd"]], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return {"rc": done.returncode, "out": done.stdout.decode(errors="replace"),
            "err": done.stderr.decode(errors="replace")}


def spawn(request):
    with open(request["log"], "ab", buffering=0) as log:
        child = subprocess.Popen(["/bin/sh", "-c", "exec " + request["cmd"]],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
    spawned[child.pid] = child
    return {"pid": child.pid}


def wait(request):
    child = spawned[request["pid"]]
    return {"rc": child.wait() if request["block"] else child.poll()}


def kill(request):
    child = spawned[request["pid"]]
    if child.poll() is None:
        os.killpg(child.pid, request["signal"])
    return {"rc": 0}


def line(request):
    """What answers on a socket of the guest says to one line; no process has to be made for it."""
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(request["socket"])
            s.sendall(request["line"].encode() + b"\n")
            return {"line": s.makefile("rb").readline().decode()}
    except OSError:
        return {"line": None}


def write(request):
    os.makedirs(os.path.dirname(request["path"]), exist_ok=True)
    with open(request["path"], "w") as file:
        file.write(request["text"])
    return {}


def answer(port, request):
    try:
        reply = {"run": run, "spawn": spawn, "wait": wait, "kill": kill,
                 "line": line, "write": write}[request["op"]](request)
    except Exception as error:  # whatever it was, the host has to hear of it
        reply = {"error": repr(error)}
    reply["id"] = request["id"]
    data = (json.dumps(reply) + "\n").encode()
    with lock:
        while data:
            data = data[port.write(data):]


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    port = open_port()
    port.write(b'{"id": 0}\n')
    rest = b""
    while True:
        data = port.read(65536)
        if not data:
            continue
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            threading.Thread(target=answer, args=(port, json.loads(line)), daemon=True).start()


main()
