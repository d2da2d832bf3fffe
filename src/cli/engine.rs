//! The webhook's judgement without its server, for subcommands that ask once.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use helm_guard_core::{
    compare::redact::Redactor,
    policy::{Mode, Policy},
};
use kube::Client;
use tokio::{runtime::Runtime, task::AbortHandle, time::Instant};

use super::{
    args::StorageDriver,
    serve::{self, known::Known},
};
use crate::{
    cluster::{
        access::AccessReviews,
        client::{self, Target},
        crds::Crds,
        live::Objects,
    },
    record::{
        Recorder,
        alerts::Alerts,
        audit::AuditLog,
        changes::Changes,
        events,
        metrics::{Metrics, figures::Figures},
    },
    releases::{self, ReadThrough, Releases},
    webhook::{handler::Webhook, intake::Intake},
};

/// How long the records of a whole cluster may take to be read.
const PATIENCE: Duration = Duration::from_secs(120);

/// A thread is enough for one question after the other.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    serve::install_crypto();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// The judgement with these sources: what the webhook answers with, in Deny mode, without break-glass
/// identities, recording nothing.
pub(super) fn webhook<S>(sources: S) -> anyhow::Result<Webhook<S>> {
    let (events, _unsent) = events::queue();
    Ok(Webhook {
        sources,
        policy: Policy::default().live(),
        redactor: Redactor::new(&serve::key()?),
        conversions: Arc::default(),
        recorder: Arc::new(Recorder {
            metrics: Metrics::new(Mode::Deny, Figures::default),
            audit: AuditLog::new("", std::io::sink()),
            events,
            alerts: Alerts::default(),
            forecast: Arc::default(),
            is_led: Arc::default(),
        }),
        intake: Intake::default(),
        own: None,
    })
}

/// The judgement with the releases of a cluster.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) releases: Releases,
    pub(super) webhook: Webhook<Known>,
    reading: AbortHandle,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Cluster {
    /// Connects, and reads the release records of these namespaces; of all if there are none.
    pub(super) async fn connect(
        target: &Target,
        namespaces: &[String],
        drivers: &[StorageDriver],
    ) -> anyhow::Result<Self> {
        let client = client::connect(target).await?;
        let config = releases::Config {
            namespaces: namespaces.to_vec(),
            drivers: StorageDriver::drivers(drivers),
            ..releases::Config::default()
        };
        let (releases, worker) = Releases::new(client.clone(), &config);
        let reading = tokio::spawn(worker.run()).abort_handle();
        let cluster = Self {
            webhook: webhook(Known {
                read_through: ReadThrough::new(&releases),
                releases: releases.clone(),
                crds: Arc::new(Crds::new(client.clone())),
                access: AccessReviews::new(client.clone()),
                changes: Changes::new(client.clone()),
                client: client.clone(),
                namespaces: Arc::default(),
                objects: Arc::new(Objects::new(client.clone())),
            })?,
            client,
            releases,
            reading,
        };
        cluster.complete().await?;
        Ok(cluster)
    }

    /// Waits for every record; not for a list that is refused, which is tried again for ever.
    async fn complete(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let readiness = self.releases.readiness();
            if readiness.ready {
                return Ok(());
            }
            let failed = self.releases.stats().watch_errors > 0;
            if failed || Instant::now() >= deadline {
                bail!(
                    "failed to read the release records: {}",
                    readiness.missing.join("; ")
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
