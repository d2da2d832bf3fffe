//! The log: every refusal, miss and false denial, a JSON object a line. Values of Secrets are never
//! written.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use serde_json::{Value, json};

/// A log file.
#[derive(Debug)]
pub struct Log {
    file: Mutex<File>,
}

impl Log {
    /// Starts an empty one.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file =
            File::create(path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    pub fn write(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = writeln!(file, "{line}") {
            eprintln!("corpus: failed to write the log: {error}");
        }
    }
}

/// A value for the log: not when it comes from a Secret, and not when it is long.
pub fn shown(kind: &str, value: Option<&Value>) -> Value {
    let Some(value) = value else {
        return json!("(absent)");
    };
    if kind == "Secret" {
        return json!("(secret)");
    }
    let text = value.to_string();
    if text.chars().count() > 200 {
        json!(
            text.chars()
                .take(200)
                .chain("...".chars())
                .collect::<String>()
        )
    } else {
        value.clone()
    }
}
