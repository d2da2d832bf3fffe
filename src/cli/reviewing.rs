//! Reviews for one-shot subcommands: the webhook's decisions, without a server.

use std::time::Duration;

use anyhow::bail;
use helm_guard_core::{compare::redact::Redactor, policy::Policy};
use kube::Client;
use tokio::{task::AbortHandle, time::Instant};

use super::{live_sources::LiveSources, process, target::StorageDriver};
use crate::{
    cluster::client::{self, KubeconfigSelection},
    releases::{self, Releases},
    review::Reviewer,
};

/// Time limit for reading the records of a whole cluster.
const PATIENCE: Duration = Duration::from_secs(120);

/// A reviewer with these sources and this policy.
pub(super) fn reviewer<S>(sources: S, policy: Policy) -> anyhow::Result<Reviewer<S>> {
    let redactor = Redactor::new(&process::key()?);
    Ok(Reviewer::for_questions(sources, policy, redactor))
}

/// The releases of a cluster, watched until this is dropped.
pub(super) struct Cluster {
    pub(super) client: Client,
    pub(super) releases: Releases,
    reading: AbortHandle,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Cluster {
    /// Connects, and reads the release records of these namespaces; of all if empty.
    pub(super) async fn connect(
        target: &KubeconfigSelection,
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
        let cluster = Self {
            client,
            releases,
            reading: tokio::spawn(worker.run()).abort_handle(),
        };
        cluster.complete().await?;
        Ok(cluster)
    }

    /// A reviewer with these releases.
    pub(super) fn reviewer(&self, policy: Policy) -> anyhow::Result<Reviewer<LiveSources>> {
        let clients = self.client.clone().into();
        reviewer(LiveSources::new(&clients, &self.releases), policy)
    }

    /// Waits for every record, but not for a list that is denied, which is retried forever.
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
