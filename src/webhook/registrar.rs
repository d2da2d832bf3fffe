//! Keeps the certificate valid and the registration in place while the guard serves.
//!
//! ```text
//! let registrar = Registrar { endpoint, client, serving, ..Registrar::new(source) };
//! let first = registrar::start(&registrar).await?;    // before the listener answers
//! // … wait for the index, start to listen …
//! tasks.spawn("certificate and registration", registrar::run(registrar.clone(), first, stop));
//! // … at exit, if configured …
//! registrar::unregister(&registrar).await?;
//! ```
//!
//! Invariant: the API server trusts a new CA *before* the new leaf is served. The bundle still holds the old
//! CA, so the old leaf of other replicas stays valid. In the other order, each call fails until the
//! registration is written, and a failed call is an unguarded write.
//!
//! Start at [`run`]. `certificate` has the certificate, `register` one reconciliation of the registration,
//! `state` its status.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use helm_guard_core::policy::{Live, Policy};
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    endpoint::Endpoint,
    paths::{PathKey, Paths},
    registration::{
        self, RegistrationError, Unregistered,
        closed::FailClosed,
        emergencies::Watched,
        foreign::ForeignRequirements,
        installation::{Installation, Takeover},
        version_entries::VersionEntries,
    },
    tls::{Pair, ServingCertificate},
    versions::Conversions,
};
use crate::cluster::lease::Role;

mod certificate;
mod live;
mod register;
mod state;
#[cfg(test)]
mod tests;

use certificate::CertificateInUse;
pub use certificate::{CertificateError, CertificateSource};
use live::Changes;
use register::{Announced, ReconcileOutcome, register};
pub(crate) use state::RegistrationState;

/// Time limit of one reconciliation, all requests together. The client has no timeout that is short
/// enough, because its connections also carry watches.
const API_TIMEOUT: Duration = Duration::from_secs(15);

/// The intervals of the registrar, and how long it waits for others.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Interval between checks of the certificate's source.
    pub certificate: Duration,
    /// Interval between checks of the registration.
    pub registration: Duration,
    /// Time for API servers to notice a new CA before its leaf is served. They watch their webhook
    /// configurations; a slow one gets as much time as the update of a mounted Secret takes.
    pub ca_propagation: Duration,
    /// Time for API servers to notice the versions to convert objects to.
    pub propagation: Duration,
    /// Delay after a change of the registration by others, so that a controller that changes it all the time
    /// does not make the guard write all the time.
    pub after_a_change: Duration,
    /// How long an older leader does not change what a newer guard wrote. After this time, the rollout is over,
    /// and the leader has the intended version.
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

/// Reconciles the certificate and the registration.
#[derive(Clone)]
pub struct Registrar {
    /// Where the serving certificate comes from.
    pub source: CertificateSource,
    /// The address that the API server calls; `None` if nothing is issued or registered here (files only).
    pub endpoint: Option<Endpoint>,
    /// Writes the ValidatingWebhookConfiguration; `None` if it is applied by other means.
    pub client: Option<Client>,
    /// The certificate of the listener.
    pub serving: Arc<ServingCertificate>,
    /// The status of the registration.
    pub state: Arc<RegistrationState>,
    /// The accepted paths.
    pub paths: Arc<Paths>,
    /// The versions to convert to, and which of them are registered.
    pub conversions: Arc<Conversions>,
    /// The policy in force, with the users and groups whose requests are all recorded.
    pub policy: Live,
    /// The namespaces that fail closed.
    pub fail_closed: Option<FailClosed>,
    /// The foreign requirements that stay in the registration.
    pub foreign: ForeignRequirements,
    /// Whether this replica is the leader.
    pub role: watch::Receiver<Role>,
    /// The installation that this guard is part of, if the flags set it.
    pub installation: Option<Installation>,
    /// The name of the ClusterRole that owns the registration.
    pub owner: Option<String>,
    /// Whether it replaces the registration of another installation, until it was registered once.
    pub takeover: Takeover,
    /// When to check, renew and retry.
    pub intervals: Intervals,
}

impl Registrar {
    /// One that leads, registers nothing and belongs to no installation. What differs is set by its fields.
    pub fn new(source: CertificateSource) -> Self {
        Self {
            source,
            endpoint: None,
            client: None,
            serving: ServingCertificate::new(),
            state: Arc::default(),
            paths: Paths::new(),
            conversions: Arc::default(),
            policy: Arc::default(),
            fail_closed: None,
            foreign: ForeignRequirements::default(),
            role: watch::channel(Role::Leader).1,
            installation: None,
            owner: None,
            takeover: Takeover::default(),
            intervals: Intervals::default(),
        }
    }
}

/// Gets the first certificate and serves it. An error here is final, because there is nothing to serve.
/// [`run`] takes the result.
pub async fn start(registrar: &Registrar) -> Result<Pair, CertificateError> {
    let pair = certificate::first(registrar).await?;
    registrar.paths.accept([PathKey::of(&pair)]);
    certificate::install(registrar, &pair, SystemTime::now())?;
    if registrar.client.is_some() && pair.ca_bundle.is_none() {
        tracing::warn!(
            from = registrar.source.describe(),
            "no ca.crt next to the certificate: it is registered without a CA, and the API server \
             will only call if its own trust store accepts the certificate"
        );
    }
    Ok(pair)
}

/// Registers, then reconciles certificate and registration until `stop`. Call it when the listener answers
/// and the index is complete, because the registration starts the calls. Errors are logged, counted and
/// retried.
pub async fn run(registrar: Registrar, first: Pair, stop: CancellationToken) {
    let changes = Changes::default();
    tokio::select! {
        () = reconcile(&registrar, first, &changes) => {}
        () = changes.follow(&registrar) => {}
        () = stop.cancelled() => {}
    }
}

async fn reconcile(registrar: &Registrar, first: Pair, changes: &Changes) {
    let Intervals {
        certificate,
        registration,
        ..
    } = registrar.intervals;
    let mut certificate_in_use = CertificateInUse::new(first);
    let mut looked_at: Option<Instant> = None;
    let mut in_place = Arc::default();
    let mut policy = registrar.policy.load_full();
    let mut watched = registrar.watched();
    let mut ticks = interval(certificate.min(registration));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut switch = registrar.state.suspended();
    let mut role = registrar.role.clone();
    loop {
        let is_changed = tokio::select! {
            _ = ticks.tick() => false,
            () = registrar.conversions.changed() => false,
            () = changes.changed(registrar.intervals.after_a_change) => true,
            Ok(()) = switch.changed() => true,
            Ok(()) = role.changed() => true,
        };
        let is_renewed = certificate_in_use.renew(registrar).await;
        let needed = registrar.conversions.needed();
        let has_other_versions = !Arc::ptr_eq(&needed, &in_place);
        let has_other_identities = follow_identities(registrar, &mut watched);
        let has_other_policy = follow_policy(registrar, &mut policy);
        let is_due = looked_at.is_none_or(|at| at.elapsed() >= registration);
        let causes = [
            is_changed,
            is_renewed,
            is_due,
            has_other_versions,
            has_other_identities,
            has_other_policy,
        ];
        if !causes.contains(&true) {
            continue;
        }
        let outcome = register(registrar, certificate_in_use.pair(), &needed).await;
        if outcome != ReconcileOutcome::Failed {
            looked_at = Some(Instant::now());
        }
        if has_other_versions && outcome == ReconcileOutcome::Current {
            sleep(registrar.intervals.propagation).await;
            registrar.conversions.in_place(&needed);
            in_place = needed;
        }
    }
}

/// Whether another policy is in force than before, which has to be published.
fn follow_policy(registrar: &Registrar, before: &mut Arc<Policy>) -> bool {
    let now = registrar.policy.load_full();
    let is_other = now.spec() != before.spec();
    *before = now;
    is_other
}

/// Whether the emergency identities of the policy have changed.
fn follow_identities(registrar: &Registrar, watched: &mut Watched) -> bool {
    let named = registrar.watched();
    if named == *watched {
        return false;
    }
    let left_out = named.left_out();
    if left_out > 0 {
        tracing::warn!(
            left_out,
            "too many emergency identities to record all they do"
        );
    }
    *watched = named;
    true
}

/// Removes the registration permanently, if it is ours: [`run`] may still run and will not restore it. Call
/// it before the listener stops answering.
pub async fn unregister(registrar: &Registrar) -> Result<Unregistered, RegistrationError> {
    let announced = Announced {
        ca_bundle: registrar.serving.ca_bundle(),
        paths: registrar.paths.newest(),
    };
    let wanted = registrar.wanted(announced, VersionEntries::default());
    let (Some(client), Some(wanted)) = (&registrar.client, wanted) else {
        return Ok(Unregistered::Absent);
    };
    let _ended = registrar.state.end().await;
    let removal = registration::unregister(client, &wanted);
    let done = timeout(API_TIMEOUT, removal)
        .await
        .unwrap_or(Err(RegistrationError::Unanswered))?;
    registrar.state.removed();
    Ok(done)
}
