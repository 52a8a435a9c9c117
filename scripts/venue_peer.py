#!/usr/bin/env python3
"""Clients that nobody here wrote trade against the exchange: SoupBinTCP by the package nasdaq-protocols.

Usage: venue_peer.py PATH/TO/peregrine-venue [--orders 20000] [--clients 2]     (scripts/venue_peer.sh makes the environment)

The package has sessions and framing; the OUCH 5.0 and GLIMPSE messages are packed and read here from the specification's
offsets, with nothing of this project's code. Two clients or more trade in one book: every order must be accepted, every execution
told to both sides with the same number, price and shares; a client that reconnects in the middle of its stream must get
exactly the messages behind; the snapshot must hold the orders that are left. A difference ends the program with 1.
"""
import argparse
import asyncio
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

try:
    from nasdaq_protocols import soup
except ImportError as error:
    sys.exit(print(f"skipped: {error}; scripts/venue_peer.sh installs nasdaq-protocols", file=sys.stderr) or 3)

SYMBOL = b"ALFA    "
# Seconds between two looks at what came, and looks in a row that find nothing.
TURN, SILENCE_MAX = 0.02, 3_000
# Orders of a client that wait for their answer, at most: the package reads some 900 messages a second of each session.
UNANSWERED_MAX = 5_000
PORT = """
[[port]]
address = "127.0.0.1:0"
username = "{user}"
password = "password"
firm = {firm}
self_trade = "allow"
is_cancel_on_disconnect = false
order_count_max = {orders}
message_count_max = {messages}
"""
CONFIG = """
[venue]
session = "PEERDAY001"
start = "10:00:00"
speed = 1
is_spinning = false
[hours]
start_messages = "09:00:00"
start_system = "09:01:00"
open = "09:30:00"
close = "16:00:00"
end_system = "20:00:00"
end_messages = "20:05:00"
late_s = 120
[capacity]
order_count_max = 2_000_000
reference_count_max = 4_000_000
level_count_max = 10_000
side_level_count_max = 5_000
feed_message_count_max = 8_000_000
[feed]
line_a = "239.192.10.1:30001"
line_b = "239.192.10.2:30002"
interface = "127.0.0.1"
ttl = 0
payload_len_max = 1_400
heartbeat_ms = 1_000
end_of_session_ms = 0
[retransmission]
address = "127.0.0.1:0"
[snapshot]
address = "127.0.0.1:0"
username = "glimps"
password = "glimpse"
[flow]
kind = "none"
[[symbol]]
name = "ALFA"
reference_price = "10.00"
round_lot = 100
"""


def enter(number, side, shares, price, time_in_force=b"0"):
    """OUCH 5.0, Enter Order, without options."""
    return struct.pack(
        ">cIcI8sQccccc14sH",
        b"O", number, side, shares, SYMBOL, price, time_in_force, b"Y", b"P", b"N", b"N", b"peer".ljust(14), 0,
    )


class Trader:
    """One port's client: what it sent and what it heard, in order."""

    def __init__(self, address, user):
        self.address, self.user = address, user
        self.heard, self.session, self.sent, self.accepted = [], None, {}, 0

    async def connect(self, sequence=None):
        sequence = len(self.heard) + 1 if sequence is None else sequence
        self.session = await soup.connect_async(
            self.address, self.user, "password", "", sequence, on_msg_coro=self.take, client_heartbeat_interval=1
        )
        return self.session.session_id.session

    async def take(self, message):
        if isinstance(message, soup.SequencedData):
            self.heard.append(bytes(message.data))
            self.accepted += message.data[:1] == b"A"

    def send(self, number, side, shares, price, time_in_force=b"0"):
        self.sent[number] = (side, shares, price)
        self.session.send_unseq_data(enter(number, side, shares, price, time_in_force))

    async def settle(self, accepted):
        """Waits until so many orders were accepted and nothing more comes; a minute in which nothing comes is too long."""
        quiet = 0
        while quiet < SILENCE_MAX:
            before = len(self.heard)
            await asyncio.sleep(TURN)
            quiet = quiet + 1 if len(self.heard) == before else 0
            if self.accepted >= accepted and quiet > 0:
                return
        raise SystemExit(f"{self.user}: {self.accepted} of {accepted} orders were accepted, then a minute of silence")

    async def read_again(self, count):
        """Waits until so many messages came, as long as any come."""
        quiet = 0
        while len(self.heard) < count and quiet < SILENCE_MAX:
            before = len(self.heard)
            await asyncio.sleep(TURN)
            quiet = quiet + 1 if len(self.heard) == before else 0

    def executions(self):
        """Match number to the sides that were told here: order, shares and price (OUCH 5.0, Order Executed)."""
        found = {}
        for message in self.heard:
            if message[:1] == b"E":
                _, _, number, shares, price, _, match = struct.unpack_from(">cQIIQcQ", message)
                found.setdefault(match, []).append((number, shares, price))
        return found

    def open_shares(self):
        """What is left of each accepted order."""
        left = {}
        for message in self.heard:
            if message[:1] == b"A":
                number, side, shares = struct.unpack_from(">IcI", message, 9)
                assert (side, shares) == self.sent[number][:2], f"order {number} was accepted as another one"
                left[number] = shares
            elif message[:1] == b"E":
                number, shares = struct.unpack_from(">II", message, 9)
                left[number] -= shares
            elif message[:1] == b"C":
                number, shares = struct.unpack_from(">II", message, 9)
                left[number] -= shares
        assert all(shares >= 0 for shares in left.values()), "an order lost more shares than it had"
        return {number: shares for number, shares in left.items() if shares > 0}


async def trade(addresses, count, clients):
    traders = [Trader(addresses[f"port {index}"], f"peer{index}") for index in range(clients)]
    sessions = [await trader.connect() for trader in traders]
    assert set(sessions) == {"PEERDAY001"}
    chance, each = random.Random(1), count // clients
    for number in range(1, each + 1):
        for trader in traders:
            side = chance.choice([b"B", b"S"])
            price = 100_000 + 100 * chance.randint(-5, 5)
            trader.send(number, side, 100 * chance.randint(1, 9), price, chance.choice([b"0", b"0", b"3"]))
        if number % 20 == 0:
            await asyncio.sleep(0)
        while number - min(trader.accepted for trader in traders) > UNANSWERED_MAX:
            await asyncio.sleep(TURN)
    for trader in traders:
        await trader.settle(each)
    return traders, compare(traders)


def compare(traders):
    """Each match is told to both sides, once each, with one price and one quantity; how many were between two clients."""
    matches = {}
    for trader in traders:
        for match, sides in trader.executions().items():
            matches.setdefault(match, []).extend((trader, *side) for side in sides)
    for match, sides in matches.items():
        assert len(sides) == 2, f"match {match} was told {len(sides)} times"
        (one, a, *terms), (two, b, *other_terms) = sides
        assert terms == other_terms, f"match {match} differs between its sides"
        assert one.sent[a][0] != two.sent[b][0], f"match {match} has one side twice"
    between = sum(one[0] is not two[0] for one, two in matches.values())
    assert between, "no two clients ever traded with each other"
    return between


async def reconnect(trader):
    """The stream again from the middle, and from its begin: the same bytes."""
    whole, middle = list(trader.heard), len(trader.heard) // 2
    for begin in (middle, 0):
        await trader.session.close()
        trader.heard = whole[:begin]
        await trader.connect()
        await trader.read_again(len(whole))
        assert trader.heard == whole, f"the stream from number {begin + 1} differs"


async def snapshot(address, traders):
    """Directory, state, the orders that are left, and the end."""
    messages = []
    done = asyncio.Event()

    async def take(message):
        if isinstance(message, soup.SequencedData):
            messages.append(bytes(message.data))
            if message.data[:1] == b"G":
                done.set()

    session = await soup.connect_async(address, "glimps", "glimpse", "", 1, on_msg_coro=take)
    await asyncio.wait_for(done.wait(), 3_600)
    await session.close()
    shown = {b"B": 0, b"S": 0}
    for message in messages:
        if message[:1] == b"A":
            side, shares = struct.unpack_from(">cI", message, 19)
            shown[side] += shares
    left = {b"B": 0, b"S": 0}
    for trader in traders:
        for number, shares in trader.open_shares().items():
            left[trader.sent[number][0]] += shares
    assert shown == left, f"the snapshot shows {shown}, the clients have {left}"
    assert int(messages[-1][1:]) > 1, "the snapshot says where to go on"
    return len(messages)


async def run(addresses, count, clients):
    traders, matches = await trade(addresses, count, clients)
    messages = await snapshot(addresses["snapshots"], traders)
    await asyncio.gather(*(reconnect(trader) for trader in traders))
    heard = sum(len(trader.heard) for trader in traders)
    for trader in traders:
        await trader.session.close()
    print(
        f"{clients} clients, {count} orders, {heard} answers, {matches} executions between two of them, a snapshot of "
        f"{messages} messages: equal"
    )


def start(program, folder, count, clients):
    config = pathlib.Path(folder) / "venue.toml"
    room = {"orders": 2 * count // clients, "messages": 8 * count // clients}
    ports = [PORT.format(user=f"peer{index}", firm=index + 1, **room) for index in range(clients)]
    config.write_text("".join(ports) + CONFIG)
    process = subprocess.Popen([program, "--config", config], stdout=subprocess.PIPE, text=True)
    addresses = {}
    while f"port {clients - 1}" not in addresses:
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the exchange did not start")
        name, _, address = line.strip().partition(": ")
        if name != "feed":
            host, _, port = address.partition(":")
            addresses[name] = (host, int(port))
    return process, addresses


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, addresses = start(arguments.program, folder, arguments.orders, arguments.clients)
        try:
            asyncio.run(run(addresses, arguments.orders, arguments.clients))
        finally:
            process.terminate()
            print(process.communicate(timeout=30)[0].strip())


if __name__ == "__main__":
    main()
