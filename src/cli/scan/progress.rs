//! How far a scan is, in one line on a terminal.

use std::{
    io::{self, IsTerminal, Write},
    pin::pin,
    time::Duration,
};

use helm_guard_core::text::counted;
use tokio::time::{MissedTickBehavior, interval};

use crate::scanner::ScanProgress;

/// How often the line is written again. A scan that is over sooner shows none.
const TICK: Duration = Duration::from_millis(250);

/// Erases the line that the cursor is in.
const ERASE: &str = "\r\u{1b}[2K";

/// The line. It goes to standard error, because programs read standard output.
pub(super) struct ShownProgress<'a> {
    progress: &'a ScanProgress,
    is_terminal: bool,
}

impl<'a> ShownProgress<'a> {
    pub(super) fn of(progress: &'a ScanProgress) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            progress,
            is_terminal: io::stderr().is_terminal() && !is_dumb,
        }
    }

    /// Shows the line until the scan is over, and removes it.
    pub(super) async fn during<T>(self, scan: impl Future<Output = T>) -> T {
        let mut scan = pin!(scan);
        if !self.is_terminal {
            return scan.await;
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut is_shown = false;
        let result = loop {
            tokio::select! {
                result = &mut scan => break result,
                _ = ticks.tick() => {
                    is_shown = true;
                    write(&format!("{ERASE}{}", line(self.progress)));
                }
            }
        };
        if is_shown {
            write(ERASE);
        }
        result
    }
}

fn line(progress: &ScanProgress) -> String {
    match progress.kinds() {
        (_, 0) => "scanning: reading release records".to_owned(),
        (done, all) => format!(
            "scanning: {done} of {}, {}",
            counted(all, "kind"),
            counted(progress.objects(), "object")
        ),
    }
}

/// An error of standard error cannot be reported anywhere.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_the_scan_is() {
        let progress = ScanProgress::default();
        assert_eq!(line(&progress), "scanning: reading release records");
        progress.expect(35);
        progress.advance(240);
        progress.advance(1);
        assert_eq!(line(&progress), "scanning: 2 of 35 kinds, 241 objects");
    }
}
