//! Pre-trade checks in one pass: the only place where an order becomes an approved order.
