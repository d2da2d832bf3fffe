//! `helm-guard version`.

use std::process::ExitCode;

use helm_guard_core::api::API_VERSION;
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{self, Format, print};

/// What was built, and from what.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Version")]
pub(super) struct BuildInfo {
    api_version: &'static str,
    kind: &'static str,
    version: &'static str,
    /// The commit; `unknown` for a build that is not a release build from a clone.
    commit: &'static str,
    /// When the commit was made, RFC 3339.
    date: &'static str,
}

const BUILD: BuildInfo = BuildInfo {
    api_version: API_VERSION,
    kind: "Version",
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("HELM_GUARD_COMMIT"),
    date: env!("HELM_GUARD_COMMIT_DATE"),
};

/// What the build script sets for a build outside of a clone.
const UNKNOWN: &str = "unknown";

/// Prints it.
pub(super) fn run(format: Format) -> anyhow::Result<ExitCode> {
    let BuildInfo {
        version,
        commit,
        date,
        ..
    } = BUILD;
    let text = output::encode(format, &BUILD)?.unwrap_or_else(|| match commit {
        UNKNOWN => format!("helm-guard {version} (built without a repository)\n"),
        commit => format!("helm-guard {version} (commit {commit}, {date})\n"),
    });
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
