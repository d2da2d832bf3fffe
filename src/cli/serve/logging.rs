//! Log lines on stderr, and the message of a panic.
//!
//! Invariant: a blocked pipe does not delay requests. Lines that do not fit are dropped and counted.

use std::{
    io::{self, IsTerminal, Write},
    panic,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tracing_subscriber::EnvFilter;

use super::{args::LogFormat, config::Logging};
use crate::record::audit::writer::LineWriter;

/// Time limit for writing the last lines at exit.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Standard error, written by its own thread.
#[derive(Clone, Debug)]
pub(super) struct Log {
    lines: LineWriter,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// The number of dropped lines.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// The subscriber formats a line and writes it in one call.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.queue(&Arc::from(line)).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes the queued lines at exit.
#[derive(Debug)]
pub(super) struct FlushOnDrop(Log);

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        self.0.lines.flush(FLUSH_TIMEOUT);
    }
}

/// Starts logging. Called once, before anything else is set up.
pub(super) fn start(logging: &Logging) -> (Log, FlushOnDrop) {
    let log = Log {
        lines: LineWriter::start(io::stderr()),
        dropped: Arc::default(),
    };
    let to = log.clone();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&logging.filter))
        .with_writer(move || to.clone());
    match logging.format {
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .init(),
        LogFormat::Text => lines.with_ansi(has_colors()).init(),
    }
    silence_panics();
    (log.clone(), FlushOnDrop(log))
}

/// <https://no-color.org>
fn has_colors() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The message of a panic can quote data ("byte index 3 is not a char boundary; it is inside 'é' of `…`"),
/// which may be a Secret. So only the place is logged.
fn silence_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "this is a bug: a task panicked");
    }));
}
