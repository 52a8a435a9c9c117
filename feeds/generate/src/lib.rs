//! The seeded session generator: many-symbol order flow with the statistics of a real day, written as ITCH or pcap.
