//! The sections of a profile, named after the crates that they configure. The doc comment of a key is its documentation
//! for the user too (`peregrine config print --schema`).

use peregrine_types::Price;

use super::schema::{choice, section};
use super::ticks::{TickRule, hold_together};
use crate::input::KnownInstrument;

choice! {
    /// Which roles share a thread.
    Wiring {
        /// feed, decide and send run to completion on one thread, record on another.
        Fused = "fused",
        /// feed on one thread, decide and send on another, record on a third.
        FeedApart = "feed_apart",
        /// feed, decide, send and record each on a thread of its own.
        FourThreads = "four_threads",
    }
}

choice! {
    /// What a role does when it finds no work.
    Wait {
        /// Asks again at once; needs a core of its own.
        Spin = "spin",
        /// Asks again a number of times, then yields the core.
        SpinThenYield = "spin_then_yield",
        /// Sleeps for a short time.
        Park = "park",
    }
}

choice! {
    /// Vector instructions of the kernel.
    BackendChoice {
        /// The widest that the processor has.
        Auto = "auto",
        /// The definition: no vector instructions.
        Scalar = "scalar",
        /// AVX2 with fused multiply-add.
        Avx2 = "avx2",
        /// AVX-512.
        Avx512 = "avx512",
    }
}

choice! {
    /// Pages that the books and other large tables lie in.
    HugePagesChoice {
        /// Ordinary pages.
        Off = "off",
        /// Transparent huge pages, by advice.
        Transparent = "transparent",
        /// Reserved huge pages, and transparent ones where they run out.
        Reserved = "reserved",
    }
}

choice! {
    /// How the kernel keeps the model's weights.
    PrecisionChoice {
        /// 32-bit floats, as in the file.
        F32 = "f32",
        /// 16-bit integers with a scale per row.
        Int16 = "int16",
        /// The recurrent matrix in bytes, the rest in 16-bit integers.
        Int8 = "int8",
    }
}

section! {
    /// Threads, cores and memory.
    RuntimeSection = "runtime" {
        /// Which roles share a thread.
        wiring: Wiring, "fused, feed_apart or four_threads", |_| true;
        /// What a role does when it finds no work.
        wait: Wait, "spin, spin_then_yield or park", |_| true;
        /// Whether threads are pinned to the cores below.
        pin_threads: bool, "true or false", |_| true;
        /// Core of the feed role (fused: of feed, decide and send).
        feed_core: usize, "0 to 1023", |core| *core < 1024;
        /// Core of the decide role.
        decide_core: usize, "0 to 1023", |core| *core < 1024;
        /// Core of the send role.
        send_core: usize, "0 to 1023", |core| *core < 1024;
        /// Core of the record role.
        record_core: usize, "0 to 1023", |core| *core < 1024;
        /// SCHED_FIFO priority of the trading roles; 0 leaves the ordinary scheduler.
        fifo_priority: u32, "0 to 99", |priority| *priority <= 99;
        /// Whether all memory is locked (mlockall).
        lock_memory: bool, "true or false", |_| true;
        /// Pages for the books and other tables of at least 2 MiB: the best that the host gives, up to this.
        huge_pages: HugePagesChoice, "off, transparent or reserved", |_| true;
        /// Slots of the market_events ring.
        market_events_slots: usize, "a power of two, 64 to 1048576", |n| power_of_two(*n, 64, 1 << 20);
        /// Slots of the approved_orders and executions rings.
        order_slots: usize, "a power of two, 64 to 1048576", |n| power_of_two(*n, 64, 1 << 20);
    }
}

choice! {
    /// From which part of an MDP 3.0 feed books are made.
    Mdp3Depth {
        /// From its orders (market by order, full depth).
        Orders = "orders",
        /// From its ten price levels (market by price); one order stands for each level.
        Levels = "levels",
    }
}

section! {
    /// Lines, gaps and symbols.
    FeedSection = "feed" {
        /// Time zone of the venue's clock.
        venue_zone: String, "a name of the time-zone database", |zone| !zone.is_empty();
        /// Start of continuous trading, seconds after the venue's midnight.
        session_open_s: i64, "0 to 86399", |s| (0..86_400).contains(s);
        /// End of continuous trading, seconds after the venue's midnight.
        session_close_s: i64, "1 to 86400, after session_open_s", |s| (1..=86_400).contains(s);
        /// Symbols that the session can announce.
        symbol_count_max: u32, "1 to 65535", |n| (1..=65_535).contains(n);
        /// How long a packet past a gap waits for the other line, ns.
        reorder_window_ns: i64, "0 to 1000000000", |n| (0..=1_000_000_000).contains(n);
        /// Whether sequence numbers are checked; false only for doctored captures whose numbers are zero.
        is_sequence_checked: bool, "true or false", |_| true;
        /// From which part of an MDP 3.0 feed books are made; ITCH has orders alone.
        mdp3_depth: Mdp3Depth, "orders or levels", |_| true;
        /// Names and display factors of MDP 3.0 instruments of which no definition comes.
        mdp3_instruments: Vec<String>, "ID=NAME or ID=NAME*FACTOR each, as 170506=ESU8*0.01", |all| all.iter().all(|known| known.parse::<KnownInstrument>().is_ok());
    }
}

section! {
    /// Capacities of the books.
    BookSection = "book" {
        /// Live orders of the whole market.
        order_count_max: u32, "1024 to 16777215", |n| (1024..1 << 24).contains(n);
        /// Price levels of the whole market.
        level_count_max: u32, "1024 to 67108864", |n| (1024..=1 << 26).contains(n);
        /// Whether a symbol whose trading state was never announced may be traded; true only for files without H messages.
        is_unknown_state_tradable: bool, "true or false", |_| true;
    }
}

section! {
    /// The world model.
    ModelSection = "model" {
        /// `bundled`, or a path, relative to this file.
        file: String, "bundled or a path", |file| !file.is_empty();
        /// SHA-256 of the file in hex; empty accepts any, which only demo, replay and bench do.
        sha256: String, "64 hex digits or empty", |hex| hex.is_empty() || is_sha256(hex);
        /// Vector instructions of the kernel.
        backend: BackendChoice, "auto, scalar, avx2 or avx512", |_| true;
        /// How the weights are kept; narrower ones are refused when more than 0.5 % of the decisions on a seeded walk differ from those with f32 (`peregrine-lab diagnose` says it of held-out data).
        precision: PrecisionChoice, "f32, int16 or int8", |_| true;
        /// Every so many microseconds without an event the decide role goes through the way from an event to an order on copies, for one of the watched symbols after the other, so that the next decision finds it warm, and a tenth as often when all had their turn; 0: never.
        keep_warm_us: u32, "0, or 10 to 100000", |us| *us == 0 || (10..=100_000).contains(us);
    }
}

section! {
    /// What the strategy watches and when it acts.
    DecideSection = "decide" {
        /// Symbols to watch; `"*"` watches the first symbols that the session announces.
        symbols: Vec<String>, "at least one symbol of 1 to 8 characters", |s| !s.is_empty() && s.iter().all(|n| (1..=8).contains(&n.len()));
        /// How many symbols are watched at most.
        watched_count_max: u32, "1 to 4096", |n| (1..=4096).contains(n);
        /// Quantity of one order, shares.
        order_qty: u64, "1 to 1000000", |n| (1..=1_000_000).contains(n);
        /// Size of the largest position that the strategy aims at, shares.
        target_position_qty: u64, "1 to 10000000", |n| (1..=10_000_000).contains(n);
        /// The controller's output that means a long (above) or short (below the negative) target.
        action_threshold: f64, "0 to 1", |x| (0.0..=1.0).contains(x);
        /// How far the output must fall back before a target is given up.
        action_hysteresis: f64, "0 to 1", |x| (0.0..=1.0).contains(x);
        /// Ticks behind the best price at which quotes are placed.
        quote_offset_ticks: u32, "0 to 1000", |n| *n <= 1000;
        /// Whether quotes also stay behind the predicted price by quote_edge_ticks.
        is_quoting_by_prediction: bool, "true or false", |_| true;
        /// Ticks by which quotes stay behind the predicted price.
        quote_edge_ticks: f64, "-1000 to 1000", |x| (-1_000.0..=1_000.0).contains(x);
        /// Ticks by which a resting quote may differ from the price wanted now before it is replaced.
        requote_tolerance_ticks: u32, "0 to 1000", |n| *n <= 1000;
        /// Whether a quote that is not where it should be is replaced in one message; false: cancelled, and placed anew once it is gone.
        use_replace: bool, "true or false", |_| true;
        /// Index of the model's horizon whose predicted return decides about takes.
        take_horizon_index: usize, "0 to 3", |n| *n <= 3;
        /// Ticks by which the predicted move must exceed half-spread plus fee before a take.
        take_margin_ticks: f64, "0 to 1000", |x| (0.0..=1_000.0).contains(x);
        /// Surprise (KL of posterior from prior, nats) above which nothing is quoted.
        surprise_max: f64, "above 0, to 1000000", |x| *x > 0.0 && *x <= 1e6;
        /// Confidence of the regime below which nothing is quoted.
        regime_confidence_min: f64, "0 to 1", |x| (0.0..=1.0).contains(x);
        /// Least time between two decisions of one symbol, ns.
        min_decision_interval_ns: i64, "0 to 60000000000", |n| (0..=60_000_000_000).contains(n);
        /// Pause of a symbol after a denial or a rejection, ns.
        denied_backoff_ns: i64, "0 to 60000000000", |n| (0..=60_000_000_000).contains(n);
        /// What the features call a tick: the price step that the model was trained with, whatever an instrument's own.
        feature_tick: Price, "above 0", |price| price.0 > 0;
    }
}

section! {
    /// What the venue lays down about its instruments.
    InstrumentsSection = "instruments" {
        /// Price steps by price, `{ symbols = ["*"], bands = [["0", "0.0001"], ["1", "0.01"]] }`: each band is its lowest price and the step from there on. Orders are made on them, and checked against them by risk and venue.
        tick_tables: Vec<TickRule>, "one rule for \"*\", and no symbol in two", |rules| hold_together(rules);
    }
}

section! {
    /// Stop-loss and take-profit of positions, and orders that the engine holds for controllers. Left out as a whole, nothing is held.
    ProtectSection = "protect" {
        /// Ticks from the average price of a position to its stop-loss; 0: none.
        stop_loss_ticks: u32, "0 to 1000000", |n| *n <= 1_000_000;
        /// Ticks from the average price of a position to its take-profit; 0: none.
        take_profit_ticks: u32, "0 to 1000000", |n| *n <= 1_000_000;
        /// Whether trades fire a stop-loss as well as the opposite best price.
        is_stop_on_trade: bool, "true or false", |_| true;
        /// Ticks through the opposite best price that an exit may go.
        exit_slippage_ticks: u32, "0 to 10000", |n| *n <= 10_000;
        /// How long nothing new is decided in a symbol after an exit, ns.
        cooldown_ns: i64, "0 to 86400000000000", |n| (0..=86_400_000_000_000).contains(n);
        /// Pause after a denied or rejected message of an engine-held order, ns; of a resting order it doubles with each refusal in a row, up to 64 times.
        retry_pause_ns: i64, "0 to 60000000000", |n| (0..=60_000_000_000).contains(n);
        /// Whether controllers ask the engine to hold orders.
        is_for_controllers: bool, "true or false", |_| true;
    }
}

section! {
    /// Pre-trade limits. Every one of them must be written.
    RiskSection = "risk" {
        /// Largest quantity of one order, shares.
        order_qty_max: u64, "1 to 10000000", |n| (1..=10_000_000).contains(n);
        /// Largest value of one order, currency.
        order_notional_max: Price, "above 0", |price| price.0 > 0;
        /// Largest distance of a price from the reference price, basis points.
        price_collar_bps: u32, "1 to 10000", |n| (1..=10_000).contains(n);
        /// Largest position of a symbol, open orders counted in full, shares.
        position_qty_max: u64, "1 to 100000000", |n| (1..=100_000_000).contains(n);
        /// Largest worst-case exposure of all symbols, currency.
        gross_notional_max: Price, "above 0", |price| price.0 > 0;
        /// Orders open at once.
        open_orders_max: u32, "1 to 1048576", |n| (1..=1 << 20).contains(n);
        /// Messages to the venue within `order_rate_window_ns`.
        order_rate_max: u32, "1 to 1000000", |n| (1..=1_000_000).contains(n);
        /// Window of the message rate, ns.
        order_rate_window_ns: i64, "1000000 to 60000000000", |n| (1_000_000..=60_000_000_000).contains(n);
        /// The same order again within this time is a duplicate, ns; at most order_rate_window_ns.
        duplicate_window_ns: i64, "1 to 60000000000", |n| (1..=60_000_000_000).contains(n);
        /// Age of the last market event above which nothing is sent, ns.
        data_age_ns_max: i64, "1 to 60000000000", |n| (1..=60_000_000_000).contains(n);
        /// Symbols that may be traded; `"*"` permits all.
        permitted_symbols: Vec<String>, "at least one", |s| !s.is_empty();
    }
}

section! {
    /// The paper venue.
    GatewaySection = "gateway" {
        /// From the decision to the venue, ns.
        to_venue_ns: i64, "1 to 10000000000", |n| (1..=10_000_000_000).contains(n);
        /// From the venue to the decision, ns.
        from_venue_ns: i64, "1 to 10000000000", |n| (1..=10_000_000_000).contains(n);
        /// Fee of a fill that adds liquidity, currency per share; negative is a rebate.
        fee_added: Price, "-1 to 1", |price| price.0.abs() <= 1_000_000_000;
        /// Fee of a fill that removes liquidity, currency per share.
        fee_removed: Price, "-1 to 1", |price| price.0.abs() <= 1_000_000_000;
    }
}

section! {
    /// Recorded latencies of the paper venue; a profile without this section has the constant ones of `[gateway]`, or those
    /// of `[paper_kinds]`, with what `[paper_spread]` and `[paper_burst]` add.
    PaperSection = "paper" {
        /// File of (request, venue, response) times as `peregrine log latencies` writes it, relative to the profile's folder; matched by the time of day.
        latency_file: String, "a path", |file| !file.is_empty();
        /// Its SHA-256; empty: any.
        latency_sha256: String, "64 hex digits or empty", |hex| hex.is_empty() || is_sha256(hex);
    }
}

/// The longest way of a modeled message, ns.
const WAY_NS_MAX: i64 = 10_000_000_000;

section! {
    /// The paper venue's ways by kind of message, in place of the two of `[gateway]`.
    PaperKindsSection = "paper_kinds" {
        /// A new order, from the decision to the venue, ns.
        submit_ns: i64, "1 to 10000000000", |n| (1..=WAY_NS_MAX).contains(n);
        /// A replacement, from the decision to the venue, ns.
        replace_ns: i64, "1 to 10000000000", |n| (1..=WAY_NS_MAX).contains(n);
        /// A cancel, from the decision to the venue, ns.
        cancel_ns: i64, "1 to 10000000000", |n| (1..=WAY_NS_MAX).contains(n);
        /// An answer to any of them, from the venue to the decision, ns.
        response_ns: i64, "1 to 10000000000", |n| (1..=WAY_NS_MAX).contains(n);
        /// A fill, from the venue to the decision, ns.
        fill_ns: i64, "1 to 10000000000", |n| (1..=WAY_NS_MAX).contains(n);
    }
}

section! {
    /// What is drawn for each message on top of its constant way, by quantiles; between two of them every value is as likely.
    PaperSpreadSection = "paper_spread" {
        /// Where the draws start: a seed has one row of them.
        seed: u64, "0 to 9223372036854775807", |_| true;
        /// To the venue: the median, ns.
        there_p50_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// To the venue: 9 in 10 are below, ns.
        there_p90_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// To the venue: 99 in 100 are below, ns.
        there_p99_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// To the venue: 999 in 1000 are below, ns.
        there_p999_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// To the venue: the most, ns.
        there_max_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// Back: the median, ns.
        back_p50_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// Back: 9 in 10 are below, ns.
        back_p90_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// Back: 99 in 100 are below, ns.
        back_p99_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// Back: 999 in 1000 are below, ns.
        back_p999_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
        /// Back: the most, ns.
        back_max_ns: i64, "0 to 10000000000, rising", |n| (0..=WAY_NS_MAX).contains(n);
    }
}

section! {
    /// What a burst of the feed adds to each message's way, by the market events in a window before it.
    PaperBurstSection = "paper_burst" {
        /// How long the window is, ns; it is counted in eighths and ends with the last whole one before the message.
        window_ns: i64, "8 to 10000000000", |n| (8..=WAY_NS_MAX).contains(n);
        /// Market events in it that add nothing.
        events_free: u64, "a count", |_| true;
        /// What every further event adds to the way to the venue, ns.
        there_ns_per_event: i64, "0 to 1000000000", |n| (0..=1_000_000_000).contains(n);
        /// What every further event adds to the way back, ns.
        back_ns_per_event: i64, "0 to 1000000000", |n| (0..=1_000_000_000).contains(n);
        /// The most that a burst adds to a way, ns.
        extra_max_ns: i64, "0 to 10000000000", |n| (0..=WAY_NS_MAX).contains(n);
    }
}

impl PaperSpreadSection {
    /// Keys and values of each way, from the median to the most.
    pub(crate) fn ways(&self) -> [[(&'static str, i64); 5]; 2] {
        [
            [
                ("there_p50_ns", self.there_p50_ns),
                ("there_p90_ns", self.there_p90_ns),
                ("there_p99_ns", self.there_p99_ns),
                ("there_p999_ns", self.there_p999_ns),
                ("there_max_ns", self.there_max_ns),
            ],
            [
                ("back_p50_ns", self.back_p50_ns),
                ("back_p90_ns", self.back_p90_ns),
                ("back_p99_ns", self.back_p99_ns),
                ("back_p999_ns", self.back_p999_ns),
                ("back_max_ns", self.back_max_ns),
            ],
        ]
    }
}

choice! {
    /// Where the orders of a live run go.
    ModeChoice {
        /// To the paper venue, against the live feed.
        Paper = "paper",
        /// To the order port (section `ouch`).
        Live = "live",
    }
}

choice! {
    /// By what a live run receives its lines.
    SourceChoice {
        /// UDP sockets.
        Udp = "udp",
        /// AF_PACKET rings: needs CAP_NET_RAW, and the address of an interface.
        PacketRing = "packet_ring",
        /// AF_XDP sockets: needs CAP_NET_ADMIN and CAP_BPF, and the address of an interface.
        Xdp = "xdp",
    }
}

choice! {
    /// Whose receive times a live run goes by.
    StampChoice {
        /// The kernel's.
        Kernel = "kernel",
        /// The card's, where it has them and they were switched on; else the kernel's. Its clock must follow the system's.
        Hardware = "hardware",
    }
}

choice! {
    /// How frames come from the card to AF_XDP sockets.
    XdpModeChoice {
        /// The first of the three below that driver and kernel grant.
        Auto = "auto",
        /// In the driver, without a copy.
        ZeroCopy = "zero_copy",
        /// In the driver, by a copy.
        DriverCopy = "driver_copy",
        /// Through the kernel's general path: works with every driver.
        Generic = "generic",
    }
}

section! {
    /// The lines of a live run; only `peregrine run` needs this section.
    LiveSection = "live" {
        /// Where orders go, unless the command line says it.
        mode: ModeChoice, "paper or live", |_| true;
        /// By what the lines are received; `peregrine doctor` says which are possible.
        source: SourceChoice, "udp, packet_ring or xdp", |_| true;
        /// Whether the lines are received by UDP sockets when `source` cannot be opened (the run says so); false: that ends the run.
        fallback: bool, "true or false", |_| true;
        /// Whose receive times count, for udp and packet_ring; xdp has no stamps, its packets are stamped when they are read.
        stamps: StampChoice, "kernel or hardware", |_| true;
        /// How frames come from the card, for xdp; the run says what was granted.
        xdp_mode: XdpModeChoice, "auto, zero_copy, driver_copy or generic", |_| true;
        /// Queue of the card to which the lines are steered, for xdp.
        xdp_queue: u32, "0 to 1023", |queue| *queue < 1_024;
        /// Multicast groups and ports of the feed's lines A, B, …; an address of this host for a line that is sent to it alone.
        lines: Vec<String>, "1 to 4 of ADDRESS:PORT", |lines| (1..=4).contains(&lines.len()) && lines.iter().all(|line| line.parse::<std::net::SocketAddrV4>().is_ok());
        /// Address of the interface on which the groups are joined; 0.0.0.0 for the system's choice.
        interface: String, "an IPv4 address", |address| address.parse::<std::net::Ipv4Addr>().is_ok();
        /// Bytes that the kernel keeps for us while we do not read, of each line.
        receive_buffer_len: usize, "65536 to 1073741824", |len| (65_536..=1 << 30).contains(len);
        /// How long the receive call polls the driver itself, microseconds; 0: not at all.
        busy_poll_us: u32, "0 to 1000", |us| *us <= 1_000;
        /// Retransmission servers (MoldUDP64 requests), asked in turn; none: [].
        retransmission: Vec<String>, "ADDRESS:PORT each", |servers| servers.len() <= 8 && servers.iter().all(|server| server.parse::<std::net::SocketAddrV4>().is_ok());
        /// Snapshot service (SoupBinTCP in the manner of GLIMPSE); empty: none.
        snapshot: String, "ADDRESS:PORT or empty", |address| address.is_empty() || address.parse::<std::net::SocketAddrV4>().is_ok();
        /// Its user.
        snapshot_username: String, "up to 6 characters", |name| name.len() <= 6;
        /// Its password.
        snapshot_password: String, "up to 10 characters", |word| word.len() <= 10;
        /// Whether everything that arrives is recorded to feed.pcapng in the run's folder.
        is_recorded: bool, "true or false", |_| true;
        /// Silence of every line after which open orders are withdrawn and nothing new is sent, ms: heartbeats come each second.
        silence_ms: u32, "1100 to 60000", |ms| (1_100..=60_000).contains(ms);
        /// Steps of the system's clock that add up to more than this withdraw open orders, and nothing new is sent until they are put right, ms.
        clock_step_ms: u32, "1 to 1000", |ms| (1..=1_000).contains(ms);
        /// Packets past a gap that can wait.
        held_packet_count_max: u16, "16 to 65535", |count| *count >= 16;
    }
}

section! {
    /// The order port of a live run; only `peregrine run --mode live` needs this section.
    OuchSection = "ouch" {
        /// OUCH 5.0 over SoupBinTCP.
        address: String, "ADDRESS:PORT", |address| address.parse::<std::net::SocketAddr>().is_ok();
        /// User.
        username: String, "1 to 6 characters", |name| (1..=6).contains(&name.len());
        /// Password.
        password: String, "1 to 10 characters", |word| (1..=10).contains(&word.len());
        /// Firm that a mass cancel names.
        firm: String, "1 to 4 upper-case letters or digits", |firm| (1..=4).contains(&firm.len()) && firm.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        /// Capacity of our orders: A agency, P principal, R riskless principal, O other.
        capacity: String, "A, P, R or O", |code| ["A", "P", "R", "O"].contains(&code.as_str());
        /// Order numbers of a day lie below this; 24 bytes each.
        order_number_end: u32, "1024 to 16777216", |end| (1_024..=1 << 24).contains(end);
        /// Silence of the venue after which the connection counts as lost, ms.
        silence_ms: u32, "1100 to 60000", |ms| (1_100..=60_000).contains(ms);
        /// How long the venue may take to answer an order or a cancel, ms.
        answer_ms: u32, "1 to 60000", |ms| (1..=60_000).contains(ms);
        /// Age from which an order that did not arrive is not sent again, ms; 0: never again.
        resend_age_ms: u32, "0 to 60000", |ms| *ms <= 60_000;
        /// Refusals in a row that halt the run.
        reject_count_max: u32, "1 to 10000", |count| (1..=10_000).contains(count);
        /// Cancels, each with the venue's word behind it, to which an unknown order must be silent until it is closed.
        probe_count: u32, "1 to 100", |count| (1..=100).contains(count);
        /// Time between two tries to connect, ms: at the start ten of them, later as many as it takes.
        reconnect_ms: u32, "1 to 60000", |ms| (1..=60_000).contains(ms);
        /// While nothing happens, a message of the process to itself over 127.0.0.1 goes the kernel's way of an order, with the
        /// first rehearsal of `model.keep_warm_us` behind an event and then in one of ten intervals. Not for stacks beside the kernel.
        is_send_rehearsed: bool, "true or false", |_| true;
        /// How long a stop waits for the last confirmations, ms.
        stop_ms: u32, "100 to 60000", |ms| (100..=60_000).contains(ms);
    }
}

section! {
    /// The venue's drop copy (FIX 4.4), held against our fills; a live run without this section has none.
    DropCopySection = "drop_copy" {
        /// The drop-copy port.
        address: String, "ADDRESS:PORT", |address| address.parse::<std::net::SocketAddr>().is_ok();
        /// Our CompID.
        sender_comp_id: String, "1 to 32 printable characters", |name| is_comp_id(name);
        /// The venue's CompID.
        target_comp_id: String, "1 to 32 printable characters", |name| is_comp_id(name);
        /// User; empty where the venue asks for none.
        username: String, "at most 32 characters", |name| name.len() <= 32;
        /// Password; empty where the venue asks for none.
        password: String, "at most 32 characters", |word| word.len() <= 32;
        /// Heartbeat interval of the session, s.
        heartbeat_s: u32, "1 to 3600", |s| (1..=3_600).contains(s);
        /// A difference is named, and halts the run, before this is over, ms.
        deadline_ms: u32, "100 to 60000", |ms| (100..=60_000).contains(ms);
        /// Time between two tries to connect, ms.
        reconnect_ms: u32, "1 to 60000", |ms| (1..=60_000).contains(ms);
    }
}

section! {
    /// The latency guard: inference p99 over a rolling window.
    GuardSection = "guard" {
        /// p99 above this is a warning, ns (source 000: 5 ms).
        inference_p99_warn_ns: i64, "1 to 1000000000", |n| (1..=1_000_000_000).contains(n);
        /// p99 above this halts trading and cancels all orders, ns (source 000: 20 ms).
        inference_p99_halt_ns: i64, "1 to 1000000000", |n| (1..=1_000_000_000).contains(n);
        /// Inferences in the window.
        window_samples: u32, "a power of two, 128 to 1048576", |n| power_of_two(*n as usize, 128, 1 << 20);
        /// Inferences before the guard speaks.
        samples_min: u32, "100 to 1048576", |n| (100..=1 << 20).contains(n);
    }
}

section! {
    /// The event log.
    LogSection = "log" {
        /// Folder of the run folders, relative to where the command runs.
        out_dir: String, "a path", |dir| !dir.is_empty();
        /// Folder of the staging memory; empty takes the memory file system, else the run folder.
        staging_dir: String, "a path or empty", |_| true;
        /// Records that each stream's staging holds.
        staging_records: u32, "a power of two, 1024 to 16777216", |n| power_of_two(*n as usize, 1024, 1 << 24);
        /// Size at which a segment is closed, MiB.
        segment_mib: u32, "1 to 4096", |n| (1..=4096).contains(n);
    }
}

fn power_of_two(n: usize, low: usize, high: usize) -> bool {
    n.is_power_of_two() && (low..=high).contains(&n)
}

fn is_comp_id(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}
