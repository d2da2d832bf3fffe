//! The response: the `AdmissionReview` that answers one.
//!
//! Invariants
//! - The uid of the request is echoed; otherwise the API server drops the answer.
//! - A denial has `code: 403` and `reason: Forbidden`; without them the API server turns it into a
//!   plain 400 (`k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go`).
//! - Every value in it went through [`helm_guard_core::compare::redact`] when the verdict was made.
//!
//! Start at [`AnswerContents::to_json`].

mod contents;
mod denial;
pub(crate) mod event_notes;
mod phrases;
mod release_infrastructure;
mod violation;
mod warnings;

use std::collections::BTreeMap;

use helm_guard_core::{
    guard::{Reason, Request},
    text::{cut, minute},
};
use serde::Serialize;

pub(crate) use self::contents::AnswerContents;
use self::{
    denial::{MESSAGE_BYTES, denial},
    phrases::{numbers, values},
    warnings::{undecided, warnings},
};

/// Causes in the status of a denial: one per field, so that programs need not parse the message.
const CAUSES: usize = 64;

/// The longest audit annotation, in bytes. Audit backends truncate or drop events that are too large.
const ANNOTATION_BYTES: usize = 2 * 1024;

/// The longest patch in an audit annotation; a truncated one would be useless.
const PATCH_BYTES: usize = 8 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionReviewAnswer<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<MetaStatus<'a>>,
    audit_annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `metav1.Status`
#[derive(Serialize)]
struct MetaStatus<'a> {
    #[serde(rename = "status")]
    outcome: &'static str,
    code: u16,
    reason: &'static str,
    message: String,
    details: Details<'a>,
}

/// `metav1.StatusDetails`
#[derive(Serialize)]
struct Details<'a> {
    name: &'a str,
    group: &'a str,
    kind: &'a str,
    causes: Vec<Cause>,
}

/// `metav1.StatusCause`
#[derive(Serialize)]
struct Cause {
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
}

impl AnswerContents<'_> {
    /// The body of the answer.
    pub(crate) fn to_json(self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&AdmissionReviewAnswer {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: Response {
                uid: &self.decided.request.uid,
                allowed: self.decided.decision.allows(),
                status: (!self.decided.decision.allows()).then(|| self.status()),
                audit_annotations: self.audit_annotations(),
                warnings: warnings(&self),
            },
        })
    }

    /// The error for a namespace that fails closed: the API server quotes it in its denial.
    pub(crate) fn undecided(&self) -> String {
        undecided(self)
    }

    fn status(&self) -> MetaStatus<'_> {
        let details = match self.decided.object {
            Some(object) => Details {
                name: &object.name,
                group: object.group,
                kind: object.kind,
                causes: self.causes(),
            },
            None => Details {
                name: &self.decided.request.name,
                group: &self.decided.request.kind.group,
                kind: &self.decided.request.kind.kind,
                causes: self.causes(),
            },
        };
        MetaStatus {
            outcome: "Failure",
            code: 403,
            reason: "Forbidden",
            message: denial(self),
            details,
        }
    }

    /// Kubernetes names fields in causes without a leading dot.
    fn causes(&self) -> Vec<Cause> {
        const FORBIDDEN: &str = "FieldValueForbidden";
        let verdict = self.decided.verdict;
        if verdict
            .findings
            .iter()
            .all(|finding| finding.changes.is_empty())
        {
            return verdict
                .findings
                .iter()
                .take(CAUSES)
                .map(|finding| Cause {
                    reason: FORBIDDEN,
                    message: match verdict.reason {
                        Reason::ObjectDeleted => {
                            format!("declared by Helm release {}", finding.release)
                        }
                        _ => format!("Helm release {}", finding.release),
                    },
                    field: String::new(),
                })
                .collect();
        }
        verdict
            .findings
            .iter()
            .flat_map(|finding| &finding.changes)
            .take(CAUSES)
            .map(|change| Cause {
                reason: FORBIDDEN,
                message: values(change),
                field: change.path.to_string().trim_start_matches('.').to_owned(),
            })
            .collect()
    }

    /// The annotations for the API server's audit log, in every mode and for every decision. The
    /// API server prefixes each key with the name of the webhook.
    fn audit_annotations(&self) -> BTreeMap<&'static str, String> {
        let verdict = self.decided.verdict;
        let mut annotations = BTreeMap::from([
            ("verdict", self.decided.decision.as_str().to_owned()),
            ("reason", verdict.reason.as_str().to_owned()),
            ("mode", self.decided.mode.as_str().to_owned()),
        ]);
        if let Some(exemption) = &verdict.exemption {
            annotations.insert("exemption", exemption.to_string());
        }
        annotations.extend(self.emergency_annotations());
        let findings = &verdict.findings;
        if findings.is_empty() {
            return annotations;
        }
        let lists = [
            (
                "release",
                join(
                    findings
                        .iter()
                        .map(|f| format!("{}/{}", f.release.namespace, f.release.name)),
                ),
            ),
            (
                "revision",
                join(findings.iter().map(|f| numbers(&f.revisions))),
            ),
            (
                "fields",
                join(
                    findings
                        .iter()
                        .flat_map(|f| &f.changes)
                        .map(|change| change.path.to_string()),
                ),
            ),
        ];
        for (key, mut value) in lists {
            if !value.is_empty() {
                cut(&mut value, ANNOTATION_BYTES);
                annotations.insert(key, value);
            }
        }
        annotations
    }
}

impl AnswerContents<'_> {
    /// The full record of a break-glass change: if it could not be persisted, only this and the
    /// audit line exist.
    fn emergency_annotations(&self) -> Vec<(&'static str, String)> {
        let mut annotations = Vec::new();
        if let Some(refusal) = self.refusal {
            annotations.push(("break-glass-refused", refusal.to_string()));
        }
        let Some(emergency) = self.emergency else {
            return annotations;
        };
        let record = &emergency.record;
        annotations.push(match &emergency.kept {
            Ok(kept) => ("emergency-change", kept.name().to_owned()),
            Err(error) => ("emergency-change-failed", error.to_string()),
        });
        annotations.push(("reconcile-by", minute(record.reconcile_by.0).to_string()));
        let said = [
            ("grant", &record.grant),
            ("ticket", &record.ticket),
            ("break-glass-reason", &record.reason),
        ];
        for (key, value) in said {
            annotations.extend(value.clone().map(|value| (key, value)));
        }
        for (_, value) in &mut annotations {
            cut(value, ANNOTATION_BYTES);
        }
        let patch = record.patch.clone();
        annotations.extend(
            patch
                .filter(|patch| patch.len() <= PATCH_BYTES)
                .map(|patch| ("patch", patch)),
        );
        annotations
    }
}

/// The answer to a request for one of the guard's own objects: denied if it is invalid, with warnings otherwise.
pub(crate) fn refuse_if(
    request: &Request<'_>,
    wrong: &[String],
    warnings: Vec<String>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut message = wrong.join("\n");
    cut(&mut message, MESSAGE_BYTES);
    let status = || MetaStatus {
        outcome: "Failure",
        code: 403,
        reason: "Forbidden",
        message,
        details: Details {
            name: &request.name,
            group: &request.kind.group,
            kind: &request.kind.kind,
            causes: Vec::new(),
        },
    };
    serde_json::to_vec(&AdmissionReviewAnswer {
        api_version: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: Response {
            uid: &request.uid,
            allowed: wrong.is_empty(),
            status: (!wrong.is_empty()).then(status),
            audit_annotations: BTreeMap::new(),
            warnings,
        },
    })
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
