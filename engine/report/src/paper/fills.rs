//! The fill assumption: which fills the market itself shows, and which rest on the estimate of our place in a queue.

use std::collections::{BTreeMap, VecDeque};

use peregrine_eventlog::records::{DecisionRecord, OrderRecord, OrderTransition};
use peregrine_types::{EpochNanos, Liquidity, Nanos, Notional, Price, Qty, Side, SymbolId};
use serde::Serialize;

use super::latency::Wanted;
use super::{PaperFacts, PartText, book_of, sign};
use crate::{
    format::{count, money, percent},
    run::ser,
};

/// How long after a fill a book counts as what the fill left behind.
const LOOK_MAX: Nanos = Nanos::from_secs(1);
/// Fills that added liquidity below which nothing is said.
const PASSIVE_MIN: u64 = 30;
const METHOD: &str = "A fill that gave liquidity is swept when the next logged book of the symbol, within 1 s, no longer \
    shows its price (whoever stood there was executed or left, or we stood there alone), and by the queue when it still does: \
    then it rests on the paper venue's count of the shares ahead. The result is a sum over fills: side times (mark at the end \
    less price) times shares, less the fee; it is split exactly. Without its queue fills the strategy would have decided \
    otherwise: the rest is no forecast.";

/// Fills of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FillClass {
    /// How many.
    pub count: u64,
    /// Their shares.
    pub qty: u64,
    /// Their part of the result.
    #[serde(serialize_with = "ser::notional")]
    pub net: Notional,
}

/// The fill assumption.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FillPart {
    /// The currency.
    pub currency: String,
    /// Took the best price that the decision saw, or a better one.
    pub at_touch: FillClass,
    /// Took a worse one.
    pub through: FillClass,
    /// Took, and the log has no book of the decision.
    pub unseen: FillClass,
    /// Gave, and the price was swept.
    pub swept: FillClass,
    /// Gave, and the price still showed: by the queue.
    pub queue: FillClass,
    /// Gave, and the log has no book within a second after it.
    pub unknown: FillClass,
    /// Fills of symbols without a mark: they are in no class.
    pub unmarked_count: u64,
}

/// A fill that gave liquidity and waits for the next book.
#[derive(Clone, Copy, Debug)]
struct Passive {
    time: EpochNanos,
    side: Side,
    price: Price,
    fill: Booked,
}

/// A fill as far as the result goes.
#[derive(Clone, Copy, Debug)]
struct Booked {
    symbol: SymbolId,
    side: Side,
    price: Price,
    qty: Qty,
    fee: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    AtTouch,
    Through,
    Unseen,
    Swept,
    Queue,
    Unknown,
}

#[derive(Debug, Default)]
pub(super) struct Reading {
    waiting: BTreeMap<SymbolId, VecDeque<Passive>>,
    classed: Vec<(Class, Booked)>,
}

impl Reading {
    pub(super) fn take_order(&mut self, record: &OrderRecord, wanted: Option<Wanted>) {
        if !matches!(record.transition, OrderTransition::Filled | OrderTransition::PartiallyFilled) {
            return;
        }
        let (symbol, side, price) = (record.symbol, record.side, record.price);
        let fill = Booked { symbol, side, price, qty: record.qty, fee: record.fee };
        match (record.liquidity, wanted) {
            (Liquidity::Added, _) => {
                let passive = Passive { time: record.venue_time, side, price, fill };
                self.waiting.entry(symbol).or_default().push_back(passive);
            }
            (Liquidity::Removed, None) => self.classed.push((Class::Unseen, fill)),
            (Liquidity::Removed, Some(wanted)) => {
                let class = if price.is_better_than(wanted.touch, side) { Class::Through } else { Class::AtTouch };
                self.classed.push((class, fill));
            }
        }
    }

    /// Classes what was filled before this book.
    pub(super) fn take_decision(&mut self, record: &DecisionRecord) {
        let Some((bid, ask)) = book_of(record) else { return };
        let Some(waiting) = self.waiting.get_mut(&record.symbol) else { return };
        while let Some(passive) = waiting.front().copied().filter(|passive| passive.time <= record.recv_time) {
            waiting.pop_front();
            let own = match passive.side {
                Side::Buy => bid,
                Side::Sell => ask,
            };
            let class = if record.recv_time.since(passive.time) > LOOK_MAX {
                Class::Unknown
            } else if passive.price.is_better_than(own, passive.side) {
                Class::Swept
            } else {
                Class::Queue
            };
            self.classed.push((class, passive.fill));
        }
    }

    pub(super) fn end(mut self, facts: &PaperFacts<'_>) -> FillPart {
        let left = self.waiting.into_values().flatten().map(|passive| (Class::Unknown, passive.fill));
        self.classed.extend(left);
        let mut part = FillPart { currency: facts.currency.clone(), ..FillPart::default() };
        for (class, fill) in self.classed {
            let Some(mark) = facts.marks.get(&fill.symbol) else {
                part.unmarked_count = part.unmarked_count.saturating_add(1);
                continue;
            };
            let to = match class {
                Class::AtTouch => &mut part.at_touch,
                Class::Through => &mut part.through,
                Class::Unseen => &mut part.unseen,
                Class::Swept => &mut part.swept,
                Class::Queue => &mut part.queue,
                Class::Unknown => &mut part.unknown,
            };
            let gain_x2 = i128::from(mark.0).saturating_sub(i128::from(fill.price.0).saturating_mul(2));
            let gain_x2 = gain_x2.saturating_mul(sign(fill.side)).saturating_mul(i128::from(fill.qty.0));
            to.count = to.count.saturating_add(1);
            to.qty = to.qty.saturating_add(fill.qty.0);
            // Twice the result while it is summed: a middle has half units.
            let net_x2 = gain_x2.saturating_sub(i128::from(fill.fee).saturating_mul(2));
            to.net = to.net.saturating_add(Notional(net_x2));
        }
        for class in part.classes_mut() {
            class.net = Notional(class.net.0 / 2);
        }
        part
    }
}

impl FillPart {
    const fn classes_mut(&mut self) -> [&mut FillClass; 6] {
        let Self { at_touch, through, unseen, swept, queue, unknown, .. } = self;
        [at_touch, through, unseen, swept, queue, unknown]
    }

    /// Every class with its name, takes first.
    #[must_use]
    pub const fn classes(&self) -> [(&'static str, FillClass); 6] {
        [
            ("took, at the decision's price", self.at_touch),
            ("took, worse than that", self.through),
            ("took, decision's book unknown", self.unseen),
            ("gave, price swept", self.swept),
            ("gave, by the queue", self.queue),
            ("gave, cannot be said", self.unknown),
        ]
    }

    /// Fills that gave liquidity.
    #[must_use]
    pub const fn passive_count(&self) -> u64 {
        self.swept.count.saturating_add(self.queue.count).saturating_add(self.unknown.count)
    }

    /// The result of all fills but those by the queue and those of which it cannot be said.
    #[must_use]
    pub fn certain_net(&self) -> Notional {
        let certain = [self.at_touch, self.through, self.unseen, self.swept];
        certain.into_iter().map(|class| class.net).fold(Notional::ZERO, Notional::saturating_add)
    }

    fn net(&self) -> Notional {
        self.classes().into_iter().map(|(_, class)| class.net).fold(Notional::ZERO, Notional::saturating_add)
    }

    fn reading(&self) -> String {
        let passive = self.passive_count();
        let takes = self.at_touch.count.saturating_add(self.through.count).saturating_add(self.unseen.count);
        match (passive, takes) {
            (0, 0) => "Cannot be said: there was no fill.".to_owned(),
            (0, _) => "Nothing rests on the queue estimate: every fill took liquidity that the book showed.".to_owned(),
            (few, _) if few < PASSIVE_MIN => {
                format!("Too few to say: {} fills gave liquidity, at least {PASSIVE_MIN} are needed.", count(few))
            }
            (_, _) => format!(
                "{} of the fills that gave liquidity rest on the queue estimate; without them and the undecided ones the other \
                 fills come to {} {} instead of {}.",
                percent(self.queue.count, passive),
                money(self.certain_net()),
                self.currency,
                money(self.net())
            ),
        }
    }

    pub(super) fn text(&self) -> PartText {
        let mut rows: Vec<(String, String)> = self
            .classes()
            .into_iter()
            .filter(|(_, class)| class.count > 0)
            .map(|(name, class)| {
                let value = format!(
                    "{} fills, {} shares, result {} {}",
                    count(class.count),
                    count(class.qty),
                    money(class.net),
                    self.currency
                );
                (name.to_owned(), value)
            })
            .collect();
        rows.push((
            "without queue and undecided".to_owned(),
            format!(
                "{} {} of {}, from the fills alone that the market itself shows",
                money(self.certain_net()),
                self.currency,
                money(self.net())
            ),
        ));
        if self.unmarked_count > 0 {
            rows.push(("without a mark".to_owned(), format!("{} fills, in no class", count(self.unmarked_count))));
        }
        PartText { name: "Fill assumption", reading: self.reading(), rows, method: METHOD }
    }
}
