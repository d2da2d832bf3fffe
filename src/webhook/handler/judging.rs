//! From a request to its verdict: which object it is about, what is known of its kind, what the
//! releases say of it, and say of it again before anything is denied.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, Instant},
};

use helm_guard_core::{
    compare::{
        dig,
        schema::{Shape, builtin::builtin, crd::CrdShape},
    },
    guard::{
        Asker, Claim, Effect, Elsewhere, HELM_WRITERS, Knowledge, ObjectRef, Outcome, Owner,
        Question, Reach, Reason, Request, Subject, Verdict, effect,
        flight::{service_account, violated},
        in_flight, is_helm_writer, judge, owner, owners, settle, subject,
    },
    helm::lifecycle::Phase,
    policy::{Labels, Policy, license::Facts},
};
use jiff::Timestamp;
use tokio::time::timeout_at;

use super::{Fresh, Sources, Webhook, facts::Gathered, own};
use crate::releases::Wanted;

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
    let owner = Owner::of(request);
    let trusts = |namespace: &str| policy.records().trusts(namespace);
    let claims = webhook.sources.claims(&object);
    let claims = settle(claims, &owner, trusts).counting;
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
    // A release elsewhere may declare the autoscaler that would be named.
    let is_in_question =
        verdict.reason == Reason::UndeclaredAutoscaler && known.is_autoscaler_in_question;
    if verdict.reason.outcome() == Outcome::Pass && !is_in_question {
        return Weighed::Confirmed(verdict);
    }
    let mut told = Told::read(webhook, call, claims, owner).await;
    told.counting = match own::others(webhook, &object, told.counting) {
        Ok(claims) => claims,
        Err(_) if !told.doubtful.is_empty() => Vec::new(),
        Err(reason) => return Weighed::Confirmed(Verdict::because(reason)),
    };
    let gathered = Gathered::now(&webhook.sources, call, &told.counting, told.until).await;
    let judge = |claims: &[Claim]| judge(claims, gathered.facts());
    let verdict = judged_now(call, judge(&told.counting));
    if verdict.reason.outcome() == Outcome::Violation {
        if gathered.failed {
            return Weighed::Confirmed(Verdict::because(Reason::ReadThroughFailed));
        }
        let written = written_by_helm(&webhook.sources, call, &told, &verdict, &judge);
        let written = written.await;
        return Weighed::Confirmed(
            written.unwrap_or_else(|| hinted(verdict, request, &told.counting)),
        );
    }
    if told.doubtful.is_empty() {
        return Weighed::Confirmed(verdict);
    }
    // What could not be read excuses nothing, and may be violated.
    let verdict = judge(&[told.counting, told.doubtful].concat());
    match (verdict.reason.outcome(), asker) {
        (Outcome::Violation, Asker::Ordinary) => {
            Weighed::Confirmed(Verdict::because(Reason::ReadThroughFailed))
        }
        (Outcome::Violation, Asker::BreakGlass) => Weighed::ByIndex(verdict),
        _ => Weighed::Confirmed(verdict),
    }
}

/// What the releases say of an object, as far as their records could be read again.
struct Told {
    /// The claims that count.
    counting: Vec<Claim>,
    /// Those that do not, as far as it is known.
    others: Vec<Claim>,
    /// Claims that count by the index, or would if the object's owner were known, and could not be
    /// confirmed.
    doubtful: Vec<Claim>,
    until: Instant,
}

impl Told {
    /// Reads the records of `indexed` and of what the object names.
    async fn read<S: Sources>(
        webhook: &Webhook<S>,
        call: &Call<'_>,
        indexed: Vec<Claim>,
        mut owner: Owner,
    ) -> Self {
        let Call {
            policy,
            request,
            located,
            deadline,
            ..
        } = *call;
        let object = located.object();
        // The source is not trusted to keep to its deadline.
        let until = deadline.checked_sub(RESERVE).unwrap_or(deadline);
        let trusts = |namespace: &str| policy.records().trusts(namespace);
        let unproven = |mut claim: Claim| {
            claim.reach = Reach::Trusted;
            claim
        };
        let named = owners(request);
        let wanted = Wanted {
            claims: &indexed,
            named: &named,
        };
        let reading = webhook.sources.fresh_claims(&object, &wanted, until);
        let Ok(Fresh { claims, unread }) = timeout_at(deadline.into(), reading).await else {
            tracing::warn!(
                namespace = object.namespace,
                "failed to read release records again in time"
            );
            return Self {
                counting: Vec::new(),
                others: Vec::new(),
                doubtful: indexed.into_iter().map(unproven).collect(),
                until,
            };
        };
        let claims = as_of_now(policy, claims);
        let needs_owner = claims.iter().any(|claim| claim.reach == Reach::Elsewhere);
        if owner == Owner::Unseen && needs_owner {
            owner = live_owner(&webhook.sources, request, &object, until).await;
        }
        let mut told = Self {
            counting: Vec::new(),
            others: Vec::new(),
            doubtful: Vec::new(),
            until,
        };
        if owner == Owner::Unseen {
            // Some may count, if the object could be looked at.
            let proven = settle(claims.clone(), &Owner::Known(None), trusts);
            let possible = settle(proven.others, &owner, trusts);
            told.counting = proven.counting;
            told.doubtful = possible.counting;
            told.others = possible.others;
        } else {
            let settled = settle(claims, &owner, trusts);
            told.counting = settled.counting;
            told.others = settled.others;
        }
        for unread in &unread {
            tracing::warn!(
                namespace = object.namespace,
                error = &unread.error,
                "failed to read release records again"
            );
            for claim in indexed.iter().filter(|claim| unread.is_of(claim)) {
                let claim = unproven(claim.clone());
                // It stays so: size is not a reason to pass.
                if unread.is_too_large {
                    told.counting.push(claim);
                } else {
                    told.doubtful.push(claim);
                }
            }
        }
        told
    }
}

async fn live_owner<S: Sources>(
    sources: &S,
    request: &Request<'_>,
    object: &ObjectRef<'_>,
    deadline: Instant,
) -> Owner {
    let asking = sources.owner_now(&request.resource, object, deadline);
    match timeout_at(deadline.into(), asking).await {
        Ok(Ok(owner)) => Owner::Known(owner),
        Ok(Err(error)) => {
            tracing::warn!(
                namespace = object.namespace,
                error,
                "failed to read an object"
            );
            Owner::Unseen
        }
        Err(_) => {
            tracing::warn!(
                namespace = object.namespace,
                "failed to read an object in time"
            );
            Owner::Unseen
        }
    }
}

/// Why a violation passes all the same: a mutating webhook may have rewritten what Helm sent, a hook of
/// the chart is at work, or Helm takes an object over. The field manager says that it is Helm, which anyone
/// can say; whether the user could write the records of each release that is asked about says that nothing
/// is won by saying so.
async fn written_by_helm<S: Sources>(
    sources: &S,
    call: &Call<'_>,
    told: &Told,
    verdict: &Verdict,
    judge: &impl Fn(&[Claim]) -> Verdict,
) -> Option<Verdict> {
    let request = call.request;
    if let Some(to_ask) = in_flight(request, verdict, &told.counting, HELM_WRITERS) {
        let writes = writes_all(sources, call, &to_ask, told.until).await;
        return writes.verdict(|| Verdict::because(Reason::InFlight));
    }
    let (taker, passing) = taken_over(request, told, judge)?;
    if taker.reach == Reach::Trusted {
        let writes = writes_all(sources, call, &[taker], told.until).await;
        if writes == Writes::Yes {
            return Some(passing);
        }
    }
    let losing = violated(verdict, &told.counting);
    let writes = writes_all(sources, call, &losing, told.until).await;
    writes.verdict(|| passing)
}

/// Whether a user may write records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    Yes,
    No,
    Unknown,
}

impl Writes {
    fn verdict(self, passing: impl FnOnce() -> Verdict) -> Option<Verdict> {
        match self {
            Self::Yes => Some(passing()),
            Self::No => None,
            Self::Unknown => Some(Verdict::because(Reason::AccessUnknown)),
        }
    }
}

/// Whether the user may write the records of all of these.
async fn writes_all<S: Sources>(
    sources: &S,
    call: &Call<'_>,
    claims: &[&Claim],
    until: Instant,
) -> Writes {
    let user = &call.request.user_info;
    for claim in claims {
        // Where the policy names who may deploy, nobody else is Helm.
        if !call
            .policy
            .records()
            .may_deploy(user.asking(), &claim.release)
        {
            return Writes::No;
        }
        match timeout_at(until.into(), sources.may_write_records(claim, user)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Writes::No,
            Ok(Err(error)) => {
                tracing::warn!(release = %claim.release, error, "failed to ask who may write records");
                return Writes::Unknown;
            }
            Err(_) => {
                tracing::warn!(release = %claim.release, "failed to ask in time who may write records");
                return Writes::Unknown;
            }
        }
    }
    Writes::Yes
}

/// `helm upgrade --take-ownership` of what a release in another namespace declares, or of a
/// cluster-scoped object: a pending release, which the new object names as its owner, declares what is
/// written. Where the policy trusts the namespace of its records, the user must be able to write those;
/// elsewhere nothing says that it may, but that the user may write the records of those that lose it.
/// Also returned is the verdict by which it passes, which names the take-over.
fn taken_over<'t>(
    request: &Request<'_>,
    told: &'t Told,
    judge: &impl Fn(&[Claim]) -> Verdict,
) -> Option<(&'t Claim, Verdict)> {
    if !is_helm_writer(request, HELM_WRITERS) {
        return None;
    }
    let to = request.object.and_then(owner)?;
    let all = told.counting.iter().chain(&told.others);
    let mut takers = all.filter(|claim| *claim.release == to && claim.phase == Phase::Pending);
    let taker = takers.find(|claim| matches!(claim.reach, Reach::Trusted | Reach::Elsewhere))?;
    let counting = told.counting.iter();
    let mut claims: Vec<Claim> = counting
        .filter(|claim| claim.release != taker.release)
        .cloned()
        .collect();
    let mut named = taker.clone();
    named.reach = Reach::Named;
    claims.push(named);
    let with_it = judge(&claims);
    (with_it.reason.outcome() == Outcome::Pass).then_some((taker, with_it))
}

/// A ServiceAccount that violates a pending release may be that of a hook: the message says what it
/// would need.
fn hinted(mut verdict: Verdict, request: &Request<'_>, claims: &[Claim]) -> Verdict {
    let account = match verdict.reason {
        Reason::FieldsChanged | Reason::ObjectDeleted | Reason::UndeclaredChanged => {
            service_account(&request.user_info.username)
        }
        _ => None,
    };
    for finding in &mut verdict.findings {
        let mut of = claims
            .iter()
            .filter(|claim| claim.release == finding.release);
        if let Some((namespace, name)) = account
            && namespace == finding.release.namespace
            && of.any(|claim| claim.phase == Phase::Pending)
        {
            finding.involved.push(format!("{namespace}/{name}"));
        }
    }
    verdict
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
