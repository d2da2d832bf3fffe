//! From a request to its verdict: which object it is about, what is known of its kind, what the
//! releases say of it, and say of it again before anything is denied.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::time::timeout_at;

use super::{Sources, Webhook, facts::Gathered, own};
use crate::{
    compare::{
        dig,
        schema::{Shape, builtin::builtin, crd::CrdShape},
    },
    guard::{
        Asker, Claim, Effect, Elsewhere, HELM_WRITERS, Knowledge, ObjectRef, Outcome, Question,
        Reason, Request, Subject, Verdict, effect, in_flight, judge, owner, owners, subject,
    },
    policy::{Labels, Policy, license::Facts},
};

/// Kept back from the deadline of a read-through, so that a request whose records come too late
/// still gets an answer of its own.
pub(super) const RESERVE: Duration = Duration::from_millis(200);

/// The object that is judged.
#[derive(Debug)]
pub(super) struct Located<'r> {
    group: &'r str,
    kind: Cow<'r, str>,
    namespace: &'r str,
    name: Cow<'r, str>,
    /// Where the parent of a Scale keeps its replicas.
    replicas_path: Vec<String>,
}

impl Located<'_> {
    pub(super) fn object(&self) -> ObjectRef<'_> {
        ObjectRef {
            group: self.group,
            kind: &self.kind,
            namespace: self.namespace,
            name: Cow::Borrowed(&self.name),
        }
    }
}

/// Finds out which object a request is about. Only a scale of a custom resource needs to be looked
/// up, since it names the resource and not the kind.
pub(super) async fn locate<'r, S: Sources>(
    sources: &S,
    request: &'r Request<'_>,
    deadline: Instant,
) -> Result<Located<'r>, Reason> {
    match subject(request)? {
        Subject::Object(object) => Ok(Located {
            group: object.group,
            kind: Cow::Borrowed(object.kind),
            namespace: object.namespace,
            name: object.name,
            replicas_path: Vec::new(),
        }),
        Subject::ScaleOf {
            group,
            resource,
            namespace,
            name,
        } => {
            let (kind, path) = match builtin().scalable(resource, group) {
                Some(kind) => (Cow::Borrowed(kind), ".spec.replicas".to_owned()),
                None => scaled_custom_resource(sources, request, deadline).await?,
            };
            Ok(Located {
                group,
                kind,
                namespace,
                name,
                // The API server allows field names only (`specReplicasPath` of
                // CustomResourceSubresourceScale).
                replicas_path: path.split('.').skip(1).map(str::to_owned).collect(),
            })
        }
    }
}

async fn scaled_custom_resource<S: Sources>(
    sources: &S,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<(Cow<'static, str>, String), Reason> {
    let crd = definition(sources, request, deadline)
        .await?
        .ok_or(Reason::SchemaUnavailable)?;
    let path = crd
        .versions
        .iter()
        .find(|version| version.name == request.resource.version)
        .and_then(|version| version.spec_replicas_path.clone())
        .ok_or(Reason::SchemaUnavailable)?;
    Ok((Cow::Owned(crd.kind.clone()), path))
}

async fn definition<S: Sources>(
    sources: &S,
    request: &Request<'_>,
    deadline: Instant,
) -> Result<Option<Arc<CrdShape>>, Reason> {
    let (group, plural) = (&*request.resource.group, &*request.resource.resource);
    let found = timeout_at(deadline.into(), sources.custom_resource(group, plural)).await;
    match found {
        Ok(Ok(crd)) => Ok(crd),
        Ok(Err(error)) => {
            tracing::warn!(group, plural, error, "failed to read the schema of a kind");
            Err(Reason::SchemaUnavailable)
        }
        Err(_) => Err(Reason::DeadlineExceeded),
    }
}

/// What one call asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'r> {
    pub policy: &'r Policy,
    pub request: &'r Request<'r>,
    pub located: &'r Located<'r>,
    /// In which versions the same request is judged in other calls.
    pub elsewhere: Elsewhere<'r>,
    pub asker: Asker,
    pub deadline: Instant,
}

/// A verdict, and what it was made from.
#[derive(Debug)]
pub(super) enum Weighed {
    /// A pass, or what the records say that were read again.
    Confirmed(Verdict),
    /// What the index says of an emergency, since the records could not be read again.
    ByIndex(Verdict),
}

/// Judges: from the index, and from the records as they are now before anything but a pass.
///
/// A break-glass change is not held up by records that can not be read: it is recorded as what the
/// index says it is.
pub(super) async fn verdict<S: Sources>(webhook: &Webhook<S>, call: &Call<'_>) -> Weighed {
    let Call {
        policy,
        request,
        located,
        elsewhere,
        asker,
        deadline,
    } = *call;
    let object = located.object();
    let claims = webhook.sources.claims(&object);
    if claims.is_empty() {
        return Weighed::Confirmed(Verdict::because(unclaimed(&webhook.sources, request)));
    }
    let claims = match own::others(webhook, &object, as_of_now(policy, claims)) {
        Ok(claims) => claims,
        Err(reason) => return Weighed::Confirmed(Verdict::because(reason)),
    };
    let crd = match schema(&webhook.sources, request, &object, deadline).await {
        Ok(kind) => kind,
        Err(Reason::DeadlineExceeded) => {
            return Weighed::Confirmed(Verdict::because(Reason::DeadlineExceeded));
        }
        Err(_) => Kind::Unavailable,
    };
    let replicas_path: Vec<&str> = located.replicas_path.iter().map(String::as_str).collect();
    let labels = webhook.sources.namespace_labels(object.namespace);
    let judge = |claims: &[Claim], facts: Facts<'_>| {
        judge(&Question {
            request,
            object: &object,
            claims,
            knowledge: crd.knowledge(request),
            elsewhere,
            replicas_path: &replicas_path,
            policy,
            labels: labels.as_deref().map_or(Labels::Unknown, Labels::Known),
            facts,
            redactor: &webhook.redactor,
        })
    };
    let known = Gathered::known(&webhook.sources, call);
    let verdict = judge(&claims, known.facts());
    if verdict.reason.outcome() == Outcome::Pass {
        return Weighed::Confirmed(verdict);
    }
    // The source is not trusted to keep to its deadline.
    let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
    let named = owners(request);
    let reading = webhook.sources.fresh_claims(&object, &named, until);
    match timeout_at(deadline.into(), reading).await {
        Ok(Ok(claims)) => {
            let claims = match own::others(webhook, &object, as_of_now(policy, claims)) {
                Ok(claims) => claims,
                Err(reason) => return Weighed::Confirmed(Verdict::because(reason)),
            };
            let gathered = Gathered::now(&webhook.sources, call, &claims, until).await;
            let verdict = judged_now(call, judge(&claims, gathered.facts()));
            if gathered.failed && verdict.reason.outcome() == Outcome::Violation {
                return Weighed::Confirmed(Verdict::because(Reason::ReadThroughFailed));
            }
            let written = written_by_helm(&webhook.sources, call, &claims, until);
            return Weighed::Confirmed(match verdict.reason.outcome() {
                Outcome::Violation => written.await.map_or(verdict, Verdict::because),
                Outcome::Pass | Outcome::Indeterminate => verdict,
            });
        }
        Ok(Err(error)) => tracing::warn!(
            namespace = object.namespace,
            error,
            "failed to read release records again"
        ),
        Err(_) => tracing::warn!(
            namespace = object.namespace,
            "failed to read release records again in time"
        ),
    }
    match (verdict.reason.outcome(), asker) {
        (Outcome::Violation, Asker::Ordinary) => {
            Weighed::Confirmed(Verdict::because(Reason::ReadThroughFailed))
        }
        _ => Weighed::ByIndex(verdict),
    }
}

/// Why a violation passes all the same: a mutating webhook may have rewritten what Helm sent. The
/// field manager says that it is Helm, which anyone can say; whether the user could write the
/// release's records says that nothing is won by saying so.
async fn written_by_helm<S: Sources>(
    sources: &S,
    call: &Call<'_>,
    claims: &[Claim],
    deadline: Instant,
) -> Option<Reason> {
    let request = call.request;
    let claim = in_flight(request, claims, HELM_WRITERS)?;
    // Where the policy names who may deploy, nobody else is Helm.
    let asking = request.user_info.asking();
    if !call.policy.records().may_deploy(asking, &claim.release) {
        return None;
    }
    let asking = sources.may_write_records(claim, &request.user_info);
    match timeout_at(deadline.into(), asking).await {
        Ok(Ok(true)) => Some(Reason::InFlight),
        Ok(Ok(false)) => None,
        Ok(Err(error)) => {
            tracing::warn!(release = %claim.release, error, "failed to ask who may write records");
            Some(Reason::AccessUnknown)
        }
        Err(_) => {
            tracing::warn!(release = %claim.release, "failed to ask in time who may write records");
            Some(Reason::AccessUnknown)
        }
    }
}

/// The verdict by the records as they are. When by them another call is to judge, it may be one that
/// has already left it to this one: then nobody can say.
fn judged_now(call: &Call<'_>, verdict: Verdict) -> Verdict {
    match (verdict.reason, call.elsewhere) {
        (Reason::JudgedInDeclaredVersion, Elsewhere::AllOthers) => {
            Verdict::because(Reason::VersionDiffers)
        }
        _ => verdict,
    }
}

/// The claims, of which the policy may have given up an uninstallation by now.
fn as_of_now(policy: &Policy, mut claims: Vec<Claim>) -> Vec<Claim> {
    if let Some(age) = policy.uninstalling_max_age() {
        let now = Timestamp::now();
        for claim in &mut claims {
            claim.give_up_uninstalling(age, now);
        }
    }
    claims
}

/// Nobody claims the object. As long as not all records have been read, somebody still may. When it
/// says that it belongs to a release whose record can not be
/// read, it may well be declared. What an object says of itself is good enough to warn, and is
/// never used to deny.
fn unclaimed<S: Sources>(sources: &S, request: &Request<'_>) -> Reason {
    if !sources.is_complete() {
        return Reason::IndexIncomplete;
    }
    // Nearly always, and then the object need not be looked into.
    if !sources.any_unreadable() {
        return Reason::NotDeclared;
    }
    match request.old_object.or(request.object).and_then(owner) {
        Some(release) if sources.is_unreadable(&release.namespace, &release.name) => {
            Reason::RecordUnreadable
        }
        _ => Reason::NotDeclared,
    }
}

/// What is known of the kind of the request's object.
enum Kind {
    Builtin(Shape<'static>),
    Custom(Option<Arc<CrdShape>>),
    Unavailable,
}

impl Kind {
    fn knowledge(&self, request: &Request<'_>) -> Knowledge<'_> {
        match self {
            Self::Builtin(shape) => Knowledge::Builtin(*shape),
            Self::Custom(crd) => {
                let shape = crd
                    .as_ref()
                    .and_then(|crd| crd.shape(&request.kind.version));
                Knowledge::Custom(shape.unwrap_or_else(Shape::plain))
            }
            Self::Unavailable => Knowledge::Unavailable,
        }
    }
}

async fn schema<S: Sources>(
    sources: &S,
    request: &Request<'_>,
    object: &ObjectRef<'_>,
    deadline: Instant,
) -> Result<Kind, Reason> {
    let (group, version) = (object.group, &*request.kind.version);
    let is_compared = matches!(
        effect(request),
        Some(Effect::Update | Effect::UpdateMetadata)
    );
    if !is_compared || request.unread.is_some() {
        // Nothing is compared but the existence or a number.
        return Ok(Kind::Builtin(Shape::plain()));
    }
    if let Some(shape) = builtin().lookup(group, version, object.kind) {
        return Ok(Kind::Builtin(shape));
    }
    if builtin().knows_group(group) {
        return Ok(Kind::Builtin(Shape::plain()));
    }
    definition(sources, request, deadline)
        .await
        .map(Kind::Custom)
}

/// A field of the metadata of the request's object, such as its uid. A Scale has its parent's.
pub(super) fn metadata_text(request: &Request<'_>, field: &str) -> Option<String> {
    let object = request.old_object.or(request.object)?;
    serde_json::from_str(dig(object.get(), &["metadata", field])?).ok()
}
