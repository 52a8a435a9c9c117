//! Ctrl-C: a training is asked to keep its checkpoint and stop; everything else ends at once. Files are put into place
//! whole, so that no ending leaves half of one under its name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use peregrine_node::exit::{Exit, Failure};
use peregrine_runtime::StopFlag;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;

/// Whether somebody wants the command to stop, and whether the command looks.
#[derive(Debug)]
pub(crate) struct Interrupt<'a> {
    requested: &'a StopFlag,
    is_unheeded: Arc<AtomicBool>,
}

/// While it lives somebody looks at the flag, and Ctrl-C only raises it.
#[derive(Debug)]
pub(crate) struct Heeding<'a>(&'a Interrupt<'a>);

impl<'a> Interrupt<'a> {
    /// From now on Ctrl-C and TERM end the process with status 130 wherever nobody looks at `requested`, which they raise.
    pub(crate) fn new(requested: &'a StopFlag) -> Result<Self, Failure> {
        let is_unheeded = Arc::new(AtomicBool::new(true));
        for signal in [SIGINT, SIGTERM] {
            register_conditional_shutdown(signal, i32::from(Exit::Interrupted as u8), Arc::clone(&is_unheeded))
                .map_err(|error| Failure::io(format_args!("cannot listen for Ctrl-C: {error}")))?;
        }
        Ok(Self { requested, is_unheeded })
    }

    /// Whoever holds what it returns looks at [`Heeding::is_requested`] often.
    pub(crate) fn heed(&self) -> Heeding<'_> {
        self.is_unheeded.store(false, Ordering::Release);
        Heeding(self)
    }

    /// Goes on only if nobody wants to stop: between two parts of a command.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.requested.is_requested() { Err(Failure::interrupted("interrupted")) } else { Ok(()) }
    }
}

impl Heeding<'_> {
    pub(crate) fn is_requested(&self) -> bool {
        self.0.requested.is_requested()
    }
}

impl Drop for Heeding<'_> {
    fn drop(&mut self) {
        self.0.is_unheeded.store(true, Ordering::Release);
    }
}
