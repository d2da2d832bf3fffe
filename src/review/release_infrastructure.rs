//! Requests to what releases depend on: their records, namespaces, CRDs.
//!
//! Invariants
//! - As everywhere nothing is denied from the index: what a denial rests on is in the request itself or
//!   was read after it came.
//! - What Helm may have done passes, whoever did it ([`helm_guard_core::guard::records`]).
//! - A record is decoded on a thread that may block, within the budget of all decoding
//!   ([`crate::releases::decoding`]), and shown to nobody.
//!
//! Start at [`verdict`].

mod dependents;
mod record_contents;
mod record_writes;
mod unread;

use std::{sync::Arc, time::Instant};

use helm_guard_core::{
    api::Mode,
    guard::{ObjectRef, Operation, Reason, Request, Unread, Verdict, records::StoredRecord},
    helm::ReleaseName,
    policy::{
        Act, Labels, Object, Place, Policy, Requester,
        license::{Evidence, Facts},
        records::Guarded,
    },
};
use tokio::time::timeout_at;

use super::{Reviewer, SourceError, Sources, Undecided, read_until};

/// Releases or objects that a finding names; more are not named.
const NAMED: usize = 16;

/// One request to what releases depend on.
struct InfrastructureReview<'r, S> {
    reviewer: &'r Reviewer<S>,
    policy: &'r Policy,
    request: &'r Request<'r>,
    object: &'r ObjectRef<'r>,
    /// The labels of its namespace.
    labels: Labels<'r>,
    deadline: Instant,
}

/// Evaluates a request that came through the entries for release infrastructure.
pub(super) async fn verdict<S: Sources>(
    reviewer: &Reviewer<S>,
    policy: &Policy,
    request: &Request<'_>,
    object: &ObjectRef<'_>,
    deadline: Instant,
) -> Verdict {
    let namespace = namespace_of(object);
    let labels = reviewer.sources.namespace_labels(namespace);
    let review = InfrastructureReview {
        reviewer,
        policy,
        request,
        object,
        labels: labels.as_deref().map_or(Labels::Unknown, Labels::Known),
        deadline,
    };
    review.verdict().await.unwrap_or_else(Verdict::from)
}

/// The namespace that an object is in, or is.
fn namespace_of<'o>(object: &'o ObjectRef<'_>) -> &'o str {
    match object.kind {
        "Namespace" => &object.name,
        _ => object.namespace,
    }
}

impl<S: Sources> InfrastructureReview<'_, S> {
    async fn verdict(&self) -> Result<Verdict, Undecided> {
        let request = self.request;
        // Both keep the metadata of a namespace or a CRD as they get it.
        let is_evaluated = match &*request.sub_resource {
            "" => true,
            "status" | "finalize" => request.operation == Operation::Update,
            _ => false,
        };
        if !is_evaluated {
            return Ok(Verdict::because(Reason::NotJudged));
        }
        let sources = &self.reviewer.sources;
        let facts = Facts {
            is_terminating: sources.is_known_terminating(self.object.namespace),
            ..Facts::default()
        };
        if request.operation == Operation::Delete
            && let Some(rule) = self.exemption(facts, Act::Delete)
        {
            return Ok(Verdict::exempt(rule));
        }
        // The deletion of a namespace is evaluated by its name.
        let is_named = (self.object.kind, request.operation) == ("Namespace", Operation::Delete);
        if let Some(unread) = request.unread
            && !(is_named && unread != Unread::Late)
        {
            return Ok(self.unread(unread));
        }
        match (self.object.group, self.object.kind, request.operation) {
            ("", "Secret" | "ConfigMap", _) => self.record_write().await,
            ("", "Namespace", Operation::Delete) => self.namespace_deletion().await,
            ("apiextensions.k8s.io", "CustomResourceDefinition", Operation::Delete) => {
                self.crd_deletion().await
            }
            ("", "Namespace", Operation::Update)
            | ("apiextensions.k8s.io", "CustomResourceDefinition", Operation::Update) => {
                self.new_owner().await
            }
            _ => Ok(Verdict::because(Reason::NotJudged)),
        }
    }

    /// In a namespace that is terminating nothing can be kept.
    async fn unless_terminating(&self, verdict: Verdict) -> Result<Verdict, Undecided> {
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
    /// When reads have to be over.
    fn until(&self) -> Instant {
        read_until(self.deadline)
    }

    /// The object as policies see it. No manifest holds it, so no chart says anything of it.
    fn policy_object<'a>(&'a self, release: &'a ReleaseName, chart: &'a str) -> Object<'a> {
        Object {
            place: Place {
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

    fn mode(&self, guarded: Guarded, release: &ReleaseName, chart: &str) -> Option<Mode> {
        let otherwise = self.policy.mode(&self.policy_object(release, chart));
        self.policy.records().mode(guarded, otherwise)
    }

    fn is_off(&self, guarded: Guarded) -> bool {
        let records = self.policy.records();
        records.mode(guarded, self.policy.default_mode()).is_none()
    }

    /// Whether the user may write the records of a release.
    fn may_deploy(&self, release: &ReleaseName) -> bool {
        let user = &self.request.user_info;
        self.policy.records().may_deploy(user.identity(), release)
    }

    /// Under which rule somebody may do it: as far as that can be said without its release, of
    /// which no more is known than what the name of a record tells.
    fn exemption(&self, facts: Facts<'_>, act: Act<'_>) -> Option<Arc<str>> {
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

    /// What a source says, if it says it in time.
    async fn in_time<T>(
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
