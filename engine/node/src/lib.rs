//! The peregrine binary: configuration, wiring, control and the commands.
