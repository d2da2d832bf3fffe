//! Findings that are accepted: a file with their IDs, so that only new ones count.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, bail};
use helm_guard_core::{
    api::API_VERSION,
    scan::{DriftFinding, ScanReport},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The kind of the document.
const KIND: &str = "ScanBaseline";

/// Accepted findings.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::cli) struct Baseline {
    api_version: String,
    kind: String,
    /// IDs of findings, each with the live value that was accepted: another value is a new finding.
    findings: BTreeMap<String, Value>,
}

impl Baseline {
    /// Everything that a report has found. What could not be read cannot be accepted.
    pub(super) fn of(report: &ScanReport) -> Self {
        let findings = report.findings().filter(|finding| !finding.is_error());
        Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            findings: findings
                .map(|finding| (finding.id.clone(), accepted(finding)))
                .collect(),
        }
    }

    /// # Errors
    /// When the file cannot be read, or is not a baseline.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let name = file.display();
        let text = fs::read_to_string(file).with_context(|| format!("failed to read {name}"))?;
        let baseline: Self =
            serde_json::from_str(&text).with_context(|| format!("{name} is not a baseline"))?;
        if baseline.kind != KIND || baseline.api_version != API_VERSION {
            bail!(
                "{name} is not a baseline of {API_VERSION}: helm-guard scan --write-baseline writes one"
            );
        }
        Ok(baseline)
    }

    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = format!("{:#}\n", serde_json::to_value(self)?);
        fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
    }

    /// Whether a finding is accepted.
    pub(super) fn has(&self, finding: &DriftFinding) -> bool {
        self.findings.get(&finding.id) == Some(&accepted(finding))
    }

    pub(super) fn len(&self) -> usize {
        self.findings.len()
    }
}

/// The hash of a redacted value differs in every process, so only that there is one is kept.
fn accepted(finding: &DriftFinding) -> Value {
    if finding.described.is_empty() {
        finding.live.clone().unwrap_or(Value::Null)
    } else {
        Value::from("<described>")
    }
}
