//! One request to release infrastructure, with the inputs of its evaluation.

use std::{sync::Arc, time::Instant};

use helm_guard_core::{
    api::Mode,
    guard::{ObjectRef, Reason, Request, Verdict, records::StoredRecord},
    helm::ReleaseName,
    policy::{
        Act, Labels, ObjectPlace, Policy, Requester, RuleObject,
        license::{Evidence, Facts},
        records::Guarded,
    },
};
use tokio::time::timeout_at;

use crate::review::{
    reviewer::Reviewer,
    sources::{SourceError, Sources, read_until},
    undecided::Undecided,
};

/// The maximum number of releases or objects that a finding names.
pub(super) const NAMED: usize = 16;

/// One request to release infrastructure.
pub(super) struct InfrastructureReview<'r, S> {
    pub(super) reviewer: &'r Reviewer<S>,
    pub(super) policy: &'r Policy,
    pub(super) request: &'r Request<'r>,
    pub(super) object: &'r ObjectRef<'r>,
    /// The labels of its namespace.
    pub(super) labels: Labels<'r>,
    pub(super) deadline: Instant,
}

impl<S: Sources> InfrastructureReview<'_, S> {
    /// Nothing can be protected in a terminating namespace.
    pub(super) async fn unless_terminating(&self, verdict: Verdict) -> Result<Verdict, Undecided> {
        let sources = &self.reviewer.sources;
        let asking = sources.is_terminating(self.object.namespace, self.until());
        Ok(if self.in_time("read a namespace", asking).await? {
            Verdict::because(Reason::HelmsOwn)
        } else {
            verdict
        })
    }
}

impl<S> InfrastructureReview<'_, S> {
    /// The deadline of reads.
    pub(super) fn until(&self) -> Instant {
        read_until(self.deadline)
    }

    /// The object as policies see it. No manifest declares it, so no chart settings apply.
    pub(super) fn policy_object<'a>(
        &'a self,
        release: &'a ReleaseName,
        chart: &'a str,
    ) -> RuleObject<'a> {
        RuleObject {
            place: ObjectPlace {
                group: self.object.group,
                kind: self.object.kind,
                namespace: namespace_of(self.object),
                release,
                chart,
            },
            version: &self.request.kind.version,
            name: &self.object.name,
            labels: self.labels,
            manifest: None,
        }
    }

    pub(super) fn mode(
        &self,
        guarded: Guarded,
        release: &ReleaseName,
        chart: &str,
    ) -> Option<Mode> {
        let otherwise = self.policy.mode(&self.policy_object(release, chart));
        self.policy.records().mode(guarded, otherwise)
    }

    pub(super) fn is_off(&self, guarded: Guarded) -> bool {
        let records = self.policy.records();
        records.mode(guarded, self.policy.default_mode()).is_none()
    }

    /// Whether the user may write the records of a release.
    pub(super) fn may_deploy(&self, release: &ReleaseName) -> bool {
        let user = &self.request.user_info;
        self.policy.records().may_deploy(user.identity(), release)
    }

    /// The rule that allows it, as far as it can be determined without the release, of which only
    /// the name in the record is known.
    pub(super) fn exemption(&self, facts: Facts<'_>, act: Act<'_>) -> Option<Arc<str>> {
        let record = self
            .request
            .old_object
            .and_then(|old| StoredRecord::of(&self.request.kind, old));
        let release = ReleaseName {
            namespace: self.object.namespace.to_owned(),
            name: record.map(|record| record.release).unwrap_or_default(),
        };
        let requester = Requester {
            identity: self.request.user_info.identity(),
            field_manager: None,
            old_object: None,
            evidence: Evidence {
                manifests: &[],
                facts,
            },
        };
        let object = self.policy_object(&release, "");
        self.policy.exemption(requester, &object, act)
    }

    /// The answer of a source, if it comes in time.
    pub(super) async fn in_time<T>(
        &self,
        what: &'static str,
        asking: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, Undecided> {
        let namespace = self.object.namespace;
        match timeout_at(self.deadline.into(), asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => tracing::warn!(namespace, error, "failed to {what}"),
            Err(_) => tracing::warn!(namespace, "failed to {what} in time"),
        }
        Err(Undecided::because(Reason::ReadThroughFailed))
    }
}

/// The namespace of an object, or the object itself if it is a namespace.
pub(super) fn namespace_of<'o>(object: &'o ObjectRef<'_>) -> &'o str {
    match object.kind {
        "Namespace" => &object.name,
        _ => object.namespace,
    }
}
