//! Ctrl-C: the first one asks for a clean stop.

use std::sync::Arc;

use peregrine_runtime::StopFlag;

use crate::exit::Exit;

/// Raises the flag at the first Ctrl-C or TERM; the second one ends the process at once.
///
/// # Errors
/// When the system refuses the handlers or their thread.
pub fn stop_on_signals(interrupted: &Arc<StopFlag>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let interrupted = Arc::clone(interrupted);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if interrupted.is_requested() {
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
            interrupted.request();
        }
    })?;
    Ok(())
}
