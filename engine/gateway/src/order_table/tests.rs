//! Every event in every state, fills that count once, and room that ends.

use super::*;
use peregrine_types::{EpochNanos, Liquidity, Notional, Price, ReasonCode, Side, SymbolId, TimeInForce};
use proptest::prelude::*;

const CAUSE: Cause = Cause { event_seq: EventSeq(7), decision_time: EpochNanos(8) };

fn order(qty: u64) -> NewOrder {
    NewOrder {
        symbol: SymbolId(0),
        side: Side::Buy,
        price: Price(1),
        qty: Qty(qty),
        time_in_force: TimeInForce::Day,
        is_post_only: false,
    }
}

fn execution(id: u64, kind: ExecutionKind, qty: u64, number: u64) -> Execution {
    Execution {
        order_id: OrderId(id),
        symbol: SymbolId(0),
        side: Side::Buy,
        kind,
        liquidity: Liquidity::Added,
        reason: ReasonCode::None,
        price: Price(1),
        qty: Qty(qty),
        leaves_qty: Qty(0),
        match_number: MatchNumber(number),
        venue_time: EpochNanos(0),
        visible_time: EpochNanos(0),
        fee: Notional(0),
    }
}

#[test]
fn a_fill_counts_once_and_a_fill_past_a_cancel_counts_too() {
    let mut table = OrderTable::new(4, 16);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    table.on_execution(&execution(1, ExecutionKind::Accepted, 10, 0));
    table.on_execution(&execution(1, ExecutionKind::Filled, 4, 7));
    assert_eq!(table.on_execution(&execution(1, ExecutionKind::Filled, 4, 7)), Outcome::Duplicate);
    table.cancel_sent(OrderId(1));
    table.on_execution(&execution(1, ExecutionKind::Canceled, 6, 0));
    let late = table.on_execution(&execution(1, ExecutionKind::Filled, 6, 8));
    assert!(matches!(late, Outcome::Applied { to: OrderState::Canceled, .. }));
    let entry = table.get(OrderId(1)).unwrap();
    assert_eq!((entry.filled_qty, entry.leaves_qty), (Qty(10), Qty(0)));
    assert_eq!(table.open_count(), 0);
}

#[test]
fn what_was_taken_off_is_not_there_to_be_filled() {
    let mut table = OrderTable::new(4, 16);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    table.on_execution(&execution(1, ExecutionKind::Accepted, 10, 0));
    table.on_execution(&execution(1, ExecutionKind::Reduced, 4, 0));
    assert_eq!(table.get(OrderId(1)).unwrap().leaves_qty, Qty(6));
    table.on_execution(&execution(1, ExecutionKind::Filled, 5, 1));
    let rest = table.on_execution(&execution(1, ExecutionKind::Filled, 1, 2));
    assert!(matches!(rest, Outcome::Applied { to: OrderState::Filled, .. }), "{rest:?}");
    assert_eq!((table.open_count(), table.impossible_count()), (0, 0));
    table.submit(OrderId(2), order(10), CAUSE).unwrap();
    let whole = table.on_execution(&execution(2, ExecutionKind::Reduced, 10, 0));
    assert!(matches!(whole, Outcome::Applied { to: OrderState::Canceled, leaves_qty: Qty(0), .. }), "{whole:?}");
}

#[test]
fn an_overfill_is_counted_and_ends_the_order() {
    let mut table = OrderTable::new(4, 16);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    let over = table.on_execution(&execution(1, ExecutionKind::Filled, 11, 1));
    assert_eq!(over, Outcome::Unexpected { state: OrderState::PendingNew });
    let entry = table.get(OrderId(1)).unwrap();
    assert_eq!((entry.state, entry.filled_qty, entry.leaves_qty), (OrderState::Filled, Qty(11), Qty(0)));
    assert_eq!((table.impossible_count(), table.open_count()), (1, 0));
}

#[test]
fn a_fill_without_a_number_is_never_a_duplicate() {
    let mut table = OrderTable::new(4, 16);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    for leaves_qty in [Qty(6), Qty(2)] {
        let outcome = table.on_execution(&execution(1, ExecutionKind::Filled, 4, 0));
        assert!(matches!(outcome, Outcome::Applied { leaves_qty: left, .. } if left == leaves_qty), "{outcome:?}");
    }
}

/// A quote that rests while others come and go: its id is far from theirs.
#[test]
fn an_old_order_keeps_its_place_and_takes_none_from_others() {
    let mut table = OrderTable::new(2, 64);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    for id in 2..12 {
        let outcome = table.submit(OrderId(id), order(1), CAUSE);
        assert!(matches!(outcome, Ok(Outcome::Applied { .. })), "order {id}: {outcome:?}");
        assert_eq!(table.submit(OrderId(99), order(1), CAUSE), Err(OrderTableFull::Orders));
        table.on_execution(&execution(id, ExecutionKind::Filled, 1, id));
        assert_eq!((table.open_count(), table.get(OrderId(id)).unwrap().state), (1, OrderState::Filled));
    }
    assert_eq!(table.get(OrderId(1)).unwrap().leaves_qty, Qty(10));
    assert!(table.get(OrderId(10)).is_none(), "the eleventh took its place");
}

/// Order 1, of 10, in a state.
fn in_state(state: OrderState) -> OrderTable {
    let mut table = OrderTable::new(4, 16);
    let reports: &[ExecutionKind] = match state {
        OrderState::Unknown | OrderState::PendingNew => &[],
        OrderState::Live | OrderState::PendingCancel | OrderState::PendingReplace | OrderState::Replaced => {
            &[ExecutionKind::Accepted]
        }
        OrderState::Filled => &[ExecutionKind::Accepted, ExecutionKind::Filled],
        OrderState::Canceled => &[ExecutionKind::Accepted, ExecutionKind::Canceled],
        OrderState::Rejected => &[ExecutionKind::Rejected],
    };
    if state != OrderState::Unknown {
        table.submit(OrderId(1), order(10), CAUSE).unwrap();
    }
    for kind in reports {
        table.on_execution(&execution(1, *kind, 10, 1));
    }
    if state == OrderState::PendingCancel {
        table.cancel_sent(OrderId(1));
    }
    if matches!(state, OrderState::PendingReplace | OrderState::Replaced) {
        table.replace_sent((OrderId(2), OrderId(1)), order(10), CAUSE).unwrap();
    }
    if state == OrderState::Replaced {
        table.on_execution(&replaced(2, 10));
        table.on_execution(&execution(2, ExecutionKind::Canceled, 10, 0));
    }
    assert_eq!(table.get(OrderId(1)).map_or(OrderState::Unknown, |entry| entry.state), state);
    table
}

#[derive(Clone, Copy, Debug)]
enum Cell {
    To(OrderState),
    Twice,
    Not,
    Odd,
}

/// Submit, CancelSent, Accepted, a fill of a part, Canceled, Rejected, CancelRejected, Reduced, Busted: the rows of the
/// table above.
const CELLS: [(OrderState, [Cell; 9]); 9] = {
    use Cell::{Not, Odd, To, Twice};
    use OrderState as S;
    [
        (S::Unknown, [To(S::PendingNew), Not, Not, Odd, Not, Not, Not, Not, Odd]),
        (
            S::PendingNew,
            [
                Not,
                To(S::PendingCancel),
                To(S::Live),
                To(S::Live),
                To(S::Canceled),
                To(S::Rejected),
                To(S::PendingNew),
                To(S::Live),
                To(S::PendingNew),
            ],
        ),
        (
            S::Live,
            [
                Not,
                To(S::PendingCancel),
                Twice,
                To(S::Live),
                To(S::Canceled),
                Not,
                To(S::Live),
                To(S::Live),
                To(S::Live),
            ],
        ),
        (
            S::PendingCancel,
            [
                Not,
                Twice,
                To(S::PendingCancel),
                To(S::PendingCancel),
                To(S::Canceled),
                To(S::Rejected),
                To(S::Live),
                To(S::PendingCancel),
                To(S::PendingCancel),
            ],
        ),
        (S::Filled, [Not, To(S::Filled), Twice, Odd, Twice, Not, To(S::Filled), Not, To(S::Filled)]),
        (
            S::Canceled,
            [Not, To(S::Canceled), Twice, To(S::Canceled), Twice, Twice, To(S::Canceled), Twice, To(S::Canceled)],
        ),
        (S::Rejected, [Not, To(S::Rejected), Twice, Odd, Twice, Twice, To(S::Rejected), Twice, Not]),
        (
            S::PendingReplace,
            [
                Not,
                To(S::PendingCancel),
                To(S::PendingReplace),
                To(S::PendingReplace),
                To(S::Canceled),
                Not,
                To(S::PendingReplace),
                To(S::PendingReplace),
                To(S::PendingReplace),
            ],
        ),
        (
            S::Replaced,
            [Not, To(S::Replaced), Twice, To(S::Replaced), Twice, Twice, To(S::Replaced), Twice, To(S::Replaced)],
        ),
    ]
};

#[test]
fn every_cell_is_as_the_table_says() {
    for (state, row) in CELLS {
        for (column, cell) in row.into_iter().enumerate() {
            let mut table = in_state(state);
            let before = table.get(OrderId(1)).map_or(Qty::ZERO, |entry| entry.filled_qty);
            let outcome = match column {
                0 => table.submit(OrderId(1), order(10), CAUSE).unwrap(),
                1 => table.cancel_sent(OrderId(1)),
                column => table.on_execution(&execution(1, kind(u8::try_from(column - 2).unwrap()), 4, 2)),
            };
            let is_as_said = match (cell, outcome) {
                (Cell::To(to), Outcome::Applied { from, to: found, .. }) => from == state && found == to,
                (Cell::Twice, Outcome::Duplicate) => true,
                (Cell::Not, Outcome::Impossible { state: met }) | (Cell::Odd, Outcome::Unexpected { state: met }) => {
                    met == state
                }
                (_, _) => false,
            };
            assert!(is_as_said, "{state:?}, column {column}: {cell:?}, found {outcome:?}");
            let entry = table.get(OrderId(1));
            let filled = Qty(if column == 3 && entry.is_some() { 4 } else { 0 });
            let after = entry.map_or(Qty::ZERO, |entry| entry.filled_qty);
            assert_eq!(after, before.saturating_add(filled), "{state:?}, column {column}");
            let waiting = usize::from(state == OrderState::PendingReplace);
            let is_open = entry.is_some_and(|entry| entry.state.is_open());
            assert_eq!(table.open_count(), usize::from(is_open) + waiting);
            // The same fill once more is a duplicate in every state.
            if column == 3 {
                assert_eq!(table.on_execution(&execution(1, ExecutionKind::Filled, 4, 2)), Outcome::Duplicate);
            }
        }
    }
}

fn replaced(id: u64, open: u64) -> Execution {
    Execution { leaves_qty: Qty(open), ..execution(id, ExecutionKind::Replaced, open, 0) }
}

/// Order 1, of 10 with 4 executed, and order 2 for 10 in its place on its way.
fn replacing() -> OrderTable {
    let mut table = OrderTable::new(4, 16);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    table.on_execution(&execution(1, ExecutionKind::Accepted, 10, 0));
    table.on_execution(&execution(1, ExecutionKind::Filled, 4, 1));
    let sent = table.replace_sent((OrderId(2), OrderId(1)), order(10), CAUSE);
    assert!(matches!(sent, Ok(Outcome::Applied { .. })), "{sent:?}");
    assert_eq!((table.replacement_of(OrderId(1)), table.open_count()), (Some(OrderId(2)), 2));
    table
}

fn states(table: &OrderTable) -> [OrderState; 2] {
    [1, 2].map(|id| table.get(OrderId(id)).unwrap().state)
}

/// The rows of the second table, `replace`.
#[test]
fn a_replacement_takes_its_place_or_leaves_the_other_one_as_it_was() {
    use OrderState as S;
    let mut table = replacing();
    assert_eq!(table.open_after_replace(OrderId(2)), Qty(6));
    table.on_execution(&execution(1, ExecutionKind::Filled, 2, 2));
    assert_eq!(table.open_after_replace(OrderId(2)), Qty(4), "a fill on the way makes it smaller");
    assert!(matches!(table.on_execution(&replaced(2, 7)), Outcome::Impossible { .. }), "more than was asked for");
    assert!(matches!(table.on_execution(&replaced(2, 4)), Outcome::Applied { to: S::Live, .. }));
    assert_eq!((states(&table), table.open_count()), ([S::Replaced, S::Live], 1));
    let entry = table.get(OrderId(2)).unwrap();
    assert_eq!((entry.leaves_qty, entry.filled_qty), (Qty(4), Qty(6)));
    assert_eq!(table.on_execution(&replaced(2, 4)), Outcome::Duplicate);
    table.on_execution(&execution(2, ExecutionKind::Filled, 4, 3));
    assert_eq!((states(&table), table.open_count()), ([S::Replaced, S::Filled], 0));

    let mut table = replacing();
    table.on_execution(&execution(2, ExecutionKind::Rejected, 10, 0));
    assert_eq!((states(&table), table.open_count()), ([S::Live, S::Rejected], 1));
    assert!(matches!(table.on_execution(&replaced(2, 4)), Outcome::Impossible { .. }), "it was refused");
    assert!(table.replace_sent((OrderId(3), OrderId(1)), order(10), CAUSE).is_ok(), "the next one may be sent");

    let mut table = replacing();
    table.on_execution(&execution(1, ExecutionKind::Filled, 6, 2));
    assert_eq!((states(&table), table.replacement_of(OrderId(1))), ([S::Filled, S::PendingNew], Some(OrderId(2))));
    assert!(matches!(table.on_execution(&replaced(2, 1)), Outcome::Impossible { .. }), "its order has ended");
    table.on_execution(&execution(2, ExecutionKind::Rejected, 10, 0));
    assert_eq!((states(&table), table.open_count()), ([S::Filled, S::Rejected], 0));
}

/// Order 1 of 10, of which nothing was heard, and order 2 in its place on its way.
fn replacing_unheard() -> OrderTable {
    let mut table = OrderTable::new(4, 16);
    table.submit(OrderId(1), order(10), CAUSE).unwrap();
    let sent = table.replace_sent((OrderId(2), OrderId(1)), order(10), CAUSE);
    assert!(matches!(sent, Ok(Outcome::Applied { .. })), "{sent:?}");
    table
}

#[test]
fn an_order_that_was_replaced_before_its_answer_may_still_be_refused() {
    use OrderState as S;
    let mut table = replacing_unheard();
    let said = table.on_execution(&execution(1, ExecutionKind::Rejected, 10, 0));
    let expected = Outcome::Applied { from: S::PendingReplace, to: S::Rejected, leaves_qty: Qty::ZERO };
    assert_eq!((said, table.replacement_of(OrderId(1))), (expected, Some(OrderId(2))));
    assert_eq!(table.on_execution(&execution(1, ExecutionKind::Rejected, 10, 0)), Outcome::Duplicate);
    table.on_execution(&execution(2, ExecutionKind::Rejected, 10, 0));
    assert_eq!((states(&table), table.open_count(), table.impossible_count()), ([S::Rejected; 2], 0, 0));

    // The replacement is refused alone: the other one still waits for its first answer, whichever that is.
    for (kind, state) in [(ExecutionKind::Accepted, S::Live), (ExecutionKind::Rejected, S::Rejected)] {
        let mut table = replacing_unheard();
        table.on_execution(&execution(2, ExecutionKind::Rejected, 10, 0));
        assert_eq!((states(&table), table.open_count()), ([S::PendingNew, S::Rejected], 1));
        let said = table.on_execution(&execution(1, kind, 10, 0));
        assert!(matches!(said, Outcome::Applied { to, .. } if to == state), "{said:?}");
    }

    // Accepted, or executed, it is not refused any more.
    for (kind, qty) in [(ExecutionKind::Accepted, 10), (ExecutionKind::Filled, 4)] {
        let mut table = replacing_unheard();
        table.on_execution(&execution(1, kind, qty, 1));
        assert_eq!(states(&table), [S::PendingReplace, S::PendingNew]);
        let said = table.on_execution(&execution(1, ExecutionKind::Rejected, 10, 0));
        assert_eq!(said, Outcome::Impossible { state: S::PendingReplace });
    }
}

#[test]
fn a_cancel_during_a_replace_leaves_whichever_lives_on_its_way_out() {
    use OrderState as S;
    let mut table = replacing();
    let again = table.replace_sent((OrderId(3), OrderId(1)), order(10), CAUSE);
    assert_eq!(again, Ok(Outcome::Impossible { state: S::PendingReplace }), "one at a time");
    table.cancel_sent(OrderId(1));
    table.cancel_sent(OrderId(2));
    assert!(matches!(table.on_execution(&replaced(2, 6)), Outcome::Applied { to: S::PendingCancel, .. }));
    assert_eq!(states(&table), [S::Replaced, S::PendingCancel]);
    table.on_execution(&execution(2, ExecutionKind::Canceled, 6, 0));
    assert_eq!((states(&table), table.open_count()), ([S::Replaced, S::Canceled], 0));
    let late = table.on_execution(&execution(1, ExecutionKind::Filled, 6, 9));
    assert!(matches!(late, Outcome::Applied { to: S::Replaced, .. }), "money counts: {late:?}");

    let mut table = replacing();
    table.cancel_sent(OrderId(1));
    table.cancel_sent(OrderId(2));
    table.on_execution(&execution(1, ExecutionKind::Canceled, 6, 0));
    table.on_execution(&execution(2, ExecutionKind::Rejected, 10, 0));
    assert_eq!((states(&table), table.open_count()), ([S::Canceled, S::Rejected], 0));

    let mut table = replacing();
    let dead = table.on_execution(&replaced(2, 0));
    assert!(matches!(dead, Outcome::Applied { to: S::Canceled, .. }), "{dead:?}");
    assert_eq!((states(&table), table.open_count()), ([S::Replaced, S::Canceled], 0));
    let gone = table.replace_sent((OrderId(3), OrderId(1)), order(10), CAUSE);
    assert_eq!(gone, Ok(Outcome::Impossible { state: S::Replaced }));
}

#[test]
fn open_orders_are_never_overwritten_and_fills_never_forgotten() {
    let mut table = OrderTable::new(2, 1);
    table.submit(OrderId(1), order(1), CAUSE).unwrap();
    table.submit(OrderId(2), order(1), CAUSE).unwrap();
    assert_eq!(table.submit(OrderId(3), order(1), CAUSE), Err(OrderTableFull::Orders));
    assert!(matches!(table.submit(OrderId(1), order(1), CAUSE), Ok(Outcome::Impossible { .. })));
    table.on_execution(&execution(1, ExecutionKind::Filled, 1, 1));
    assert_eq!(table.submit(OrderId(3), order(1), CAUSE), Err(OrderTableFull::Fills));
}

fn kind(index: u8) -> ExecutionKind {
    match index % 8 {
        0 => ExecutionKind::Accepted,
        1 => ExecutionKind::Filled,
        2 => ExecutionKind::Canceled,
        3 => ExecutionKind::Rejected,
        4 => ExecutionKind::CancelRejected,
        5 => ExecutionKind::Reduced,
        6 => ExecutionKind::Busted,
        _ => ExecutionKind::Replaced,
    }
}

proptest! {
    /// Whatever is said in whatever order: no panic, no more filled than was ordered while open, open count exact.
    #[test]
    fn the_table_is_total(steps in proptest::collection::vec((0_u8..11, 1_u64..5, 0_u64..12, 0_u64..6), 0..200)) {
        let mut table = OrderTable::new(3, 64);
        let mut next = 1;
        for (what, id, qty, number) in steps {
            match what {
                0 => if table.submit(OrderId(next), order(10), CAUSE).is_ok() { next += 1 },
                1 => { table.cancel_sent(OrderId(id)); }
                2 => {
                    let sent = table.replace_sent((OrderId(next), OrderId(id)), order(10), CAUSE);
                    if matches!(sent, Ok(Outcome::Applied { .. })) { next += 1 }
                }
                _ => {
                    let report = execution(id, kind(what - 3), qty, number);
                    table.on_execution(&Execution { leaves_qty: Qty(qty), ..report });
                }
            }
            prop_assert_eq!(table.open_orders().count(), table.open_count());
            for entry in table.open_orders() {
                prop_assert!(entry.leaves_qty > Qty::ZERO);
                prop_assert!(entry.filled_qty.saturating_add(entry.leaves_qty) <= Qty(10));
            }
        }
    }
}
