//! Readiness and metrics of all modules.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use helm_guard_core::policy::Live;
use jiff::Timestamp;

use super::{
    logging::Log,
    policy::PolicyStatus,
    readings::{self, Expiry, Lost},
};
use crate::{
    cluster::admission::AdmissionPolicies,
    record::{audit::AuditLog, events::Events, metrics::reading::Reading},
    releases::Releases,
    scanner::status::DriftStatus,
    webhook::{
        accept,
        admin::{self, HealthCheck},
        registrar::RegistrationState,
        shutdown::Stop,
        tls::{CertificateState, ServingCertificate},
    },
};

/// How often the index is polled for completeness.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The modules that report health.
#[derive(Clone)]
pub(super) struct Health {
    pub(crate) releases: Releases,
    pub(crate) serving: Arc<ServingCertificate>,
    /// `None` if the guard does not register the webhook.
    pub(crate) registered: Option<Arc<RegistrationState>>,
    pub(crate) stop: Stop,
    pub(crate) connections: Arc<accept::Stats>,
    pub(crate) events: Events,
    pub(crate) policy: Arc<PolicyStatus>,
    pub(crate) audit: AuditLog,
    /// The policy in force, and the admission policies that protect grants.
    pub(crate) live: Live,
    pub(crate) admission: Arc<AdmissionPolicies>,
    pub(crate) log: Log,
    pub(crate) drift: Arc<DriftStatus>,
}

/// Waits for the index to hold every record.
pub(super) async fn complete(releases: &Releases) {
    while !releases.readiness().ready {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

impl Health {
    /// The checks of readiness.
    pub(crate) fn checks(&self) -> Vec<HealthCheck> {
        let mut checks = vec![
            HealthCheck {
                name: "index",
                health: self.index(),
            },
            HealthCheck {
                name: "policy",
                health: self.policy.health(),
            },
            HealthCheck {
                name: "certificate",
                health: match self.serving.state(SystemTime::now()) {
                    CertificateState::Serving => admin::Health::Ok,
                    CertificateState::Missing => admin::Health::Missing("none yet".to_owned()),
                    CertificateState::Unusable(why) => admin::Health::Missing(why),
                },
            },
        ];
        if let Some(registered) = &self.registered {
            checks.push(HealthCheck {
                name: "registration",
                health: registration(registered),
            });
        }
        let asks_for_grants = self.live.load().emergencies().requires_grant();
        if asks_for_grants && self.admission.are_missing() {
            let what = "deploy/manifests/60-admission-policies.yaml is not installed: while no guard \
                        runs, anyone who may write grants can forge one";
            checks.push(HealthCheck {
                name: "admission policies",
                health: admin::Health::Degraded(what.to_owned()),
            });
        }
        if let Some(suspended) = self.policy.suspension() {
            checks.push(HealthCheck {
                name: "suspended",
                health: admin::Health::Degraded(suspended),
            });
        }
        if self.audit.is_stalled() {
            let what = "the audit log is stalled; its lines go to standard error";
            checks.push(HealthCheck {
                name: "audit",
                health: admin::Health::Degraded(what.to_owned()),
            });
        }
        if self.stop.is_draining() {
            checks.push(HealthCheck {
                name: "process",
                health: admin::Health::Missing("shutting down".to_owned()),
            });
        }
        checks
    }

    fn index(&self) -> admin::Health {
        let readiness = self.releases.readiness();
        match (readiness.ready, readiness.warnings.is_empty()) {
            (false, _) => {
                let what = [readiness.missing, readiness.warnings].concat();
                admin::Health::Missing(what.join("; "))
            }
            (true, false) => admin::Health::Degraded(readiness.warnings.join("; ")),
            (true, true) => admin::Health::Ok,
        }
    }

    /// The metrics of a scrape.
    pub(crate) fn readings(&self) -> Vec<Reading> {
        let serving = &self.serving;
        let expiry = Expiry {
            ca: serving.ca_not_after(),
            leaf: serving.leaf_not_after(),
        };
        let reloads = (serving.reloads(), serving.failures());
        let registered = self.registered.as_deref();
        let lost = Lost {
            events: self.events.dropped(),
            log_lines: self.log.dropped(),
            is_audit_stalled: self.audit.is_stalled(),
        };
        let mode = self.live.load().default_mode().as_str();
        let now = Timestamp::now();
        [
            readings::index(&self.releases.stats()),
            readings::certificates(expiry, reloads),
            registered.map(readings::registration).unwrap_or_default(),
            readings::policy(&self.policy.get(), mode),
            readings::lost(lost),
            readings::connections(&self.connections),
            readings::releases(self.releases.release_infos(), now),
            readings::drift(&self.drift, now),
        ]
        .concat()
    }
}

/// A registration that was in place and cannot be read now does not make the guard unready: the API server
/// would then have no replica to call.
fn registration(registered: &RegistrationState) -> admin::Health {
    let error = registered.error();
    if registered.is_suspended() {
        let removed = "removed: the guard is suspended".to_owned();
        return admin::Health::Degraded(error.unwrap_or(removed));
    }
    match (
        registered.is_registered(),
        registered.was_registered(),
        error,
    ) {
        (true, _, _) if !registered.foreign().is_empty() => {
            admin::Health::Noted(registered.foreign().join("; "))
        }
        (true, _, _) => admin::Health::Ok,
        (false, true, error) => {
            admin::Health::Degraded(error.unwrap_or_else(|| "removed".to_owned()))
        }
        (false, false, error) => {
            admin::Health::Missing(error.unwrap_or_else(|| "not written yet".to_owned()))
        }
    }
}
