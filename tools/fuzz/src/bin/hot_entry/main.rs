//! The entry points of the hot path as functions that can be found in a binary: `scripts/no_panic.sh` disassembles this
//! program and follows every call that they can make. Running it does nothing.

mod control;
mod hot;

use std::hint::black_box;

fn main() {
    // A function whose address escapes is compiled as it stands, for any arguments.
    black_box(hot::decode as hot::Decode);
    black_box(hot::apply as hot::Apply);
    black_box(hot::book_hint as hot::BookHint);
    black_box(hot::features_hint as hot::FeaturesHint);
    black_box(hot::risk_hint as hot::RiskHint);
    black_box(hot::strategy_hint as hot::StrategyHint);
    black_box(hot::check as hot::Check);
    black_box(hot::risk_on_execution as hot::RiskOnExecution);
    black_box(hot::features as hot::Features);
    black_box(hot::feature_vector as hot::Vector);
    black_box(hot::strategy_on_event as hot::OnEvent);
    black_box(hot::strategy_on_execution as hot::StrategyOnExecution);
    black_box(hot::observe as hot::Observe);
    black_box(hot::advance as hot::Advance);
    // `observe` and `advance` reach every precision: the model says which.
    black_box(hot::advance_many as hot::AdvanceMany);
    black_box(hot::strategy_keep_warm as hot::KeepWarm);
    black_box(hot::lstm_observe as hot::LstmObserve);
    black_box(hot::lstm_advance as hot::LstmAdvance);
    black_box(hot::append_decision as hot::AppendDecision);
    black_box(hot::append_order as hot::AppendOrder);
    black_box(hot::slot_push as hot::SlotPush);
    black_box(hot::slot_pop as hot::SlotPop);
    black_box(hot::index_push as hot::IndexPush);
    black_box(hot::index_pop as hot::IndexPop);
    black_box(hot::on_packet as hot::OnPacket);
    black_box(hot::order_table_submit as hot::TableSubmit);
    black_box(hot::order_table_cancel_sent as hot::TableCancelSent);
    black_box(hot::order_table_on_execution as hot::TableOnExecution);
    black_box(hot::paper_accept as hot::PaperAccept);
    black_box(hot::paper_next_arrived as hot::PaperNextArrived);
    black_box(hot::paper_process as hot::PaperProcess);
    black_box(hot::paper_refuse as hot::PaperRefuse);
    black_box(hot::paper_on_market as hot::PaperOnMarket);
    black_box(control::indexes as fn(&[u8], usize) -> u8);
    black_box(control::allocates as fn(usize) -> Vec<u8>);
    black_box(control::calls_deeply as fn(&[u8], usize) -> u8);
}
