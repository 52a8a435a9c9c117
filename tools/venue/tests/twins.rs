//! The venue against its reference: event for event, byte for byte, whatever is asked of it.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Log, command, config, run_twins};
use peregrine_venue::{EventHash, ReferenceVenue, TimeOfDay, Venue};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn venue_and_reference_say_the_same(commands in prop::collection::vec(any::<[u8; 16]>(), 1..250)) {
        run_twins(commands, 4);
    }
}

fn stream(seed: u64) -> impl Iterator<Item = [u8; 16]> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    std::iter::repeat_with(move || {
        let mut bytes = [0; 16];
        chance.fill_bytes(&mut bytes);
        bytes
    })
}

/// Days of a few hundred commands each; how many executions they had.
fn campaign(first_seed: u64, command_count: usize) -> u64 {
    let per_day = 1_300;
    let days = command_count.div_ceil(per_day) as u64;
    (first_seed..first_seed + days)
        .map(|seed| {
            std::panic::catch_unwind(|| run_twins(stream(seed).take(per_day), 64))
                .unwrap_or_else(|_| panic!("seed {seed} fails"))
        })
        .sum()
}

#[test]
fn seeded_days_from_open_to_close_agree() {
    let traded = campaign(1, 26_000);
    assert!(traded > 2_000, "{traded} executions are too few to mean anything");
}

/// One symbol, many pegs and many orders that live for a short time: an end moves the middle, and lets pegs trade.
#[test]
fn days_of_pegs_and_short_lives_agree() {
    let day = |seed| {
        stream(seed).take(2_000).map(|mut bytes| {
            // No halts and no bands; limits near the middle.
            (bytes[0], bytes[1]) = (bytes[0] % 180, 0);
            bytes[4] %= 240;
            if bytes[13] % 3 == 0 {
                (bytes[7], bytes[8]) = (9, 0);
            } else if bytes[13] % 3 == 1 {
                (bytes[5], bytes[8]) = (120 + bytes[5] % 35, 0);
            }
            bytes
        })
    };
    let traded: u64 = (1..=8).map(|seed| run_twins(day(seed), 64)).sum();
    assert!(traded > 1_000, "{traded} executions are too few to mean anything");
}

/// The long campaign: `PEREGRINE_VENUE_COMMANDS` commands from `PEREGRINE_VENUE_SEED` on.
#[test]
#[ignore = "minutes to hours: scripts/deep.sh runs it"]
fn campaign_of_millions() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (count, seed) = (number("PEREGRINE_VENUE_COMMANDS", 5_000_000), number("PEREGRINE_VENUE_SEED", 1_000));
    let traded = campaign(seed, usize::try_from(count).expect("it fits"));
    eprintln!("{count} commands, {traded} executions, 0 differences");
}

#[test]
fn the_same_input_gives_the_same_hash_and_another_one_another() {
    let run = |seed, skipped: usize| {
        let (mut venue, mut hash) = (Venue::new(config()).expect("possible"), EventHash::default());
        let mut time = 0;
        for (_, bytes) in stream(seed).take(3_000).enumerate().filter(|(at, _)| *at != skipped) {
            let (waited, command) = command(bytes, 500, time);
            time += waited;
            venue.apply(TimeOfDay(time), &command, &mut hash);
        }
        (hash.finish(), hash.order_count(), hash.market_count())
    };
    assert_eq!(run(7, usize::MAX), run(7, usize::MAX));
    assert_ne!(run(7, usize::MAX).0, run(8, usize::MAX).0);
    assert_ne!(run(7, usize::MAX).0, run(7, 1_500).0, "one command less");
}

/// Negative control: a reference that misses one command of a day is told apart.
#[test]
fn a_missing_command_is_noticed() {
    let differs = (0..40).any(|missing| {
        let (mut venue, mut reference) = (Venue::new(config()).expect("possible"), ReferenceVenue::new(config()));
        let (mut log, mut wanted, mut time) = (Log::default(), Log::default(), 10);
        for (at, bytes) in stream(3).take(300).enumerate() {
            let (waited, command) = command(bytes, 100, time);
            time += waited;
            venue.apply(TimeOfDay(time), &command, &mut log);
            if at != missing {
                reference.apply(TimeOfDay(time), &command, &mut wanted);
            }
        }
        log.0 != wanted.0
    });
    assert!(differs);
}
