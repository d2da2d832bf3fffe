//! The audit log: one JSON line per decision that matters, regardless of the format of the other log lines.
//!
//! A line has `"target":"audit"` and the same first keys as a JSON log line, so that one reader can take both
//! from one stream. It is written before the answer is sent, so no change that passes in an emergency goes
//! unrecorded.
//!
//! A line is about a request, not about its success: after the webhook, the API server may still reject it.
//! After a write conflict it calls the webhook again, with another uid.
//!
//! A line that cannot be written to its sink goes to the fallback; either way the failure is reported. A sink
//! that hangs delays no request: see [`writer`]. When it recovers it may write a line that is in the fallback
//! too.
//!
//! Each line has the process that wrote it and a number that grows by one, so that a reader can find missing
//! and duplicate lines.

pub(crate) mod file;
pub(crate) mod notice;
pub(crate) mod writer;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use self::writer::{LineWriter, Queued, WriteError};

use helm_guard_core::{
    api::{
        API_VERSION, EmergencyChangeSpec,
        reported::{ReportedFinding, ReportedObject, ReportedUser, ReportedVerdict},
    },
    breakglass::RedactedPatch,
    guard::{Decided, Decision, Reason},
    policy::presets,
};

use crate::record::{Emergency, changes::Persisted};

/// Where audit lines go.
#[derive(Clone, Debug)]
pub(crate) struct AuditLog {
    sink: LineWriter,
    fallback: Option<LineWriter>,
    process: Arc<str>,
    sequence: Arc<AtomicU64>,
}

/// Why a line did not reach its sink.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    /// It could not be encoded.
    #[error("failed to encode the line: {0}")]
    Encode(#[from] serde_json::Error),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It is in the fallback instead.
    #[error("{0}; it is on standard error instead")]
    Elsewhere(WriteError),
}

/// A line that is being written.
#[derive(Debug)]
pub(crate) struct Pending {
    line: Arc<[u8]>,
    queued: Result<Queued, WriteError>,
    fallback: Option<LineWriter>,
}

impl Pending {
    /// Waits until the line is written, within a budget.
    ///
    /// # Errors
    /// When it did not reach its sink; it may be in the fallback.
    pub(crate) async fn written(self) -> Result<(), AuditError> {
        let error = match self.queued {
            Ok(queued) => match queued.written().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let Some(fallback) = self.fallback else {
            return Err(error.into());
        };
        let Ok(queued) = fallback.queue(&self.line) else {
            return Err(error.into());
        };
        Err(match queued.written().await {
            Ok(()) => AuditError::Elsewhere(error),
            Err(_) => error.into(),
        })
    }
}

/// The kind of a line about a request.
const LINE_KIND: &str = "AuditLine";

/// A line about a request.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditLine<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// When the decision was made.
    #[schemars(with = "String")]
    timestamp: Timestamp,
    /// As in the other log lines.
    level: &'static str,
    /// `audit`, which tells it from the other log lines.
    target: &'static str,
    /// In words.
    message: &'static str,
    /// The process that wrote it.
    process: &'a str,
    /// Its number in that process, from 1.
    sequence: u64,
    /// UID of the admission request.
    uid: &'a str,
    #[serde(flatten)]
    verdict: ReportedVerdict,
    /// The enforcement mode that applies.
    mode: &'static str,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    operation: &'static str,
    #[serde(flatten)]
    user: ReportedUser,
    /// What the client calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    field_manager: Option<&'a str>,
    object: ReportedObject,
    /// What each release objects to.
    findings: Vec<ReportedFinding>,
    #[serde(flatten)]
    change: Option<&'a RedactedPatch>,
    /// Of a change that passed by break-glass.
    #[serde(skip_serializing_if = "Option::is_none")]
    emergency: Option<EmergencyLine<'a>>,
    /// For an emergency identity: the grants in force for it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    grants: &'a [String],
}

/// The complete record of an emergency change: if it cannot be stored in the cluster, this is the only copy.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EmergencyLine<'a> {
    /// The `EmergencyChange`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// Why it could not be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_kept: Option<String>,
    /// Its content, without the patch.
    record: EmergencyChangeSpec,
}

impl AuditLog {
    /// Writes lines to `sink`, each in one call, on behalf of this process.
    pub(crate) fn new(process: impl Into<Arc<str>>, sink: impl Write + Send + 'static) -> Self {
        Self {
            sink: LineWriter::start(sink),
            fallback: None,
            process: process.into(),
            sequence: Arc::default(),
        }
    }

    /// Writes to `fallback` the lines that the sink does not take.
    #[must_use]
    pub(crate) fn with_fallback(mut self, fallback: impl Write + Send + 'static) -> Self {
        self.fallback = Some(LineWriter::start(fallback));
        self
    }

    /// Whether the sink has stopped taking lines.
    pub(crate) fn is_stalled(&self) -> bool {
        self.sink.is_stalled()
    }

    /// Waits until queued lines are written, for at most `patience`. Blocks.
    #[cfg(test)]
    pub(crate) fn flush(&self, patience: std::time::Duration) {
        self.sink.flush(patience);
    }

    /// Queues the line of a decision, unless the request is simply allowed.
    ///
    /// # Errors
    /// When the line cannot be encoded.
    pub(crate) fn queue(
        &self,
        decided: &Decided<'_>,
        emergency: Option<&Emergency>,
        grants: &[String],
        now: Timestamp,
    ) -> Result<Option<Pending>, AuditError> {
        let Some(message) = message(decided) else {
            return Ok(None);
        };
        let stamp = Stamp {
            process: &self.process,
            sequence: self.next_sequence(),
            timestamp: now,
        };
        self.push(&AuditLine {
            grants,
            ..line(decided, message, emergency, stamp)
        })
        .map(Some)
    }

    fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Relaxed) + 1
    }

    fn push(&self, line: &impl Serialize) -> Result<Pending, AuditError> {
        let mut line = serde_json::to_vec(line)?;
        line.push(b'\n');
        let line: Arc<[u8]> = line.into();
        Ok(Pending {
            queued: self.sink.queue(&line),
            line,
            fallback: self.fallback.clone(),
        })
    }
}

/// Identifies a line.
#[derive(Clone, Copy)]
struct Stamp<'a> {
    process: &'a str,
    sequence: u64,
    timestamp: Timestamp,
}

fn message(decided: &Decided<'_>) -> Option<&'static str> {
    match decided.decision {
        // Presets are for controllers, which write all the time.
        Decision::Allow if decided.verdict.reason == Reason::EmergencyIdentity => {
            Some("made by an emergency identity")
        }
        Decision::Allow if decided.verdict.reason == Reason::UndeclaredAutoscaler => {
            Some("allowed: scaled by an autoscaler that no release declares")
        }
        Decision::Allow if decided.verdict.reason == Reason::OwnershipTaken => {
            Some("allowed: the object now belongs to another release")
        }
        Decision::Allow => {
            let rule = decided.verdict.exemption.as_deref();
            let is_exempt = decided.verdict.reason == Reason::Exempt;
            (is_exempt && !rule.is_some_and(presets::is_one)).then_some("allowed by a policy rule")
        }
        Decision::Indeterminate => Some("allowed without evaluation"),
        Decision::FailClosed => {
            Some("not evaluated: left to the API server, whose entry fails closed")
        }
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
    stamp: Stamp<'a>,
) -> AuditLine<'a> {
    let request = decided.request;
    let is_emergency_identity = decided.verdict.reason == Reason::EmergencyIdentity;
    let level = match decided.decision {
        Decision::Deny | Decision::Allow => "INFO",
        _ => "WARN",
    };
    AuditLine {
        api_version: API_VERSION,
        kind: LINE_KIND,
        timestamp: stamp.timestamp,
        level,
        target: "audit",
        message,
        process: stamp.process,
        sequence: stamp.sequence,
        uid: &request.uid,
        verdict: ReportedVerdict::of(decided.decision, decided.verdict),
        mode: decided.mode.as_str(),
        operation: request.operation.as_str(),
        user: ReportedUser {
            credential_id: is_emergency_identity
                .then(|| request.user_info.credential_id())
                .flatten(),
            ..ReportedUser::of(&request.user_info)
        },
        field_manager: request.field_manager(),
        object: ReportedObject::of(request, decided.object),
        findings: decided.verdict.findings.iter().map(Into::into).collect(),
        change: emergency.map(|emergency| &emergency.change),
        emergency: emergency.map(|emergency| EmergencyLine {
            name: emergency.kept.as_ref().ok().map(Persisted::name),
            not_kept: emergency.kept.as_ref().err().map(ToString::to_string),
            record: EmergencyChangeSpec {
                // The line has it already, possibly longer.
                patch: None,
                ..emergency.record.clone()
            },
        }),
        grants: &[],
    }
}
