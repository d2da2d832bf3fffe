//! Asks the reviewer what would happen to a change, through the entries that the API server would call.

use std::collections::BTreeMap;

use anyhow::Context;
use helm_guard_core::{api::reported::ReportedVerdict, guard::Decision};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use serde_json::{Value, json};

use super::{change::PossibleChange, report::Answer};
use crate::{
    cli::{documents::text_of, resource::KnownResource, reviewing::strictest},
    review::{Entry, Reviewer, Sources},
    webhook::{
        envelope,
        paths::Route,
        registration::calls::{CalledEntry, OrdinaryRequest, called},
    },
};

/// The answer where the API server calls no entry.
const NOT_CALLED: &str = "not-called";

pub(super) struct ChangedObject<'a> {
    pub(super) resource: &'a KnownResource,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) live: &'a Value,
    /// None if they cannot be read.
    pub(super) namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// The registration in force, or the usual one.
    pub(super) registration: &'a ValidatingWebhookConfiguration,
}

impl ChangedObject<'_> {
    /// What the user who makes the change is answered, whom no preset exempts: the strictest answer of all
    /// entries that are called.
    pub(super) async fn ask<S: Sources>(
        &self,
        reviewer: &Reviewer<S>,
        change: &PossibleChange,
    ) -> anyhow::Result<Answer> {
        let review = self.review(change);
        let body = serde_json::to_vec(&review)?;
        let request = envelope::parse(&body).context("failed to make the request of a change")?;
        let mut doubts = Vec::new();
        let mut entries = Vec::new();
        for CalledEntry { name, route, doubt } in self.called(change) {
            let Some(entry) = entry(route) else {
                continue;
            };
            entries.push(entry);
            doubts.extend(doubt.map(|doubt| format!("entry {name}: {doubt}")));
        }
        let mut answer = match strictest(reviewer, &request, entries).await {
            Some(review) => Answer {
                change: change.what.clone(),
                verdict: ReportedVerdict::of(review.decision, &review.verdict),
                note: None,
            },
            None => Answer {
                change: change.what.clone(),
                verdict: ReportedVerdict {
                    verdict: Decision::Allow.as_str(),
                    reason: NOT_CALLED,
                    exemption: None,
                },
                note: Some("the API server does not ask the guard about it".to_owned()),
            },
        };
        if !doubts.is_empty() {
            answer.note = Some(doubts.join("; "));
        }
        Ok(answer)
    }

    fn called(&self, change: &PossibleChange) -> Vec<CalledEntry> {
        let request = OrdinaryRequest {
            operation: change.operation(),
            group: &self.resource.group,
            version: &self.resource.version,
            resource: self.resource.plural(),
            sub_resource: change.sub_resource(),
            namespace: self.namespace,
            namespace_labels: self.namespace_labels,
            old: self.live,
            new: change.object(),
        };
        called(self.registration, &request)
    }

    /// The review that the API server would send.
    fn review(&self, change: &PossibleChange) -> Value {
        let Self {
            resource,
            namespace,
            name,
            live,
            ..
        } = *self;
        let api_version = text_of(live, "apiVersion");
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let group = &resource.group;
        let (kind, old, new) = match change.scale(live) {
            Some((old, new)) => (
                json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
                old,
                new,
            ),
            None => (
                json!({"group": group, "version": version, "kind": resource.kind}),
                live.clone(),
                change.object().clone(),
            ),
        };
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "explain", "dryRun": true,
                "operation": change.operation(),
                "subResource": change.sub_resource(),
                "name": name, "namespace": namespace,
                "kind": kind,
                "resource": {"group": group, "version": version, "resource": resource.plural()},
                "userInfo": {"username": "", "groups": []},
                "oldObject": old, "object": new,
            },
        })
    }
}

/// How a review through an entry is evaluated; none for entries that do not ask about objects.
fn entry(route: Route) -> Option<Entry> {
    match route {
        Route::Validate | Route::ClosedValidate => Some(Entry::AsRequested),
        Route::ReleaseInfrastructure | Route::ClosedReleaseInfrastructure => {
            Some(Entry::ReleaseInfrastructure)
        }
        Route::Version
        | Route::ClosedVersion
        | Route::Grants
        | Route::Policies
        | Route::Emergencies => None,
    }
}
