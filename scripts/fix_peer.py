#!/usr/bin/env python3
"""A FIX 4.4 peer whose codec nobody here wrote talks to both sides of the project's session (example fix_desk).

Usage: fix_peer.py PATH/TO/fix_desk [--orders 2000]     (scripts/fix_peer.sh makes the environment)

Messages are built and taken apart by the package simplefix, which writes BodyLength and CheckSum and knows nothing of this
project; what the session rules demand is written down here step by step. A difference ends the program with 1.
"""
import argparse
import datetime
import socket
import subprocess
import sys
import threading

try:
    import simplefix
except ImportError as error:
    sys.exit(print(f"skipped: {error}; scripts/fix_peer.sh installs simplefix", file=sys.stderr) or 3)

STAMP = "%Y%m%d-%H:%M:%S.%f"


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime(STAMP)[:-3]


class Peer:
    """One end of a session: a socket, simplefix, and numbers."""

    def __init__(self, us, them):
        self.us, self.them, self.next_out, self.sent = us, them, 1, {}

    def attach(self, connection):
        self.socket, self.parser = connection, simplefix.FixParser()
        self.socket.settimeout(20)

    def say(self, kind, *fields, number=None, first=None):
        message = simplefix.FixMessage()
        message.append_pair(8, "FIX.4.4")
        message.append_pair(35, kind)
        message.append_pair(49, self.us)
        message.append_pair(56, self.them)
        message.append_pair(34, self.next_out if number is None else number)
        if first:
            message.append_pair(43, "Y")
        message.append_pair(52, stamp())
        if first:
            message.append_pair(122, first)
        for tag, value in fields:
            message.append_pair(tag, value)
        if number is None:
            self.sent[self.next_out] = (kind, fields, stamp())
            self.next_out += 1
        self.socket.sendall(message.encode())

    def hear(self):
        """The next message; its length and sum are checked by encoding it again."""
        while True:
            message = self.parser.get_message()
            if message is not None:
                raw = b"".join(tag + b"=" + value + b"\x01" for tag, value in message.pairs)
                assert message.encode() == raw, (message.encode(), raw)
                return message
            data = self.socket.recv(65536)
            assert data, "the connection ended"
            self.parser.append_buffer(data)

    def expect(self, kind, **tags):
        message = self.hear()
        while kind != "0" and message.get(35) == b"0":
            message = self.hear()
        wanted = {35: kind, **{int(tag[1:]): value for tag, value in tags.items()}}
        for tag, value in wanted.items():
            assert message.get(tag) == str(value).encode(), f"{tag}={value} expected: {message}"
        return message

    def answer_resend(self, request):
        """Orders again, with PossDup; everything else stepped over by gap fills."""
        begin, end = int(request.get(7)), int(request.get(16)) or self.next_out - 1
        number = begin
        while number <= min(end, self.next_out - 1):
            kind, fields, first = self.sent.get(number, ("0", (), None))
            if kind in "D8":
                self.say(kind, *fields, number=number, first=first)
                number += 1
                continue
            run = number
            while number <= min(end, self.next_out - 1) and self.sent.get(number, ("0",))[0] not in "D8":
                number += 1
            self.say("4", (123, "Y"), (36, number), number=run, first=stamp())


def order(name, qty=100, price="10.01"):
    return ((11, name), (55, "ALFA"), (54, "1"), (60, stamp()), (38, qty), (40, "2"), (44, price), (59, "0"))


def against_acceptor(program, orders):
    process = subprocess.Popen([program, "acceptor", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    host, port = process.stdout.readline().split()[1].rsplit(":", 1)
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    peer = Peer("DESK", "VENUE")
    peer.attach(socket.create_connection((host, int(port))))
    peer.say("A", (98, 0), (108, 30))
    peer.expect("A", t34=1, t98=0, t108=30)
    for number in range(orders):
        peer.say("D", *order(f"O{number}", 100 + number))
        peer.expect("8", t150="0", t11=f"O{number}", t38=100 + number)
        report = peer.expect("8", t150="F", t32=(100 + number) // 2, t31="10.01")
        last = int(report.get(34))
    peer.say("G", (41, "O0"), (11, "R0"), (55, "ALFA"), (54, "1"), (60, stamp()), (38, 300), (40, "2"), (44, "10.02"))
    peer.expect("8", t150="5", t11="R0", t38=300, t44="10.02")
    peer.say("F", (41, "R0"), (11, "X0"), (55, "ALFA"), (54, "1"), (60, stamp()), (38, 300))
    peer.expect("8", t150="4", t151=0)
    peer.say("F", (41, "R0"), (11, "X1"), (55, "ALFA"), (54, "1"), (60, stamp()), (38, 300))
    peer.expect("9", t102=1, t434=1, t37="NONE")
    peer.say("B", (148, "news"), (33, 1), (58, "text"))
    peer.expect("j", t372="B", t380=3)
    peer.say("1", (112, "PING"))
    peer.expect("0", t112="PING")
    # What it sent is asked for again, a part of it: the same numbers, marked, the session's own stepped over.
    peer.say("2", (7, 1), (16, 3))
    peer.expect("4", t34=1, t43="Y", t123="Y", t36=2)
    for number in (2, 3):
        again = peer.expect("8", t34=number, t43="Y", t11="O0")
        assert again.get(122) is not None
    # Malformed: refused by tag and reason, and the number is used up.
    peer.say("D", *order("BAD", qty="+100"))
    peer.expect("3", t371=38, t373=6)
    # Two numbers are left out: it asks for them, and takes a gap fill.
    peer.next_out += 2
    peer.say("D", *order("LATE"))
    request = peer.expect("2", t16=0)
    assert int(request.get(7)) == peer.next_out - 3
    peer.answer_resend(request)
    peer.expect("8", t150="0", t11="LATE")
    peer.expect("8", t150="F", t11="LATE")
    # A reset of the numbers ahead, then the connection is cut without a word.
    peer.say("4", (123, "N"), (36, peer.next_out + 50))
    peer.next_out += 49
    peer.say("D", *order("AHEAD"))
    last = int(peer.expect("8", t150="0", t11="AHEAD").get(34))
    peer.socket.close()
    # The session goes on where it was: the fill of the last order was told to nobody, and comes when it is asked for.
    peer.attach(socket.create_connection((host, int(port))))
    peer.say("A", (98, 0), (108, 30))
    logon = peer.expect("A", t98=0)
    assert int(logon.get(34)) > last + 1
    peer.say("2", (7, last + 1), (16, 0))
    peer.expect("8", t34=last + 1, t43="Y", t150="F", t11="AHEAD")
    peer.expect("4", t123="Y", t36=int(logon.get(34)) + 1)
    peer.say("5")
    peer.expect("5")
    assert process.wait(20) == 0
    reader.join(20)
    print(f"acceptor: {orders} orders, replace, cancel, rejects, resend, gap fill, reset, reconnect: as it should be")
    print(" ", lines[-1].strip())


def against_initiator(program):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "127.0.0.1:%d" % server.getsockname()[1]
        process = subprocess.Popen([program, "initiator", address], stdout=subprocess.PIPE, text=True)
        server.settimeout(20)
        connection, _ = server.accept()
    peer = Peer("VENUE", "DESK")
    peer.attach(connection)
    # Ten orders were written before the connection stood: its Logon is number 11, we ask for what is missing.
    logon = peer.expect("A", t34=11, t98=0, t108=2)
    peer.say("A", (98, 0), (108, logon.get(108)))
    peer.say("2", (7, 1), (16, 0))
    names = []
    for number in range(1, 11):
        message = peer.expect("D", t34=number, t43="Y", t11=f"N{number}", t38=100 * number, t44="10.01", t59=0)
        names.append(message.get(11).decode())
    peer.expect("4", t34=11, t36=12, t123="Y")
    peer.say("1", (112, "THERE?"))
    peer.expect("0", t112="THERE?")
    # Reports, of which the third and the fourth are lost on the way: it must ask, and take them in order.
    lost = []
    for index, name in enumerate(names):
        fields = ((37, index + 1), (11, name), (17, index + 1), (150, "F"), (39, "1"), (55, "ALFA"), (54, "1"),
                  (38, 100), (32, 40), (31, "10.01"), (151, 60), (14, 40), (6, "10.0100000000001"))
        if index in (2, 3):
            peer.sent[peer.next_out] = ("8", fields, stamp())
            lost.append(peer.next_out)
            peer.next_out += 1
        else:
            peer.say("8", *fields)
    cancels = []
    while len(cancels) < len(names):
        message = peer.hear()
        if message.get(35) == b"2":
            assert int(message.get(7)) == lost[0], message
            peer.answer_resend(message)
        elif message.get(35) == b"F":
            cancels.append(message.get(41).decode())
    assert cancels == names, cancels
    # Silence: it says so itself with heartbeats, asks, and we answer; then the end.
    seen = set()
    while seen != {b"0", b"1"}:
        message = peer.hear()
        seen.add(message.get(35))
        if message.get(35) == b"1":
            peer.say("0", (112, message.get(112)))
    peer.say("5", (58, "the day is over"))
    peer.expect("5")
    lines, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "the day is over" in lines
    print("initiator: ten orders resent, a lost pair of reports asked for, cancels, test requests, logout: as it should be")
    print(" ", lines.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--orders", type=int, default=2_000)
    arguments = parser.parse_args()
    against_acceptor(arguments.program, arguments.orders)
    against_initiator(arguments.program)


main()
