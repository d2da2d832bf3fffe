//! `helm-guard policy presets`

use std::{fmt::Write, process::ExitCode};

use helm_guard_core::policy::presets::{ALL, Grant, PresetRule};
use serde::Serialize;

use crate::cli::output::{self, Format, Screen, Tone, print, toned};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownPreset {
    name: &'static str,
    about: &'static str,
    default: bool,
    entries: Vec<ShownEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownEntry {
    /// Empty: anyone.
    users: Vec<&'static str>,
    /// Empty: every kind.
    kinds: Vec<String>,
    allows: Vec<String>,
    /// The license that it needs.
    license: String,
}

/// Lists the presets.
pub(super) fn run(format: Format) -> anyhow::Result<ExitCode> {
    let presets: Vec<ShownPreset> = ALL
        .iter()
        .map(|preset| ShownPreset {
            name: preset.name,
            about: preset.about,
            default: preset.is_default,
            entries: preset.entries.iter().map(entry).collect(),
        })
        .collect();
    let text = match output::encode(format, &presets)? {
        Some(text) => text,
        None => paragraphs(&presets, Screen::of_stdout(format)),
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn entry(entry: &PresetRule) -> ShownEntry {
    let kind = |(group, kind): &(&str, &str)| match *group {
        "" => (*kind).to_owned(),
        group => format!("{kind}.{group}"),
    };
    let allows = |grant: &Grant| match grant {
        Grant::Delete => "delete".to_owned(),
        Grant::Scale => "scale".to_owned(),
        Grant::Change(path) => format!("change {path}"),
        Grant::Grow(path) => format!("grow {path}"),
        Grant::Remove(path) => format!("remove {path}"),
        Grant::Challenges => "add and remove routes of ACME challenges".to_owned(),
    };
    ShownEntry {
        users: entry.users.to_vec(),
        kinds: entry.kinds.iter().map(kind).collect(),
        allows: entry.grants.iter().map(allows).collect(),
        license: entry.license.describe(),
    }
}

/// A paragraph for each preset, because purposes and licenses are sentences.
fn paragraphs(presets: &[ShownPreset], screen: Screen) -> String {
    let mut text = String::new();
    for preset in presets {
        let default = if preset.default { "on" } else { "off" };
        let name = toned(Tone::Heading, preset.name);
        let _ = writeln!(text, "{name} ({default} by default)");
        text.push_str(&screen.wrapped("  ", preset.about));
        let mut licenses: Vec<&str> = Vec::new();
        for entry in &preset.entries {
            if !licenses.contains(&&*entry.license) {
                licenses.push(&entry.license);
                text.push_str(&screen.wrapped("  ", &format!("license: {}", entry.license)));
            }
        }
    }
    text
}
