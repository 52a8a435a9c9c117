//! Judges models.
