//! Plays the scenes of a folder.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use super::scene::{self, Command, Part};
use crate::terminal::{Screen, Terminal, placeholders};

/// The widest line of a table.
const COLUMNS: usize = 80;

/// Types the commands of each scene, and compares. Panics with all differences.
pub fn play(folder: &Path) {
    let mut terminal = Terminal::open();
    let mut wrong = String::new();
    for file in scenes(folder) {
        let text = fs::read_to_string(&file).unwrap();
        let expected = scene::read(&text);
        let played: Vec<Part> = expected
            .iter()
            .map(|part| play_part(&mut terminal, part))
            .collect();
        for part in &played {
            if let Part::Command(command) = part {
                too_wide(command, &mut wrong);
            }
        }
        if env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            fs::write(&file, scene::write(&played)).unwrap();
            continue;
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for (expected, played) in expected.iter().zip(&played) {
            compare(&name, expected, played, &mut wrong);
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nUPDATE_TRANSCRIPTS=1 writes what is printed now"
    );
}

fn scenes(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn play_part(terminal: &mut Terminal, part: &Part) -> Part {
    match part {
        Part::Setup(name) => terminal.set_up(name),
        Part::Hidden(command) => drop(terminal.must(command)),
        Part::Narration(_) => {}
        Part::Command(command) => {
            let person = Some(command.person.as_str()).filter(|person| !person.is_empty());
            let typed = typed(terminal, &command.text);
            if let Some(server) = typed.strip_suffix(" &") {
                terminal.serve(server);
                return part.clone();
            }
            let Screen { text, status } = terminal.run_as(&typed, person);
            return Part::Command(Command {
                output: tidy(&shown(terminal, &text)),
                status,
                ..command.clone()
            });
        }
    }
    part.clone()
}

/// A server's usual addresses.
const ADDRESSES: [&str; 2] = ["127.0.0.1:8443", "127.0.0.1:8080"];

/// A command with addresses that are free here.
fn typed(terminal: &Terminal, command: &str) -> String {
    let addresses = ADDRESSES.iter().zip(terminal.addresses());
    addresses.fold(command.to_owned(), |text, (usual, here)| {
        text.replace(usual, here)
    })
}

/// The reverse, with placeholders.
fn shown(terminal: &Terminal, text: &str) -> String {
    let addresses = ADDRESSES.iter().zip(terminal.addresses());
    let text = addresses.fold(text.to_owned(), |text, (usual, here)| {
        text.replace(here, usual)
    });
    placeholders::put(&text, &terminal.dir())
}

/// Without spaces at the ends of lines, which nobody sees.
fn tidy(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_end().to_owned()
}

fn compare(file: &str, expected: &Part, played: &Part, wrong: &mut String) {
    if let (Part::Command(expected), Part::Command(played)) = (expected, played)
        && expected != played
    {
        let _ = writeln!(
            wrong,
            "{file} shows:\n{}\nand this is printed:\n{}\n",
            scene::screen(expected),
            scene::screen(played)
        );
    }
}

/// A table has columns with three spaces between them.
fn too_wide(command: &Command, wrong: &mut String) {
    // With -o wide, nothing is cut.
    let is_ours = command.text.contains("helm-guard") && !command.text.contains("-o wide");
    let is_table = |line: &&str| line.trim_start_matches(['#', ' ']).contains("   ");
    let wide = command
        .output
        .lines()
        .filter(is_table)
        .filter(|line| line.chars().count() > COLUMNS);
    for line in wide.filter(|_| is_ours) {
        let _ = writeln!(
            wrong,
            "{}\nprints a line of a table with more than {COLUMNS} columns:\n{line}\n",
            command.text
        );
    }
}
