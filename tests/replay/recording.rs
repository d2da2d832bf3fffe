//! Recorded admission reviews, one per line, in their original order.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The lines of all `*.jsonl` files of a folder, in the order in which they were recorded.
///
/// # Panics
/// When there are none.
pub fn read(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder of recordings is readable");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder of recordings is readable").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .collect();
    files.sort();
    let mut lines = Vec::new();
    let mut put_off: Option<(&str, Vec<String>)> = None;
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if let Some((_, tail)) = put_off.take_if(|(before, _)| name.starts_with(*before)) {
            lines.extend(tail);
        }
        let text = fs::read_to_string(file).expect("a recording is readable");
        let mut recorded: Vec<String> = text.lines().map(str::to_owned).collect();
        // This file continues with a later upgrade, after files 05 to 09.
        if name.starts_with("04-") {
            let later = recorded
                .iter()
                .position(|line| creates_revision(line, "v4"));
            let tail = recorded.split_off(later.unwrap_or(recorded.len()));
            put_off = Some(("10-", tail));
        }
        lines.extend(recorded);
    }
    lines.extend(put_off.map(|(_, tail)| tail).unwrap_or_default());
    assert!(
        !lines.is_empty(),
        "{} holds no recordings",
        folder.display()
    );
    lines
}

fn creates_revision(line: &str, revision: &str) -> bool {
    let request = helm_guard::webhook::envelope::parse(line.as_bytes())
        .expect("a recorded review is well-formed");
    request.operation == helm_guard_core::guard::Operation::Create
        && request.name.starts_with("sh.helm.release.v1.")
        && request.name.ends_with(&format!(".{revision}"))
}
