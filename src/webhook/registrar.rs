//! Keeps the certificate valid and the registration in place while the guard serves.
//!
//! ```text
//! let registrar = Registrar { source, endpoint, client, serving, state, … };
//! let first = registrar::start(&registrar).await?;    // before the listener answers
//! // … wait for the index, start to listen …
//! tasks.spawn("certificate and registration", registrar::run(registrar.clone(), first, stop));
//! // … at the end, if asked for …
//! registrar::unregister(&registrar).await?;
//! ```
//!
//! Invariant: the API server trusts a new CA *before* the new leaf is served. The bundle still holds the old
//! CA, so the old leaf of other replicas stays valid. In the other order, each call fails until the
//! registration is written, and a failed call is an unguarded write.
//!
//! Start at [`run`]. The certificate is in `certificate`, one look at the registration in `register`, what is
//! known of it in `state`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use helm_guard_core::policy::Live;
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
        pins::Wanted,
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
use register::{Announced, Outcome, register};
pub use state::RegistrationState;

/// For one look or write, all its requests together. The client has no time-out of its own that is
/// short enough: its connections also carry watches.
const API_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the registrar looks, and how long it waits for others.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between two looks at the source of the certificate.
    pub certificate: Duration,
    /// Between two looks at the registration.
    pub registration: Duration,
    /// Until API servers know a new CA, before its leaf is served. They watch their webhook configurations; a
    /// slow one gets as long as a mounted Secret takes.
    pub ca_propagation: Duration,
    /// Until they know the versions to convert objects to.
    pub propagation: Duration,
    /// After somebody else has changed the registration: a controller that does so again and again must not
    /// keep the guard writing.
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

/// What to keep valid and registered, and with what.
#[derive(Clone)]
pub struct Registrar {
    /// Where the certificate comes from.
    pub source: CertificateSource,
    /// Where the API server calls; none if nothing is issued or registered here (files only).
    pub endpoint: Option<Endpoint>,
    /// Writes the ValidatingWebhookConfiguration; none to leave registration to others.
    pub client: Option<Client>,
    /// What the listener serves.
    pub serving: Arc<ServingCertificate>,
    /// What is known of the registration.
    pub state: Arc<RegistrationState>,
    /// The paths that are answered.
    pub paths: Arc<Paths>,
    /// The versions to convert to, and which of them are in place.
    pub conversions: Arc<Conversions>,
    /// The policy in force: it names the users and groups whose every request is recorded.
    pub policy: Live,
    /// The namespaces where a request is denied if no replica answers.
    pub fail_closed: Option<FailClosed>,
    /// What stays of what others add to the registration.
    pub foreign: ForeignRequirements,
    /// Whether this replica leads.
    pub role: watch::Receiver<Role>,
    /// The installation that this guard is part of, as far as the flags say.
    pub installation: Option<Installation>,
    /// The name of the ClusterRole that owns the registration.
    pub owner: Option<String>,
    /// Whether it replaces what another installation wrote, until it was registered once.
    pub takeover: Takeover,
    /// How often it looks.
    pub intervals: Intervals,
}

/// Gets the first certificate and serves it. An error here is final: there is nothing to serve.
/// [`run`] takes the result.
pub async fn start(registrar: &Registrar) -> Result<Pair, CertificateError> {
    let pair = certificate::first(registrar).await?;
    registrar.paths.accept([PathKey::of(&pair)]);
    certificate::install(registrar, &pair, SystemTime::now())?;
    if registrar.client.is_some() && pair.ca_bundle.is_none() {
        tracing::warn!(
            from = registrar.source.describe(),
            "no ca.crt beside the certificate: it is registered without a CA, and the API server \
             will only call if its own trust store accepts the certificate"
        );
    }
    Ok(pair)
}

/// Registers, then keeps certificate and registration as they should be until `stop`. Call it when the
/// listener answers and the index is complete: from the registration on, calls come. Errors are logged,
/// counted and tried again.
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
        let is_due = looked_at.is_none_or(|at| at.elapsed() >= registration);
        let causes = [
            is_changed,
            is_renewed,
            is_due,
            has_other_versions,
            has_other_identities,
        ];
        if !causes.contains(&true) {
            continue;
        }
        let outcome = register(registrar, certificate_in_use.pair(), &needed).await;
        if outcome != Outcome::Failed {
            looked_at = Some(Instant::now());
        }
        if has_other_versions && outcome == Outcome::Current {
            sleep(registrar.intervals.propagation).await;
            registrar.conversions.in_place(&needed);
            in_place = needed;
        }
    }
}

/// Whether the policy names other emergency identities than before.
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

/// Removes the registration for good, if it is ours: [`run`] may still run and will not restore it. Call it
/// before the listener stops answering.
pub async fn unregister(registrar: &Registrar) -> Result<Unregistered, RegistrationError> {
    let announced = Announced {
        ca_bundle: registrar.serving.ca_bundle(),
        paths: registrar.paths.newest(),
    };
    let wanted = registrar.wanted(announced, Wanted::default());
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
