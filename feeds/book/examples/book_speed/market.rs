//! A generated market of 8,000 symbols as ITCH 5.0 messages.

use super::Load;
use peregrine_book::BookConfig;

const SYMBOL_COUNT: u32 = 8000;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// 0, 1, 2, … each half again as rare.
    fn geometric(&mut self, log2_mean: u32) -> u32 {
        self.next().trailing_zeros().min(12) * (1 << log2_mean) + u32::try_from(self.next() % (1 << log2_mean)).unwrap()
    }
}

#[derive(Clone, Copy)]
struct Order {
    order_ref: u64,
    locate: u16,
    side: u8,
    qty: u32,
}

struct Market {
    chance: Chance,
    bytes: Vec<u8>,
    live: Vec<Order>,
    /// Prices in cents.
    middles: Vec<u32>,
    /// Cumulated 1/rank, scaled to 2³².
    ranks: Vec<u64>,
    time: u64,
    next_ref: u64,
    message_count: u32,
}

impl Market {
    fn message(&mut self, code: u8, locate: u16, parts: &[&[u8]]) {
        let len = 11 + parts.iter().map(|part| part.len()).sum::<usize>();
        self.time += 1000;
        self.bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        self.bytes.push(code);
        self.bytes.extend(locate.to_be_bytes());
        self.bytes.extend([0, 0]);
        self.bytes.extend(&self.time.to_be_bytes()[2..]);
        parts.iter().for_each(|part| self.bytes.extend(*part));
        self.message_count += 1;
    }

    fn symbol(&mut self) -> u16 {
        let drawn = self.chance.next() >> 32;
        u16::try_from(self.ranks.partition_point(|rank| *rank <= drawn)).unwrap()
    }

    fn price(&mut self, locate: u16, side: u8) -> u32 {
        let middle = &mut self.middles[usize::from(locate)];
        if self.chance.next().is_multiple_of(64) {
            *middle = (*middle + u32::from(self.chance.next().is_multiple_of(2)) * 2 - 1).max(5000);
        }
        let middle = *middle;
        let away = match self.chance.next() % 16 {
            0 => 50 + self.chance.geometric(7),
            1..4 => 10 + self.chance.geometric(4),
            _ => 1 + self.chance.geometric(1),
        };
        let cents = if side == b'B' { middle - away.min(middle - 1) } else { middle + away };
        cents * 100
    }

    fn add(&mut self) {
        let locate = self.symbol();
        let side = if self.chance.next().is_multiple_of(2) { b'B' } else { b'S' };
        let qty = 100 * (1 + self.chance.geometric(0));
        let price = self.price(locate, side);
        self.next_ref += 1 + self.chance.next() % 2;
        let order = Order { order_ref: self.next_ref, locate, side, qty };
        let name = format!("S{locate:<7}");
        let parts: [&[u8]; 5] =
            [&order.order_ref.to_be_bytes(), &[side], &qty.to_be_bytes(), name.as_bytes(), &price.to_be_bytes()];
        self.message(b'A', locate, &parts);
        self.live.push(order);
    }

    /// Three of four orders that leave or change are among the last few thousand.
    fn pick(&mut self) -> usize {
        let len = self.live.len();
        let span = if self.chance.next().is_multiple_of(4) { len } else { len.min(20_000) };
        len - 1 - self.chance.below(span)
    }

    fn step(&mut self) {
        let index = self.pick();
        let order = self.live[index];
        let order_ref = order.order_ref.to_be_bytes();
        match self.chance.next() % 1000 {
            0..475 => self.add(),
            475..900 => {
                self.message(b'D', order.locate, &[&order_ref]);
                self.live.swap_remove(index);
            }
            900..950 => {
                self.message(b'E', order.locate, &[&order_ref, &order.qty.to_be_bytes(), &[0; 8]]);
                self.live.swap_remove(index);
            }
            950..974 => {
                let parts: [&[u8]; 6] = [&[0; 8], b"B", &[0, 0, 0, 9], b"ANY     ", &[0, 1, 0, 0], &[0; 8]];
                self.message(b'P', order.locate, &parts);
            }
            974..994 => {
                self.next_ref += 1;
                let price = self.price(order.locate, order.side);
                let fresh = self.next_ref.to_be_bytes();
                let parts: [&[u8]; 4] = [&order_ref, &fresh, &order.qty.to_be_bytes(), &price.to_be_bytes()];
                self.message(b'U', order.locate, &parts);
                self.live.swap_remove(index);
                self.live.push(Order { order_ref: self.next_ref, ..order });
            }
            _ => {
                let part = order.qty / 2;
                self.message(b'X', order.locate, &[&order_ref, &part.to_be_bytes()]);
                self.live[index].qty -= part;
            }
        }
    }
}

pub(super) fn load(message_count: u32, live_count: u32) -> Load {
    let weights = (1..=u64::from(SYMBOL_COUNT)).map(|rank| (1 << 40) / (rank + 10));
    let total: u64 = weights.clone().sum();
    let mut sum = 0_u64;
    let mut ranks = vec![0];
    ranks.extend(weights.map(|weight| {
        sum += weight;
        u64::try_from(u128::from(sum) * (1 << 32) / u128::from(total)).unwrap()
    }));
    let mut chance = Chance(1);
    let middles = (0..=SYMBOL_COUNT).map(|_| 5000 + u32::try_from(chance.next() % 20_000).unwrap()).collect();
    let (bytes, live) = (Vec::new(), Vec::new());
    let mut market = Market { chance, bytes, live, middles, ranks, time: 0, next_ref: 0, message_count: 0 };
    for locate in 1..=u16::try_from(SYMBOL_COUNT).unwrap() {
        let name = format!("S{locate:<7}");
        let tail = b"QN\0\0\0dNCZ PN 1N\0\0\0\0N";
        market.message(b'R', locate, &[name.as_bytes(), tail]);
    }
    while market.live.len() < live_count as usize {
        market.add();
    }
    // Orders are not removed in the order of their age alone: a while of real traffic before the clock starts.
    (0..live_count / 2).for_each(|_| market.step());
    let warm_len = market.bytes.len();
    (0..message_count).for_each(|_| market.step());
    let order_count_max = (live_count + live_count / 8).max(100_000);
    Load { bytes: market.bytes, warm_len, config: BookConfig::new(SYMBOL_COUNT + 1, order_count_max, 6_000_000) }
}
