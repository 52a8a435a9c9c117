//! Broken trades: stop and take stand where they would if the trade had never been.

use super::*;
use crate::held::fills::FILLS_REMEMBERED;

/// What stands after the last change.
fn standing(desk: &Desk) -> (Position, Price, Price) {
    desk.changes.last().map_or((Position(0), Price(0), Price(0)), |last| (last.position, last.average_price, last.stop))
}

#[test]
fn an_exit_that_is_broken_gives_back_the_position_at_what_it_had_cost() {
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 100, 10_000);
    let [intent] = desk.quote(9_750, 9_752)[..] else { panic!("the stop") };
    let id = desk.approve(&intent);
    desk.report(id, Side::Sell, (ExecutionKind::Filled, 100, 0), 9_750);
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::StopFired, HeldAction::Done]);
    desk.bust((id, 2), Side::Sell, 100, at(9_750).0);
    assert_eq!(standing(&desk), (Position(100), at(10_000), at(9_995)));
    assert_eq!(desk.actions(), [HeldAction::Armed]);
}

#[test]
fn an_addition_that_is_broken_leaves_the_average_of_the_others() {
    for (broken, average) in [(1, 10_100), (2, 10_050), (3, 10_000)] {
        let mut desk = Desk::new(config());
        for price in [10_000, 10_050, 10_100] {
            desk.fill(Side::Buy, 100, price);
        }
        let price = 9_950 + 50 * i64::try_from(broken).unwrap();
        desk.bust((1, broken), Side::Buy, 100, at(price).0);
        let others = (10_000 + 10_050 + 10_100 - price) / 2;
        assert_eq!(standing(&desk), (Position(200), at(others), at(others - 5)), "{broken} {average}");
    }
}

#[test]
fn a_broken_opening_leaves_what_was_closed_since_as_a_position_of_the_other_side() {
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 100, 10_000);
    desk.fill(Side::Sell, 50, 10_002);
    desk.bust((1, 1), Side::Buy, 100, at(10_000).0);
    assert_eq!(standing(&desk), (Position(-50), at(10_002), at(10_007)));
    assert_eq!(desk.actions(), [HeldAction::Armed, HeldAction::Changed, HeldAction::Canceled, HeldAction::Armed]);
}

/// Fills without a number are told apart by everything else; the last one that fits is meant.
#[test]
fn a_trade_without_a_number_is_found_by_what_it_was() {
    let mut desk = Desk::new(config());
    for price in [10_000, 10_050] {
        desk.next_match = 0;
        desk.fill(Side::Buy, 100, price);
    }
    desk.bust((1, 0), Side::Buy, 100, at(10_050).0);
    assert_eq!(standing(&desk), (Position(100), at(10_000), at(9_995)));
}

/// One fill after the other, more than are remembered: those that are give the exact average, an older one that of its kind.
#[test]
fn a_trade_that_is_older_than_what_is_remembered_is_taken_off_at_its_own_price() {
    let count = u64::try_from(FILLS_REMEMBERED).unwrap() + 20;
    let mut desk = Desk::new(HeldConfig { take_profit_ticks: 0, ..config() });
    let price = |number: u64| 10_000 + i64::try_from(number % 7).unwrap();
    for number in 1..=count {
        desk.fill(Side::Buy, 10, price(number));
    }
    let mut left: Vec<u64> = (1..=count).collect();
    for broken in [count, 21, 1, 20] {
        left.retain(|number| *number != broken);
        desk.bust((1, broken), Side::Buy, 10, at(price(broken)).0);
        let paid: i64 = left.iter().map(|number| at(price(*number)).0).sum();
        let size = i64::try_from(left.len()).unwrap();
        assert_eq!(standing(&desk).0, Position(10 * size));
        assert_eq!(standing(&desk).1, Price(paid / size), "without {broken}");
    }
    // A sale that long ago closed a part had left the average as it was.
    let mut desk = Desk::new(config());
    desk.fill(Side::Buy, 100, 10_000);
    desk.fill(Side::Sell, 40, 10_050);
    for _ in 0..FILLS_REMEMBERED / 2 {
        desk.fill(Side::Buy, 10, 10_000);
        desk.fill(Side::Sell, 10, 10_000);
    }
    desk.bust((1, 2), Side::Sell, 40, at(10_050).0);
    assert_eq!((standing(&desk).0, standing(&desk).1), (Position(100), at(10_000)));
}
