//! The way out: the `AdmissionReview` that answers one.
//!
//! Invariants
//! - The uid of the request is echoed, or the API server drops the answer.
//! - A denial says `code: 403` and `reason: Forbidden`; without them the API server makes it a
//!   plain 400 (`k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go`).
//! - Every value in it went through [`crate::compare::redact`] when the verdict was made.
//!
//! Start at [`Answer::to_json`].

pub mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    guard::{Decided, Reason},
    policy::WayOut,
};

/// Causes in the status of a denial: one a field, so that programs need not read the message.
const CAUSES: usize = 64;

/// The longest audit annotation, in bytes. Audit backends cut or drop events that grow too large.
const ANNOTATION_BYTES: usize = 2 * 1024;

/// All that an answer is made from.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// What was decided.
    pub decided: Decided<'a>,
    /// Whom to turn to in an emergency.
    pub way_out: WayOut<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
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
    status: Option<Status<'a>>,
    audit_annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// `metav1.Status`
#[derive(Serialize)]
struct Status<'a> {
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

impl Answer<'_> {
    /// The body of the answer.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Review {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response: Response {
                uid: &self.decided.request.uid,
                allowed: self.decided.decision.allows(),
                status: (!self.decided.decision.allows()).then(|| self.status()),
                audit_annotations: self.audit_annotations(),
                warnings: text::warnings(self),
            },
        })
    }

    fn status(&self) -> Status<'_> {
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
        Status {
            outcome: "Failure",
            code: 403,
            reason: "Forbidden",
            message: text::denial(self),
            details,
        }
    }

    /// Kubernetes names fields in causes without a leading dot.
    fn causes(&self) -> Vec<Cause> {
        const FORBIDDEN: &str = "FieldValueForbidden";
        let verdict = self.decided.verdict;
        if verdict.reason == Reason::ObjectDeleted {
            return verdict
                .findings
                .iter()
                .take(CAUSES)
                .map(|finding| Cause {
                    reason: FORBIDDEN,
                    message: format!("declared by Helm release {}", finding.release),
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
                message: text::values(change),
                field: change.path.to_string().trim_start_matches('.').to_owned(),
            })
            .collect()
    }

    /// What the API server's audit log gets to know, in every mode and of every decision. The API
    /// server puts the name of the webhook in front of each key.
    fn audit_annotations(&self) -> BTreeMap<&'static str, String> {
        let verdict = self.decided.verdict;
        let mut annotations = BTreeMap::from([
            ("decision", self.decided.decision.as_str().to_owned()),
            ("reason", verdict.reason.as_str().to_owned()),
            ("mode", self.decided.mode.as_str().to_owned()),
        ]);
        if let Some(exemption) = &verdict.exemption {
            annotations.insert("exemption", exemption.to_string());
        }
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
                join(findings.iter().map(|f| text::numbers(&f.revisions))),
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
                text::cut(&mut value, ANNOTATION_BYTES);
                annotations.insert(key, value);
            }
        }
        annotations
    }
}

fn join(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
