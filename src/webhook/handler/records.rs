//! Requests for what releases hang on: their records, namespaces, custom resource definitions.
//!
//! Invariants
//! - As everywhere nothing is denied from the index: what a denial rests on is in the request itself or
//!   was read after it came.
//! - What Helm may have done passes, whoever did it ([`helm_guard_core::guard::records`]).
//! - A record is decoded on a thread that may block, within the budget of all decoding
//!   ([`crate::releases::decoding`]), and shown to nobody.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use helm_guard_core::{
    compare::{
        dig,
        schema::{Scope, builtin::builtin},
    },
    guard::{
        Finding, ObjectRef, Operation, Raw, Reason, RecordsAt, Request, Unread, Verdict,
        records::{
            Defined, Holder, Stake, StoredRecord,
            edit::{Edit, edit, new_owners},
            forged::Forged,
            is_leaving,
            removal::{Removal, may_be_helms, removal},
        },
        verdict::Change,
    },
    helm::{
        ReleaseName, manifest,
        record::{Limits, Record, decode},
        storage::Driver,
    },
    policy::{
        Act, Change as PolicyChange, Labels, Mode, Object, Place, Policy, Requester,
        license::{Evidence, Facts},
        records::Guarded,
    },
};
use serde_json::Value;
use tokio::time::timeout_at;

use super::{
    Holdings, RESERVE, Sources, Webhook, own,
    witnesses::{Standing, standings},
};
use crate::releases::decoding::Decoding;

mod unread;

/// Releases whose records are in the way of a collection that is deleted; more are not named.
const NAMED: usize = 16;

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Call<'r> {
    pub policy: &'r Policy,
    pub request: &'r Request<'r>,
    pub object: &'r ObjectRef<'r>,
    /// The labels of its namespace.
    pub labels: Labels<'r>,
    pub deadline: Instant,
}

impl Call<'_> {
    /// The source is not trusted to keep to its deadline.
    fn until(&self) -> Instant {
        self.deadline.checked_sub(RESERVE).unwrap_or(self.deadline)
    }

    /// As a policy is asked about it. No manifest holds it, so no chart says anything of it.
    fn asked<'a>(&'a self, release: &'a ReleaseName, chart: &'a str) -> Object<'a> {
        Object {
            place: Place {
                group: self.object.group,
                kind: self.object.kind,
                namespace: match self.object.kind {
                    "Namespace" => &self.object.name,
                    _ => self.object.namespace,
                },
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
        let otherwise = self.policy.mode(&self.asked(release, chart));
        self.policy.records().mode(guarded, otherwise)
    }

    fn is_off(&self, guarded: Guarded) -> bool {
        let records = self.policy.records();
        records.mode(guarded, self.policy.default_mode()).is_none()
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
            asking: self.request.user_info.asking(),
            field_manager: None,
            old_object: None,
            evidence: Evidence {
                manifests: &[],
                facts,
            },
        };
        self.policy
            .exemption(requester, &self.asked(&release, ""), act)
    }
}

/// Judges a request that came through the entries for what releases hang on.
pub(super) async fn verdict<S: Sources>(webhook: &Webhook<S>, call: &Call<'_>) -> Verdict {
    let request = call.request;
    // Both keep the metadata of a namespace or a definition as they get it.
    let is_judged = match &*request.sub_resource {
        "" => true,
        "status" | "finalize" => request.operation == Operation::Update,
        _ => false,
    };
    if !is_judged {
        return Verdict::because(Reason::NotJudged);
    }
    let facts = Facts {
        is_terminating: webhook.sources.is_known_terminating(call.object.namespace),
        ..Facts::default()
    };
    if request.operation == Operation::Delete
        && let Some(rule) = call.exemption(facts, Act::Delete)
    {
        return Verdict::exempt(rule);
    }
    // The deletion of a namespace is judged by its name.
    let is_named = (call.object.kind, request.operation) == ("Namespace", Operation::Delete);
    if let Some(unread) = request.unread
        && !(is_named && unread != Unread::Late)
    {
        return unread::verdict(call, unread).unwrap_or_else(Verdict::because);
    }
    let judged = match (call.object.group, call.object.kind, request.operation) {
        ("", "Secret" | "ConfigMap", _) => record(webhook, call).await,
        ("", "Namespace", Operation::Delete) => namespace(webhook, call).await,
        ("apiextensions.k8s.io", "CustomResourceDefinition", Operation::Delete) => {
            definition(webhook, call).await
        }
        ("", "Namespace", Operation::Update)
        | ("apiextensions.k8s.io", "CustomResourceDefinition", Operation::Update) => {
            owned(webhook, call).await
        }
        _ => Err(Reason::NotJudged),
    };
    judged.unwrap_or_else(Verdict::because)
}

async fn record<S: Sources>(webhook: &Webhook<S>, call: &Call<'_>) -> Result<Verdict, Reason> {
    let request = call.request;
    let stored = |object| StoredRecord::of(&request.kind, object);
    let (old, new) = (
        request.old_object.and_then(stored),
        request.object.and_then(stored),
    );
    if call.object.kind == "ConfigMap" && !webhook.sources.reads(Driver::ConfigMap) {
        return Err(Reason::NotJudged);
    }
    let forged = |object: Raw<'_>| Forged::of(&request.kind, object);
    if let Some(made) = request.object.and_then(forged)
        && old.is_none()
        && request.old_object.and_then(forged).is_none()
    {
        return forgery(call, made);
    }
    match (request.operation, old, new) {
        (Operation::Update, Some(old), new) => changed(call, old, new).await,
        // An object that becomes a record by its label is as good as one that is made.
        (Operation::Create | Operation::Update, None, Some(new)) => {
            if call.is_off(Guarded::Deployers) {
                Err(Reason::NotJudged)
            } else {
                made(call, about(call, new).await?)
            }
        }
        (Operation::Delete, Some(old), _) => deleted(webhook, call, old).await,
        _ => Err(Reason::NotJudged),
    }
}

/// A Secret that Helm would believe, and that it never writes so.
fn forgery(call: &Call<'_>, forged: Forged) -> Result<Verdict, Reason> {
    let about = About {
        release: ReleaseName {
            namespace: call.object.namespace.to_owned(),
            name: forged.release,
        },
        chart: "unknown".to_owned(),
        revision: forged.revision,
        is_readable: false,
        involved: Vec::new(),
        declares: Vec::new(),
    };
    let asking = call.request.user_info.asking();
    if !call.policy.records().may_deploy(asking, &about.release) {
        return written(call, about);
    }
    let violated = (Guarded::Records, Reason::RecordTampered);
    Ok(about.violates(call, violated, vec![forged.change]))
}

/// A record that is made: whether the user may write it, and may deploy all that it declares.
fn made(call: &Call<'_>, mut about: About) -> Result<Verdict, Reason> {
    let (records, asking) = (call.policy.records(), call.request.user_info.asking());
    if !records.may_deploy(asking, &about.release) {
        return written(call, about);
    }
    let outside = about.declares.iter();
    let outside = outside.filter(|(namespace, _)| !records.may_reach(asking, namespace));
    about.involved = outside
        .take(NAMED)
        .map(|(_, called)| called.clone())
        .collect();
    if about.involved.is_empty() {
        return Err(Reason::HelmsOwn);
    }
    Ok(about.violates(
        call,
        (Guarded::Deployers, Reason::DeclaresOutsideScope),
        Vec::new(),
    ))
}

async fn changed(
    call: &Call<'_>,
    old: StoredRecord,
    new: Option<StoredRecord>,
) -> Result<Verdict, Reason> {
    let claimed = claimed_bytes([Some(&old), new.as_ref()].into_iter().flatten());
    let (old, new, edited) = decoding(call, claimed, move || {
        let edited = edit(&old, new.as_ref(), &Limits::default());
        (old, new, edited)
    })
    .await?;
    let is_guarded = !call.is_off(Guarded::Records);
    match edited {
        Edit::Beside => Err(Reason::NothingDeclaredChanges),
        Edit::Unreadable if is_guarded => Err(Reason::RecordUnreadable),
        Edit::Tampering(changes) if is_guarded => {
            let about = about(call, old).await?;
            Ok(about.violates(call, (Guarded::Records, Reason::RecordTampered), changes))
        }
        // Nobody guards what a record says: then what it says now is as good as made.
        Edit::Tampering(_) | Edit::Unreadable if new.is_some() => {
            let old = about(call, old).await?;
            if !call
                .policy
                .records()
                .may_deploy(call.request.user_info.asking(), &old.release)
            {
                return written(call, old);
            }
            let new = new.ok_or(Reason::RecordUnreadable)?;
            made(call, about(call, new).await?)
        }
        _ => written(call, about(call, old).await?),
    }
}

/// As Helm writes it: whether the user may.
fn written(call: &Call<'_>, mut about: About) -> Result<Verdict, Reason> {
    let (records, asking) = (call.policy.records(), call.request.user_info.asking());
    if records.may_deploy(asking, &about.release) {
        return Err(Reason::HelmsOwn);
    }
    about.involved = records.deployers(&about.release);
    Ok(about.violates(call, (Guarded::Deployers, Reason::NotADeployer), Vec::new()))
}

async fn deleted<S: Sources>(
    webhook: &Webhook<S>,
    call: &Call<'_>,
    old: StoredRecord,
) -> Result<Verdict, Reason> {
    if old.is_leaving {
        return Err(Reason::NothingDeclaredChanges);
    }
    let (sources, request) = (&webhook.sources, call.request);
    let namespace = call.object.namespace;
    let at = RecordsAt {
        driver: old.driver,
        namespace: namespace.into(),
    };
    let history = sources.history(&at, &old.release, call.until());
    let history = in_time(call, "list the records of a release", history).await?;
    let revision = old.revision;
    let removed = removal(&history, revision, may_be_helms(request));
    if removed != Removal::Loss || call.is_off(Guarded::Records) {
        return match removed {
            // Whoever deploys may take away; who is no deployer may not even seem to prune.
            Removal::Gone => Err(Reason::HelmsOwn),
            _ if call.is_off(Guarded::Deployers) => Err(match removed {
                Removal::Uninstalled => Reason::Uninstalling,
                _ => Reason::HelmsOwn,
            }),
            _ => {
                let verdict = written(call, about(call, old).await?)?;
                passing_if_terminating(webhook, call, verdict).await
            }
        };
    }
    let mut about = about(call, old).await?;
    if !about.is_readable {
        // Nobody knows what the release holds, Helm neither: to take it away is how to mend it.
        return Err(Reason::RecordUnreadable);
    }
    if request.name.is_empty() {
        let mut others = sources.recorded_in(namespace);
        others.retain(|other| **other != about.release);
        about.involved = others.iter().take(NAMED).map(ToString::to_string).collect();
    }
    let verdict = about.violates(call, (Guarded::Records, Reason::RecordDeleted), Vec::new());
    passing_if_terminating(webhook, call, verdict).await
}

/// In a namespace that is on its way out nothing can be kept.
async fn passing_if_terminating<S: Sources>(
    webhook: &Webhook<S>,
    call: &Call<'_>,
    verdict: Verdict,
) -> Result<Verdict, Reason> {
    let sources = &webhook.sources;
    let asking = sources.is_terminating(call.object.namespace, call.until());
    if in_time(call, "read a namespace", asking).await? {
        Err(Reason::HelmsOwn)
    } else {
        Ok(verdict)
    }
}

async fn namespace<S: Sources>(webhook: &Webhook<S>, call: &Call<'_>) -> Result<Verdict, Reason> {
    if call.request.old_object.is_some_and(is_leaving) {
        return Err(Reason::NothingDeclaredChanges);
    }
    let stake = Stake::Namespace(&call.object.name);
    let reason = Reason::NamespaceHoldsReleases;
    held(webhook, call, stake, (Guarded::Namespaces, reason)).await
}

async fn definition<S: Sources>(webhook: &Webhook<S>, call: &Call<'_>) -> Result<Verdict, Reason> {
    let old = call.request.old_object.ok_or(Reason::ObjectUnreadable)?;
    if is_leaving(old) {
        return Err(Reason::NothingDeclaredChanges);
    }
    let defined = Defined::by(old).ok_or(Reason::ObjectUnreadable)?;
    let stake = Stake::Definition(&defined);
    let reason = Reason::DefinitionInUse;
    held(webhook, call, stake, (Guarded::Definitions, reason)).await
}

/// A new owner reference is judged as the deletion that it leads to.
async fn owned<S: Sources>(webhook: &Webhook<S>, call: &Call<'_>) -> Result<Verdict, Reason> {
    let owners = |object: Option<Raw<'_>>| -> Vec<Value> {
        let list = object.and_then(|object| dig(object.get(), &["metadata", "ownerReferences"]));
        list.and_then(|list| serde_json::from_str(list).ok())
            .unwrap_or_default()
    };
    let changes = new_owners(
        &owners(call.request.old_object),
        &owners(call.request.object),
    );
    let Some(first) = changes.first() else {
        return Err(Reason::NothingDeclaredChanges);
    };
    let act = Act::Change(PolicyChange {
        path: &first.path,
        old: None,
        new: None,
    });
    if let Some(rule) = call.exemption(Facts::default(), act) {
        return Ok(Verdict::exempt(rule));
    }
    let mut verdict = match call.object.kind {
        "Namespace" => namespace(webhook, call).await,
        _ => definition(webhook, call).await,
    }?;
    for finding in &mut verdict.findings {
        finding.changes.clone_from(&changes);
    }
    Ok(verdict)
}

async fn held<S: Sources>(
    webhook: &Webhook<S>,
    call: &Call<'_>,
    stake: Stake<'_>,
    (guarded, reason): (Guarded, Reason),
) -> Result<Verdict, Reason> {
    if call.is_off(guarded) {
        return Err(Reason::NotJudged);
    }
    let holders = holders(&webhook.sources, call, stake).await?;
    let finding = |holder: Holder| {
        Some(Finding {
            mode: call.mode(guarded, &holder.claimant.release, &holder.chart)?,
            release: holder.claimant.release,
            chart: holder.chart,
            apply_method: helm_guard_core::helm::record::ApplyMethod::default(),
            revisions: holder.revisions,
            changes: Vec::new(),
            involved: holder.objects,
        })
    };
    let is_own = |holder: &Holder| {
        let own = webhook.own.as_ref().map(|own| &*own.namespace);
        matches!(stake, Stake::Namespace(namespace) if own == Some(namespace))
            && own::is_own(webhook, &holder.claimant.release, &holder.chart)
    };
    let (own, others): (Vec<_>, Vec<_>) = holders.into_iter().partition(is_own);
    let findings: Vec<_> = others.into_iter().filter_map(finding).collect();
    if findings.is_empty() {
        return Err(match (webhook.sources.is_complete(), own.is_empty()) {
            (false, _) => Reason::IndexIncomplete,
            (true, false) => Reason::OwnRelease,
            (true, true) => Reason::NotDeclared,
        });
    }
    Ok(Verdict {
        reason,
        exemption: None,
        findings,
    })
}

/// The releases that would lose something. What the guard may not look at still holds a definition, since
/// no instance that goes with it is asked about, and no namespace: whoever may write records anywhere
/// could keep it from being deleted.
async fn holders<S: Sources>(
    sources: &S,
    call: &Call<'_>,
    stake: Stake<'_>,
) -> Result<Vec<Holder>, Reason> {
    let trusts = |namespace: &str| call.policy.records().trusts(namespace);
    let reading = async { Ok(sources.fresh_holders(stake, &trusts, call.until()).await) };
    let Holdings {
        holders,
        mut failure,
    } = in_time(call, "read release records again", reading).await?;
    let claimants = holders.iter().map(|holder| &holder.claimant);
    let standings = standings(sources, claimants, call.until()).await;
    let mut counting = Vec::new();
    for (holder, standing) in holders.into_iter().zip(standings) {
        match (standing, stake) {
            (Standing::Counts, _) | (Standing::Forbidden, Stake::Definition(_)) => {
                counting.push(holder);
            }
            (Standing::Forbidden | Standing::Unknown, _) => {
                let release = &holder.claimant.release;
                failure = Some(format!("no object of release {release} could be read").into());
            }
            (Standing::Unnamed, _) => {}
        }
    }
    match failure {
        Some(error) if counting.is_empty() => {
            let namespace = call.object.namespace;
            tracing::warn!(
                namespace,
                error,
                "failed to find out who would lose something"
            );
            Err(Reason::ReadThroughFailed)
        }
        _ => Ok(counting),
    }
}

/// Which release a record is about.
struct About {
    release: ReleaseName,
    chart: String,
    revision: u32,
    is_readable: bool,
    involved: Vec<String>,
    /// Namespaces beside the release's own that its manifest names, and an object in each.
    declares: Vec<(String, String)>,
}

impl About {
    fn violates(
        self,
        call: &Call<'_>,
        (guarded, reason): (Guarded, Reason),
        changes: Vec<Change>,
    ) -> Verdict {
        let Some(mode) = call.mode(guarded, &self.release, &self.chart) else {
            return Verdict::because(Reason::NotJudged);
        };
        Verdict {
            reason,
            exemption: None,
            findings: vec![Finding {
                release: Arc::new(self.release),
                chart: self.chart.into(),
                apply_method: helm_guard_core::helm::record::ApplyMethod::default(),
                mode,
                revisions: vec![self.revision],
                changes,
                involved: self.involved,
            }],
        }
    }
}

/// By its body; by where it is stored, if that can not be read.
async fn about(call: &Call<'_>, stored: StoredRecord) -> Result<About, Reason> {
    let namespace = call.object.namespace.to_owned();
    let looks = !call.is_off(Guarded::Deployers);
    let claimed = claimed_bytes([&stored]);
    decoding(call, claimed, move || {
        let payload = stored.payload().unwrap_or_default();
        let revision = stored.revision;
        match decode(&payload, &Limits::default()) {
            Ok(record) if record.release.name == stored.release => About {
                chart: record.chart.to_string(),
                declares: if looks { declares(&record) } else { Vec::new() },
                release: record.release,
                revision,
                is_readable: true,
                involved: Vec::new(),
            },
            _ => About {
                release: ReleaseName {
                    namespace,
                    name: stored.release,
                },
                chart: "unknown".to_owned(),
                revision,
                is_readable: false,
                involved: Vec::new(),
                declares: Vec::new(),
            },
        }
    })
    .await
}

/// What the records say that they inflate to, together.
fn claimed_bytes<'r>(records: impl IntoIterator<Item = &'r StoredRecord>) -> usize {
    let payloads = records.into_iter().filter_map(StoredRecord::payload);
    payloads
        .map(|payload| Limits::default().claimed_bytes(&payload))
        .sum()
}

/// The namespaces that a manifest names beside the release's own. What is cluster-scoped is in none, and
/// counts for its release only while it says that it belongs to it.
fn declares(record: &Record) -> Vec<(String, String)> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for object in manifest::parse(&record.manifest, &record.release).objects {
        let is_cluster_scoped =
            builtin().scope(&object.group, &object.kind) == Some(Scope::Cluster);
        let namespace = object.namespace.unwrap_or_default();
        if namespace.is_empty() || namespace == record.release.namespace || is_cluster_scoped {
            continue;
        }
        let called = format!(
            "{} {:?} in namespace {namespace:?}",
            object.kind, object.name
        );
        found.entry(namespace).or_insert(called);
    }
    found.into_iter().collect()
}

/// Computes away from the threads that answer, once there is room for so many bytes of JSON.
async fn decoding<T: Send + 'static>(
    call: &Call<'_>,
    claimed: usize,
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Reason> {
    let computing = Decoding::of_process().run(claimed, compute);
    match timeout_at(call.deadline.into(), computing).await {
        Ok(Ok(computed)) => Ok(computed),
        Ok(Err(_panicked)) => Err(Reason::RecordUnreadable),
        Err(_) => Err(Reason::DeadlineExceeded),
    }
}

async fn in_time<T>(
    call: &Call<'_>,
    what: &'static str,
    asking: impl Future<Output = Result<T, super::SourceError>>,
) -> Result<T, Reason> {
    let namespace = call.object.namespace;
    match timeout_at(call.deadline.into(), asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::warn!(namespace, error, "failed to {what}");
            Err(Reason::ReadThroughFailed)
        }
        Err(_) => {
            tracing::warn!(namespace, "failed to {what} in time");
            Err(Reason::ReadThroughFailed)
        }
    }
}
