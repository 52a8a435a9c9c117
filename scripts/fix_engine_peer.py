"""What scripts/fix_engine.py needs: QuickFIX with a business behind it, the project's session, and the wire between them."""
import datetime
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
import traceback

try:
    import quickfix as fix
except ImportError as error:
    sys.exit(print(f"skipped: {error}; scripts/fix_engine.sh installs quickfix", file=sys.stderr) or 3)

HEARTBEAT_S = 2
WINDOW = 32
FRAME_TAGS = {"8", "9", "35", "49", "56", "34", "43", "52", "97", "122", "10"}


def stamp():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d-%H:%M:%S.%f")[:-3]


def fields_of(text, separator="\x01"):
    return dict(pair.split("=", 1) for pair in text.split(separator) if "=" in pair)


def content_of(number, kind, fields):
    """What is held against the other side: number, type, and every field that is not the frame's."""
    return int(number), kind, tuple(sorted((tag, value) for tag, value in fields.items() if tag not in FRAME_TAGS))


def until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


class Venue:
    """Fills half of each order at once, then cancels or replaces the rest as asked."""

    def __init__(self):
        self.orders, self.reports = {}, 0

    def report(self, name, order, what, **more):
        self.reports += 1
        status = "4" if what == "4" else "1" if order["cum"] else "0"
        leaves = 0 if what == "4" else order["qty"] - order["cum"]
        fields = {37: order["id"], 11: name, 17: self.reports, 150: what, 39: status, 55: "ALFA", 54: order["side"],
                  38: order["qty"], 40: "2", 44: order["price"], 151: leaves, 14: order["cum"], 6: "10.0100000000001"}
        return "8", {**fields, 60: stamp(), **more}

    def take(self, kind, said):
        name = said.get("11")
        if kind == "D":
            order = {"id": len(self.orders) + 1, "side": said["54"], "qty": int(said["38"]), "cum": 0, "price": said["44"]}
            self.orders[name] = order
            accepted = self.report(name, order, "0")
            order["cum"] = order["qty"] // 2
            return [accepted, self.report(name, order, "F", **{"32": order["cum"], "31": order["price"]})]
        order = self.orders.pop(said.get("41"), None)
        if order is None:
            return [("9", {37: "NONE", 11: name, 41: said.get("41"), 39: "8", 434: "1" if kind == "F" else "2", 102: 1})]
        if kind == "F":
            return [self.report(name, order, "4", **{"41": said["41"]})]
        order.update(qty=int(said["38"]), price=said["44"])
        self.orders[name] = order
        return [self.report(name, order, "5", **{"41": said["41"]})]


class Desk:
    """Sends orders; of three one is cancelled behind its fill, one replaced and cancelled, one cancelled by a wrong name."""

    def __init__(self):
        self.sent = self.wanted = self.done = 0
        self.waiting = {}

    def orders(self):
        while self.sent < self.wanted and self.sent - self.done < WINDOW:
            self.sent += 1
            self.waiting[f"N{self.sent}"] = self.sent
            yield "D", {11: f"N{self.sent}", 21: "1", 55: "ALFA", 54: "1" if self.sent % 2 else "5", 60: stamp(), 38: 100 *
                        self.sent, 40: "2", 44: "10.01", 59: "0"}

    def take(self, kind, said):
        number = None
        if kind == "9" or said.get("150") in ("F", "5", "4"):
            number = self.waiting.pop(said["11"], None)
        if number is None:
            return []
        common = {41: said["11"], 55: "ALFA", 54: said.get("54"), 60: stamp()}
        if kind == "8" and said["150"] == "F" and number % 3 == 1:
            answer = "G", {**common, 11: f"R{number}", 38: int(said["38"]) + 100, 40: "2", 44: "10.02", 21: "1"}
        elif kind == "8" and said["150"] in "F5":
            wrong = {41: "NOBODY"} if number % 3 == 2 else {}
            answer = "F", {**common, **wrong, 11: f"C{number}", 38: said["38"]}
        else:
            self.done += 1
            return list(self.orders())
        self.waiting[answer[1][11]] = number
        return [answer]


class Party(fix.Application):
    """QuickFIX's application: keeps what was said and heard, answers by its business."""

    def __init__(self, business):
        super().__init__()
        self.business, self.said, self.heard, self.admin, self.failures = business, [], [], [], []
        self.resent, self.is_mute, self.on_logon = 0, False, None

    def guard(self, act, *arguments):
        # What is raised into the engine's own threads would end the program.
        try:
            act(*arguments)
        except Exception:
            self.failures.append(traceback.format_exc())

    def send(self, kind, fields, session):
        message = fix.Message()
        message.getHeader().setField(fix.StringField(35, kind))
        for tag, value in fields.items():
            message.setField(fix.StringField(int(tag), str(value)))
        fix.Session.sendToTarget(message, session)

    def onCreate(self, session):
        self.session = session

    def onLogon(self, session):
        if self.on_logon:
            self.guard(self.on_logon, session)

    def onLogout(self, session):
        pass

    def toAdmin(self, message, session):
        pass

    def fromAdmin(self, message, session):
        self.guard(lambda: self.admin.append(fields_of(message.toString())))

    def toApp(self, message, session):
        self.guard(self.on_said, message.toString())

    def fromApp(self, message, session):
        self.guard(self.on_heard, message.toString(), session)

    def on_said(self, text):
        fields = fields_of(text)
        if fields.get("43") == "Y":
            self.resent += 1
        else:
            self.said.append(content_of(fields["34"], fields["35"], fields))

    def on_heard(self, text, session):
        fields = fields_of(text)
        self.heard.append(content_of(fields["34"], fields["35"], fields))
        if not self.is_mute:
            for kind, answer in self.business.take(fields["35"], fields):
                self.send(kind, answer, session)


class Engine:
    """QuickFIX itself: one session with its file store, its file log and its data dictionary's checks."""

    def __init__(self, party, is_acceptor, port, dictionary, folder):
        us, them = ("VENUE", "DESK") if is_acceptor else ("DESK", "VENUE")
        self.is_acceptor, self.folder, self.name = is_acceptor, folder, f"FIX.4.4-{us}-{them}"
        kind = "acceptor" if is_acceptor else "initiator"
        place = f"SocketAcceptPort={port}" if is_acceptor else f"SocketConnectHost=127.0.0.1\nSocketConnectPort={port}"
        path = os.path.join(folder, "settings")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"""[DEFAULT]
ConnectionType={kind}
ReconnectInterval=0
SocketReuseAddress=Y
SocketNodelay=Y
NonStopSession=Y
HeartBtInt={HEARTBEAT_S}
LogonTimeout=3
LogoutTimeout=3
FileStorePath={folder}/store
FileLogPath={folder}/log
UseDataDictionary=Y
DataDictionary={dictionary}
ValidateFieldsOutOfOrder=Y
ValidateFieldsHaveValues=Y
ValidateUserDefinedFields=Y
ValidateLengthAndChecksum=Y
CheckCompID=Y
CheckLatency=Y
MaxLatency=120
[SESSION]
BeginString=FIX.4.4
SenderCompID={us}
TargetCompID={them}
{place}
""")
        self.party, self.settings = party, fix.SessionSettings(path)
        self.event_log, self.message_log = (Log(f"{folder}/log/{self.name}.{kind}.current.log") for kind in ("event", "messages"))
        self.start()

    def start(self):
        self.stores, self.logs = fix.FileStoreFactory(self.settings), fix.FileLogFactory(self.settings)
        kind = fix.SocketAcceptor if self.is_acceptor else fix.SocketInitiator
        self.engine = kind(self.party, self.stores, self.settings, self.logs)
        self.engine.start()
        self.session = fix.Session.lookupSession(self.party.session)

    def stop(self, wire):
        """Stopped and taken apart: what is known afterwards lies in its files."""
        with wire.opening:
            # Its stop closes sockets under its own thread, which crashes where that one is at work: nothing arrives meanwhile.
            wire.held.update(("ours", "theirs"))
            time.sleep(0.3)
            self.engine.stop(True)
            wire.held.clear()
        self.session = None
        del self.engine
        self.stores = self.logs = None

    def numbers(self):
        return self.session.getExpectedSenderNum(), self.session.getExpectedTargetNum()

    def stored_numbers(self):
        with open(f"{self.folder}/store/{self.name}.seqnums", encoding="ascii") as file:
            return tuple(int(number) for number in file.read().split(":"))

    def events(self, text=""):
        self.event_log.read()
        return [line for line in self.event_log.lines if text in line]

    def messages(self, sender=None, kind=None):
        """Messages of QuickFIX's log, in its order; both parties' where no sender is named."""
        self.message_log.read()
        lines = self.message_log.lines if kind is None else self.message_log.by_kind.get(kind, [])
        return [fields_of(line) for line in lines if sender is None or f"\x0149={sender}\x01" in line]


class Log:
    """A log file that grows, read as far as it is there."""

    def __init__(self, path):
        self.path, self.place, self.rest, self.lines, self.by_kind = path, 0, "", [], {}

    def read(self):
        with open(self.path, encoding="latin-1") as file:
            file.seek(self.place)
            *lines, self.rest = (self.rest + file.read()).split("\n")
            self.place = file.tell()
        for line in lines:
            line = line.split(" : ", 1)[-1]
            self.lines.append(line)
            kind = line.partition("\x0135=")[2].partition("\x01")[0]
            self.by_kind.setdefault(kind, []).append(line)


class Ours:
    """The project's session as a process, and what it says of itself."""

    def __init__(self, program, kind):
        self.program, self.kind = program, kind
        self.said, self.heard, self.events, self.notices, self.rest, self.answers = [], [], [], [], [], []

    def start(self, address, *numbers):
        command = [self.program, self.kind, address, *map(str, numbers)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port = None
        if self.kind == "venue":
            self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.reader = threading.Thread(target=self.read, args=(self.process,), daemon=True)
        self.reader.start()

    def read(self, process):
        for line in process.stdout:
            what, _, text = line.rstrip("\n").partition(" ")
            if what == "in":
                number, _, message = text.partition(" ")
                fields = fields_of(message, "|")
                self.heard.append(content_of(number, fields["35"], fields))
            elif what == "out":
                number, kind, body = text.split(" ", 2)
                self.said.append(content_of(number, kind, fields_of(body, "|")))
            else:
                {"event": self.events, "notice": self.notices, "status": self.answers}.get(what, self.rest).append(text)
                if what not in ("event", "notice", "status"):
                    self.last = line.strip()

    def tell(self, command):
        self.process.stdin.write(command + "\n")

    def status(self):
        """State, orders that are done, next numbers out and in, whether messages are missing."""
        count = len(self.answers)
        self.tell("status")
        until(lambda: len(self.answers) > count, f"{self.kind} says nothing, it ended with {self.process.poll()}")
        state, done, next_out, next_in, gap = self.answers[count].split()
        return state, int(done), int(next_out), int(next_in), gap == "true"

    def event_count(self, text):
        return sum(text in event for event in list(self.events))

    def end(self):
        self.tell("end")
        assert self.process.wait(20) == 0, self.process.returncode
        self.reader.join(20)
        return self.last

    def kill(self):
        self.process.kill()
        self.process.wait(20)
        self.reader.join(20)


class Wire(threading.Thread):
    """A proxy on loopback that cuts connections at any byte, holds bytes back, and damages messages."""

    def __init__(self, ours_connects, seed):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.target = None
        # A connection's two sides by who sends: "ours" or "theirs".
        self.sides = ("ours", "theirs") if ours_connects else ("theirs", "ours")
        self.held, self.damage, self.damaged = set(), {"ours": 0, "theirs": 0}, 0
        self.cuts_left, self.cuts, self.span, self.left, self.is_cut_now = 0, 0, 0, None, False
        self.random, self.connections, self.is_over = random.Random(seed), 0, False
        # Held while QuickFIX stops: it closes its sockets twice there, and must not hit ones that were opened in between.
        self.opening = threading.Lock()

    def arm(self, cuts, span):
        self.span, self.cuts_left = span, cuts

    def run(self):
        while not self.is_over:
            if not select.select([self.server], [], [], 0.2)[0]:
                continue
            with self.opening:
                near, _ = self.server.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target), 2)
                except OSError:
                    near.close()
                    continue
            self.connections += 1
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.pump(near, far)
            except OSError:
                pass
            for one in (near, far):
                if self.random.random() < 0.5:
                    # Reset instead of an end: what the other one has not read is gone.
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                one.close()

    def pump(self, near, far):
        self.left = None
        while not self.is_over:
            if self.is_cut_now:
                self.is_cut_now = False
                return
            if self.cuts_left and self.left is None:
                self.left = self.random.randint(1, self.span)
            pairs = [(near, far, self.sides[0]), (far, near, self.sides[1])]
            open_ones = {source: (sink, side) for source, sink, side in pairs if side not in self.held}
            ready, _, _ = select.select(list(open_ones), [], [], 0.02)
            for source in ready:
                sink, side = open_ones[source]
                data = self.spoil(source.recv(1 << 16), side)
                if not data:
                    return
                if self.cuts_left and self.left is not None:
                    if len(data) >= self.left:
                        sink.sendall(data[:self.left])
                        self.cuts_left, self.cuts = self.cuts_left - 1, self.cuts + 1
                        return
                    self.left -= len(data)
                sink.sendall(data)

    def spoil(self, data, side):
        # The quantity's first digit of one message: neither its length nor its sum is touched.
        place = data.find(b"\x0138=")
        if self.damage[side] and place >= 0 and len(data) > place + 4:
            self.damage[side] -= 1
            self.damaged += 1
            return data[:place + 4] + bytes([data[place + 4] ^ 1]) + data[place + 5:]
        return data


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
