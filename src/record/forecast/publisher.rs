//! Writes the counts of this replica to the `ConfigMap` that all replicas share.
//!
//! It writes about once a minute, with the resource version of what it read, so that of two replicas that
//! write at the same time one reads again. A crash loses the counts since the last write. A batch does not
//! change until it is known to be written, whatever the calls returned.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    Collector,
    document::{Batch, Document, KEY, NAME},
};
use crate::cluster::ApiFailure;

/// How often to write.
const PACE: Duration = Duration::from_secs(60);

/// How long a write may take, also at the end of the process.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to read again when others write at the same time.
const ATTEMPTS: u32 = 8;

/// Why the forecast was not written. It is retried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// The API server returned an error or did not answer.
    #[error(transparent)]
    Api(#[from] ApiFailure),
    /// It could not be encoded.
    #[error("failed to encode it: {0}")]
    Encode(#[from] serde_json::Error),
    /// Others were faster each time.
    #[error("it was changed by others at each of {ATTEMPTS} attempts")]
    Contended,
}

impl From<kube::Error> for PublishError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error.into())
    }
}

/// Writes for one replica.
pub(crate) struct Publisher {
    api: Api<ConfigMap>,
    gathered: Arc<Collector>,
    /// The batch that is being written, under a name that no other process has.
    batch: Batch,
    is_written: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Publisher")
    }
}

impl Publisher {
    /// Needs `get`, `create`, `patch` and `update` on the `ConfigMap`. No other process has the name
    /// `writer`.
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        writer: String,
        gathered: Arc<Collector>,
    ) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            gathered,
            batch: Batch {
                writer,
                number: 0,
                until: Timestamp::UNIX_EPOCH,
                forecast: super::Forecast::default(),
            },
            is_written: true,
        }
    }

    /// Writes until `stop`, and then once more.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut said = String::new();
        loop {
            let is_last = stop.is_cancelled();
            if self.is_written {
                self.freeze();
            }
            let written = timeout(WRITE_TIMEOUT, self.write()).await;
            let error = match written {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => ApiFailure::timeout().to_string(),
            };
            if !error.is_empty() && error != said {
                tracing::warn!(error, "failed to write the forecast, retrying");
            }
            said = error;
            if is_last {
                return;
            }
            tokio::select! {
                () = sleep(PACE) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// The next batch: the counts so far, even if there are none, because readers have to know until when
    /// nothing was counted.
    fn freeze(&mut self) {
        self.batch.number += 1;
        self.batch.until = Timestamp::now();
        self.batch.forecast = self.gathered.take();
        self.is_written = false;
    }

    async fn write(&mut self) -> Result<(), PublishError> {
        for _ in 0..ATTEMPTS {
            if self.is_written || self.attempt().await? {
                self.is_written = true;
                return Ok(());
            }
        }
        Err(PublishError::Contended)
    }

    /// Whether the batch is written now; false if someone else was faster.
    async fn attempt(&self) -> Result<bool, PublishError> {
        let now = Timestamp::now();
        let there = match self.api.get_opt(NAME).await? {
            Some(there) => there,
            None => self.create().await?,
        };
        let is_new = there.data.as_ref().is_none_or(BTreeMap::is_empty);
        let mut document = read(&there).unwrap_or_else(|| {
            if !is_new {
                tracing::warn!(
                    "the forecast in the cluster is unreadable, replacing it with an empty one"
                );
            }
            Document::new(now)
        });
        if document.has(&self.batch) {
            return Ok(true);
        }
        document.add(&self.batch, now);
        let data = BTreeMap::from([(KEY.to_owned(), document.encode()?)]);
        let map = ConfigMap {
            data: Some(data),
            ..there
        };
        match self.api.replace(NAME, &PostParams::default(), &map).await {
            Ok(_) => Ok(true),
            // It was changed or removed meanwhile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates an empty one by server-side apply: RBAC can limit that to a name, and two replicas that do it
    /// at the same time create the same object.
    async fn create(&self) -> Result<ConfigMap, PublishError> {
        let params = PatchParams::apply("helm-guard");
        let map = unwritten();
        Ok(self.api.patch(NAME, &params, &Patch::Apply(&map)).await?)
    }
}

fn unwritten() -> ConfigMap {
    let label = ("app.kubernetes.io/name".to_owned(), "helm-guard".to_owned());
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            labels: Some(BTreeMap::from([label])),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

/// The document of a `ConfigMap`; an empty one if there is none.
pub(crate) fn read(map: &ConfigMap) -> Option<Document> {
    let text = map.data.as_ref()?.get(KEY)?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests;
