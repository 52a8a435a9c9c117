//! What the market does while a wire-to-wire time is taken, and what the engine is told to make of it.

use peregrine_types::Symbol;
use peregrine_wire::itch50::{
    AddOrder, Message, OrderDelete, Price4, StockDirectory, StockTradingAction, SystemEvent, parse,
};
use zerocopy::IntoBytes;

use crate::BenchError;
use crate::session::LoadedSession;

/// What the market does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A generated day of one symbol under the bundled profile: about one packet in 45 is a reason for an order or a cancel.
    Seldom,
    /// A market where a better bid and a better ask come and go in turn, and a profile that keeps a quote at a distance from the predicted
    /// price: every packet is a reason to move it, so that the engine sends as often as an echo that answers every packet.
    Quotes,
}

impl Load {
    /// Every load.
    pub const ALL: [Self; 2] = [Self::Quotes, Self::Seldom];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seldom => "seldom",
            Self::Quotes => "quotes",
        }
    }

    /// The load with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|load| load.name() == name)
    }

    /// Its session: at least `count` messages.
    ///
    /// # Errors
    /// What the generator says.
    pub fn session(self, count: usize) -> Result<Market, BenchError> {
        let messages: Vec<Vec<u8>> = match self {
            Self::Seldom => {
                LoadedSession::generated(1, u64::try_from(count)?.max(30))?.messages().map(Vec::from).collect()
            }
            Self::Quotes => moving_best(count)?,
        };
        let mut parsed = messages.iter().filter_map(|message| parse(message).ok());
        let symbol = parsed.find_map(|message| {
            if let Message::StockDirectory(directory) = message { Some(directory.stock.to_string()) } else { None }
        });
        Ok(Market { symbol: symbol.ok_or("the session has no directory")?, messages })
    }

    /// What this load adds to the sections `[decide]` and `[risk]` of a live session's profile.
    #[must_use]
    pub const fn settings(self) -> (&'static str, &'static str) {
        match self {
            Self::Seldom => ("", ""),
            // Any opinion of the network is a direction, the quote follows the predicted price by replacements, and no limit
            // of rate or repetition stands in its way.
            Self::Quotes => (
                "action_threshold = 0.000001\naction_hysteresis = 0.0\nuse_replace = true\n\
                 is_quoting_by_prediction = true\nquote_edge_ticks = 20.0\nsurprise_max = 1000000.0\n",
                "order_rate_max = 1000000\nduplicate_window_ns = 1\n",
            ),
        }
    }
}

/// A session to be played: an instrument, and what happens to it.
#[derive(Clone, Debug)]
pub struct Market {
    /// The instrument.
    pub symbol: String,
    /// Messages of ITCH 5.0.
    pub messages: Vec<Vec<u8>>,
}

/// The instrument's number.
const LOCATE: u16 = 1;
/// The first message: 09:30, in nanoseconds since midnight.
const OPEN: u64 = 34_200_000_000_000;
/// Between two messages, nanoseconds.
const STEP: u64 = 100_000;
/// Half of the spread without them, and what lies between two levels behind them; in units of 10⁻⁴.
const HALF_SPREAD: u32 = 1_300;
const LEVEL_STEP: u32 = 100;
/// By how much a better order is better: six ticks, three of the mid.
const MOVE: u32 = 600;
/// The price in the middle: 100.
const MIDDLE: u32 = 1_000_000;
/// Levels on either side.
const LEVEL_COUNT: u32 = 10;
/// Shares of every order.
const SHARES: u32 = 300;

/// Ten levels on either side; then a better bid comes, a better ask, the bid goes, the ask goes, and so on.
fn moving_best(count: usize) -> Result<Vec<Vec<u8>>, BenchError> {
    let stock = Symbol::new("QUOT").ok_or("no symbol")?;
    let (mut messages, mut time, mut last_ref) = (Vec::new(), OPEN, 0_u64);
    let mut next = || {
        time += STEP;
        time
    };
    messages.push(SystemEvent { event_code: b'Q', ..SystemEvent::new(0, next()) }.as_bytes().to_vec());
    let directory = StockDirectory {
        stock,
        market_category: b'Q',
        financial_status: b'N',
        round_lot_size: 100.into(),
        round_lots_only: b'N',
        issue_classification: b'C',
        issue_subtype: *b"Z ",
        authenticity: b'P',
        short_sale_threshold: b'N',
        ipo_flag: b'N',
        luld_tier: b'1',
        etp_flag: b'N',
        inverse_indicator: b'N',
        ..StockDirectory::new(LOCATE, next())
    };
    messages.push(directory.as_bytes().to_vec());
    let trading = StockTradingAction {
        stock,
        trading_state: b'T',
        reserved: b' ',
        reason: *b"    ",
        ..StockTradingAction::new(LOCATE, next())
    };
    messages.push(trading.as_bytes().to_vec());
    let price = |side: u8, inwards: u32, level: u32| {
        let distance = HALF_SPREAD - inwards + level * LEVEL_STEP;
        Price4::new(if side == b'B' { MIDDLE - distance } else { MIDDLE + distance })
    };
    let add = |order_ref: u64, side: u8, price: Price4, time: u64| {
        let order = AddOrder {
            order_ref: order_ref.into(),
            side,
            shares: SHARES.into(),
            stock,
            price,
            ..AddOrder::new(LOCATE, time)
        };
        order.as_bytes().to_vec()
    };
    for level in (0..LEVEL_COUNT).rev() {
        for side in *b"BS" {
            last_ref += 1;
            messages.push(add(last_ref, side, price(side, 0, level), next()));
        }
    }
    let mut better = [(b'B', None::<u64>), (b'S', None)];
    for turn in 0..count {
        let Some((side, inner)) = better.get_mut(turn % 2) else { break };
        if let Some(order_ref) = inner.take() {
            let delete = OrderDelete { order_ref: order_ref.into(), ..OrderDelete::new(LOCATE, next()) };
            messages.push(delete.as_bytes().to_vec());
        } else {
            last_ref += 1;
            *inner = Some(last_ref);
            messages.push(add(last_ref, *side, price(*side, MOVE, 0), next()));
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peregrine_book::{BookConfig, Books, MarketBooks};
    use peregrine_types::{EpochNanos, Full, MarketEvent};
    use peregrine_wire::FileFeed;
    use peregrine_wire::itch50::Decoder;

    #[test]
    fn every_packet_of_quotes_moves_the_mid_of_a_good_book() {
        let session = Load::Quotes.session(200).expect("a session");
        assert_eq!(session.symbol, "QUOT");
        let mut books = Books::new(BookConfig::new(4, 1 << 14, 1 << 10)).expect("fits");
        let mut feed = FileFeed::new(Decoder::new(EpochNanos(0), 3));
        let (mut mids, mut wrong) = (Vec::new(), 0);
        for message in &session.messages {
            let mut sink = |event: MarketEvent| -> Result<(), Full<MarketEvent>> {
                let update = books.apply(&event);
                let top = books.top(update.symbol);
                if let (Some(bid), Some(ask)) = (top.bid, top.ask) {
                    mids.push(bid.price.0 + ask.price.0);
                    wrong += u32::from(!books.state(update.symbol).is_good());
                }
                Ok(())
            };
            assert!(feed.on_message(message, None, &mut sink).is_ok());
        }
        let moves = &mids[mids.len() - 201..];
        assert!(moves.windows(2).all(|pair| pair[0] != pair[1]), "{moves:?}");
        assert_eq!(wrong, 0);
    }
}
