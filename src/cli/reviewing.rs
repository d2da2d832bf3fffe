//! Reviews for one-shot subcommands: the webhook's decisions, without a server.

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use helm_guard_core::{
    compare::redact::Redactor,
    guard::{Decision, Reason, Request},
    policy::Policy,
};
use kube::Client;
use tokio::{task::AbortHandle, time::Instant};

use super::{files::CollectedFiles, live_sources::LiveSources, process, target::StorageDriver};
use crate::{
    releases::{self, Releases},
    review::{Entry, ReviewResult, Reviewer, Sources, recorded::RecordedSources},
};

/// Time limit for reading the records of a whole cluster.
const PATIENCE: Duration = Duration::from_secs(120);

/// Long enough for a slow cluster: only a person or a pipeline waits for the answer.
const DEADLINE: Duration = Duration::from_secs(30);

/// Reviews with these sources and this policy.
pub(super) fn reviewer<S>(sources: S, policy: Policy) -> anyhow::Result<Reviewer<S>> {
    let redactor = Redactor::new(&process::key()?);
    Ok(Reviewer::for_questions(sources, policy, redactor))
}

/// Reviews a request through each of these entries; the strictest answer counts, as for the API server.
pub(super) async fn strictest<'r, S: Sources>(
    reviewer: &Reviewer<S>,
    request: &'r Request<'_>,
    entries: impl IntoIterator<Item = Entry>,
) -> Option<ReviewResult<'r>> {
    let mut found: Option<ReviewResult<'r>> = None;
    for entry in entries {
        let deadline = std::time::Instant::now() + DEADLINE;
        let review = reviewer.review(request, entry, deadline).await;
        let is_stricter = found.as_ref().is_none_or(|found| {
            let is_empty = found.verdict.reason == Reason::NotJudged;
            let (this, that) = (strictness(review.decision), strictness(found.decision));
            this > that || this == that && is_empty
        });
        if is_stricter {
            found = Some(review);
        }
    }
    found
}

fn strictness(decision: Decision) -> u8 {
    match decision {
        Decision::Allow => 0,
        Decision::Indeterminate => 1,
        Decision::Audit => 2,
        Decision::Warn => 3,
        Decision::BreakGlass => 4,
        Decision::Deny => 5,
        Decision::FailClosed => 6,
    }
}

/// The releases in files with records.
///
/// # Errors
/// When a file cannot be read or has no record.
pub(super) fn recorded(files: &[PathBuf]) -> anyhow::Result<RecordedSources> {
    let mut collected = CollectedFiles::default();
    collected.add_record_files(files)?;
    Ok(collected.sources())
}

/// The releases of a cluster, read once and followed for as long as this lives.
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
    /// Reads the release records of these namespaces; of all if there are none.
    pub(super) async fn read(
        client: Client,
        namespaces: &[String],
        drivers: &[StorageDriver],
    ) -> anyhow::Result<Self> {
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
                let missing = if readiness.missing.is_empty() {
                    "the API server does not let them be watched".to_owned()
                } else {
                    readiness.missing.join("; ")
                };
                bail!("failed to read the release records: {missing}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
