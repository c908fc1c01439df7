#!/usr/bin/python3 -SE
# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks the module's generic netlink family with nothing but sockets; prints JSON lines.

  netlink_probe.py list [BYTES]        every volume; BYTES is the size of each receive
  netlink_probe.py get UUID | events SECONDS
Errors: exit 1 and "errno text" on stderr.
"""
import json
import os
import socket
import struct
import sys
import time
import uuid

GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NETLINK_ADD_MEMBERSHIP, SOL_NETLINK = 16, 3, 1, 270
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
GET, EVENT = 1, 2
NAMES = ("unspec pad volume name sectors daemon link send_order hub_ack published received stored "
         "released waiting deferred ring_bytes ring_used writes write_bytes wakeups doorbells "
         "event incarnation generation differs local_errors out_of_sync "
        "marked meta_writes resynced resync fence alone lease why oldest stalled").split()


def attribute(kind, data):
    raw = struct.pack("HH", 4 + len(data), kind) + data
    return raw + bytes(-len(raw) % 4)


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        yield kind & 0x3fff, data[4:length]
        data = data[(length + 3) & ~3:]


class Netlink:
    def __init__(self, receive=65536):
        self.s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.s.bind((0, 0))
        self.receive, self.parts = receive, 0

    def send(self, family, command, flags, payload=b""):
        body = struct.pack("BBH", command, 2, 0) + payload
        self.s.send(struct.pack("IHHII", 16 + len(body), family, NLM_F_REQUEST | flags, 1, 0) + body)

    def messages(self):
        """Bodies of one receive; None ends a dump or is an acknowledgement."""
        data = self.s.recv(self.receive)
        self.parts += 1
        while data:
            length, kind = struct.unpack_from("IH", data)
            body, data = data[16:length], data[(length + 3) & ~3:]
            if kind == NLMSG_ERROR:
                code = struct.unpack_from("i", body)[0]
                if code:
                    sys.exit(f"{-code} {os.strerror(-code)}")
                yield None
            elif kind == NLMSG_DONE:
                yield None
            else:
                yield body

    def family(self):
        self.send(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0, attribute(2, b"dm_cascade\0"))
        found = dict(attributes(next(self.messages())[4:]))
        groups = {}
        for _, group in attributes(found.get(7, b"")):
            words = dict(attributes(group))
            groups[words[1].rstrip(b"\0").decode()] = struct.unpack("I", words[2])[0]
        return struct.unpack("H", found[1])[0], groups


def volume(body):
    out = {"cmd": body[0]}
    for kind, data in attributes(body[4:]):
        name = NAMES[kind]
        if name in ("volume", "incarnation", "generation"):
            out[name] = str(uuid.UUID(bytes=data))
        elif name == "name":
            out[name] = data.rstrip(b"\0").decode()
        elif name != "pad":
            out[name] = int.from_bytes(data, sys.byteorder)
    return out


def show(body):
    print(json.dumps(volume(body)), flush=True)


def list_all(netlink, family):
    netlink.send(family, GET, NLM_F_DUMP)
    while True:
        for body in netlink.messages():
            if body is None:
                print(json.dumps({"parts": netlink.parts}))
                return
            show(body)


def events(netlink, groups, seconds):
    netlink.s.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, groups["events"])
    print("listening", flush=True)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        netlink.s.settimeout(left)
        try:
            for body in netlink.messages():
                show(body)
        except TimeoutError:
            return


def main(words):
    netlink = Netlink(int(words[1]) if words[0] == "list" and len(words) > 1 else 65536)
    family, groups = netlink.family()
    if words[0] == "list":
        netlink.parts = 0
        list_all(netlink, family)
    elif words[0] == "events":
        events(netlink, groups, float(words[1]))
    else:
        payload = attribute(2, uuid.UUID(words[1]).bytes)
        netlink.send(family, GET, NLM_F_ACK, payload)
        for body in netlink.messages():
            if body is not None:
                show(body)


main(sys.argv[1:])
