//! What happens to emergency changes, followed by the replica that holds the Lease.

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

/// What happens to emergency changes, followed by one of the replicas; and alerts, which each sends of
/// what it has seen itself.
pub(super) fn follow_emergencies(
    config: &Config,
    (sources, policy): (&LiveSources, &Live),
    (recorder, role): (&Arc<Recorder>, watch::Sender<Role>),
    background: &mut BackgroundTasks,
) -> anyhow::Result<()> {
    let client = sources.clients.pooled();
    let finish = background.stop.finish.clone();
    let telling = tell(Arc::clone(recorder), finish.clone());
    background.tasks.spawn("alerts", telling);
    let tracker = Tracker {
        client: client.clone(),
        releases: sources.releases.clone(),
        objects: Arc::new(Objects::new(client.clone())),
        recorder: Arc::clone(recorder),
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

/// Where emergency changes are put on record, with the watch that counts what is there.
pub(super) fn emergency_records(client: &Client, background: &mut BackgroundTasks) -> Changes {
    let census = Arc::<Census>::default();
    let (followed, by) = (Arc::clone(&census), client.clone());
    background.keep("records of emergencies", async move {
        followed.follow(by).await;
    });
    Changes::new(client.clone(), census)
}

/// Tells of what waits to be told together, and of the rest of it at the end.
async fn tell(recorder: Arc<Recorder>, finish: CancellationToken) {
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
