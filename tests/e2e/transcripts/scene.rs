//! The files of scenes.
//!
//! ```text
//! -- What happens, for the reader.
//! %% guard Deny
//! % a command that is not shown, and must succeed
//!
//! $ kubectl -n shop scale --replicas=0 deployment/myapp
//! Error from server (Forbidden): …
//! # exit 1
//!
//! bob$ a command of another person
//! ```
//!
//! `%%` names a setup of `terminal::setups`. Of an output, what differs each time is a placeholder.

use std::fmt::Write;

/// A part of a scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Narration(String),
    Setup(String),
    Hidden(String),
    Command(Command),
}

/// A command and its screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Who types it; the user of the terminal if empty.
    pub person: String,
    pub text: String,
    pub output: String,
    pub status: i32,
}

/// Reads a file.
pub fn read(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(narration) = line.strip_prefix("-- ") {
            parts.push(Part::Narration(narration.to_owned()));
        } else if let Some(setup) = line.strip_prefix("%% ") {
            parts.push(Part::Setup(setup.to_owned()));
        } else if let Some(hidden) = line.strip_prefix("% ") {
            parts.push(Part::Hidden(whole(hidden, &mut lines)));
        } else if let Some((person, command)) = prompt(line) {
            parts.push(Part::Command(Command {
                person: person.to_owned(),
                text: whole(command, &mut lines),
                ..Command::default()
            }));
        } else if let Some(Part::Command(command)) = parts.last_mut() {
            let status = line.strip_prefix("# exit ").map(str::parse);
            if let Some(Ok(status)) = status {
                command.status = status;
            } else {
                command.output.push_str(line);
                command.output.push('\n');
            }
        }
    }
    for part in &mut parts {
        if let Part::Command(command) = part {
            command.output.truncate(command.output.trim_end().len());
        }
    }
    parts
}

/// A command with the lines that it goes on in.
fn whole<'a>(start: &str, lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut text = start.to_owned();
    let is_document = start.contains("<<'EOF'");
    while is_document || text.ends_with('\\') {
        let Some(line) = lines.next() else { break };
        text.push('\n');
        text.push_str(line);
        if is_document && line == "EOF" {
            break;
        }
    }
    text
}

/// Who types, and what.
fn prompt(line: &str) -> Option<(&str, &str)> {
    let (person, command) = line.split_once("$ ")?;
    person
        .bytes()
        .all(|byte| byte.is_ascii_lowercase())
        .then_some((person, command))
}

/// Writes a file.
pub fn write(parts: &[Part]) -> String {
    let mut text = String::new();
    let mut is_apart = true;
    for part in parts {
        if matches!(part, Part::Command(_)) && !is_apart {
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = match part {
            Part::Narration(line) => writeln!(text, "-- {line}"),
            Part::Setup(name) => writeln!(text, "%% {name}"),
            Part::Hidden(command) => writeln!(text, "% {command}"),
            Part::Command(command) => writeln!(text, "{}", screen(command)),
        };
        is_apart = matches!(part, Part::Command(_));
        if is_apart {
            text.push('\n');
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A command as a scene shows it.
pub fn screen(command: &Command) -> String {
    let mut text = format!("{}$ {}", command.person, command.text);
    if !command.output.is_empty() {
        let _ = write!(text, "\n{}", command.output);
    }
    if command.status != 0 {
        let _ = write!(text, "\n# exit {}", command.status);
    }
    text
}

#[test]
fn a_scene_reads_as_it_is_written() {
    let text = "\
-- Bob is new.
%% guard Deny
% true

bob$ kubectl scale \\
  --replicas=0
Error: no

  really
# exit 1

$ kubectl apply -f - <<'EOF'
a: b
EOF
applied
";
    let parts = read(text);
    assert_eq!(parts.len(), 5);
    assert_eq!(
        parts.get(3),
        Some(&Part::Command(Command {
            person: "bob".to_owned(),
            text: "kubectl scale \\\n  --replicas=0".to_owned(),
            output: "Error: no\n\n  really".to_owned(),
            status: 1,
        }))
    );
    assert_eq!(write(&parts), text);
}
