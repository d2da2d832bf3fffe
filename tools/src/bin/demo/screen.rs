//! The output of the demo: the command as typed, its output, and one line of explanation.

use std::{
    env,
    io::{self, IsTerminal},
};

/// Colors only on a terminal, and if they are not disabled.
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

    /// A command line as the user would see it.
    pub fn command(self, who: &str, line: &str) {
        println!(
            "  {} {}",
            self.paint("36", &format!("{who}$")),
            self.paint("1", line)
        );
    }

    /// The explanation of a successful step.
    pub fn see(self, text: &str) {
        println!("  {} {text}", self.paint("32", "=>"));
    }
}

/// A sentence of the demo itself.
pub fn say(text: &str) {
    println!("  {text}");
}

/// The output of a command.
pub fn output(text: &str) {
    for line in text.trim_end().lines() {
        println!("    {line}");
    }
}
