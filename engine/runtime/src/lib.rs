//! Rings, pinned duty cycles, wait strategies, the TSC clock, counters, histograms and the host report.
