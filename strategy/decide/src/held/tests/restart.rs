//! What earlier runs left held, against positions that are not what they were.

use super::*;

fn protection(action: HeldAction, position: i64, average: i64, is_asked: bool) -> HeldChange {
    HeldChange {
        symbol: SYMBOL,
        kind: HeldKind::Protection,
        action,
        is_asked,
        position: Position(position),
        average_price: at(average),
        stop: at(average - 5),
        ..HeldChange::default()
    }
}

/// Begins a run with `memories` and the fills of the venue; its changes are taken into `memories`.
fn run(config: HeldConfig, memories: &mut Vec<HeldMemory>, fills: &[(Side, u64, i64)]) -> Desk {
    let mut desk = Desk::new(config);
    desk.held.remember(memories.clone());
    for (side, qty, price) in fills {
        desk.fill(*side, *qty, *price);
    }
    desk.begin();
    desk.changes.iter().for_each(|change| HeldMemory::fold(memories, *change));
    desk
}

/// What was executed unseen moves the average price, and the configured prices with it: the log's old ones would fire.
#[test]
fn configured_prices_are_those_of_the_whole_position_after_a_restart() {
    let mut memories = vec![];
    HeldMemory::fold(&mut memories, protection(HeldAction::Armed, 100, 10_000, false));
    let fills = [(Side::Buy, 100, 10_000), (Side::Buy, 100, 9_986)];
    let mut desk = run(config(), &mut memories, &fills);
    assert_eq!((desk.changes[0].action, desk.changes[0].stop), (HeldAction::Armed, at(9_988)));
    assert_eq!(desk.quote(9_990, 9_992), [], "below the stop of the half that the log knows");
    assert_eq!(desk.quote(9_988, 9_990).len(), 1);
    // A controller's own prices are what it asked for, whatever the average is.
    let mut memories = vec![];
    HeldMemory::fold(&mut memories, protection(HeldAction::Armed, 100, 10_000, true));
    let desk = run(config(), &mut memories, &fills);
    assert_eq!((desk.changes[0].action, desk.changes[0].stop), (HeldAction::Armed, at(9_995)));
    // Of a configuration that has no stop any more nothing is left.
    let mut memories = vec![];
    HeldMemory::fold(&mut memories, protection(HeldAction::Armed, 100, 10_000, false));
    let none = HeldConfig { stop_loss_ticks: 0, take_profit_ticks: 0, ..config() };
    assert!(run(none, &mut memories, &fills).quote(9_000, 9_002).is_empty() && memories.is_empty());
}

/// A position that went away between two runs takes its protection with it, in the log too: the third run does not hold it
/// against a position that the second one built.
#[test]
fn what_lapsed_between_two_runs_is_not_taken_up_by_the_third() {
    let none = HeldConfig { stop_loss_ticks: 0, take_profit_ticks: 0, ..config() };
    for action in [HeldAction::Armed, HeldAction::StopFired] {
        for sold in [100, 150] {
            let mut memories = vec![];
            HeldMemory::fold(&mut memories, protection(action, 100, 10_000, true));
            let second = run(none, &mut memories, &[(Side::Buy, 100, 10_000), (Side::Sell, sold, 9_990)]);
            assert_eq!(second.changes.iter().map(|change| change.action).collect::<Vec<_>>(), [HeldAction::Canceled]);
            let fills = [(Side::Buy, 100, 10_000), (Side::Sell, sold, 9_990), (Side::Buy, 100, 9_900)];
            let mut third = run(none, &mut memories, &fills);
            assert_eq!((third.quote(9_900, 9_902), third.actions()), (vec![], vec![]), "{action:?} {sold}");
            assert!(!third.held.is_blocking(0, EpochNanos(third.now)));
        }
    }
}
