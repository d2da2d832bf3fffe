//! `helm-guard policy presets`

use std::{fmt::Write, process::ExitCode};

use helm_guard_core::{
    api::API_VERSION,
    policy::presets::{ALL, Grant, PresetRule},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::output::{self, Format, Screen, Tone, print, toned};

/// The built-in exemptions.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct PresetList {
    api_version: &'static str,
    kind: &'static str,
    items: Vec<ShownPreset>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListedPreset")]
struct ShownPreset {
    name: &'static str,
    about: &'static str,
    /// Whether it is on unless a policy disables it.
    default: bool,
    entries: Vec<ShownEntry>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ListedPresetEntry")]
struct ShownEntry {
    /// Empty: anyone.
    users: Vec<&'static str>,
    /// Empty: every kind.
    kinds: Vec<String>,
    /// What it allows, in words.
    allows: Vec<String>,
    /// The license that it needs.
    license: String,
}

/// Lists the presets.
pub(super) fn run(format: Format) -> anyhow::Result<ExitCode> {
    let presets = ALL.iter().map(|preset| ShownPreset {
        name: preset.name,
        about: preset.about,
        default: preset.is_default,
        entries: preset.entries.iter().map(entry).collect(),
    });
    let list = PresetList {
        api_version: API_VERSION,
        kind: "PresetList",
        items: presets.collect(),
    };
    let text = match output::encode(format, &list)? {
        Some(text) => text,
        None => paragraphs(&list.items, Screen::of_stdout(format)),
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
