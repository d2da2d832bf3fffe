//! The status of the registration, for readiness, metrics and alerts.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, MutexGuard, watch},
    time::Instant,
};

use crate::webhook::registration::{
    self, Ensured, Registration, RegistrationError, Written,
    installation::{Installation, OtherInstallations},
    writer::Mandate,
};

/// Changes by others that are remembered until they are reported.
const MAX_DISTURBANCES: usize = 16;

/// The status of the registration, as this process sees it.
#[derive(Debug, Default)]
pub struct RegistrationState {
    is_in_place: AtomicBool,
    was_in_place: AtomicBool,
    writes: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<String>>,
    /// Whether the kill switch is on. Then the registration is removed, and not written.
    suspended: watch::Sender<bool>,
    /// Whether the registration that this process wrote should exist.
    is_expected: AtomicBool,
    /// The last wanted state of this process, and whether it was the leader.
    wanted: Mutex<Option<(bool, ValidatingWebhookConfiguration)>>,
    /// The exclusions by foreign requirements that stay.
    foreign: Mutex<Vec<String>>,
    /// Since when this replica is the leader.
    leads_since: Mutex<Option<Instant>>,
    /// Why the owner could not be read the last time.
    owner_error: Mutex<Option<String>>,
    /// Other installations of the guard.
    pub(super) others: OtherInstallations,
    /// Changes by others and when they were seen, until they are reported.
    disturbances: Mutex<Vec<(Instant, String)>>,
    /// Whether the registration was removed permanently. Locked while it is written.
    has_ended: AsyncMutex<bool>,
}

/// For readiness, metrics and alerts.
impl RegistrationState {
    /// Whether it was in place and correct the last time.
    pub fn is_registered(&self) -> bool {
        self.is_in_place.load(Ordering::Acquire)
    }

    /// Whether it was in place at any time since the start.
    pub(crate) fn was_registered(&self) -> bool {
        self.was_in_place.load(Ordering::Acquire)
    }

    /// How often it was created or corrected.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// How often it could not be read or written.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Whether the kill switch is on.
    pub(crate) fn is_suspended(&self) -> bool {
        *self.suspended.borrow()
    }

    /// The exclusions by foreign requirements that stay.
    pub fn foreign(&self) -> Vec<String> {
        self.foreign.lock().clone()
    }

    /// Why it is not in place, if an error is the reason.
    pub fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }

    /// Changes by others that were seen at least this long ago, once each. A younger one may be by another
    /// replica that already knows a new policy or certificate.
    pub(crate) fn take_disturbances(&self, ago: Duration) -> Vec<String> {
        let mut disturbances = self.disturbances.lock();
        let old = disturbances
            .iter()
            .take_while(|(at, _)| at.elapsed() >= ago);
        let old = old.count();
        disturbances.drain(..old).map(|(_, what)| what).collect()
    }
}

/// For the kill switch.
impl RegistrationState {
    /// Turns it on or off. While it is on, the registration is removed at once and not written again.
    pub fn suspend(&self, is_suspended: bool) {
        self.suspended.send_if_modified(|was_suspended| {
            let is_new = *was_suspended != is_suspended;
            *was_suspended = is_suspended;
            is_new
        });
    }

    pub(super) fn suspended(&self) -> watch::Receiver<bool> {
        self.suspended.subscribe()
    }

    /// Notes that the registration was removed, or why not.
    pub(super) fn withdrawn(&self, error: Option<&RegistrationError>) {
        if error.is_some() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        *self.error.lock() = error.map(ToString::to_string);
        self.is_in_place.store(false, Ordering::Release);
        self.is_expected.store(false, Ordering::Release);
    }
}

/// For the registrar.
impl RegistrationState {
    /// A guard that allows to write the registration; `None` once it was removed permanently.
    pub(super) async fn write(&self) -> Option<MutexGuard<'_, bool>> {
        let has_ended = self.has_ended.lock().await;
        (!*has_ended).then_some(has_ended)
    }

    /// Waits for running writes and prevents new ones, before the registration is removed.
    pub(super) async fn end(&self) -> MutexGuard<'_, bool> {
        let mut has_ended = self.has_ended.lock().await;
        *has_ended = true;
        has_ended
    }

    pub(super) fn removed(&self) {
        self.is_in_place.store(false, Ordering::Release);
    }

    /// When this replica became the leader: now, unless it already was.
    pub(super) fn leads_since(&self) -> Instant {
        *self.leads_since.lock().get_or_insert_with(Instant::now)
    }

    pub(super) fn follows(&self) {
        *self.leads_since.lock() = None;
    }

    /// Records whether the owner could be read. A new error is logged.
    pub(super) fn read_owner(&self, error: Option<String>) {
        let mut last = self.owner_error.lock();
        if let Some(error) = &error
            && last.as_ref() != Some(error)
        {
            tracing::warn!(
                error,
                "failed to read the ClusterRole that owns the registration"
            );
        }
        *last = error;
    }

    /// Records the wanted state. If it changed, other replicas may have written it earlier, so their changes
    /// do not count as made by others. Neither do differences that the previous leader left: another version,
    /// or another order of CAs.
    pub(super) fn wants(&self, registration: &Registration) {
        // Without the versions, which come and go with the releases, and without the owner, which cannot
        // always be read.
        let mut next = registration::configuration(registration, &BTreeSet::new());
        next.metadata.owner_references = None;
        let next = (registration.mandate != Mandate::WhatIsMissing, next);
        let mut wanted = self.wanted.lock();
        if wanted.as_ref() != Some(&next) {
            *wanted = Some(next);
            self.is_expected.store(false, Ordering::Release);
            self.disturbances.lock().clear();
        }
    }

    /// Records the result of a reconciliation.
    pub(super) fn reconciled(&self, ensured: &Ensured) {
        if !matches!(ensured.written, Written::Unchanged | Written::Left(_)) {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        self.excluded(&ensured.foreign);
        if let Some(other) = &ensured.other {
            self.lost_to(other);
        }
        self.misses(ensured.missed.clone());
        let is_in_place = ensured.missed.is_none();
        self.is_in_place.store(is_in_place, Ordering::Release);
        if is_in_place {
            self.disturbed(&ensured.written);
            self.was_in_place.store(true, Ordering::Release);
            self.is_expected.store(true, Ordering::Release);
        }
    }

    /// Records a failed reconciliation.
    pub(super) fn failed(&self, error: &RegistrationError) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.error.lock() = Some(error.to_string());
        self.is_in_place.store(false, Ordering::Release);
    }

    /// Records a change by others of what this process had written.
    fn disturbed(&self, written: &Written) {
        let what = match written {
            Written::Unchanged
            | Written::Announced
            | Written::Left(_)
            | Written::Replaced(registration::VERSIONS | registration::EXPIRED_CA) => return,
            Written::Created => "deleted; it was created again".to_owned(),
            Written::Replaced(what) => format!("changed: {what}; it was corrected"),
        };
        if self.is_expected.load(Ordering::Acquire) {
            self.remember(what);
        }
    }

    /// Records that another installation has the registration. If this one had it before, that is reported as a change.
    fn lost_to(&self, other: &Installation) {
        if self.is_expected.swap(false, Ordering::AcqRel) {
            self.remember(format!("taken over by the installation {other}"));
        }
    }

    /// Records the exclusions by others. New ones are logged once, and reported as a change.
    fn excluded(&self, found: &[String]) {
        let mut foreign = self.foreign.lock();
        if *foreign == found {
            return;
        }
        if !found.is_empty() {
            let what = found.join("; ");
            tracing::warn!(
                what,
                "keeping requirements that others added to the registration"
            );
            self.remember(format!("changed: {what}; this stays"));
        }
        *foreign = found.to_vec();
    }

    fn remember(&self, what: String) {
        let mut disturbances = self.disturbances.lock();
        if disturbances.len() < MAX_DISTURBANCES {
            disturbances.push((Instant::now(), what));
        }
    }

    /// Records why the API server does not call this guard. A new reason is logged.
    fn misses(&self, reason: Option<String>) {
        let mut error = self.error.lock();
        if let Some(reason) = &reason
            && error.as_ref() != Some(reason)
        {
            tracing::warn!(reason, "this guard is not registered");
        }
        *error = reason;
    }
}
