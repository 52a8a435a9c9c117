//! The house rules as tests: floors, sizes, banned words.
