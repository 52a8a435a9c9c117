//! The table against an ordered map, with references that crowd the same sets.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn slot(order_ref: u64, qty: u32) -> OrderSlot {
    OrderSlot { order_ref, price: 1, priority: order_ref, qty, place: 7 }
}

fn insert(table: &mut OrderTable, order_ref: u64, qty: u32) -> bool {
    match table.entry(OrderRef(order_ref)) {
        Entry::Free(index) => {
            table.insert(index, slot(order_ref, qty));
            true
        }
        Entry::Live | Entry::NoRoom => false,
    }
}

#[test]
fn sets_begin_on_cache_lines() {
    let table = OrderTable::new(100);
    assert_eq!((table.slots.as_ptr().addr() + table.home * 32) % 64, 0);
    assert_eq!(table.home_mask, 255);
}

#[test]
fn references_that_share_one_set_all_fit() {
    let mut table = OrderTable::new(1000);
    for order_ref in 0..1000_u64 {
        assert!(insert(&mut table, order_ref << 32, 1), "{order_ref}");
    }
    assert_eq!(table.spilled[0], SPILLED_STICKY);
    for order_ref in 0..1000_u64 {
        let index = table.find(OrderRef(order_ref << 32)).unwrap();
        table.remove(index);
    }
    assert_eq!((table.live_count(), table.iter().count()), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_table_is_a_map(steps in prop::collection::vec((any::<bool>(), 0..6_u64, 0..40_u64), 0..400)) {
        let mut table = OrderTable::new(64);
        let mut map = BTreeMap::new();
        for (is_insert, high, low) in steps {
            let order_ref = (high << 40) | low;
            let found = table.find(OrderRef(order_ref));
            prop_assert_eq!(found.map(|index| table.slots[index].order_ref), map.get(&order_ref).copied());
            if is_insert && map.len() < 64 {
                prop_assert_eq!(insert(&mut table, order_ref, 9), map.insert(order_ref, order_ref).is_none());
            } else if let Some(index) = found {
                table.remove(index);
                map.remove(&order_ref);
            }
            prop_assert_eq!(table.live_count(), map.len());
            for order_ref in map.keys() {
                prop_assert!(table.find(OrderRef(*order_ref)).is_some());
            }
        }
        let mut live: Vec<u64> = table.iter().map(|slot| slot.order_ref).collect();
        live.sort_unstable();
        prop_assert_eq!(live, map.into_keys().collect::<Vec<_>>());
    }
}
