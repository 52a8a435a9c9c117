//! The `peregrine` binary.

use std::process::ExitCode;

use peregrine_node::{commands, program};
use peregrine_runtime::HugePageAllocator;

/// So that `runtime.huge_pages` can be kept: the system's allocator but for the tables of a run.
#[global_allocator]
static ALLOCATOR: HugePageAllocator = HugePageAllocator;

fn main() -> ExitCode {
    program::run(commands::run)
}
