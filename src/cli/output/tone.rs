//! Colors, by what they say.

use anstyle::{AnsiColor, Style};

/// What a text says, as a color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    Heading,
    /// All is well.
    Good,
    /// Somebody should look.
    Warning,
    /// Something is wrong.
    Bad,
}

/// `text` in the color of a tone.
pub(in crate::cli) fn toned(tone: Tone, text: &str) -> String {
    let style = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Heading => Style::new().bold(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Warning => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    };
    format!("{style}{text}{style:#}")
}

pub(in crate::cli) fn tone_of(verdict: &str) -> Tone {
    match verdict {
        "allowed" => Tone::Good,
        "denied" => Tone::Bad,
        _ => Tone::Warning,
    }
}
