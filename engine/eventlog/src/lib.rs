//! The append-only, memory-mapped event log: fixed records, CRC32C, hash chain, rotation, recovery and reader.
