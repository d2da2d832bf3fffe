//! What the demo looks like: the command as typed, what it printed, and one line on what to see.

use std::{
    env,
    io::{self, IsTerminal},
};

/// Colours only where a terminal shows them and nobody objects.
#[derive(Clone, Copy)]
pub struct Screen {
    colours: bool,
}

impl Screen {
    pub fn new() -> Self {
        let objection = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colours: io::stdout().is_terminal() && !objection,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The heading of a step.
    pub fn title(self, text: &str) {
        println!("\n{}", self.paint("1", text));
    }

    /// A command line, as who types it would see it.
    pub fn command(self, who: &str, line: &str) {
        println!(
            "  {} {}",
            self.paint("36", &format!("{who}$")),
            self.paint("1", line)
        );
    }

    /// What to see in it: it came out as it should.
    pub fn see(self, text: &str) {
        println!("  {} {text}", self.paint("32", "=>"));
    }
}

/// A sentence of ours.
pub fn say(text: &str) {
    println!("  {text}");
}

/// What a command printed.
pub fn output(text: &str) {
    for line in text.trim_end().lines() {
        println!("    {line}");
    }
}
