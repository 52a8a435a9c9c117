//! Background flow from agents: they see the book and the trades, own orders of participants included, and react.
//!
//! Four kinds trade every symbol through the same [`crate::Venue::apply`] and the same rules as everybody else, each
//! agent with an account and a firm of its own: market makers, momentum traders, informed traders and noise
//! ([`AgentsConfig`] says what each does, and where it is from). Arrivals are Poisson processes, one for each symbol and
//! kind (the superposition of its agents'; who it is, is drawn), but for noise, which may excite itself, and for makers,
//! which look again after every fill of theirs.
//!
//! Nothing here knows a clock: the same seed, the same orders of others at the same times give the same orders. All
//! chance comes from streams of their own by symbol ([`Random::named`]), and all arithmetic is what IEEE 754 fixes.
//! Agents begin with the system's hours and go home at the close.

mod act;
mod config;
mod value;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use peregrine_generate::{Random, exp, to_i64};
use peregrine_types::{EpochNanos, OrderRef, Price, Side, SymbolId, TickTable};

use crate::config::SymbolConfig;
use crate::exchange::{Exchange, Feed};
use crate::orders::{AccountId, Command, OrderEvent, TimeOfDay};
use crate::schedule::{DaySchedule, Step};

pub use config::{
    AGENT_COUNT_MAX, AgentsConfig, InformedConfig, MakersConfig, MomentumConfig, NoiseConfig, ValueConfig,
};

use value::{HOUR, Value, float, seconds};

/// How much of a new trade the fast and the slow mean take: the memory of about 4 and of about 32 trades.
const FAST_SHARE: f64 = 1.0 / 4.0;
const SLOW_SHARE: f64 = 1.0 / 32.0;

/// A kind of agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Market maker.
    Maker,
    /// Momentum trader.
    Momentum,
    /// Informed trader.
    Informed,
    /// Noise.
    Noise,
}

impl Kind {
    /// All of them, in the order of their accounts.
    pub const ALL: [Self; 4] = [Self::Maker, Self::Momentum, Self::Informed, Self::Noise];

    /// Its place in [`Kind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Maker => 0,
            Self::Momentum => 1,
            Self::Informed => 2,
            Self::Noise => 3,
        }
    }
}

/// What one kind did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounters {
    /// Orders and replacements sent.
    pub entered_count: u64,
    /// Of these, refused.
    pub refused_count: u64,
    /// Executions.
    pub fill_count: u64,
    /// Shares of them.
    pub filled_shares: u64,
    /// Stop orders that woke up.
    pub triggered_count: u64,
}

/// What the agents did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounters {
    /// Looks and arrivals.
    pub look_count: u64,
    /// By kind, in the order of [`Kind::ALL`].
    pub kinds: [KindCounters; 4],
}

/// Why somebody looks: the order is that of looks at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// A maker, after a fill.
    Fill(u32),
    /// The next arrival of a kind.
    Arrival(Kind),
}

/// An order of an agent that lives.
#[derive(Clone, Copy, Debug)]
struct Resting {
    agent: u32,
    symbol: SymbolId,
    side: Side,
    price: Price,
    open: u32,
}

/// A maker's mind about one symbol.
#[derive(Clone, Debug)]
struct Maker {
    /// What it holds the symbol to be worth, in price units.
    belief: f64,
    quotes: [Option<OrderRef>; 2],
    news_seen: u64,
    /// Whether a look after a fill is due.
    is_woken: bool,
}

/// One symbol as the agents know it.
#[derive(Clone, Debug)]
struct Scene {
    random: Random,
    value: Value,
    reference_price: Price,
    round_lot: u32,
    makers: Vec<Maker>,
    /// Noise's resting orders, the oldest first; some may be gone.
    resting: VecDeque<OrderRef>,
    last_trade: Option<Price>,
    last_match: u64,
    /// Trades that were seen.
    news: u64,
    fast: f64,
    slow: f64,
    /// Noise above its base rate, per second, at `heat_time`.
    heat: f64,
    heat_time: TimeOfDay,
    /// The rate that the next candidate of noise was drawn from.
    bound: f64,
}

/// Where and when an agent acts.
struct Stage<'a, F> {
    exchange: &'a mut Exchange,
    time: TimeOfDay,
    now: EpochNanos,
    feed: &'a mut F,
}

impl<F: Feed> Stage<'_, F> {
    fn ticks(&self, symbol: SymbolId) -> Option<&TickTable> {
        self.exchange.venue().symbols.get(symbol.index()).map(|symbol| &symbol.ticks)
    }
}

/// The agents: see the module.
#[derive(Debug)]
pub struct AgentFlow {
    config: AgentsConfig,
    first_account: AccountId,
    scenes: Vec<Scene>,
    /// By symbol, then agent.
    positions: Vec<i64>,
    resting: BTreeMap<OrderRef, Resting>,
    queue: BinaryHeap<Reverse<(TimeOfDay, u32, Reason)>>,
    heard: Vec<(TimeOfDay, AccountId, OrderEvent)>,
    end: TimeOfDay,
    counters: AgentCounters,
    /// Commands of theirs, where somebody wants to repeat them.
    commands: Option<Vec<(TimeOfDay, Command)>>,
}

impl AgentFlow {
    /// Agents over these symbols for the hours of `schedule`; their accounts are `first_account` and those behind it, of
    /// which the venue must have [`AgentsConfig::agent_count`].
    #[must_use]
    pub fn new(
        config: AgentsConfig,
        symbols: &[SymbolConfig],
        schedule: &DaySchedule,
        first_account: AccountId,
    ) -> Self {
        let start = schedule.time_of(Step::StartSystem);
        let maker_count = config.makers.count as usize;
        let scene = |(index, symbol): (usize, &SymbolConfig)| {
            let stream = |what: &str| Random::named(config.seed, &format!("agents {what} {index}"));
            let price = symbol.reference_price;
            let maker = Maker { belief: float(price), quotes: [None; 2], news_seen: 0, is_woken: false };
            Scene {
                random: stream("flow"),
                value: Value::new(price, start, stream("value")),
                reference_price: price,
                round_lot: symbol.round_lot,
                makers: vec![maker; maker_count],
                resting: VecDeque::with_capacity(config.noise.resting_count_max as usize),
                last_trade: None,
                last_match: 0,
                news: 0,
                fast: float(price),
                slow: float(price),
                heat: 0.0,
                heat_time: start,
                bound: 0.0,
            }
        };
        let scenes: Vec<Scene> = symbols.iter().enumerate().map(scene).collect();
        let mut flow = Self {
            positions: vec![0; scenes.len() * config.agent_count() as usize],
            scenes,
            first_account,
            resting: BTreeMap::new(),
            queue: BinaryHeap::new(),
            heard: Vec::new(),
            end: schedule.time_of(Step::CloseMarket),
            counters: AgentCounters::default(),
            commands: None,
            config,
        };
        for symbol in (0..).zip(0..flow.scenes.len()).map(|(symbol, _)| SymbolId(symbol)) {
            Kind::ALL.into_iter().for_each(|kind| flow.schedule(start, symbol, kind));
        }
        flow
    }

    /// What they did.
    #[must_use]
    pub const fn counters(&self) -> AgentCounters {
        self.counters
    }

    /// From now on every command of theirs is kept for [`AgentFlow::take_commands`].
    pub fn keep_commands(&mut self) {
        self.commands = Some(Vec::new());
    }

    /// The commands that were kept, which are given away.
    pub fn take_commands(&mut self) -> Vec<(TimeOfDay, Command)> {
        self.commands.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// When the next one looks, `None` when all went home.
    #[must_use]
    pub fn next_time(&self) -> Option<TimeOfDay> {
        self.queue.peek().map(|Reverse((time, _, _))| *time)
    }

    /// Orders of theirs that live.
    #[must_use]
    pub fn order_count(&self) -> usize {
        self.resting.len()
    }

    /// The agents of a kind, by number.
    #[must_use]
    pub fn agents(&self, kind: Kind) -> core::ops::Range<u32> {
        let counts = self.counts();
        let first = counts[..kind.index()].iter().sum();
        first..first + counts[kind.index()]
    }

    const fn counts(&self) -> [u32; 4] {
        let AgentsConfig { makers, momentum, informed, noise, .. } = &self.config;
        [makers.count, momentum.count, informed.count, noise.count]
    }

    /// Shares that an agent holds of a symbol, negative for short ones; 0 for who or what is not there.
    #[must_use]
    pub fn position(&self, agent: u32, symbol: SymbolId) -> i64 {
        self.position_index(agent, symbol).and_then(|at| self.positions.get(at)).copied().unwrap_or(0)
    }

    fn position_index(&self, agent: u32, symbol: SymbolId) -> Option<usize> {
        let count = self.config.agent_count();
        (agent < count).then(|| symbol.index() * count as usize + agent as usize)
    }

    /// The value of a symbol when somebody looked at it last, `None` for a symbol that is not there.
    #[must_use]
    pub fn value(&self, symbol: SymbolId) -> Option<Price> {
        self.scenes.get(symbol.index()).map(|scene| scene.value.price())
    }

    fn kind_of(&self, agent: u32) -> Kind {
        Kind::ALL.into_iter().find(|kind| self.agents(*kind).contains(&agent)).unwrap_or(Kind::Noise)
    }

    const fn account(&self, agent: u32) -> AccountId {
        AccountId(self.first_account.0.saturating_add(agent))
    }

    /// Lets the one look whose turn it is, at its time; `now` is the moment of it. Returns whether there was one.
    pub fn step(&mut self, now: EpochNanos, exchange: &mut Exchange, feed: &mut impl Feed) -> bool {
        self.listen(exchange);
        let Some(Reverse((time, symbol, reason))) = self.queue.pop() else { return false };
        let symbol = SymbolId(symbol);
        self.counters.look_count += 1;
        let mut stage = Stage { exchange, time, now, feed };
        // The steps of the day that are due come first.
        self.carry_out(&Command::Clock, &mut stage);
        self.notice(symbol, stage.exchange);
        if let Some(scene) = self.scenes.get_mut(symbol.index()) {
            scene.value.pass(time, &self.config.value);
        }
        match reason {
            Reason::Fill(agent) => self.look_maker(agent, symbol, &mut stage),
            Reason::Arrival(kind) => {
                let agents = self.agents(kind);
                let is_real = kind != Kind::Noise || self.is_accepted(symbol, time);
                let agent = agents.start + self.scenes[symbol.index()].random.below(agents.end - agents.start);
                match kind {
                    Kind::Maker => self.look_maker(agent, symbol, &mut stage),
                    Kind::Momentum => self.look_momentum(agent, symbol, &mut stage),
                    Kind::Informed => self.look_informed(agent, symbol, &mut stage),
                    Kind::Noise if is_real => self.look_noise(agent, symbol, &mut stage),
                    Kind::Noise => {}
                }
                self.schedule(time, symbol, kind);
            }
        }
        true
    }

    /// Takes in what others did to the agents' orders since the last look: makers wake up.
    pub fn listen(&mut self, exchange: &mut Exchange) {
        self.hear(exchange, None);
    }

    fn carry_out(&mut self, command: &Command, stage: &mut Stage<'_, impl Feed>) -> Option<OrderRef> {
        if let Some(commands) = &mut self.commands {
            commands.push((stage.time, *command));
        }
        let made = stage.exchange.apply_at(command, stage.time, stage.now, stage.feed);
        self.hear(stage.exchange, Some(command));
        // What was taken or cancelled at once does not rest.
        made.filter(|order_ref| self.resting.contains_key(order_ref))
    }

    fn hear(&mut self, exchange: &mut Exchange, command: Option<&Command>) {
        let mut heard = core::mem::take(&mut self.heard);
        exchange.take_heard(&mut heard);
        for (time, account, event) in heard.drain(..) {
            let agent = account.0.saturating_sub(self.first_account.0);
            self.on_event((time, agent), event, command);
        }
        self.heard = heard;
    }

    fn on_event(&mut self, (time, agent): (TimeOfDay, u32), event: OrderEvent, command: Option<&Command>) {
        match (event, command) {
            (OrderEvent::Accepted { order_ref, .. }, Some(Command::Enter(new))) => {
                let price = new.terms.price.unwrap_or_default();
                let order = Resting { agent, symbol: new.symbol, side: new.side, price, open: new.qty };
                self.resting.insert(order_ref, order);
            }
            (OrderEvent::Replaced { old_ref, order_ref, open, .. }, Some(Command::Replace { terms, .. })) => {
                if let Some(old) = self.resting.remove(&old_ref) {
                    let price = terms.price.unwrap_or(old.price);
                    self.resting.insert(order_ref, Resting { open, price, ..old });
                }
            }
            (OrderEvent::Rejected { .. }, _) => {
                self.counters.kinds[self.kind_of(agent).index()].refused_count += 1;
            }
            (OrderEvent::Triggered { .. }, _) => {
                self.counters.kinds[self.kind_of(agent).index()].triggered_count += 1;
            }
            (OrderEvent::Executed { order_ref, qty, price, match_number, .. }, _) => {
                self.on_fill(order_ref, (time, qty, price), match_number);
            }
            (OrderEvent::Canceled { order_ref, qty, .. } | OrderEvent::Prevented { order_ref, qty, .. }, _) => {
                self.reduce(order_ref, qty);
            }
            (
                OrderEvent::Accepted { .. }
                | OrderEvent::Replaced { .. }
                | OrderEvent::Restated { .. }
                | OrderEvent::CancelPending { .. }
                | OrderEvent::CancelRejected { .. },
                _,
            ) => {}
        }
    }

    /// Takes shares off a living order: the order as it was.
    fn reduce(&mut self, order_ref: OrderRef, qty: u32) -> Option<Resting> {
        let order = self.resting.get_mut(&order_ref)?;
        let before = *order;
        order.open = order.open.saturating_sub(qty);
        if order.open == 0 {
            self.resting.remove(&order_ref);
        }
        Some(before)
    }

    fn on_fill(&mut self, order_ref: OrderRef, (time, qty, price): (TimeOfDay, u32, Price), match_number: u64) {
        let Some(Resting { agent, symbol, side, .. }) = self.reduce(order_ref, qty) else { return };
        let kind = self.kind_of(agent);
        let counters = &mut self.counters.kinds[kind.index()];
        counters.fill_count += 1;
        counters.filled_shares += u64::from(qty);
        let signed = if side == Side::Buy { i64::from(qty) } else { -i64::from(qty) };
        if let Some(at) = self.position_index(agent, symbol) {
            self.positions[at] += signed;
        }
        let scene = &mut self.scenes[symbol.index()];
        if match_number > scene.last_match {
            scene.last_match = match_number;
            scene.see(price);
        }
        if kind == Kind::Maker && !core::mem::replace(&mut scene.makers[agent as usize].is_woken, true) {
            let due = TimeOfDay(time.0.saturating_add(self.config.makers.reaction_us.saturating_mul(1_000)));
            self.push(due, symbol, Reason::Fill(agent));
        }
    }

    /// Sees a trade between others, which no agent was told of.
    fn notice(&mut self, symbol: SymbolId, exchange: &Exchange) {
        let last_trade = exchange.venue().books.get(symbol.index()).and_then(|book| book.last_trade);
        let scene = &mut self.scenes[symbol.index()];
        if let Some(price) = last_trade.filter(|_| last_trade != scene.last_trade) {
            scene.see(price);
        }
    }

    fn push(&mut self, time: TimeOfDay, symbol: SymbolId, reason: Reason) {
        if time < self.end {
            self.queue.push(Reverse((time, symbol.0, reason)));
        }
    }

    /// Draws the next arrival of a kind in a symbol.
    fn schedule(&mut self, time: TimeOfDay, symbol: SymbolId, kind: Kind) {
        let count = f64::from(self.counts()[kind.index()]);
        let per_hour = match kind {
            Kind::Maker => self.config.makers.looks_per_hour,
            Kind::Momentum => self.config.momentum.looks_per_hour,
            Kind::Informed => self.config.informed.looks_per_hour,
            Kind::Noise => self.config.noise.orders_per_hour,
        };
        let mean = count * f64::from(per_hour) / HOUR;
        let branching = self.branching();
        let scene = &mut self.scenes[symbol.index()];
        let rate = if kind == Kind::Noise {
            // Thinning (Ogata, 1981): between arrivals the rate only falls, so that the one now bounds it.
            scene.bound = mean * (1.0 - branching) + scene.heat;
            scene.bound
        } else {
            mean
        };
        if rate <= 0.0 {
            return;
        }
        let wait = to_i64(scene.random.exponential() / rate * 1e9);
        let due = TimeOfDay(time.0.saturating_add(u64::try_from(wait).unwrap_or(u64::MAX).max(1)));
        self.push(due, symbol, Reason::Arrival(kind));
    }

    fn branching(&self) -> f64 {
        f64::from(self.config.noise.branching_ppm) * 1e-6
    }

    /// Whether a candidate of noise is an arrival, by the rate that its moment has; it excites what follows then.
    fn is_accepted(&mut self, symbol: SymbolId, time: TimeOfDay) -> bool {
        let noise = &self.config.noise;
        let decay = f64::from(noise.decay_milli) * 1e-3;
        let branching = self.branching();
        let base = f64::from(noise.count) * f64::from(noise.orders_per_hour) / HOUR * (1.0 - branching);
        let scene = &mut self.scenes[symbol.index()];
        scene.heat *= exp(-decay * seconds(scene.heat_time, time));
        scene.heat_time = time;
        let is_accepted = scene.random.unit() * scene.bound <= base + scene.heat;
        if is_accepted {
            scene.heat += branching * decay;
        }
        is_accepted
    }
}

impl Scene {
    fn see(&mut self, price: Price) {
        self.last_trade = Some(price);
        self.news += 1;
        self.fast += (float(price) - self.fast) * FAST_SHARE;
        self.slow += (float(price) - self.slow) * SLOW_SHARE;
    }
}
