//! Watches the metadata of release records and passes each event to the writer.
//!
//! Metadata only: a record is up to 1 MiB and a release has ten of them, while its name and labels
//! are enough for the life cycle.
//!
//! Invariant: a watch never ends. Each failure is logged, counted, shown in the readiness detail,
//! and followed by another attempt after a pause (0.8 to 30 seconds).

use std::{fmt::Debug, sync::Arc};

use futures_util::StreamExt;
use helm_guard_core::helm::storage::{Driver, LABEL_SELECTOR};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::sync::mpsc;

use super::{
    health::{Counters, WatchHealth, count},
    index::WatchScope,
    lines::JUNK,
    message::Message,
    reader::stored,
};
use crate::cluster::ApiFailure;

/// The API server indexes Secrets by type, so that it need not read the others.
const OF_HELM: &str = "type=helm.sh/release.v1";

/// Metadata of a record is about 1 KiB.
const PAGE_SIZE: u32 = 500;

/// The configuration of a watch.
pub(super) struct Watch {
    pub client: Client,
    /// Seconds after which a watch without events is renewed: also how long a silently dead
    /// connection goes unnoticed.
    pub(crate) renew_after: u32,
    pub(crate) health: Arc<WatchHealth>,
    pub counters: Arc<Counters>,
    pub messages: mpsc::Sender<Message>,
}

impl Watch {
    /// Runs until the writer is gone.
    pub(crate) async fn run(self) {
        match self.health.scope().driver {
            Driver::Secret => self.run_for::<Secret>(Some(OF_HELM)).await,
            Driver::ConfigMap => self.run_for::<ConfigMap>(None).await,
        }
    }

    async fn run_for<K>(self, fields: Option<&str>)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let api: Api<PartialObjectMeta<K>> = match &self.health.scope().namespace {
            None => Api::all(self.client.clone()),
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
        };
        let config = watcher::Config {
            label_selector: Some(LABEL_SELECTOR.to_owned()),
            field_selector: fields.map(str::to_owned),
            timeout: Some(self.renew_after),
            page_size: Some(PAGE_SIZE),
            ..watcher::Config::default()
        };
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            let message = match event {
                Ok(event) => self.message(event),
                Err(error) => {
                    self.failed(&error);
                    None
                }
            };
            if let Some(message) = message
                && self.messages.send(message).await.is_err()
            {
                return;
            }
        }
    }

    fn message<K>(&self, event: Event<PartialObjectMeta<K>>) -> Option<Message> {
        let scope = || self.health.scope().clone();
        // A list starts before the API server has answered.
        if !matches!(event, Event::Init) {
            self.health.event();
        }
        match event {
            Event::Init => Some(Message::RelistStarted(scope())),
            Event::InitApply(object) => {
                self.record(&object.metadata, |stored| Message::Listed(scope(), stored))
            }
            Event::InitDone => Some(Message::RelistDone(scope())),
            Event::Apply(object) => self.record(&object.metadata, Message::Applied),
            Event::Delete(object) => self.record(&object.metadata, Message::Deleted),
        }
    }

    fn record(
        &self,
        metadata: &ObjectMeta,
        message: impl FnOnce(super::key::Stored) -> Message,
    ) -> Option<Message> {
        match stored(self.health.scope().driver, metadata) {
            Ok(stored) => stored.map(message),
            Err(error) => {
                count(&self.counters.metadata_errors);
                let namespace = metadata.namespace.as_deref().unwrap_or_default();
                if JUNK.may_log(namespace) {
                    tracing::warn!(
                        namespace,
                        %error,
                        "ignored an object that is labeled as a release record"
                    );
                }
                None
            }
        }
    }

    fn failed(&self, error: &watcher::Error) {
        let failure = ApiFailure::from(error);
        count(&self.counters.watch_errors);
        tracing::warn!(watch = self.health.name(), error = %failure, "a watch failed, retrying");
        self.health.failed(&failure);
    }
}

/// The scopes to watch: every given namespace, or all at once, for each driver.
pub(super) fn scopes(namespaces: &[String], drivers: &[Driver]) -> Vec<WatchScope> {
    let namespaces: Vec<Option<Box<str>>> = if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces
            .iter()
            .map(|namespace| Some(namespace.as_str().into()))
            .collect()
    };
    namespaces
        .into_iter()
        .flat_map(|namespace| {
            drivers.iter().map(move |&driver| WatchScope {
                driver,
                namespace: namespace.clone(),
            })
        })
        .collect()
}
