# SPDX-License-Identifier: GPL-2.0-or-later
"""Says wrong things to a hub's port, one connection each, and prints what it answers.

  bad_frames.py HOST PORT GROUP-UUID        lines "<case>: refused: <text>" or "<case>: closed"
"""
import socket
import struct
import sys
import uuid

MAGIC, VERSION = 0x46435343, 2
HELLO, WELCOME, DATA, REFUSE = 1, 2, 3, 6


def _table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = _table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frame(kind, body, magic=MAGIC, version=VERSION, length=None, records=0, body_crc=None,
          header_crc=None):
    head = struct.pack("<IHHIIQI", magic, version, kind, len(body) if length is None else length,
                       records, 0, crc32c(body) if body_crc is None else body_crc)
    return head + struct.pack("<I", crc32c(head) if header_crc is None else header_crc) + body


def hello(group, node=b"p1", kind=1, stream=None, first=1, last=0, entries=1):
    body = struct.pack("<16s32sIIHH68x", group, node, kind, entries, 128, 128)
    return body + struct.pack("<16sQQ96x", stream or bytes(16), first, last)


def cases(group):
    good = hello(group, stream=uuid.UUID("0b9c6f0e-2222-4a2b-8c3d-000000000001").bytes)
    yield "wrong magic", b"GET / HTTP/1.0\r\nHost: hub.example\r\n\r\n"
    yield "short", frame(HELLO, good)[:20]
    yield "wrong header checksum", frame(HELLO, good, header_crc=1)
    yield "wrong version", frame(HELLO, good, version=9)
    yield "wrong body checksum", frame(HELLO, good, body_crc=1)
    yield "oversize", frame(HELLO, good, length=1 << 31)
    yield "oversize data", frame(DATA, b"", length=1 << 30, records=1)
    yield "data before hello", frame(DATA, bytes(64), records=1)
    yield "unknown type", frame(77, b"")
    yield "stranger group", frame(HELLO, hello(bytes(16), stream=bytes(16)))
    yield "stranger node", frame(HELLO, hello(group, node=b"mallory", stream=bytes(16)))
    yield "stranger volume", frame(HELLO, hello(group, stream=bytes(15) + b"\1"))
    yield "other's volume", frame(HELLO, hello(
        group, stream=uuid.UUID("0b9c6f0e-2222-4a2b-8c3d-000000000002").bytes, last=1 << 40))
    yield "too many streams", frame(HELLO, hello(group, entries=70000))
    yield "terminal escapes as a name", frame(HELLO, hello(group, node=b"\x1b[2J", stream=bytes(16)))


def answer(host, port, data):
    with socket.create_connection((host, port), timeout=15) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while True:
            try:
                more = s.recv(4096)
            except ConnectionResetError:
                more = b""
            if not more:
                break
            got += more
    if len(got) < 40:
        return "closed"
    kind, length = struct.unpack_from("<HI", got, 6)
    if kind == WELCOME:  # an answer for each stream
        code, = struct.unpack_from("<I", got, 32 + 96 + 40)
        reason = got[32 + 96 + 48:32 + 96 + 240].rstrip(b"\0").decode(errors="replace")
        return f"refused: {reason}" if code else "welcomed"
    if kind != REFUSE:
        return f"answered with a frame of type {kind}"
    return "refused: " + got[40:32 + length].decode(errors="replace")


if __name__ == "__main__":
    for name, data in cases(uuid.UUID(sys.argv[3]).bytes):
        print(f"{name}: {answer(sys.argv[1], int(sys.argv[2]), data)}", flush=True)
