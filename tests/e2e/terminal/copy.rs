//! The working copy.

use std::{fs, path::Path};

/// Folders that are not part of the repository, or that no page names a file of.
const LEFT_OUT: [&str; 4] = ["target", "tmp", "fuzz", "benches"];

/// Copies the repository into a new folder.
pub fn repository(to: &Path) {
    folder(Path::new(env!("CARGO_MANIFEST_DIR")), to);
}

fn folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if LEFT_OUT.contains(&text.as_ref()) || text.starts_with('.') {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            folder(&entry.path(), &to.join(name));
        } else if kind.is_file() {
            // Keeps the permissions of scripts.
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
