//! Tracking of emergency changes by the leader, and alerts.

use std::{sync::Arc, time::Duration};

use helm_guard_core::policy::Live;
use kube::Client;
use tokio::{sync::watch, time::MissedTickBehavior};
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
        changes::{Changes, census::Census},
        tokens::Tokens,
        tracker::{self, Tracker},
    },
};

/// Tracks emergency changes on the leader. Each replica sends alerts about what it has seen itself.
pub(super) fn follow_emergencies(
    config: &Config,
    (sources, policy): (&LiveSources, &Live),
    (recorder, role): (&Arc<Recorder>, watch::Sender<Role>),
    background: &mut BackgroundTasks,
) -> anyhow::Result<()> {
    let client = sources.clients.pooled();
    let finish = background.stop.finish.clone();
    let alerting = send_grouped_alerts(Arc::clone(recorder), finish.clone());
    background.tasks.spawn("alerts", alerting);
    let tracker = Tracker {
        client: client.clone(),
        releases: sources.releases.clone(),
        objects: Arc::new(Objects::new(client.clone())),
        recorder: Arc::clone(recorder),
        pace: tracker::TrackerIntervals::default(),
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

/// The writer of emergency records, with the watch that counts existing ones.
pub(super) fn emergency_records(client: &Client, background: &mut BackgroundTasks) -> Changes {
    let census = Arc::<Census>::default();
    let (followed, by) = (Arc::clone(&census), client.clone());
    background.spawn_until_drained("records of emergencies", async move {
        followed.follow(by).await;
    });
    Changes::new(client.clone(), census)
}

/// Sends the grouped alerts when they are due, and the rest at exit.
async fn send_grouped_alerts(recorder: Arc<Recorder>, finish: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => recorder.send_grouped_alerts(),
            () = finish.cancelled() => break,
        }
    }
    recorder.close().await;
}
