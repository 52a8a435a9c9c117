//! Full-depth order-by-order books for every symbol of a market, and their slow obvious twin.
