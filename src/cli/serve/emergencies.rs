//! What happens to emergency changes, followed by the replica that holds the Lease.

use std::sync::Arc;

use helm_guard_core::{
    api::{EmergencyChange, policy::alerts::AlertKind},
    policy::Live,
};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{config::Config, recording::identity, tasks::BackgroundTasks};
use crate::{
    cli::live_sources::LiveSources,
    cluster::{
        lease::{Candidate, LEASE_NAME, Role, Terms},
        live::Objects,
    },
    record::{
        Recorder,
        alerts::{Alert, Alerts},
        tokens::Tokens,
        tracker::{self, Tracker},
    },
};

/// What happens to emergency changes, followed by one of the replicas; and alerts, which each sends of
/// what it has seen itself.
pub(super) fn follow_emergencies(
    config: &Config,
    (sources, policy): (&LiveSources, &Live),
    (recorder, role): (&Arc<Recorder>, watch::Sender<Role>),
    background: &mut BackgroundTasks,
) -> anyhow::Result<()> {
    let (alerts, client) = (recorder.alerts.clone(), sources.clients.pooled());
    let finish = background.stop.finish.clone();
    let sending = end_alerts(alerts.clone(), finish.clone());
    background.tasks.spawn("alerts", sending);
    let tracker = Tracker {
        client: client.clone(),
        releases: sources.releases.clone(),
        objects: Arc::new(Objects::new(client.clone())),
        recorder: Arc::clone(recorder),
        announce: Arc::new(move |change, kind| alerts.raise_with_receipt(of_change(change, kind))),
        pace: tracker::Pace::default(),
    };
    let tokens = Tokens {
        client: client.clone(),
        policy: Arc::clone(policy),
    };
    let candidate = Candidate {
        client: client.clone(),
        namespace: config.guard_namespace.clone(),
        name: LEASE_NAME.to_owned(),
        identity: identity()?,
        terms: Terms::default(),
        is_led: Arc::clone(&recorder.is_led),
        role,
    };
    background.tasks.spawn("emergency changes", async move {
        let work = || futures_util::future::join(tracker.run(), tokens.run());
        candidate.lead(work, finish).await;
    });
    Ok(())
}

/// What people are told of a change.
fn of_change(change: &EmergencyChange, kind: AlertKind) -> Alert {
    let status = change.status.clone().unwrap_or_default();
    let (spec, now) = (&change.spec, Timestamp::now());
    match kind {
        AlertKind::Overdue => Alert::overdue(spec, now),
        AlertKind::Settled => Alert::settled(spec, status.state, status.revision, now),
        _ => Alert::broke_glass(spec),
    }
}

async fn end_alerts(alerts: Alerts, finish: CancellationToken) {
    finish.cancelled().await;
    alerts.close().await;
}
