//! What a table is printed on.

use std::env;

use super::Format;

/// Narrower terminals get a table of this width.
const NARROWEST: usize = 40;

/// What a table is printed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Screen {
    /// The width in characters; `None` if nothing has to fit, as in a pipe.
    pub(in crate::cli) width: Option<usize>,
    /// Whether all columns are shown, and none is cut.
    pub(in crate::cli) is_wide: bool,
}

impl Screen {
    /// Standard output. An exported `COLUMNS` counts first, also in a pipe.
    pub(in crate::cli) fn of_stdout(format: Format) -> Self {
        let exported = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let of_terminal = || terminal_size::terminal_size_of(std::io::stdout());
        let width = exported.or_else(|| of_terminal().map(|(width, _)| usize::from(width.0)));
        Self {
            width: width.map(|width| width.max(NARROWEST)),
            is_wide: format == Format::Wide,
        }
    }
}
