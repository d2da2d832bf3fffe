//! Log lines on stderr, and what a bug may say.
//!
//! Invariant: a pipe that nobody reads holds up no request. Lines that it does not take are dropped and
//! counted.

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

/// How long the last lines may take at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Standard error, written to by a thread of its own.
#[derive(Clone, Debug)]
pub(super) struct Log {
    lines: LineWriter,
    dropped: Arc<AtomicU64>,
}

impl Log {
    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
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

/// Writes what is queued when the process ends.
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
        LogFormat::Text => lines.with_ansi(colours()).init(),
    }
    silence_panics();
    (log.clone(), FlushOnDrop(log))
}

/// <https://no-color.org>
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The message of a panic can quote what was worked on ("byte index 3 is not a char boundary; it is
/// inside 'é' of `…`"), and that may be a Secret: only the place is told.
fn silence_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "this is a bug: a task panicked");
    }));
}
