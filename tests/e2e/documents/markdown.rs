//! Reads the fenced blocks of a page, and the markers above them.

use super::marker::Markers;

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The number of the line with the fence.
    pub line: usize,
    /// The word behind the fence.
    pub language: String,
    pub text: String,
    pub markers: Markers,
}

/// A command, and what the page shows of its output.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub text: String,
    /// Empty if the page shows none.
    pub output: String,
}

/// The blocks of a page, in order.
///
/// # Errors
/// A marker that does not say what it means, with its line.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut comments = Vec::new();
    let mut lines = (1..).zip(page.lines());
    while let Some((number, line)) = lines.next() {
        let start = line.trim_start();
        if let Some(comment) = start.strip_prefix("<!--") {
            let mut text = comment.to_owned();
            while !text.contains("-->") {
                let Some((_, next)) = lines.next() else { break };
                text.push(' ');
                text.push_str(next.trim());
            }
            let text = text.split("-->").next().unwrap_or_default().trim();
            if let Some(marker) = text.strip_prefix("test:") {
                comments.push((number, marker.trim().to_owned()));
            }
        } else if let Some(language) = start.strip_prefix("```") {
            let indent = line.len() - start.len();
            let mut text = String::new();
            for (_, inner) in lines.by_ref() {
                if inner.trim() == "```" {
                    break;
                }
                text.push_str(inner.get(indent..).unwrap_or(inner.trim_start()));
                text.push('\n');
            }
            let mut markers = Markers::default();
            for (line, comment) in comments.drain(..) {
                markers
                    .add(&comment)
                    .map_err(|error| format!("line {line}: {error}"))?;
            }
            blocks.push(Block {
                line: number,
                language: language.trim().to_owned(),
                text,
                markers,
            });
        } else if !line.trim().is_empty() && !comments.is_empty() {
            return Err(format!(
                "line {number}: a marker belongs directly above a block"
            ));
        }
    }
    Ok(blocks)
}

impl Block {
    /// Whether it is for a terminal.
    ///
    /// # Errors
    /// A language that nothing is known about.
    pub fn is_commands(&self) -> Result<bool, String> {
        match self.language.as_str() {
            "sh" | "console" => Ok(true),
            "json" | "text" | "yaml" => Ok(false),
            other => Err(format!(
                "line {}: the language of a block is sh, console, yaml, json or text, not {other:?}",
                self.line
            )),
        }
    }

    /// Its commands: one for each `$ ` of a console, and the whole text of a script.
    pub fn commands(&self) -> Vec<Command> {
        if self.language == "sh" {
            return vec![Command {
                text: self.text.clone(),
                output: String::new(),
            }];
        }
        let mut commands: Vec<Command> = Vec::new();
        for line in self.text.lines() {
            if let Some(text) = line.strip_prefix("$ ") {
                commands.push(Command {
                    text: text.to_owned(),
                    output: String::new(),
                });
            } else if let Some(command) = commands.last_mut() {
                let is_continued = command.output.is_empty() && command.text.ends_with('\\');
                let text = match line.strip_prefix("> ") {
                    Some(more) if command.output.is_empty() => {
                        command.text.push('\n');
                        command.text.push_str(more);
                        continue;
                    }
                    _ if is_continued => {
                        command.text.push('\n');
                        command.text.push_str(line);
                        continue;
                    }
                    _ => line,
                };
                command.output.push_str(text);
                command.output.push('\n');
            }
        }
        for command in &mut commands {
            // An empty line separates commands.
            command.output.truncate(command.output.trim_end().len());
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
Text.

<!-- test: setup=release myapp, exit 1 0 -->
```console
$ kubectl scale \\
    --replicas=0
Error: no

$ helm list
```

```yaml
a: b
```
";

    #[test]
    fn a_page_is_read_as_commands_with_what_it_shows_of_their_output() {
        let found = blocks(PAGE).unwrap();
        let [console, yaml] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert!(console.is_commands().unwrap() && !yaml.is_commands().unwrap());
        assert_eq!(console.markers.setups, ["release myapp"]);
        assert_eq!(console.markers.statuses, [1, 0]);
        let command = |text: &str, output: &str| Command {
            text: text.to_owned(),
            output: output.to_owned(),
        };
        assert_eq!(
            console.commands(),
            [
                command("kubectl scale \\\n    --replicas=0", "Error: no"),
                command("helm list", ""),
            ]
        );
    }

    #[test]
    fn a_marker_without_a_block_is_an_error() {
        let error = blocks("<!-- test: exit 1 -->\nText.\n").unwrap_err();
        assert!(error.starts_with("line 2: "), "{error}");
    }
}
