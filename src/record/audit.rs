//! The audit log: one JSON line for each decision that matters, whatever the format of the other
//! log lines is.
//!
//! A line has `"target":"audit"` and the same first keys as a JSON log line, so that one reader
//! takes both from one stream. It is written before the answer is sent: a change that passed in an
//! emergency is never unrecorded.
//!
//! A line is about a request, not about its success: after the webhook the API server may still
//! refuse it, and after a conflict with another writer it asks again, with another uid.
//!
//! A line that cannot be written where it belongs goes to the fallback, and is reported either way.

pub mod file;

use std::{
    io::{self, Write},
    time::Duration,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    api::EmergencyChangeSpec,
    breakglass::Made,
    guard::{Decided, Decision, Finding, Reason},
    policy::presets,
    record::Emergency,
};

/// A disk that hangs holds one writer; the others wait no longer than this.
const PATIENCE: Duration = Duration::from_millis(250);

type Sink = Mutex<Box<dyn Write + Send>>;

/// Where audit lines go.
pub struct AuditLog {
    sink: Sink,
    fallback: Option<Sink>,
}

/// Why a line is not where it belongs.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It could not be made.
    #[error("failed to make the line: {0}")]
    Encode(#[from] serde_json::Error),
    /// It could not be written.
    #[error("failed to write the line: {0}")]
    Write(io::Error),
    /// Another line has not been written for too long.
    #[error("failed to write the line: an earlier one is still being written")]
    Busy,
    /// It is in the fallback instead.
    #[error("{0}; it is on standard error instead")]
    Elsewhere(Box<AuditError>),
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditLog").finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    timestamp: Timestamp,
    level: &'static str,
    target: &'static str,
    message: &'static str,
    uid: &'a str,
    decision: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption: Option<&'a str>,
    mode: &'static str,
    operation: &'static str,
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_manager: Option<&'a str>,
    object: Object<'a>,
    releases: Vec<Release<'a>>,
    #[serde(flatten)]
    change: Option<&'a Made>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emergency: Option<EmergencyLine<'a>>,
}

/// The whole record of an emergency change: where it cannot be kept, this is all there is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EmergencyLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_kept: Option<String>,
    record: EmergencyChangeSpec,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    groups: &'a [std::borrow::Cow<'a, str>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

#[derive(Serialize)]
struct Release<'a> {
    name: &'a str,
    namespace: &'a str,
    chart: &'a str,
    revisions: &'a [u32],
    fields: Vec<Field>,
}

#[derive(Serialize)]
struct Field {
    path: String,
    declared: String,
    old: String,
    new: String,
}

impl AuditLog {
    /// Writes lines to `sink`, each in one call.
    pub fn new(sink: impl Write + Send + 'static) -> Self {
        Self {
            sink: Mutex::new(Box::new(sink)),
            fallback: None,
        }
    }

    /// Writes lines to `sink`, and those that it does not take to `fallback`.
    pub fn with_fallback(
        sink: impl Write + Send + 'static,
        fallback: impl Write + Send + 'static,
    ) -> Self {
        Self {
            sink: Mutex::new(Box::new(sink)),
            fallback: Some(Mutex::new(Box::new(fallback))),
        }
    }

    /// Writes the line of a decision, if it matters: whatever does not simply pass.
    pub fn write(
        &self,
        decided: &Decided<'_>,
        emergency: Option<&Emergency>,
        now: Timestamp,
    ) -> Result<(), AuditError> {
        let Some(message) = message(decided) else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(&line(decided, message, emergency, now))?;
        line.push(b'\n');
        let Err(error) = write_to(&self.sink, &line) else {
            return Ok(());
        };
        match &self.fallback {
            Some(fallback) if write_to(fallback, &line).is_ok() => {
                Err(AuditError::Elsewhere(Box::new(error)))
            }
            _ => Err(error),
        }
    }
}

fn write_to(sink: &Sink, line: &[u8]) -> Result<(), AuditError> {
    let mut sink = sink.try_lock_for(PATIENCE).ok_or(AuditError::Busy)?;
    sink.write_all(line)
        .and_then(|()| sink.flush())
        .map_err(AuditError::Write)
}

fn message(decided: &Decided<'_>) -> Option<&'static str> {
    match decided.decision {
        // Presets are for controllers, which write all day.
        Decision::Allow => {
            let rule = decided.verdict.exemption.as_deref();
            let is_exempt = decided.verdict.reason == Reason::Exempt;
            (is_exempt && !rule.is_some_and(presets::is_one))
                .then_some("passed under a rule of the policy")
        }
        Decision::Indeterminate => Some("passed unjudged"),
        Decision::Deny => Some("denied"),
        Decision::Warn => Some("passed with a warning, would be denied in mode Deny"),
        Decision::Audit => Some("passed, would be denied in mode Deny"),
        Decision::BreakGlass => Some("break-glass change"),
    }
}

fn line<'a>(
    decided: &Decided<'a>,
    message: &'static str,
    emergency: Option<&'a Emergency>,
    timestamp: Timestamp,
) -> Line<'a> {
    let request = decided.request;
    let object = match decided.object {
        Some(object) => Object {
            group: object.group,
            kind: object.kind,
            namespace: object.namespace,
            name: &object.name,
            subresource: &request.sub_resource,
        },
        None => Object {
            group: &request.kind.group,
            kind: &request.kind.kind,
            namespace: &request.namespace,
            name: &request.name,
            subresource: &request.sub_resource,
        },
    };
    let level = match decided.decision {
        Decision::Deny | Decision::Allow => "INFO",
        _ => "WARN",
    };
    Line {
        timestamp,
        level,
        target: "audit",
        message,
        uid: &request.uid,
        decision: decided.decision.as_str(),
        reason: decided.verdict.reason.as_str(),
        exemption: decided.verdict.exemption.as_deref(),
        mode: decided.mode.as_str(),
        operation: request.operation.as_str(),
        user: User {
            name: &request.user_info.username,
            groups: &request.user_info.groups,
        },
        field_manager: request.field_manager(),
        object,
        releases: decided.verdict.findings.iter().map(release).collect(),
        change: emergency.map(|emergency| &emergency.change),
        emergency: emergency.map(|emergency| EmergencyLine {
            name: emergency.kept.as_deref().ok(),
            not_kept: emergency.kept.as_ref().err().map(ToString::to_string),
            record: EmergencyChangeSpec {
                // The line has it already, and may have a longer one.
                patch: None,
                ..emergency.record.clone()
            },
        }),
    }
}

fn release(finding: &Finding) -> Release<'_> {
    Release {
        name: &finding.release.name,
        namespace: &finding.release.namespace,
        chart: &finding.chart,
        revisions: &finding.revisions,
        fields: finding
            .changes
            .iter()
            .map(|change| Field {
                path: change.path.to_string(),
                declared: change.declared.to_string(),
                old: change.live.to_string(),
                new: change.requested.to_string(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_hangs_holds_nobody_else_up() {
        let sink: Sink = Mutex::new(Box::new(io::sink()));
        let hanging = sink.lock();
        assert!(matches!(write_to(&sink, b"line\n"), Err(AuditError::Busy)));
        drop(hanging);
        assert!(write_to(&sink, b"line\n").is_ok());
    }
}
