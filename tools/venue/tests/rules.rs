//! The rules of the day from the configuration to the bytes of the feed: bands and pauses, price steps, imbalances, the
//! calendar, and stop orders of agents.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/loopback.rs"]
mod loopback;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use common::order;
use loopback::{Client, Joined, Plan, Receiver, await_some};
use peregrine_gateway::ouch50::*;
use peregrine_venue::{Kind, Settings, Step, Summary, TimeOfDay};
use peregrine_wire::itch50::{Message, parse};

const SECOND: u64 = 1_000_000_000;
const OPEN: u64 = 34_200 * SECOND;
const CLOSE: u64 = OPEN + 3_600 * SECOND;
const SYMBOLS: &str = "kind = \"none\"\n[[symbol]]\nname = \"ALFA\"\nreference_price = \"10.00\"\nround_lot = 100\n";

/// An exchange for one symbol with its feed, and two who trade there.
struct Floor {
    venue: loopback::Venue,
    receiver: Receiver,
    alpha: Client,
    beta: Client,
}

impl Floor {
    fn open(group: u8, (rules, faults): (&str, &str), (start, speed): (&str, u32)) -> Self {
        let receiver = Receiver::join(Ipv4Addr::new(239, 192, group, 1));
        let plan = Plan::quiet();
        let (lines, flow) = ([receiver.address, plan.lines[1]], format!("{SYMBOLS}{rules}"));
        let venue = Plan { lines, flow: &flow, faults, start, speed, ..plan }.start();
        let (mut alpha, mut beta) = (Client::new("alpha", "secret"), Client::new("beta", "secret"));
        alpha.log_in(venue.addresses.ports[0]);
        beta.log_in(venue.addresses.ports[1]);
        Self { venue, receiver, alpha, beta }
    }

    /// Stops it: what the feed said.
    fn feed(self) -> Vec<Vec<u8>> {
        let summary = self.venue.stop();
        let mut joined = Joined::new();
        await_some("the end of the session", || {
            joined.take(&self.receiver.packet()?);
            joined.is_over.then_some(())
        });
        assert_eq!((joined.first_gap(), joined.hash()), (None, summary.feed_hash));
        joined.messages.into_values().collect()
    }
}

/// What comes behind the latest system event of the feed, as the types of its messages.
fn types(feed: &[Vec<u8>]) -> String {
    let types: String = feed.iter().map(|message| char::from(message[0])).collect();
    types.rsplit('S').next().unwrap_or_default().to_owned()
}

fn time_of(message: &[u8]) -> u64 {
    parse(message).unwrap().header().unwrap().timestamp.get()
}

/// The price of the latest execution that a client heard of.
fn filled_at(client: &Client) -> u64 {
    let price = |bytes: &[u8]| {
        let Outbound::OrderExecuted(executed, _) = Outbound::parse(bytes).unwrap() else { return None };
        Some(executed.price.get())
    };
    client.heard.iter().rev().find_map(|(_, bytes)| price(bytes)).unwrap()
}

fn reason_of(client: &Client) -> RejectReason {
    let answer = Outbound::parse(&client.heard.last().unwrap().1).unwrap();
    let Outbound::Rejected(rejected, _) = answer else { panic!("{answer:?}") };
    RejectReason(rejected.reason.get())
}

#[test]
fn a_price_beyond_the_bands_pauses_the_symbol_and_its_cross_sets_them_anew() {
    let rules = "[bands]\nwidth_bps = 500\nreference = \"previous_close\"\npause_s = 10\n";
    let mut floor = Floor::open(90, (rules, ""), ("10:00:00", 10));
    let (alpha, beta) = (&mut floor.alpha, &mut floor.beta);
    alpha.send(&order(1, b'S', 100, 104_000));
    alpha.send(&order(2, b'S', 100, 108_000));
    alpha.expect(0, "SAA");
    // Beyond 10.50, but not so much that it would trade there: refused, and that is all.
    beta.send(&order(1, b'B', 100, 108_000));
    beta.expect(0, "SJ");
    assert_eq!(reason_of(beta), RejectReason::PRICE);
    beta.send(&order(2, b'B', 101, 108_000));
    beta.expect(2, "J");
    // In the pause it is taken, and it trades in the reopening.
    beta.send(&order(3, b'B', 100, 108_000));
    beta.expect(3, "AE");
    assert_eq!(filled_at(beta), 104_000);
    // From now on 10.92 is the upper band.
    beta.send(&order(4, b'B', 100, 109_300));
    beta.expect(5, "J");
    beta.send(&order(5, b'B', 50, 109_200));
    beta.expect(6, "AE");
    assert_eq!(filled_at(beta), 108_000);
    let feed = floor.feed();
    assert_eq!(
        types(&feed),
        "QAAHJACCQHE",
        "the opening cross, two offers, the pause, an order, the reopening, a trade"
    );
    let actions = feed.iter().filter_map(|message| {
        let Message::StockTradingAction(m) = parse(message).unwrap() else { return None };
        Some((m.trading_state, m.reason, time_of(message)))
    });
    let actions: Vec<_> = actions.collect();
    let [_, paused, resumed] = actions[..] else { panic!("{actions:?}") };
    assert_eq!((paused.0, paused.1, resumed.0), (b'P', *b"LUDP", b'T'));
    assert_eq!(resumed.2 - paused.2, 10 * SECOND, "to the nanosecond, whenever somebody looked");
    let collars = feed.iter().find_map(|message| {
        let Message::LuldAuctionCollar(m) = parse(message).unwrap() else { return None };
        Some([m.reference_price, m.lower_collar, m.upper_collar].map(|p| p.get()))
    });
    assert_eq!(collars, Some([105_000, 95_000, 110_200]));
}

#[test]
fn a_halt_in_a_pause_lasts_as_long_as_it_does() {
    let rules = "[bands]\nwidth_bps = 500\nreference = \"previous_close\"\npause_s = 60\n";
    let faults = "halts = [[\"ALFA\", \"10:00:30\", \"10:01:40\"]]\n";
    let mut floor = Floor::open(98, (rules, faults), ("10:00:00", 20));
    floor.alpha.send(&order(1, b'S', 100, 108_000));
    floor.alpha.expect(0, "SA");
    floor.beta.send(&order(1, b'B', 100, 108_000));
    floor.beta.expect(0, "SJ");
    await_some("the end of the halt", || {
        // Until then nobody may trade.
        floor.alpha.flow();
        let from = floor.beta.heard.len();
        let number = u32::try_from(from).unwrap();
        floor.beta.send(&order(number, b'B', 1, 100_000));
        await_some("an answer", || {
            floor.beta.flow();
            (floor.beta.heard.len() > from).then_some(())
        });
        (number > 3 && floor.beta.types(from) == "A" && floor.beta.types(from - 1) == "JA").then_some(())
    });
    let feed = floor.feed();
    let states = feed.iter().filter_map(|message| {
        let Message::StockTradingAction(m) = parse(message).unwrap() else { return None };
        Some((m.trading_state, (time_of(message) / SECOND).saturating_sub(36_000)))
    });
    let [_, paused, halted, resumed] = states.collect::<Vec<_>>()[..] else { panic!("{}", types(&feed)) };
    assert!(paused.0 == b'P' && paused.1 < 30, "{paused:?}");
    assert_eq!((halted, resumed), ((b'H', 30), (b'T', 100)));
}

#[test]
fn bands_follow_the_opening_cross_and_do_not_pause_unless_asked() {
    let rules = "[bands]\nwidth_bps = 500\nreference = \"opening_cross\"\npause_s = 0\n";
    let mut floor = Floor::open(91, (rules, ""), ("09:29:45", 5));
    let (alpha, beta) = (&mut floor.alpha, &mut floor.beta);
    alpha.send(&EnterOrder { cross_type: b'O', ..order(1, b'S', 100, 110_000) });
    beta.send(&EnterOrder { cross_type: b'O', ..order(1, b'B', 100, 110_000) });
    alpha.expect(0, "SAE");
    assert_eq!(filled_at(alpha), 110_000);
    alpha.send(&order(2, b'S', 100, 120_000));
    beta.send(&order(2, b'B', 100, 115_500));
    beta.expect(3, "A");
    beta.send(&order(3, b'B', 100, 120_000));
    beta.expect(4, "J");
    alpha.send(&order(3, b'S', 100, 104_400));
    alpha.expect(3, "AJ");
    let feed = floor.feed();
    assert!(!types(&feed).contains(['H', 'J']), "{}", types(&feed));
}

#[test]
fn bands_follow_the_latest_trade_every_so_often() {
    let rules = "[bands]\nwidth_bps = 500\nreference = \"last_trade\"\nupdate_s = 2\npause_s = 0\n";
    let mut floor = Floor::open(92, (rules, ""), ("10:00:00", 1));
    let (alpha, beta) = (&mut floor.alpha, &mut floor.beta);
    alpha.send(&order(1, b'S', 100, 104_000));
    beta.send(&order(1, b'B', 100, 104_000));
    alpha.expect(0, "SAE");
    beta.expect(0, "SAE");
    // 5 % above 10.40, as soon as it is the reference.
    let mut number = 1;
    await_some("a band around the trade", || {
        number += 1;
        let from = beta.heard.len();
        beta.send(&order(number, b'B', 100, 109_200));
        await_some("an answer", || {
            beta.flow();
            (beta.heard.len() > from).then_some(())
        });
        (beta.types(from) == "A").then_some(())
    });
    let from = beta.heard.len();
    beta.send(&order(number + 1, b'B', 100, 109_300));
    beta.expect(from, "J");
    let feed = floor.feed();
    let added = feed.iter().rev().find(|message| message[0] == b'A').unwrap();
    assert!(types(&feed).ends_with("AEA"), "{}", types(&feed));
    let (minute, late) = (time_of(added) / (60 * SECOND), time_of(added) % (60 * SECOND));
    assert!(minute == 600 && late >= 2 * SECOND, "{late}");
}

#[test]
fn imbalances_come_before_both_crosses() {
    let rules = "[imbalance]\nopening_s = 1\nclosing_s = 2\ninterval_ms = 500\n";
    let mut floor = Floor::open(93, (rules, ""), ("10:29:40", 5));
    let cross = |order| EnterOrder { cross_type: b'C', ..order };
    floor.alpha.send(&cross(order(1, b'S', 100, 100_000)));
    floor.beta.send(&cross(order(1, b'B', 300, 100_000)));
    floor.alpha.expect(0, "SAE");
    let feed = floor.feed();
    let said = feed.iter().filter_map(|message| {
        let Message::NetOrderImbalance(m) = parse(message).unwrap() else { return None };
        let shares = (m.paired_shares.get(), m.imbalance_shares.get(), m.imbalance_direction);
        Some((m.cross_type, time_of(message), shares, m.near_price.get()))
    });
    let opening = [2, 1].map(|halves| (b'O', OPEN - halves * SECOND / 2, (0, 0, b'O'), 0));
    let closing = [4, 3, 2, 1].map(|halves| (b'C', CLOSE - halves * SECOND / 2, (100, 200, b'B'), 100_000));
    assert_eq!(said.collect::<Vec<_>>(), [&opening[..], &closing[..]].concat());
}

#[test]
fn price_steps_are_the_configured_ones_by_symbol() {
    let rules = "[[symbol]]\nname = \"BRAVO\"\nreference_price = \"10.03\"\nround_lot = 100\n[instruments]\n\
                 tick_tables = [{ symbols = [\"*\"], bands = [[\"0\", \"0.05\"]] }, { symbols = [\"BRAVO\"], \
                 bands = [[\"0\", \"0.01\"]] }]\n";
    let mut floor = Floor::open(94, (rules, ""), ("10:00:00", 1));
    let alpha = &mut floor.alpha;
    alpha.send(&order(1, b'B', 100, 100_200));
    alpha.expect(0, "SJ");
    assert_eq!(reason_of(alpha), RejectReason::PRICE);
    alpha.send(&order(2, b'B', 100, 100_500));
    let bravo = peregrine_types::Symbol::new("BRAVO").unwrap();
    alpha.send(&EnterOrder { symbol: bravo, ..order(3, b'B', 100, 100_200) });
    alpha.expect(2, "AA");
    let feed = floor.feed();
    let shown = feed.iter().filter_map(|message| {
        let Message::AddOrder(m) = parse(message).unwrap() else { return None };
        Some((m.stock_locate.get(), m.price.get()))
    });
    assert_eq!(shown.collect::<Vec<_>>(), [(1, 100_500), (2, 100_200)]);
}

/// The feed's system events of a whole day, fast.
fn steps_of(text: &str, receiver: &Receiver) -> Vec<(u8, u64)> {
    let venue = loopback::start(text);
    let mut joined = Joined::new();
    await_some("the end of the day", || {
        joined.take(&receiver.packet()?);
        joined.is_over.then_some(())
    });
    venue.stop();
    let steps = joined.messages.values().filter_map(|message| {
        let Message::SystemEvent(m) = parse(message).unwrap() else { return None };
        Some((m.event_code, time_of(message)))
    });
    steps.collect()
}

#[test]
fn an_early_close_ends_the_day_early_and_a_holiday_has_none() {
    let receiver = Receiver::join(Ipv4Addr::new(239, 192, 95, 1));
    let rules = "[calendar]\nholidays = [\"2026-11-26\"]\nearly_closes = [\"2026-11-27\"]\n\
                 early_hours = { close = \"10:00:00\", end_system = \"10:01:00\", end_messages = \"10:02:00\" }\n";
    let plan = Plan::quiet();
    let (lines, flow) = ([receiver.address, plan.lines[1]], format!("{SYMBOLS}{rules}"));
    let text = Plan { lines, flow: &flow, start: "09:23:00", speed: 5_000, ..plan }.text();
    let on = |date: &str| text.replacen("[venue]\n", &format!("[venue]\ndate = \"{date}\"\n"), 1);
    let close_of = |date: &str| {
        let settings = Settings::parse(&on(date), Path::new("test.toml"));
        settings.map(|settings| settings.schedule.time_of(Step::CloseMarket)).map_err(|error| error.to_string())
    };
    assert_eq!(close_of("2026-11-25"), Ok(TimeOfDay(CLOSE)));
    for date in ["2026-11-26", "2026-11-28", "2026-11-29"] {
        let error = close_of(date).unwrap_err();
        assert!(error.contains(&format!("venue.date is {date}: must be a day with a session")), "{error}");
    }
    let steps = steps_of(&on("2026-11-27"), &receiver);
    let [_, _, open, close, end, _] = steps[..] else { panic!("{steps:?}") };
    assert_eq!((open, close), ((b'Q', OPEN), (b'M', OPEN + 1_800 * SECOND)));
    assert_eq!(end, (b'E', OPEN + 1_860 * SECOND));
}

/// An hour of agents with every rule: the feed, and what the run came to.
fn agents(group: u8, speed: u32, stop_ppm: u32) -> (Vec<Vec<u8>>, Summary) {
    let shipped = include_str!("../../../configs/venue_agents.toml");
    let flow = shipped.split("[flow]").nth(1).and_then(|text| text.split("[faults]").next()).unwrap();
    let flow = flow.replace("volatility_bps = 40 ", "volatility_bps = 400 ");
    let flow = flow.replace("cancel_ppm = 300_000 ", &format!("stop_ppm = {stop_ppm}\ncancel_ppm = 300_000 "));
    let rules = "[bands]\nwidth_bps = 60\nreference = \"opening_cross\"\npause_s = 60\n[imbalance]\n";
    let receiver = Receiver::join(Ipv4Addr::new(239, 192, group, 1));
    let (lines, flow) = ([receiver.address, Plan::quiet().lines[1]], format!("{flow}{rules}"));
    let venue = Plan { lines, flow: &flow, start: "09:23:59", speed, end_ms: 60_000, ..Plan::quiet() }.start();
    let mut joined = Joined::new();
    await_some("the end of the day", || {
        while let Some(packet) = receiver.packet() {
            joined.take(&packet);
        }
        joined.is_over.then_some(())
    });
    joined.fill(venue.addresses.retransmission);
    let summary = venue.stop();
    assert_eq!(joined.hash(), summary.feed_hash);
    (joined.messages.into_values().collect(), summary)
}

#[test]
fn a_day_of_agents_under_all_rules_is_one_at_any_speed() {
    let (feed, summary) = agents(96, 1_000, 150_000);
    let (_, faster) = agents(97, 20_000, 150_000);
    assert_eq!((summary.feed_hash, summary.agents), (faster.feed_hash, faster.agents));
    let noise = summary.agents.unwrap().kinds[Kind::Noise.index()];
    assert!(noise.triggered_count > 100, "{summary}");
    let (mut pauses, mut collars) = (BTreeMap::new(), BTreeMap::new());
    let (mut pause_count, mut reopened_count, mut imbalance_count) = (0, 0, 0);
    for message in &feed {
        let (said, time) = (parse(message).unwrap(), time_of(message));
        if let Message::StockTradingAction(m) = said {
            let locate = m.stock_locate.get();
            if m.trading_state == b'P' {
                pause_count += 1;
                assert_eq!(pauses.insert(locate, time), None);
            } else if let Some(begin) = pauses.remove(&locate) {
                assert!(m.trading_state == b'T' && (time - begin == 60 * SECOND || time == CLOSE - 1), "{m:?}");
            }
        } else if let Message::LuldAuctionCollar(m) = said {
            collars.insert(m.stock_locate.get(), m.lower_collar.get()..=m.upper_collar.get());
        } else if let Message::CrossTrade(m) = said
            && m.cross_type == b'H'
        {
            let is_within = collars[&m.stock_locate.get()].contains(&m.cross_price.get());
            assert!(m.shares.get() == 0 || is_within, "{m:?}");
            reopened_count += 1;
        } else if let Message::OrderExecuted(m) = said {
            assert!(!pauses.contains_key(&m.stock_locate.get()), "a trade in a pause");
        } else if let Message::NetOrderImbalance(_) = said {
            imbalance_count += 1;
        }
    }
    assert!(pause_count > 10 && pauses.is_empty(), "{pause_count} {pauses:?}");
    assert_eq!((reopened_count, collars.is_empty()), (pause_count, false));
    assert_eq!(imbalance_count, 20 * (120 + 300), "every second, from Nasdaq's times on, for each symbol");
}
