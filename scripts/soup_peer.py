#!/usr/bin/env python3
"""SoupBinTCP sessions that nobody here wrote (the package nasdaq-protocols) against this project's, both ways.

Usage: soup_peer.py PATH/TO/soup_peer PATH/TO/order_peer [--messages 100000] [--sessions 8] [--orders 2000]
(scripts/venue_peer.sh builds the programs and makes the environment.)

1. Its clients log in at our server, its server takes our clients: so many messages of 1 to 120 bytes of chance each way,
   over several sessions at once, because the package reads about a thousand messages a second and session. Both sides hash
   what they sent and received; the hashes must be equal crosswise.
2. The engine's order session (OUCH 5.0) trades against its server: every order on the wire and every fill must be in the
   engine's account, number by number. The OUCH messages are packed here from the specification's offsets.
A difference ends the program with 1.
"""
import argparse
import asyncio
import hashlib
import random
import struct
import subprocess
import sys
import time

try:
    from nasdaq_protocols import soup
except ImportError as error:
    sys.exit(print(f"skipped: {error}; scripts/venue_peer.sh installs nasdaq-protocols", file=sys.stderr) or 3)


class Story:
    """Messages of one way: how many, and their hash, each behind its length."""

    def __init__(self):
        self.hash, self.count = hashlib.sha256(), 0

    def take(self, message):
        self.hash.update(struct.pack(">H", len(message)) + message)
        self.count += 1

    def tell(self):
        return self.count, self.hash.hexdigest()


def messages(seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.randbytes(chance.randint(1, 120))


async def send_all(send, story, seed, count, session):
    """Sends everything, and lets the other tasks run between."""
    for number, message in enumerate(messages(seed, count)):
        send(message)
        story.take(message)
        if number % 200 == 199:
            await asyncio.sleep(0)
            while session._transport.get_write_buffer_size() > 1 << 18:
                await asyncio.sleep(0.005)


class Server(soup.SoupServerSession, session_type="server"):
    """Its server: sends its messages once somebody logged in, and hashes what comes."""

    def prepare(self, index, each):
        self.index, self.each, self.sent, self.heard, self.done = index, each, Story(), Story(), asyncio.Event()
        return self

    async def on_login(self, msg):
        asyncio.get_running_loop().create_task(send_all(self.send_seq_msg, self.sent, 1000 + self.index, self.each, self))
        return soup.LoginAccepted("PEER", 1)

    async def on_unsequenced(self, msg):
        self.heard.take(bytes(msg.data))
        if self.heard.count == self.each:
            self.done.set()


async def lines_of(process):
    """What a program says at its end: session to (sent, received), each a count and a hash."""
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the program ended with {process.returncode}: {out.decode()}")
    found = {}
    for line in out.decode().splitlines():
        words = line.split()
        if words and words[0] == "session":
            found[int(words[1])] = ((int(words[3]), words[4]), (int(words[6]), words[7]))
    return found


def compare(theirs, ours, what):
    """theirs: index to (sent, heard); both lists of pairs must be equal crosswise, in any order of the sessions."""
    left = sorted((sent, heard) for sent, heard in theirs)
    right = sorted((heard, sent) for sent, heard in ours)
    if left != right:
        raise SystemExit(f"{what}: the hashes differ\n{left}\n{right}")


async def their_server(program, count, sessions):
    each, made = count // sessions, []

    def accept():
        made.append(Server().prepare(len(made), each))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program, "connect", f"127.0.0.1:{port}", str(count), str(sessions), stdout=subprocess.PIPE
    )
    ours = await lines_of(process)
    for session in made:
        await asyncio.wait_for(session.done.wait(), 600)
    server.close()
    compare([(s.sent.tell(), s.heard.tell()) for s in made], ours.values(), "their server, our clients")
    return sum(s.sent.count for s in made), sum(s.heard.count for s in made)


async def their_client(host, port, index, each):
    sent, heard, done = Story(), Story(), asyncio.Event()

    async def take(message):
        if isinstance(message, soup.SequencedData):
            heard.take(bytes(message.data))
            if heard.count == each:
                done.set()

    session = await soup.connect_async((host, port), "desk", "password", "", 1, on_msg_coro=take, client_heartbeat_interval=1)
    await send_all(session.send_unseq_data, sent, 2000 + index, each, session)
    await asyncio.wait_for(done.wait(), 3_000)
    await asyncio.sleep(0)
    return sent.tell(), heard.tell(), session


async def our_server(program, count, sessions):
    process = await asyncio.create_subprocess_exec(program, "serve", str(count), str(sessions), stdout=subprocess.PIPE)
    host, port = (await process.stdout.readline()).decode().strip().split(":")
    each = count // sessions
    theirs = await asyncio.gather(*(their_client(host, int(port), index, each) for index in range(sessions)))
    ours = await lines_of(process)
    for _, _, session in theirs:
        await session.close()
    compare([(sent, heard) for sent, heard, _ in theirs], ours.values(), "their clients, our server")
    return sum(sent[0] for sent, _, _ in theirs), sum(heard[0] for _, heard, _ in theirs)


class Venue(soup.SoupServerSession, session_type="server"):
    """A little exchange (OUCH 5.0): accepts every order; every other one it fills in two parts, the rest waits for its
    cancel."""

    def prepare(self):
        self.open, self.orders, self.fills, self.next, self.matches = {}, {}, {}, 1, 0
        self.done = asyncio.Event()
        return self

    async def on_login(self, msg):
        return soup.LoginAccepted("PEER", 1)

    def fill(self, number, shares, price):
        self.matches += 1
        self.fills[(number, self.matches)] = (shares, price)
        self.open[number] -= shares
        self.send_seq_msg(struct.pack(">cQIIQcQH", b"E", 1, number, shares, price, b"R", self.matches, 0))

    def cancel(self, number):
        shares = self.open.get(number, 0)
        if shares > 0:
            self.open[number] = 0
            self.send_seq_msg(struct.pack(">cQIIc", b"C", 1, number, shares, b"U"))

    async def on_unsequenced(self, msg):
        data = bytes(msg.data)
        kind, number = data[:1], struct.unpack_from(">I", data, 1)[0] if len(data) > 4 else 0
        if kind == b"O" and number >= self.next:
            _, _, side, shares, symbol, price, tif, display, capacity, iso, cross, clordid = struct.unpack_from(
                ">cIcI8sQccccc14s", data
            )
            self.next, self.open[number], self.orders[number] = number + 1, shares, (shares, price)
            self.send_seq_msg(
                struct.pack(
                    ">cQIcI8sQccQcccc14sH", b"A", 1, number, side, shares, symbol, price, tif, display, number, capacity,
                    iso, cross, b"L", clordid, 0,
                )
            )
            if number % 2 == 0:
                self.fill(number, shares // 2, price)
                self.fill(number, shares - shares // 2, price)
        elif kind == b"X":
            self.cancel(number)
        elif kind == b"C" and number >= self.next:
            self.next = number + 1
            firm, symbol = data[5:9], data[9:17]
            self.send_seq_msg(struct.pack(">cQI4s8sH", b"X", 1, number, firm, symbol, 0) if len(data) == 19 else
                              struct.pack(">cQI4s8s", b"X", 1, number, firm, symbol) + data[17:])
            if len(data) == 19:
                for order in list(self.open):
                    self.cancel(order)
        elif kind == b"Q":
            self.send_seq_msg(struct.pack(">cQI", b"Q", 1, self.next))


def row_hash(rows):
    text = "".join(f"{number} {match} {shares} {price}\n" for (number, match), (shares, price) in sorted(rows.items()))
    return len(rows), hashlib.sha256(text.encode()).hexdigest()


async def our_orders(program, count):
    made = []

    def accept():
        made.append(Venue().prepare())
        return made[-1]

    server = await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program, f"127.0.0.1:{port}", str(count), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    server.close()
    if process.returncode != 0:
        raise SystemExit(f"the order session ended with {process.returncode}: {out.decode()}")
    told = {line.split()[0]: line.split()[1:] for line in out.decode().splitlines()}
    venue = made[0]
    orders = row_hash({(number, 0): row for number, row in venue.orders.items()})
    fills = row_hash(venue.fills)
    if [str(word) for word in orders] != told["orders"] or [str(word) for word in fills] != told["fills"]:
        raise SystemExit(f"the accounts differ: {orders} {fills} {told}")
    assert not any(venue.open.values()), "an order is left"
    return orders[0], fills[0]


async def run(arguments):
    begin = time.monotonic()
    sent, heard = await their_server(arguments.soup_peer, arguments.messages, arguments.sessions)
    print(f"their server, our clients: {sent} and {heard} messages, equal, {time.monotonic() - begin:.0f} s", flush=True)
    begin = time.monotonic()
    sent, heard = await our_server(arguments.soup_peer, arguments.messages, arguments.sessions)
    print(f"their clients, our server: {sent} and {heard} messages, equal, {time.monotonic() - begin:.0f} s", flush=True)
    begin = time.monotonic()
    orders, fills = await our_orders(arguments.order_peer, arguments.orders)
    print(f"our order session, their server: {orders} orders, {fills} fills, equal, {time.monotonic() - begin:.0f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("soup_peer")
    parser.add_argument("order_peer")
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--orders", type=int, default=2_000)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
