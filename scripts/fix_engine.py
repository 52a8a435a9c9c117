#!/usr/bin/env python3
"""QuickFIX, a FIX engine that nobody here wrote, against both sides of the project's session (example fix_desk).

Usage: fix_engine.py PATH/TO/fix_desk DICTIONARY [--orders 2000] [--cuts 200] [--seed 1]   (scripts/fix_engine.sh makes the
environment)

QuickFIX checks every message by its own FIX44.xml, keeps its numbers and messages in files and logs what it does. A proxy
between the two cuts, holds and damages. Each scenario is judged by QuickFIX's log and store, by what its application was
given, and by what our side says. A difference ends the program with 1.
"""
import argparse
import os
import random
import sys
import tempfile
import time
import traceback

from fix_engine_peer import HEARTBEAT_S, Desk, Engine, Ours, Party, Venue, Wire, fix, free_port, stamp, until


class Rig:
    """QuickFIX, the wire and our side: `kind` is ours."""

    def __init__(self, arguments, kind, folder):
        self.arguments, self.kind, self.is_desk = arguments, kind, kind == "desk"
        self.party = Party(Venue() if kind != "venue" else Desk())
        self.ours = Ours(arguments.program, kind)
        self.wire = Wire(kind != "venue", arguments.seed)
        self.us, self.them = ("VENUE", "DESK") if kind == "venue" else ("DESK", "VENUE")
        self.done = 0
        if kind == "venue":
            self.ours.start("127.0.0.1:0")
            self.wire.target = self.ours.port
            self.wire.start()
            self.engine = Engine(self.party, False, self.wire.port, arguments.dictionary, folder)
        else:
            self.wire.target = free_port()
            self.engine = Engine(self.party, True, self.wire.target, arguments.dictionary, folder)
            self.wire.start()
            self.ours.start(f"127.0.0.1:{self.wire.port}")

    def done_count(self, ours):
        """Orders that are done with, by whoever sends them; `ours` are our side's."""
        return ours if self.is_desk else self.party.business.done

    def rest(self, seconds=30):
        """Both sides stand, miss nothing and have the same numbers."""
        def is_resting():
            state, done, next_out, next_in, has_gap = self.ours.status()
            is_done = self.kind == "copy" or self.done_count(done) == self.done
            is_standing = state == "Active" and self.engine.session.isLoggedOn() and not has_gap
            return is_done and is_standing and self.engine.numbers() == (next_in, next_out)
        try:
            until(is_resting, "rest", seconds)
        except AssertionError:
            print("ours:", *self.ours.status(), *self.ours.events[-5:], "QuickFIX's:", *self.engine.numbers(), sep="\n  ")
            print(*self.engine.events()[-12:], *self.engine.messages()[-12:], sep="\n  ")
            raise

    def order(self, count):
        if self.is_desk:
            self.done += count
            self.ours.tell(f"orders {count}")
        else:
            is_idle = self.party.business.done == self.done
            self.done += count
            self.party.business.wanted += count
            # Under way its own answers bring the next ones.
            for kind, fields in list(self.party.business.orders()) if is_idle else []:
                self.party.send(kind, fields, self.party.session)

    def flow(self, count, seconds=30):
        self.order(count)
        self.rest(seconds + count // 50)

    def equal(self):
        """Every message of either application came once, in order, with every field as it was sent."""
        assert not self.party.failures, self.party.failures[0]
        for who, said, heard in (("ours", self.ours.said, self.party.heard), ("theirs", self.party.said, self.ours.heard)):
            if said != heard:
                place = next((i for i, pair in enumerate(zip(said, heard)) if pair[0] != pair[1]), min(len(said), len(heard)))
                raise AssertionError(f"{who}: {len(said)} said, {len(heard)} heard, at {place}: {said[place:place + 2]} "
                                     f"{heard[place:place + 2]}")

    def heard_admin(self, kind, **tags):
        """Session messages of ours that QuickFIX took."""
        wanted = {tag[1:]: str(value) for tag, value in tags.items()}
        return [one for one in list(self.party.admin) if one["35"] == kind and wanted.items() <= one.items()]


def quiet(rig):
    """Heartbeats keep a silent session; behind silence comes a test request, its answer, and at last the end."""
    counts = [len(rig.engine.messages(sender, "0")) for sender in (rig.us, rig.them)]
    connections = rig.wire.connections
    time.sleep(2.6 * HEARTBEAT_S)
    beats = [len(rig.engine.messages(sender, "0")) - count for sender, count in zip((rig.us, rig.them), counts)]
    assert min(beats) >= 2 and not rig.engine.messages(kind="1"), beats
    for side, asks, answers in (("theirs", rig.us, rig.them), ("ours", rig.them, rig.us)):
        rig.wire.held.add(side)
        asked = until(lambda: rig.engine.messages(asks, "1"), f"a test request, {side} held")[-1]["112"]
        rig.wire.held.clear()
        until(lambda: any(one.get("112") == asked for one in rig.engine.messages(answers, "0")), "its answer")
        rig.rest()
    assert rig.wire.connections == connections
    rig.wire.held.update(("ours", "theirs"))
    until(lambda: rig.ours.event_count("Closed(Silent)"), "we give a silent peer up")
    until(lambda: rig.engine.events("Timed out waiting for heartbeat"), "QuickFIX gives a silent peer up")
    rig.wire.is_cut_now = True
    rig.wire.held.clear()
    rig.rest()
    return f"{sum(beats)} heartbeats, test requests answered both ways, silence ends it"


def told_again(messages, before, number):
    """Of what was heard, what came behind the first `before` is what came there last from `number` on; takes it away."""
    again = messages[before:]
    first = [one for one in messages[:before] if one[0] >= number][-len(again):]
    assert again and again == first, (again[:2], first[:2])
    del messages[before:]
    return len(again)


def gaps(rig):
    """Numbers forward and back in QuickFIX's store: requests, gap fills and repetitions both ways."""
    session, requests = rig.engine.session, len(rig.engine.messages(rig.us, "2"))
    sender, _ = rig.engine.numbers()
    session.setNextSenderMsgSeqNum(sender + 7)
    rig.flow(10)
    assert len(rig.engine.messages(rig.us, "2")) > requests
    fills = [one for one in rig.engine.messages(rig.them, "4") if one.get("123") == "Y" and int(one["34"]) <= sender]
    assert fills and int(fills[-1]["36"]) >= sender + 7, fills
    # Further than may be asked for at once: in pieces.
    asked, (sender, _) = len(rig.engine.messages(rig.us, "2")), rig.engine.numbers()
    session.setNextSenderMsgSeqNum(sender + 6_000)
    rig.flow(10)
    pieces = rig.engine.messages(rig.us, "2")[asked:]
    assert len(pieces) == 3 and [one["16"] == "0" for one in pieces] == [False, False, True], pieces
    rig.equal()
    # QuickFIX forgets what it heard last, and is told again.
    _, target = rig.engine.numbers()
    back, heard, rig.party.is_mute = 40, len(rig.party.heard), True
    session.setNextTargetMsgSeqNum(target - back)
    rig.party.send("0", {}, rig.party.session)
    until(lambda: rig.ours.event_count("ResendAsked") or rig.party.send("0", {}, rig.party.session), "it asks", 40)
    rig.rest()
    again = told_again(rig.party.heard, heard, target - back)
    repeated = [one for one in rig.engine.messages(rig.us) if one.get("43") == "Y" and int(one["34"]) >= target - back]
    assert all("122" in one for one in repeated if one["35"] != "4")
    rig.party.is_mute = False
    rig.flow(10)
    rig.equal()
    return f"7 and 6,000 numbers filled, {again} messages told again and equal"


def garbled(rig):
    """Damaged messages use no number up: they are asked for and come again."""
    for side in ("ours", "theirs"):
        rig.wire.damage[side] = 3
        rig.flow(30)
    rig.equal()
    ignored = len(rig.engine.events("Expected CheckSum"))
    assert rig.wire.damaged == 6 and rig.ours.event_count("Garbled") >= 3 and ignored >= 3, (rig.wire.damaged, ignored)
    return "3 damaged each way, all came again"


def step_ahead(rig, count):
    """QuickFIX sets its numbers ahead by a SequenceReset in reset mode: to what."""
    new = rig.engine.numbers()[0] + count
    rig.party.send("4", {123: "N", 36: new}, rig.party.session)
    rig.engine.session.setNextSenderMsgSeqNum(new)
    return new


def resets(rig):
    """SequenceReset in reset mode, both ways."""
    _, target = rig.engine.numbers()
    new = step_ahead(rig, 60)
    until(lambda: rig.ours.event_count(f"new: {new}, is_fill: false"), "our side takes the reset")
    rig.ours.tell("reset 50")
    until(lambda: rig.engine.numbers()[1] >= target + 50, "QuickFIX takes the reset")
    rig.flow(10)
    rig.equal()
    return "60 numbers on, 50 numbers on"


def stamps(rig):
    """SendingTime in seconds, milliseconds, microseconds and nanoseconds, repetitions among them."""
    for digits in (0, 3, 6, 9):
        rig.engine.session.setTimestampPrecision(digits)
        rig.wire.damage["theirs"] += 1
        rig.flow(20)
    rig.engine.session.setTimestampPrecision(3)
    lengths = {len(one["52"]) for one in rig.engine.messages(rig.them)}
    assert lengths == {17, 21, 24, 27}, lengths
    rig.equal()
    return "four precisions taken"


def malformed(rig):
    """What QuickFIX writes against its own dictionary is refused with the tag, and it takes the Reject."""
    heard = len(rig.ours.heard)
    rig.party.send("D", {11: "BAD", 55: "ALFA", 54: "1", 60: stamp(), 38: "+100", 40: "2", 44: "10.01"}, rig.party.session)
    rig.party.said.pop()
    until(lambda: rig.heard_admin("3", t371=38, t373=6), "the Reject")
    rig.rest()
    assert len(rig.ours.heard) == heard
    return "refused by tag and reason"


def too_low(rig):
    """A number too low ends the session with a text; with numbers that fit it goes on and nothing is lost."""
    sender, target = rig.engine.numbers()
    rig.engine.session.setNextSenderMsgSeqNum(sender - 10)
    rig.party.send("0", {}, rig.party.session)
    until(lambda: rig.ours.event_count("Closed(NumberTooLow"), "our side ends it")
    until(lambda: any("is too low" in one.get("58", "") for one in rig.heard_admin("5")), "QuickFIX reads why")
    rig.engine.session.setNextSenderMsgSeqNum(sender + 5)
    rig.rest(60)
    _, target = rig.engine.numbers()
    rig.engine.session.setNextTargetMsgSeqNum(target + 1000)
    if rig.is_desk:
        rig.order(5)
    else:
        rig.party.send("1", {112: "LOW"}, rig.party.session)
    until(lambda: rig.ours.event_count("MsgSeqNum too low, expecting"), "we read why QuickFIX ended it")
    rig.engine.session.setNextTargetMsgSeqNum(target)
    rig.rest(60)
    rig.flow(10)
    rig.equal()
    return "ended with a text both ways, went on behind it"


def anew(rig):
    """A Logon with ResetSeqNumFlag begins both sides at 1."""
    count = len(rig.engine.messages(rig.us, "A"))
    if rig.is_desk:
        rig.ours.tell("anew on")
    else:
        rig.engine.session.setResetOnLogon(True)
    time.sleep(0.1)
    rig.wire.is_cut_now = True
    until(lambda: len(rig.engine.messages(rig.us, "A")) > count, "a new logon")
    until(lambda: rig.engine.session.isLoggedOn(), "logged on")
    if rig.is_desk:
        rig.ours.tell("anew off")
    else:
        rig.engine.session.setResetOnLogon(False)
    rig.rest()
    logons = [rig.engine.messages(sender, "A")[-1] for sender in (rig.us, rig.them)]
    assert all(one["34"] == "1" and one.get("141") == "Y" for one in logons), logons
    rig.flow(10)
    rig.equal()
    return "both at 1"


def cuts(rig):
    """The connection cut again and again at any byte, in mid-flow."""
    return cut(rig, rig.arguments.orders, rig.arguments.cuts)


def expected(rig):
    """The same where QuickFIX says with its Logon what it expects (NextExpectedMsgSeqNum), and asks for nothing."""
    count, asked = len(rig.engine.messages(rig.them, "A")), len(rig.engine.messages(rig.them, "2"))
    rig.engine.session.setSendNextExpectedMsgSeqNum(True)
    if rig.is_desk and (text := one_too_many(rig)):
        return text
    text = cut(rig, rig.arguments.orders // 4, rig.arguments.cuts // 4)
    rig.engine.session.setSendNextExpectedMsgSeqNum(False)
    assert all("789" in one for one in rig.engine.messages(rig.them, "A")[count:])
    return f"{text}; QuickFIX asked {len(rig.engine.messages(rig.them, '2')) - asked} times"


def redundant(rig):
    """The same where QuickFIX asks anew with every message that comes too early."""
    rig.engine.session.setSendRedundantResendRequests(True)
    asked = len(rig.engine.messages(rig.them, "2"))
    text = cut(rig, rig.arguments.orders // 4, rig.arguments.cuts // 4)
    rig.engine.session.setSendRedundantResendRequests(False)
    return f"{text}; QuickFIX asked {len(rig.engine.messages(rig.them, '2')) - asked} times"


def one_too_many(rig):
    """QuickFIX 1.16 as an acceptor says a number too high behind a gap, never asks, and waits for ever: whether it does."""
    rig.wire.held.add("ours")
    time.sleep(0.1)
    said = len(rig.ours.said)
    rig.order(1)
    until(lambda: len(rig.ours.said) > said, "an order that is lost")
    rig.wire.is_cut_now = True
    count = len(rig.engine.messages(rig.them, "A"))
    rig.wire.held.clear()
    until(lambda: len(rig.engine.messages(rig.them, "A")) > count, "a new logon")
    wanted, missing = int(rig.engine.messages(rig.them, "A")[-1]["789"]), rig.engine.numbers()[1]
    assert missing <= rig.ours.said[-1][0]
    if wanted == missing:
        return None
    assert wanted == missing + 1, (wanted, missing)
    time.sleep(HEARTBEAT_S)
    assert rig.engine.numbers()[1] == missing
    rig.engine.session.setSendNextExpectedMsgSeqNum(False)
    rig.wire.is_cut_now = True
    rig.rest()
    rig.equal()
    return f"QuickFIX misses {missing}, says that it expects {wanted}, and waits until the connection ends: its mistake"


def cut(rig, orders, count):
    before, said = rig.wire.cuts, len(rig.ours.said) + len(rig.party.said)
    rig.wire.arm(count, max(2_000, 2_000 * orders // max(count, 1)))
    rig.order(orders)
    end = time.monotonic() + 120 + orders // 50 + 2 * count
    while rig.wire.cuts_left:
        assert time.monotonic() < end, f"{rig.wire.cuts - before} cuts of {count}"
        if rig.done_count(rig.ours.status()[1]) >= rig.done:
            rig.order(100)
        time.sleep(0.05)
    rig.rest(120 + orders // 50)
    rig.equal()
    told = len(rig.ours.said) + len(rig.party.said) - said
    assert rig.wire.cuts - before == count
    return f"{count} cuts, {told} messages of the applications, none lost, none twice"


def restarts(rig):
    """QuickFIX stopped and begun again from its files in mid-flow; our side killed at rest, begun again with its numbers."""
    for _ in range(4):
        rig.order(100)
        time.sleep(random.Random(rig.arguments.seed).uniform(0.01, 0.1))
        rig.engine.stop(rig.wire)
        assert rig.engine.stored_numbers()[0] > 1
        rig.engine.start()
        rig.rest(60)
    rig.equal()
    # Killed; its last 30 messages are taken for not heard, and are told again.
    _, _, next_out, next_in, _ = rig.ours.status()
    rig.ours.kill()
    heard = len(rig.ours.heard)
    if rig.is_desk:
        rig.ours.start(f"127.0.0.1:{rig.wire.port}", next_out, next_in - 30)
        rig.done = 0
    else:
        rig.ours.start("127.0.0.1:0", next_out, next_in - 30)
        rig.wire.target = rig.ours.port
    rig.rest()
    again = told_again(rig.ours.heard, heard, next_in - 30)
    # What it sent in its life before it has no more: stepped over, and what it said since comes again.
    heard, rig.party.is_mute = len(rig.party.heard), True
    rig.engine.session.setNextTargetMsgSeqNum(next_out - 40)
    rig.party.send("1", {112: "AGAIN"}, rig.party.session)
    fills = until(lambda: [one for one in rig.engine.messages(rig.us, "4") if int(one["34"]) == next_out - 40], "a gap fill")
    rig.rest()
    assert int(fills[-1]["36"]) > next_out and all(number >= next_out for number, _, _ in rig.party.heard[heard:]), fills
    del rig.party.heard[heard:]
    rig.party.is_mute = False
    rig.flow(50)
    rig.equal()
    return f"4 of QuickFIX; one of ours, which asked for {again} messages again and stepped over 40"


def logouts(rig):
    """Logouts with their texts, both ways; in mid-flow, and at the end."""
    for turn in range(6):
        rig.order(100)
        time.sleep(0.02 * turn)
        if turn % 2:
            rig.engine.session.logout("for a moment")
            until(lambda: not rig.engine.session.isLoggedOn(), "logged out")
            rig.engine.session.logon()
        else:
            count = rig.ours.event_count("Closed(")
            rig.ours.tell("logout for a moment")
            until(lambda: rig.ours.event_count("Closed(") > count, "logged out")
        rig.rest()
    rig.equal()
    rig.ours.tell("logout enough of it")
    until(lambda: rig.heard_admin("5", t58="enough of it"), "QuickFIX reads our Logout")
    until(lambda: rig.ours.event_count("Closed(Finished)"), "our Logout is answered")
    rig.rest()
    rig.engine.session.logout("that was the day")
    until(lambda: rig.ours.event_count("that was the day"), "we read QuickFIX's Logout")
    until(lambda: rig.ours.event_count("Closed(LoggedOut)") and not rig.engine.session.isLoggedOn(), "it is answered")
    return "6 in mid-flow, one at rest each way, all answered"


def hold_log(rig, refused):
    """QuickFIX's own log: it refused nothing of ours, and every refusal of ours was meant."""
    by_us, by_them = ([one for one in rig.engine.messages(sender, "3")] for sender in (rig.us, rig.them))
    business = rig.engine.messages(kind="j")
    assert not by_them and not business and len(by_us) == refused, (by_them[:3], business[:3], by_us[:3])
    for event in rig.engine.events("Rejected:"):
        number = event.split()[1]
        raise AssertionError([event, *(one for one in rig.engine.messages(rig.us) if number in (one["34"], one.get("36")))])
    return len(rig.engine.messages(rig.us)), len(rig.engine.messages(rig.them))


def hold_repetitions(rig):
    """What came behind a higher number says PossDupFlag, and when it was sent first: as the first copy that came said."""
    high, first, count = 0, {}, 0
    for one in rig.engine.messages(rig.us):
        number, kind = int(one["34"]), one["35"]
        if kind == "A" and one.get("141") == "Y":
            high, first = 0, {}
        if number > high:
            assert one.get("43") != "Y" or kind == "4", one
            high = number
        else:
            assert one.get("43") == "Y", one
            if kind != "4":
                assert one["122"] == first.get(number, one["122"]) and one["122"] <= one["52"], (one, first.get(number))
                count += 1
        first.setdefault(number, one["52"])
    return count


def trade(arguments, kind, name):
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(arguments, kind, folder)
        rig.rest()
        start = time.monotonic()
        rig.flow(arguments.orders)
        rig.equal()
        seconds = time.monotonic() - start
        said = len(rig.ours.said), len(rig.party.said)
        print(f"{name}: {arguments.orders} orders, {said[0]} messages of ours, {said[1]} of QuickFIX's, {seconds:.1f} s")
        scenarios = [quiet, gaps, garbled, stamps, resets, too_low, anew, cuts, redundant, expected, restarts, logouts]
        if kind == "venue":
            scenarios.insert(4, malformed)
        for scenario in scenarios:
            print(f"  {scenario.__name__}: {scenario(rig)}", flush=True)
        rig.wire.is_over = True
        counters = rig.ours.end()
        rig.engine.stop(rig.wire)
        from_us, from_them = hold_log(rig, int(malformed in scenarios))
        asked = [len(rig.engine.messages(sender, "2")) for sender in (rig.us, rig.them)]
        print(f"  QuickFIX's log: {from_us} messages of ours, {hold_repetitions(rig)} of them again, {asked[0]} resend requests, 0 "
              f"refused; {from_them} of its own, {asked[1]} resend requests")
        print(f"  {counters}")


class CopyDay:
    """A venue's day of fills; a reader whose Logon begins anew is told all of it again, as possible repetitions."""

    def __init__(self, rig, count, seed):
        prices = random.Random(seed)
        self.rig, self.cents = rig, [prices.randint(1_000, 9_999) for _ in range(count)]
        self.tampered, self.untold, self.told, self.days = count - 5, count // 3, [], 0
        rig.party.on_logon = self.on_logon

    def report(self, number, is_repeated):
        cents = self.cents[number - 1] + (number == self.tampered)
        price = f"{cents // 100}.{cents % 100:02}"
        message = fix.Message()
        message.getHeader().setField(fix.StringField(35, "8"))
        if is_repeated:
            message.getHeader().setField(fix.StringField(97, "Y"))
        for tag, value in {37: number, 11: number, 17: number, 150: "F", 39: "2", 55: "ALFA", 54: "1", 38: 100, 32: 100, 31: price,
                           151: 0, 14: 100, 6: price, 60: stamp()}.items():
            message.setField(fix.StringField(tag, str(value)))
        fix.Session.sendToTarget(message, self.rig.party.session)

    def on_logon(self, _):
        if self.rig.party.admin[-1].get("141") == "Y":
            self.days += 1
            for number in list(self.told):
                self.report(number, True)

    def own(self, number):
        self.rig.ours.tell(f"own {number} {number} ALFA 1 100 {self.cents[number - 1] * 10_000_000}")

    def trade(self, first, last):
        for number in range(first, last + 1):
            self.own(number)
            if number != self.untold:
                self.told.append(number)
                self.report(number, False)
            if number % 50 == 0:
                time.sleep(0.005)


def drop_copy(arguments):
    """The reader of a drop copy beside a QuickFIX acceptor: cuts, a reader that is killed, a fill that was tampered with."""
    count = arguments.orders
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(arguments, "copy", folder)
        rig.rest()
        assert rig.engine.messages(rig.us, "A")[0].get("141") == "Y"
        day = CopyDay(rig, count, arguments.seed)
        rig.ours.tell("live")
        span = max(2_000, 2 * 300 * count // max(arguments.cuts // 2, 1))
        rig.wire.arm(arguments.cuts // 2, span)
        day.trade(1, count * 3 // 4)
        rig.rest(60)
        rig.ours.kill()
        rig.ours.notices.clear()
        rig.ours.start(f"127.0.0.1:{rig.wire.port}")
        rig.ours.tell("live")
        for number in range(1, count * 3 // 4 + 1):
            day.own(number)
        rig.rest(60)
        # Numbers that are set ahead: something may be missing, and the day is asked for anew.
        days = day.days
        step_ahead(rig, 60)
        until(lambda: day.days > days, "the day anew")
        rig.rest(60)
        day.trade(count * 3 // 4 + 1, count - 20)
        rig.wire.cuts_left = 0
        rig.rest(60)
        day.trade(count - 19, count)
        until(lambda: rig.ours.status()[1] == count - 2, "the fills are equal")
        until(lambda: len(rig.ours.notices) >= 2, "the two differences are found")
        rig.engine.session.logout("the day is over")
        until(lambda: rig.ours.event_count("Lost(LoggedOut)"), "the end of the day")
        rig.ours.tell("finish")
        rig.wire.is_over = True
        counters = rig.ours.end()
        rig.engine.stop(rig.wire)
        hold_log(rig, 0)
        assert not rig.party.failures and day.days >= 1, (rig.party.failures, day.days)
        found = sorted(rig.ours.notices)
        assert len(found) == 2 and found[0].startswith("Price differs") and f"order {day.tampered} " in found[0], found
        assert found[1].startswith("fill missing at the venue") and f"order {day.untold} " in found[1], found
        assert all(int(one.rsplit("found after ", 1)[1].split()[0]) < 1_000 for one in found), found
        print(f"drop copy: {count - 2} fills equal over {rig.wire.cuts} cuts and a kill, the day told {day.days} times more; "
              f"found: {'; '.join(found)}")
        print(f"  {counters}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("dictionary")
    parser.add_argument("--orders", type=int, default=2_000)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("desk", "venue", "copy"))
    arguments = parser.parse_args()
    try:
        run(arguments)
    except Exception:
        # QuickFIX's threads are still there: nothing is taken apart.
        traceback.print_exc()
        sys.stdout.flush()
        os._exit(1)


def run(arguments):
    for kind, name in (("desk", "our initiator, QuickFIX accepts"), ("venue", "our acceptor, QuickFIX initiates")):
        if arguments.only in (None, kind):
            trade(arguments, kind, name)
    if arguments.only in (None, "copy"):
        drop_copy(arguments)


main()
