//! What a running training shows: a bar with losses and time left on a terminal, a line per epoch elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use peregrine_node::commands::note;
use peregrine_train::{Control, EpochReport, Observer, Progress, Stage};

use crate::interrupt::{Heeding, Interrupt};

/// Shows a run and passes on the wish to stop.
pub(crate) struct Screen<'a> {
    heeding: Heeding<'a>,
    bar: ProgressBar,
    is_terminal: bool,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(interrupt: &'a Interrupt<'a>) -> Self {
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let bar = if is_terminal { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { heeding: interrupt.heed(), bar, is_terminal }
    }

    fn control(&self) -> Control {
        if self.heeding.is_requested() { Control::Stop } else { Control::Continue }
    }

    fn say(&self, line: String) {
        if self.is_terminal {
            self.bar.println(line);
        } else {
            note(line);
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Screen<'_> {
    fn stage(&mut self, stage: Stage) -> Control {
        let text = match stage {
            Stage::Preparing => "scaling features, cutting sequences",
            Stage::Training => "training the network",
            Stage::Calibrating => "calibrating the direction head",
            Stage::Regimes => "finding the regimes",
            Stage::Controller => "training the controller in imagination",
        };
        self.say(format!("· {text}"));
        self.control()
    }

    fn part(&mut self, done: u32, parts: u32) -> Control {
        self.bar.set_length(u64::from(parts));
        self.bar.set_position(u64::from(done));
        self.bar.set_message("");
        self.control()
    }

    fn step(&mut self, progress: &Progress) -> Control {
        let steps = progress.steps * u64::from(progress.epochs_max);
        self.bar.set_length(steps);
        self.bar.set_position(u64::from(progress.epoch) * progress.steps + progress.step);
        let best = progress.best_validation.map_or_else(|| "–".to_owned(), |loss| format!("{loss:.4}"));
        self.bar.set_message(format!(
            "epoch {} · loss {:.4} · best validation {best} · {:.1} steps/s · at most {} left",
            progress.epoch + 1,
            progress.losses.total,
            progress.steps_per_second,
            clock(progress.seconds_left)
        ));
        self.control()
    }

    fn epoch(&mut self, report: &EpochReport) -> Control {
        let (training, validation) = (&report.training, &report.validation);
        self.say(format!(
            "epoch {:>4} · loss {:.4} · validation {:.4}{} · reconstruction {:.4} · kl {:.3} · return nll {:.4} · direction {:.4}",
            report.epoch + 1,
            training.total,
            validation.total,
            if report.is_best { " best" } else { "" },
            validation.reconstruction,
            validation.kl,
            validation.return_nll,
            validation.direction,
        ));
        self.control()
    }
}

/// Seconds as people read them.
fn clock(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "?".to_owned();
    }
    let minutes = (seconds / 60.0).floor();
    let rest = seconds - minutes * 60.0;
    if minutes < 60.0 {
        format!("{minutes:.0}:{rest:02.0}")
    } else {
        format!("{:.0} h {:.0} min", (minutes / 60.0).floor(), minutes % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::clock;

    #[test]
    fn time_left_is_readable() {
        assert_eq!(clock(75.0), "1:15");
        assert_eq!(clock(2.0 * 3_600.0 + 90.0), "2 h 1 min");
        assert_eq!(clock(f64::INFINITY), "?");
    }
}
