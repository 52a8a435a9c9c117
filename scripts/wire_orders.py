#!/usr/bin/env python3
"""Sends orders to the two ports of configs/venue_agents.toml, OUCH 5.0 to the first and OUCH 4.2 to the second, packed from
the specifications' offsets, and reads what comes.

Usage: wire_orders.py SECONDS (scripts/wire_tshark.sh starts the exchange)."""
import socket
import struct
import sys
import time


def packet(kind, payload=b""):
    return struct.pack(">H", len(payload) + 1) + kind + payload


def log_in(port, user):
    stream = socket.create_connection(("127.0.0.1", port))
    stream.sendall(packet(b"L", f"{user:<6}{'password':<10}{'':>10}{1:>20}".encode()))
    stream.settimeout(0.05)
    return stream


def order50(number, side, price, tif):
    return struct.pack(
        ">cIcI8sQccccc14sH", b"O", number, side, 100, b"ASGV    ", price, tif, b"Y", b"P", b"N", b"N", b"wire".ljust(14), 0
    )


def order42(number, side, price, tif):
    token = f"W{number}".encode().ljust(14)
    return struct.pack(
        ">c14scI8sII4sccc4scc", b"O", token, side, 100, b"ASGV    ", price, tif, b"    ", b"Y", b"P", b"N", bytes(4), b"N", b"N"
    )


def cancel42(number):
    return struct.pack(">c14sI", b"X", f"W{number}".encode().ljust(14), 0)


def main():
    ports = [log_in(30031, "desk1"), log_in(30032, "desk2")]
    end, number, heard = time.monotonic() + float(sys.argv[1]), 0, [0, 0]
    while time.monotonic() < end:
        number += 1
        side, price = (b"B", 1_000_000) if number % 2 else (b"S", 100)
        ports[0].sendall(packet(b"U", order50(number, side, price, b"3" if number % 3 else b"0")))
        ports[1].sendall(packet(b"U", order42(number, side, price, 0 if number % 3 else 99_998)))
        ports[1].sendall(packet(b"U", cancel42(number)))
        if number % 50 == 0:
            ports[0].sendall(packet(b"R"))
            ports[1].sendall(packet(b"R"))
        for index, port in enumerate(ports):
            try:
                heard[index] += len(port.recv(65_536))
            except TimeoutError:
                pass
    print(f"{number} orders to each port, {heard[0]} and {heard[1]} bytes of answers")
    for port in ports:
        port.sendall(packet(b"O"))
        port.close()


if __name__ == "__main__":
    main()
