//! Keeps the certificate valid and the registration in place, for as long as the guard serves.
//!
//! ```text
//! let upkeep = Upkeep { source, registration: Some(target), serving, registered, intervals };
//! let trusted = upkeep::begin(&upkeep).await?;      // before the listener answers
//! // … wait for the index, begin to listen …
//! tasks.spawn("certificate and registration", upkeep::keep(upkeep.clone(), trusted, stop));
//! // … at the end, where asked for …
//! upkeep::end(&upkeep).await?;
//! ```
//!
//! The order of a renewal matters: the API server is told to trust the new CA *before* the new leaf
//! is served (the bundle holds the old CA too, so other replicas' old leaf stays good meanwhile).
//! The other way round every call fails until the registration is written, and a failed call is an
//! unguarded write.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use helm_guard_core::policy::Live;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Client;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    sync::{Mutex as Turn, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    certificates::{self, IssueError, secret, secret::SecretError},
    endpoint::Endpoint,
    paths::{PathKey, Paths},
    registration::{
        self, Ensured, Memory, Registration, RegistrationError, Unregistered, Written,
        closed::FailClosed,
        emergencies::Watched,
        installation::{Installation, OtherInstallations, Takeover},
        owner::Owner,
        pins::Wanted,
        writer::Mandate,
    },
    tls::{
        Pair, ServingCertificate, TlsError,
        files::{self, FileError, Files},
    },
    versions::{Conversions, Needed},
};
use crate::cluster::{failure::ApiFailure, lease::Role};

mod live;
#[cfg(test)]
mod tests;

use live::Changes;

/// For one look or write, all its requests together. The client has no time-out of its own that is
/// short enough: its connections also carry watches.
const API_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest pause between two tries to get the first certificate.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// What others did is remembered of so many looks; whoever asks does so more often.
const DISTURBANCES: usize = 16;

/// Where the certificate comes from.
#[derive(Clone)]
pub enum Source {
    /// Files that somebody else renews (`--tls-cert`, `--tls-key`).
    Files(Files),
    /// Made here, for this process alone (`--register-url`).
    Memory,
    /// Made here, shared with the other replicas in a Secret (`--register-service`).
    Secret {
        /// Client that may read and write the Secret.
        client: Client,
        /// The namespace that the guard runs in.
        namespace: String,
    },
}

/// What to register, and with what client.
#[derive(Clone)]
pub struct Target {
    /// Client that may write the ValidatingWebhookConfiguration.
    pub client: Client,
}

/// How often is looked.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// At the source of the certificate.
    pub certificate: Duration,
    /// At the registration.
    pub registration: Duration,
    /// Given to the API servers to learn of a new CA before its leaf is served. They watch their
    /// webhook configurations; a slow one gets as long as a mounted Secret takes.
    pub ca_propagation: Duration,
    /// Given to them to learn of the versions that objects are to be converted to.
    pub propagation: Duration,
    /// Waited for after somebody else has changed the registration: a controller that does so again and
    /// again must not keep the guard writing.
    pub after_a_change: Duration,
    /// How long an older guard that leads leaves alone what a newer one wrote. A rollout is over by then: what
    /// leads is the version that is meant to run.
    pub before_undoing_newer: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            certificate: Duration::from_secs(10),
            registration: Duration::from_secs(60),
            ca_propagation: Duration::from_secs(60),
            propagation: Duration::from_secs(3),
            after_a_change: Duration::from_secs(1),
            before_undoing_newer: Duration::from_secs(10 * 60),
        }
    }
}

/// Everything that upkeep needs.
#[derive(Clone)]
pub struct Upkeep {
    /// Where the certificate comes from.
    pub source: Source,
    /// Where the API server calls; none when nothing is made or registered here (files only).
    pub endpoint: Option<Endpoint>,
    /// What to register; none to leave registration to others.
    pub target: Option<Target>,
    /// What the listener serves.
    pub serving: Arc<ServingCertificate>,
    /// What became of the registration.
    pub registered: Arc<Registered>,
    /// The paths that are answered.
    pub paths: Arc<Paths>,
    /// The versions to convert to, and which of them are in place.
    pub conversions: Arc<Conversions>,
    /// The policy in force: it says whose every request is put on record.
    pub policy: Live,
    /// Where a request that nobody answers is refused.
    pub fail_closed: Option<FailClosed>,
    /// Whether this replica leads.
    pub role: watch::Receiver<Role>,
    /// The installation that this guard is part of, as far as the flags say.
    pub installation: Option<Installation>,
    /// The name of the ClusterRole that owns the registration.
    pub owner: Option<String>,
    /// Whether it replaces what another installation wrote, until it was registered once.
    pub takeover: Takeover,
    /// How often is looked.
    pub intervals: Intervals,
}

/// What became of the registration; for readiness and metrics.
#[derive(Debug, Default)]
pub struct Registered {
    in_place: AtomicBool,
    ever: AtomicBool,
    writes: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<String>>,
    /// Whether the kill switch is on: then it is removed, and stays away.
    suspended: watch::Sender<bool>,
    /// Whether what this process wrote should be there.
    expected: AtomicBool,
    /// What this process wanted last, and whether it led.
    wanted: Mutex<Option<(bool, ValidatingWebhookConfiguration)>>,
    /// What others keep from the guard by requirements of theirs that are tolerated.
    foreign: Mutex<Vec<String>>,
    /// Since when this replica leads.
    leads_since: Mutex<Option<Instant>>,
    /// Other installations of the guard.
    others: OtherInstallations,
    /// What others did to it and when it was seen, until somebody asks.
    disturbances: Mutex<Vec<(Instant, String)>>,
    /// Whether it was ended; held by who writes, so that no write is under way when it ends.
    ended: Turn<bool>,
}

impl Registered {
    /// Whether it was in place and correct when last looked at.
    pub fn is_registered(&self) -> bool {
        self.in_place.load(Ordering::Acquire)
    }

    /// Whether it was in place at any time since the start.
    pub fn was_registered(&self) -> bool {
        self.ever.load(Ordering::Acquire)
    }

    /// Times that it was created or put right.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Times that it could not be read or written.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Switches it off or on: what is off is removed at once and not written again.
    pub fn suspend(&self, is_suspended: bool) {
        self.suspended.send_if_modified(|was| {
            let changed = *was != is_suspended;
            *was = is_suspended;
            changed
        });
    }

    /// Whether it is switched off.
    pub fn is_suspended(&self) -> bool {
        *self.suspended.borrow()
    }

    /// What others have done to it, seen at least so long ago, since this was asked last: sooner it may be
    /// another replica that knows of a new policy or certificate already.
    pub fn take_disturbances(&self, ago: Duration) -> Vec<String> {
        let mut disturbances = self.disturbances.lock();
        let known = disturbances
            .iter()
            .take_while(|(at, _)| at.elapsed() >= ago);
        let known = known.count();
        disturbances.drain(..known).map(|(_, what)| what).collect()
    }

    /// What this process wants from now on. Where that is another registration than before, the other
    /// replicas want it too, and some of them sooner than this one: what they changed is no disturbance. Nor
    /// is what the leader before left: another version, or another order of CAs.
    fn wants(&self, registration: &Registration) {
        // Without the versions, which come and go with the releases.
        let mut next = registration::configuration(registration, &BTreeSet::new());
        // Nor the owner, which cannot always be read.
        next.metadata.owner_references = None;
        let next = (registration.mandate != Mandate::WhatIsMissing, next);
        let mut wanted = self.wanted.lock();
        if wanted.as_ref() != Some(&next) {
            *wanted = Some(next);
            self.expected.store(false, Ordering::Release);
            self.disturbances.lock().clear();
        }
    }

    /// Notes what others did to what this process had written.
    fn disturbed(&self, written: &Written) {
        let what = match written {
            Written::Unchanged
            | Written::Announced
            | Written::Left(_)
            | Written::Replaced(registration::VERSIONS | registration::EXPIRED_CA) => return,
            Written::Created => "deleted".to_owned(),
            Written::Replaced(what) => format!("changed: {what}"),
        };
        let mut disturbances = self.disturbances.lock();
        if self.expected.load(Ordering::Acquire) && disturbances.len() < DISTURBANCES {
            disturbances.push((Instant::now(), what));
        }
    }

    /// Notes that another installation has it. What this one had is reported like a change.
    fn lost_to(&self, other: &Installation) {
        if self.expected.swap(false, Ordering::AcqRel) {
            let what = format!("taken over by the installation {other}");
            self.disturbances.lock().push((Instant::now(), what));
        }
    }

    /// Notes why calls do not come to this guard. What is new is logged.
    fn misses(&self, reason: Option<String>) {
        let mut error = self.error.lock();
        if let Some(reason) = &reason
            && error.as_ref() != Some(reason)
        {
            tracing::warn!(reason, "the API server does not call this guard");
        }
        *error = reason;
    }

    /// What others keep from the guard by requirements of theirs that are tolerated.
    pub fn foreign(&self) -> Vec<String> {
        self.foreign.lock().clone()
    }

    /// Notes what others keep from the guard. What is new is said once, and told like a change.
    fn excludes(&self, found: Vec<String>) {
        let mut foreign = self.foreign.lock();
        if *foreign == found {
            return;
        }
        if !found.is_empty() {
            let what = found.join("; ");
            tracing::warn!(
                what,
                "tolerating requirements that others added to the registration"
            );
            let mut disturbances = self.disturbances.lock();
            if disturbances.len() < DISTURBANCES {
                disturbances.push((Instant::now(), format!("changed: {what}")));
            }
        }
        *foreign = found;
    }

    /// Why it is not in place, where an error is the reason.
    pub fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }
}

/// No certificate could be had.
#[derive(Debug, Error)]
pub enum UpkeepError {
    /// From files.
    #[error(transparent)]
    File(#[from] FileError),
    /// From the Secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Made here.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// What was had cannot be served.
    #[error("failed to serve the certificate from {from}: {source}")]
    Tls {
        /// Where it came from.
        from: String,
        /// Why.
        source: TlsError,
    },
    /// A certificate is to be made, and for whom was not said.
    #[error(
        "failed to make a serving certificate: neither a URL nor a Service to register is given"
    )]
    NoEndpoint,
}

impl UpkeepError {
    /// Whether the same may succeed later without anybody doing anything: the API server did not answer, or
    /// was not able to.
    fn may_pass(&self) -> bool {
        match self {
            Self::Secret(SecretError::Unanswered { .. } | SecretError::Contended { .. }) => true,
            Self::Secret(SecretError::Api { source, .. }) => {
                !ApiFailure::from(source.as_ref()).is_final()
            }
            _ => false,
        }
    }
}

impl Upkeep {
    /// What this replica may change. One that cannot take part in an election registers all the same: a
    /// cluster without a registration is not guarded.
    fn mandate(&self) -> Mandate {
        let role = *self.role.borrow();
        let mut since = self.registered.leads_since.lock();
        if matches!(role, Role::Unknown | Role::Follower) {
            *since = None;
            return Mandate::WhatIsMissing;
        }
        let since = since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.intervals.before_undoing_newer {
            Mandate::Everything
        } else {
            Mandate::UnlessNewer
        }
    }

    /// A registration is taken over once: two guards with `--take-over` must not overwrite each other for ever.
    fn takeover(&self) -> Takeover {
        if self.registered.was_registered() {
            Takeover::Never
        } else {
            self.takeover
        }
    }

    /// What is to be registered; none where others register.
    fn wanted(&self, pair: (Option<String>, PathKey), pins: Wanted) -> Option<Registration> {
        let (ca_bundle, paths) = pair;
        self.target.as_ref()?;
        Some(Registration {
            endpoint: self.endpoint.clone()?,
            ca_bundle,
            paths,
            pins,
            watched: self.watched(),
            fail_closed: self.fail_closed.clone(),
            mandate: self.mandate(),
            owner: Owner::default(),
            installation: self.installation.clone(),
            takeover: self.takeover(),
        })
    }

    /// What owns the registration now. If that cannot be read, the registration is written without: a cluster
    /// without one is not guarded.
    async fn owner(&self, client: &Client) -> Owner {
        let Some(name) = &self.owner else {
            return Owner::AsItIs;
        };
        match Owner::read(client, name).await {
            Ok(owner) => owner,
            Err(error) => {
                tracing::warn!(%error, name, "failed to read the ClusterRole that owns the registration");
                Owner::AsItIs
            }
        }
    }

    fn watched(&self) -> Watched {
        let (users, groups) = self.policy.load().emergencies().who();
        Watched { users, groups }
    }
}

/// The first pair. What may pass is tried again for as long as it takes: a control plane that comes back
/// must not find the guard in the pauses of a crash loop. What the API server refuses is final.
async fn first(upkeep: &Upkeep) -> Result<Pair, UpkeepError> {
    let mut pause = upkeep.intervals.after_a_change;
    let mut said = None;
    loop {
        match current(upkeep, None, SystemTime::now()).await {
            Err(error) if error.may_pass() => {
                let error = error.to_string();
                if said.as_ref() != Some(&error) {
                    tracing::warn!(error, "waiting for the API server");
                    said = Some(error);
                }
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(FIRST_PAUSE);
            }
            result => return result,
        }
    }
}

/// Gets the first certificate and serves it. An error here is final: there is nothing to serve.
/// Returns what [`keep`] goes on from.
pub async fn begin(upkeep: &Upkeep) -> Result<Pair, UpkeepError> {
    let pair = first(upkeep).await?;
    let now = SystemTime::now();
    upkeep.paths.accept([PathKey::of(&pair)]);
    upkeep
        .serving
        .install(&pair, &names(upkeep), now)
        .map_err(|source| UpkeepError::Tls {
            from: origin(&upkeep.source),
            source,
        })?;
    if upkeep.target.is_some() && pair.ca_bundle.is_none() {
        tracing::warn!(
            from = origin(&upkeep.source),
            "no ca.crt beside the certificate: it is registered without a CA, and the API server \
             will only call if its own trust store accepts the certificate"
        );
    }
    Ok(pair)
}

/// Registers, then keeps certificate and registration as they should be until `stop`. Call it when
/// the listener answers and the index is complete: from the registration on, calls come. Errors
/// are logged, counted and tried again.
pub async fn keep(upkeep: Upkeep, first: Pair, stop: CancellationToken) {
    let mut installed = first;
    let mut registered_at: Option<Instant> = None;
    let mut complaint = None;
    let mut in_place = Arc::default();
    let mut watched = upkeep.watched();
    let mut looks = interval(
        upkeep
            .intervals
            .certificate
            .min(upkeep.intervals.registration),
    );
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live = Changes::default();
    let mut switch = upkeep.registered.suspended.subscribe();
    let mut role = upkeep.role.clone();
    let forever = async {
        loop {
            let is_changed = tokio::select! {
                _ = looks.tick() => false,
                () = upkeep.conversions.changed() => false,
                () = live.changed(upkeep.intervals.after_a_change) => true,
                Ok(()) = switch.changed() => true,
                Ok(()) = role.changed() => true,
            };
            let is_renewed = renew(&upkeep, &mut installed, &mut complaint).await;
            let needed = upkeep.conversions.needed();
            let changed = !Arc::ptr_eq(&needed, &in_place);
            let named = upkeep.watched();
            let due = registered_at.is_none_or(|at| at.elapsed() >= upkeep.intervals.registration)
                || named != watched;
            if named != watched && named.left_out() > 0 {
                let left_out = named.left_out();
                tracing::warn!(
                    left_out,
                    "too many emergency identities to record all they do"
                );
            }
            watched = named;
            let look = due || changed || is_changed || is_renewed;
            let bundle = installed.ca_bundle.clone();
            if !look {
                continue;
            }
            let paths = PathKey::of(&installed);
            let outcome = register(&upkeep, (bundle, paths), &needed).await;
            if outcome != Outcome::Failed {
                registered_at = Some(Instant::now());
                if changed && outcome == Outcome::Current {
                    sleep(upkeep.intervals.propagation).await;
                    upkeep.conversions.in_place(&needed);
                    in_place = needed;
                }
            }
        }
    };
    tokio::select! {
        () = forever => {}
        () = live.follow(&upkeep) => {}
        () = stop.cancelled() => {}
    }
}

/// Removes the registration, if it is ours, for good: [`keep`] may still run and will not bring it
/// back. Call it before the listener stops answering.
pub async fn end(upkeep: &Upkeep) -> Result<Unregistered, RegistrationError> {
    let pair = (upkeep.serving.ca_bundle(), upkeep.paths.newest());
    let (Some(target), Some(registration)) =
        (&upkeep.target, upkeep.wanted(pair, Wanted::default()))
    else {
        return Ok(Unregistered::Absent);
    };
    let mut ended = upkeep.registered.ended.lock().await;
    *ended = true;
    let removal = registration::unregister(&target.client, &registration);
    let done = timeout(API_TIMEOUT, removal)
        .await
        .unwrap_or(Err(RegistrationError::Unanswered))?;
    upkeep.registered.in_place.store(false, Ordering::Release);
    Ok(done)
}

/// Installs what the source has, if it is new; whether it was. `complaint` is what was said about the
/// source last, so that a lasting fault is said and counted once.
async fn renew(upkeep: &Upkeep, installed: &mut Pair, complaint: &mut Option<String>) -> bool {
    let now = SystemTime::now();
    let next = match current(upkeep, Some(installed), now).await {
        Ok(next) => next,
        Err(error) => {
            complain(upkeep, complaint, error.to_string());
            return false;
        }
    };
    if next == *installed {
        *complaint = None;
        return false;
    }
    // A pair that will be refused must not change what the API server trusts.
    if let Err(error) = super::tls::check(&next, now) {
        complain(upkeep, complaint, error.to_string());
        return false;
    }
    let old_paths = PathKey::of(installed);
    // Another replica may register the new paths before this one serves the new certificate.
    upkeep.paths.accept([old_paths.clone(), PathKey::of(&next)]);
    if upkeep.target.is_some() && next.ca_bundle != installed.ca_bundle {
        let told = (next.ca_bundle.clone(), old_paths);
        let outcome = register(upkeep, told, &upkeep.conversions.needed()).await;
        if outcome != Outcome::Failed {
            sleep(upkeep.intervals.ca_propagation).await;
        } else if upkeep.serving.serves_ok(now) {
            return false;
        }
    }
    match upkeep.serving.install(&next, &names(upkeep), now) {
        Ok(()) => {
            let not_after = upkeep.serving.leaf_not_after();
            tracing::info!(
                from = origin(&upkeep.source),
                not_after,
                "serving a new certificate"
            );
            // The old paths are in the registration until the new ones are, and accepted for that.
            upkeep.paths.accept([PathKey::of(&next)]);
            *installed = next;
            *complaint = None;
            true
        }
        Err(error) => {
            tracing::error!(%error, "keeping the certificate before");
            false
        }
    }
}

fn complain(upkeep: &Upkeep, complaint: &mut Option<String>, error: String) {
    if complaint.as_ref() == Some(&error) {
        return;
    }
    upkeep.serving.count_failure();
    tracing::error!(
        error,
        from = origin(&upkeep.source),
        "keeping the certificate before"
    );
    *complaint = Some(error);
}

/// What the source has now; `installed` is what memory remembers.
async fn current(
    upkeep: &Upkeep,
    installed: Option<&Pair>,
    now: SystemTime,
) -> Result<Pair, UpkeepError> {
    let endpoint = || upkeep.endpoint.as_ref().ok_or(UpkeepError::NoEndpoint);
    match (&upkeep.source, installed) {
        (Source::Files(files), _) => Ok(files::read(files).await?),
        (Source::Secret { client, namespace }, serving) => {
            let serving = serving.and_then(|pair| pair.ca_bundle.as_deref());
            let shared = secret::ensure(client, namespace, (endpoint()?, serving), now);
            let unanswered = || SecretError::Unanswered {
                namespace: namespace.clone(),
            };
            Ok(timeout(API_TIMEOUT, shared)
                .await
                .unwrap_or_else(|_| Err(unanswered()))?)
        }
        (Source::Memory, Some(pair)) if certificates::will_do(pair, endpoint()?, now) => {
            Ok(pair.clone())
        }
        (Source::Memory, old) => {
            let bundle = old.and_then(|pair| pair.ca_bundle.as_deref());
            Ok(certificates::issue(endpoint()?, bundle, now)?)
        }
    }
}

/// What a look at the registration came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It could not be read or written, or calls go elsewhere.
    Failed,
    /// Calls come to this guard and trust it; the rest is for the replica that leads to put right.
    Behind,
    /// It is as wanted, or none is wanted.
    Current,
}

async fn register(upkeep: &Upkeep, pair: (Option<String>, PathKey), needed: &Needed) -> Outcome {
    let (Some(target), Some(mut registration)) =
        (&upkeep.target, upkeep.wanted(pair, needed.wanted()))
    else {
        return Outcome::Current;
    };
    let state = &upkeep.registered;
    let ended = state.ended.lock().await;
    if *ended {
        return Outcome::Current;
    }
    if state.is_suspended() {
        let is_away = withdraw(state, &target.client, &registration).await;
        return if is_away {
            Outcome::Current
        } else {
            Outcome::Failed
        };
    }
    state.wants(&registration);
    let memory = Memory {
        paths: &upkeep.paths,
        others: &state.others,
    };
    let look = async {
        registration.owner = upkeep.owner(&target.client).await;
        registration::ensure(&target.client, &registration, memory).await
    };
    let ensured = timeout(API_TIMEOUT, look)
        .await
        .unwrap_or(Err(RegistrationError::Unanswered));
    match &ensured {
        Ok(ensured) => note(state, ensured, needed),
        Err(error) => {
            state.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the webhook is not registered");
        }
    }
    let error = match &ensured {
        Ok(ensured) => ensured.missed.clone(),
        Err(error) => Some(error.to_string()),
    };
    let is_in_place = error.is_none();
    match &ensured {
        Ok(_) => state.misses(error),
        Err(_) => *state.error.lock() = error,
    }
    state.in_place.store(is_in_place, Ordering::Release);
    if let Ok(Ensured { written, .. }) = &ensured
        && is_in_place
    {
        state.disturbed(written);
        state.ever.store(true, Ordering::Release);
        state.expected.store(true, Ordering::Release);
    }
    match ensured.map(|ensured| ensured.written) {
        _ if !is_in_place => Outcome::Failed,
        Ok(Written::Left(_) | Written::Announced) => Outcome::Behind,
        _ => Outcome::Current,
    }
}

/// Says and counts what was done.
fn note(state: &Registered, ensured: &Ensured, needed: &Needed) {
    state.excludes(ensured.foreign.clone());
    if let Some(other) = &ensured.other {
        state.lost_to(other);
    }
    match &ensured.written {
        Written::Unchanged => return,
        Written::Left(what) => {
            let missed = ensured.missed.as_deref();
            return tracing::debug!(
                what,
                missed,
                "left the registration to the replica that leads"
            );
        }
        Written::Created => tracing::info!("registered the webhook"),
        Written::Announced => tracing::info!("added the CA of this replica to the registration"),
        Written::Replaced(registration::VERSIONS) => {
            let versions = needed.pins.len();
            tracing::info!(versions, "registered the versions to convert objects to");
        }
        Written::Replaced(registration::EXPIRED_CA) => {
            tracing::info!("removed a CA from the registration that no replica uses any more");
        }
        Written::Replaced(what) => tracing::warn!(what, "corrected the webhook's registration"),
    }
    state.writes.fetch_add(1, Ordering::Relaxed);
}

/// Removes the registration while the guard is suspended: the API server then waits for nobody. Whether it
/// is away.
async fn withdraw(state: &Registered, client: &Client, registration: &Registration) -> bool {
    let removal = registration::remove(client, registration, &state.others);
    let done = timeout(API_TIMEOUT, removal)
        .await
        .unwrap_or(Err(RegistrationError::Unanswered));
    match &done {
        Ok(Unregistered::Deleted) => {
            tracing::warn!("removed the webhook's registration: the guard is suspended");
        }
        Ok(Unregistered::Absent | Unregistered::NotOurs) => {}
        Err(error) => {
            state.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the guard is suspended, and its registration is still there");
        }
    }
    *state.error.lock() = done.as_ref().err().map(ToString::to_string);
    state.in_place.store(false, Ordering::Release);
    state.expected.store(false, Ordering::Release);
    done.is_ok()
}

fn names(upkeep: &Upkeep) -> Vec<String> {
    upkeep
        .endpoint
        .as_ref()
        .map(Endpoint::names)
        .unwrap_or_default()
}

fn origin(source: &Source) -> String {
    match source {
        Source::Files(Files { certificate, .. }) => certificate.display().to_string(),
        Source::Memory => "memory".to_owned(),
        Source::Secret { namespace, .. } => format!("Secret {namespace}/{}", secret::SECRET_NAME),
    }
}
