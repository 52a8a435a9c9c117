//! The state of the book for whoever joins late, in the manner of GLIMPSE 5.0: ordinary ITCH 5.0 messages, and at the end
//! the number of the feed's message from which to go on.

use peregrine_gateway::soup::AsciiNumber;
use peregrine_types::Side;

use crate::orders::{AccountId, OrderEvent, TimeOfDay, VenueSink};
use crate::publish::{Publisher, Shown};
use crate::rules::SymbolState;
use crate::venue::Venue;

/// Type of the message that ends a snapshot (GLIMPSE 5.0, End of Snapshot).
pub const END_OF_SNAPSHOT: u8 = b'G';
/// Length of that message: its type, and the number as twenty digits, padded with spaces on the left.
pub const END_OF_SNAPSHOT_LEN: usize = 21;

struct Messages<'a, F>(&'a mut F);

impl<F: FnMut(&[u8])> VenueSink for Messages<'_, F> {
    fn on_order(&mut self, _: TimeOfDay, _: AccountId, _: OrderEvent) {}

    fn on_market(&mut self, _: TimeOfDay, message: &[u8]) {
        (self.0)(message);
    }
}

impl Venue {
    /// Hands out the state as messages: the latest step of the day, then directory and trading state of every symbol,
    /// then its displayed orders (per side the best price first, the oldest first at each), then the end of the
    /// snapshot. `next_sequence_number` is that of the feed's next message. Nothing before the feed began but the end.
    pub fn snapshot(&self, next_sequence_number: u64, on_message: &mut impl FnMut(&[u8])) {
        let mut publisher = Publisher::new(self.publisher.names().into());
        publisher.set_time(self.now);
        if let Some(step) = self.last_step() {
            let sink = &mut Messages(on_message);
            publisher.system(sink, step.event_code());
            for symbol in self.symbol_ids() {
                publisher.directory(sink, symbol, self.symbols[symbol.index()].round_lot);
                let state = match self.books[symbol.index()].state {
                    SymbolState::Trading => b'T',
                    SymbolState::Halted => b'H',
                    SymbolState::QuotationOnly => b'Q',
                };
                publisher.trading_action(sink, symbol, state, *b"    ");
                for side in Side::BOTH {
                    for order in self.displayed(symbol, side) {
                        let (display_ref, price, shares) = (order.display_ref, order.price, order.shares);
                        publisher.add(sink, Shown { symbol, side, display_ref, price, shares });
                    }
                }
            }
        }
        on_message(&snapshot_end(next_sequence_number));
    }
}

/// The message that ends a snapshot: the feed goes on from the message with this number.
#[must_use]
pub fn snapshot_end(next_sequence_number: u64) -> [u8; END_OF_SNAPSHOT_LEN] {
    let number = AsciiNumber::<20>::new(next_sequence_number).unwrap_or(AsciiNumber([b'9'; 20]));
    let mut end = [END_OF_SNAPSHOT; END_OF_SNAPSHOT_LEN];
    end[1..].copy_from_slice(&number.0);
    end
}

/// The number that the end of a snapshot gives, `None` for any other message.
#[must_use]
pub fn end_of_snapshot(message: &[u8]) -> Option<u64> {
    let (kind, number) = message.split_first()?;
    let number: [u8; 20] = number.try_into().ok()?;
    if *kind == END_OF_SNAPSHOT { AsciiNumber(number).get() } else { None }
}
