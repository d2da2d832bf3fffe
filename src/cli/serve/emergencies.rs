//! The work of the leader: it tracks emergency changes, and scans for drift. Alerts of all replicas.

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
    scanner::leader::LeaderScan,
};

/// The work of the leader.
pub(super) struct LedWork {
    tracker: Tracker,
    tokens: Tokens,
    /// If the flags ask for it.
    scan: Option<LeaderScan>,
}

impl LedWork {
    pub(super) fn new(
        (sources, policy): (&LiveSources, &Live),
        recorder: &Arc<Recorder>,
        scan: Option<LeaderScan>,
    ) -> Self {
        let client = sources.clients.pooled();
        Self {
            tracker: Tracker {
                client: client.clone(),
                releases: sources.releases.clone(),
                objects: Arc::new(Objects::new(client.clone())),
                recorder: Arc::clone(recorder),
                pace: tracker::TrackerIntervals::default(),
            },
            tokens: Tokens {
                client: client.clone(),
                policy: Arc::clone(policy),
            },
            scan,
        }
    }

    /// Runs for as long as it is polled.
    async fn run(&self) {
        let scan = async {
            match &self.scan {
                Some(scan) => Box::pin(scan.run()).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(self.tracker.run(), self.tokens.run(), scan);
    }
}

/// Tracks emergency changes and drift on the leader. Each replica sends alerts about what it has seen itself.
pub(super) fn follow_emergencies(
    config: &Config,
    work: LedWork,
    (recorder, role): (&Arc<Recorder>, watch::Sender<Role>),
    background: &mut BackgroundTasks,
) -> anyhow::Result<()> {
    let finish = background.stop.finish.clone();
    let alerting = send_grouped_alerts(Arc::clone(recorder), finish.clone());
    background.tasks.spawn("alerts", alerting);
    let candidate = Candidate {
        client: work.tracker.client.clone(),
        namespace: config.guard_namespace.clone(),
        name: LEASE_NAME.to_owned(),
        identity: identity()?,
        terms: Terms::default(),
        is_led: Arc::clone(&recorder.is_led),
        role,
    };
    background.tasks.spawn("emergency changes", async move {
        candidate.lead(|| work.run(), finish).await;
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
