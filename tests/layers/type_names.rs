//! The names of types, and how often each is used for another type.

use std::{collections::BTreeMap, fs, path::Path};

/// Words that stand before the name of a type.
const KEYWORDS: [&str; 4] = ["struct", "enum", "trait", "type"];

/// Counts the definitions of each name in a folder of sources, those of tests too.
pub fn count(folder: &Path, names: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for name in defined(&fs::read_to_string(&path).unwrap()) {
                *names.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
}

/// The types that a source file defines. An indented `type` is the associated type of a trait, whose name is
/// given.
pub fn defined(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let mut word = words.next()?;
        if word == "pub" || word.starts_with("pub(") {
            word = words.next()?;
        }
        if !KEYWORDS.contains(&word) || (word == "type" && line.starts_with(' ')) {
            return None;
        }
        let name = words.next()?;
        name.split(|char: char| !char.is_alphanumeric() && char != '_')
            .next()
    })
}
