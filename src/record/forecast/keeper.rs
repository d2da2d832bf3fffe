//! Takes what this replica counts to the `ConfigMap` that all of them share.
//!
//! About once a minute, with the resource version of what was read, so that of two replicas which write
//! at once one reads again. A crash loses what was counted since. A batch is frozen until it is known to
//! be written, whatever became of the calls.

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
    Gathered,
    document::{Batch, Document, KEY, NAME},
};
use crate::cluster::ApiFailure;

/// How often is written.
const PACE: Duration = Duration::from_secs(60);

/// How long writing may take; at the end of the process too.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is read again when others write at the same time.
const ATTEMPTS: u32 = 8;

/// Why it is not written. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// The API server refused or did not answer.
    #[error(transparent)]
    Api(#[from] ApiFailure),
    /// It could not be made.
    #[error("failed to encode it: {0}")]
    Encode(#[from] serde_json::Error),
    /// Others were always faster.
    #[error("it was changed by others at each of {ATTEMPTS} attempts")]
    Contended,
}

impl From<kube::Error> for KeepError {
    fn from(error: kube::Error) -> Self {
        Self::Api(error.into())
    }
}

/// Writes for one replica.
pub struct Keeper {
    api: Api<ConfigMap>,
    gathered: Arc<Gathered>,
    /// What is being written, under a name that no other process has.
    batch: Batch,
    is_written: bool,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keeper")
    }
}

impl Keeper {
    /// Needs `get`, `create`, `patch` and `update` on the `ConfigMap`. `writer` is a name that no other process has.
    pub fn new(client: &Client, namespace: &str, writer: String, gathered: Arc<Gathered>) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            gathered,
            batch: Batch {
                writer,
                number: 0,
                forecast: super::Forecast::default(),
            },
            is_written: true,
        }
    }

    /// Writes, until `stop`, and once more then. At the start too: who asks can tell a guard that has seen
    /// nothing from none.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut said = String::new();
        self.freeze();
        loop {
            let is_last = stop.is_cancelled();
            if self.is_written {
                self.freeze_some();
            }
            let written = timeout(PATIENCE, self.write()).await;
            let error = match written {
                Ok(Ok(())) => String::new(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => ApiFailure::timeout().to_string(),
            };
            if !error.is_empty() && error != said {
                tracing::warn!(error, "failed to write the forecast; it is tried again");
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

    /// The next batch is what was counted so far, be it nothing.
    fn freeze(&mut self) {
        self.batch.number += 1;
        self.batch.forecast = self.gathered.take();
        self.is_written = false;
    }

    fn freeze_some(&mut self) {
        let forecast = self.gathered.take();
        if !forecast.is_empty() {
            self.batch.number += 1;
            self.batch.forecast = forecast;
            self.is_written = false;
        }
    }

    async fn write(&mut self) -> Result<(), KeepError> {
        for _ in 0..ATTEMPTS {
            if self.is_written || self.attempt().await? {
                self.is_written = true;
                return Ok(());
            }
        }
        Err(KeepError::Contended)
    }

    /// Whether the batch is written now; false where somebody else was faster.
    async fn attempt(&self) -> Result<bool, KeepError> {
        let now = Timestamp::now();
        let there = match self.api.get_opt(NAME).await? {
            Some(there) => there,
            None => self.begin().await?,
        };
        let is_new = there.data.as_ref().is_none_or(BTreeMap::is_empty);
        let mut document = read(&there).unwrap_or_else(|| {
            if !is_new {
                tracing::warn!("the forecast in the cluster cannot be read: it is begun anew");
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

    /// Makes an empty one, by server-side apply: RBAC limits that to a name, and two who do it at once
    /// make the same one.
    async fn begin(&self) -> Result<ConfigMap, KeepError> {
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

/// The document of a `ConfigMap`; nothing where it is none.
pub fn read(map: &ConfigMap) -> Option<Document> {
    let text = map.data.as_ref()?.get(KEY)?;
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests;
