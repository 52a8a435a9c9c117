//! Wire formats as checked views over bytes (ITCH 5.0, MoldUDP64), line arbitration, gap detection, and decoding to market events.
