//! Log lines on stderr, and what a bug may say.

use std::{
    io::{self, IsTerminal},
    panic,
};

use tracing_subscriber::EnvFilter;

use super::{args::LogFormat, config::Logging};

/// Starts logging. Called once, before anything else is set up.
pub(super) fn start(logging: &Logging) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&logging.filter))
        .with_writer(io::stderr);
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
