//! The scans for drift on the leader.

use std::sync::Arc;

use helm_guard_core::compare::redact::Redactor;

use super::{config::Config, health::Health};
use crate::{
    cli::{live_sources::LiveSources, process::key},
    record::Recorder,
    scanner::leader::LeaderScan,
};

/// The scan, if the flags ask for one.
///
/// # Errors
/// When there is no key to redact values with.
pub(super) fn leader_scan(
    config: &Config,
    sources: &LiveSources,
    health: &Health,
    recorder: &Recorder,
) -> anyhow::Result<Option<LeaderScan>> {
    let Some(interval) = config.scan_interval else {
        return Ok(None);
    };
    Ok(Some(LeaderScan {
        client: sources.clients.pooled().clone(),
        crds: Arc::clone(&sources.crds),
        releases: sources.releases.clone(),
        policy: Arc::clone(&health.live),
        redactor: Arc::new(Redactor::new(&key()?)),
        drivers: config.drivers.clone(),
        namespaces: config.namespaces.clone(),
        interval,
        status: Arc::clone(&health.drift),
        alerts: recorder.alerts.clone(),
    }))
}
