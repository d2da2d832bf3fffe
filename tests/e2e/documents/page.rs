//! Types the commands of a page into a terminal, in order.

use std::{fmt::Write, fs};

use super::markdown::{Block, Command};
use crate::terminal::{Screen, Terminal, compare, placeholders};

/// What ran, and what did not.
#[derive(Default)]
pub struct Report {
    pub ran: usize,
    /// The line of each skipped block, and the reason.
    pub skipped: Vec<(usize, String)>,
}

impl Report {
    /// As the test prints it.
    pub fn text(&self, page: &str) -> String {
        let skipped = self.skipped.len();
        let mut text = format!("{page}: {} blocks ran, {skipped} were skipped\n", self.ran);
        for (line, reason) in &self.skipped {
            let _ = writeln!(text, "  line {line}: {reason}");
        }
        text
    }
}

/// Runs all blocks. A control plane is only started if a block needs it.
///
/// # Errors
/// The first command that does not do what the page says.
pub fn run(blocks: &[Block]) -> Result<Report, String> {
    let mut report = Report::default();
    let mut terminal = None;
    for block in blocks {
        if let Some(reason) = &block.markers.skip {
            report.skipped.push((block.line, reason.clone()));
            continue;
        }
        let is_commands = block.is_commands()?;
        if !is_commands && block.markers.file.is_none() {
            continue;
        }
        let terminal = terminal.get_or_insert_with(Terminal::open);
        if let Some(file) = &block.markers.file {
            fs::write(terminal.dir().join(file), &block.text)
                .map_err(|error| format!("line {}: {file}: {error}", block.line))?;
            continue;
        }
        run_block(terminal, block).map_err(|error| format!("line {}: {error}", block.line))?;
        report.ran += 1;
    }
    if let Some(mut terminal) = terminal {
        terminal.interrupt();
    }
    Ok(report)
}

fn run_block(terminal: &mut Terminal, block: &Block) -> Result<(), String> {
    if block.markers.interrupt {
        terminal.interrupt();
    }
    for setup in &block.markers.setups {
        terminal.set_up(setup);
    }
    for (number, command) in block.commands().iter().enumerate() {
        let text = replaced(terminal, block, &command.text);
        if block.markers.serves {
            terminal.serve(&text);
            continue;
        }
        let screen = terminal.run(&text);
        check(terminal, command, &screen, block.markers.status(number))?;
    }
    Ok(())
}

/// The command with what the markers replace in it.
fn replaced(terminal: &Terminal, block: &Block, command: &str) -> String {
    let [listen, admin] = terminal.addresses();
    let mut command = command.to_owned();
    for (from, to) in &block.markers.replacements {
        let to = to.replace("LISTEN", listen).replace("ADMIN", admin);
        command = command.replace(from, &to);
    }
    command
}

fn check(
    terminal: &Terminal,
    command: &Command,
    screen: &Screen,
    status: i32,
) -> Result<(), String> {
    let Screen {
        text,
        status: exited,
    } = screen;
    if *exited != status {
        return Err(format!(
            "{}\nexits with {exited} instead of {status}:\n{text}",
            command.text
        ));
    }
    if command.output.is_empty() {
        return Ok(());
    }
    let put = |text: &str| placeholders::put(text, &terminal.dir());
    match compare::missing(&put(&command.output), &put(text)) {
        None => Ok(()),
        Some(line) => Err(format!(
            "{}\ndoes not print this as shown: {line}\n{text}",
            command.text
        )),
    }
}
