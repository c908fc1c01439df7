# SPDX-License-Identifier: GPL-2.0-or-later
"""A shop with two databases on two primaries: SQLite, every transaction committed to disk.

  shop.py orders DATABASE PORT          takes orders; each names the last payment it knows of
  shop.py ledger DATABASE HOST PORT     books a payment for each order it has heard of
  shop.py check ORDERS-DB LEDGER-DB     whether two databases are one consistent point in time

An order is told to the ledger only after its commit has returned, and a payment to the orders only
after its own: a payment without its order, or an order that knows of a missing payment, can't be.
"""
import os
import socket
import sqlite3
import sys
import time

ORDERS = "CREATE TABLE IF NOT EXISTS orders (n INTEGER PRIMARY KEY, item TEXT, paid_through INTEGER)"
LEDGER = "CREATE TABLE IF NOT EXISTS payments (n INTEGER PRIMARY KEY, cents INTEGER)"


def database(path, schema):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL" if "ledger" in path else "PRAGMA journal_mode=DELETE")
    # EXTRA, for journal_mode=DELETE: a commit is the unlink of the rollback journal, and only EXTRA
    # makes that durable before the commit returns (https://sqlite.org/pragma.html#pragma_synchronous).
    # With FULL a power cut may bring the journal back, and SQLite undoes the last commit.
    db.execute("PRAGMA synchronous=EXTRA")
    db.execute(schema)
    return db


def lines(sock):
    return (int(line) for line in sock.makefile("r"))


def note_progress(path, n):
    with open(path + ".new", "w") as f:
        f.write(str(n))
    os.rename(path + ".new", path + ".progress")


def orders(path, port):
    db = database(path, ORDERS)
    server = socket.create_server(("0.0.0.0", port))
    ledger = server.accept()[0]
    paid = lines(ledger)
    n, paid_through = 0, 0
    while True:
        n += 1
        db.execute("INSERT INTO orders VALUES (?, ?, ?)", (n, f"item {n % 97}" * 20, paid_through))
        ledger.sendall(f"{n}\n".encode())
        note_progress("/run/orders", n)
        paid_through = next(paid)


def ledger(path, host, port):
    db = database(path, LEDGER)
    while True:
        try:
            shop = socket.create_connection((host, port))
            break
        except OSError:
            time.sleep(0.1)
    for n in lines(shop):
        db.execute("INSERT INTO payments VALUES (?, ?)", (n, n * 100))
        note_progress("/run/ledger", n)
        shop.sendall(f"{n}\n".encode())


def check(orders_path, ledger_path):
    for path in (orders_path, ledger_path):
        answer = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()[0]
        if answer != "ok":
            sys.exit(f"{path}: {answer}")
    last, count, knows = sqlite3.connect(orders_path).execute(
        "SELECT max(n), count(*), max(paid_through) FROM orders").fetchone()
    paid, payments = sqlite3.connect(ledger_path).execute(
        "SELECT max(n), count(*) FROM payments").fetchone()
    last, knows, paid = last or 0, knows or 0, paid or 0
    if count != last or payments != paid:
        sys.exit(f"holes: {count} orders through {last}, {payments} payments through {paid}")
    if paid > last:
        sys.exit(f"payment {paid} is there, its order is not: orders end at {last}")
    if knows > paid:
        sys.exit(f"an order knows of payment {knows}, payments end at {paid}")
    print(f"{last} orders, {paid} payments, databases whole, no effect without its cause")


if __name__ == "__main__":
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "orders":
        orders(rest[0], int(rest[1]))
    elif what == "ledger":
        ledger(rest[0], rest[1], int(rest[2]))
    else:
        check(*rest)
