//! The labels of namespaces, which policies may select, and which namespaces are terminating.
//!
//! Invariant: unknown is never reported as empty. A namespace that the watch has not listed, or no
//! longer lists, has no entry.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::RwLock;

use super::ApiFailure;

/// Seconds after which a watch without events is renewed.
const RENEW_WATCH_AFTER: u32 = 90;

type NamespaceLabels = HashMap<String, KnownNamespace>;

#[derive(Clone, Debug)]
struct KnownNamespace {
    labels: Arc<BTreeMap<String, String>>,
    is_terminating: bool,
}

/// The labels of all namespaces that the watch has reported.
#[derive(Debug, Default)]
pub struct Namespaces {
    known: RwLock<NamespaceLabels>,
}

impl Namespaces {
    /// The labels of a namespace.
    pub fn labels(&self, name: &str) -> Option<Arc<BTreeMap<String, String>>> {
        let known = self.known.read();
        Some(Arc::clone(&known.get(name)?.labels))
    }

    /// Sets the labels of a namespace that was read without the watch.
    pub fn insert(&self, name: &str, labels: Arc<BTreeMap<String, String>>) {
        let known = KnownNamespace {
            labels,
            is_terminating: false,
        };
        self.known.write().insert(name.to_owned(), known);
    }

    /// Whether a namespace is known to be terminating.
    pub(crate) fn is_terminating(&self, name: &str) -> bool {
        let known = self.known.read();
        known.get(name).is_some_and(|known| known.is_terminating)
    }

    /// Watches the metadata of all namespaces. Does not return. While the watch fails, the last known
    /// labels count: labels change rarely, and a mode must not flap with the connection.
    pub async fn watch(&self, client: Client) {
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
        let config = watcher::Config {
            timeout: Some(RENEW_WATCH_AFTER),
            ..watcher::Config::default()
        };
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        let mut listed = NamespaceLabels::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event, &mut listed),
                Err(error) => {
                    let error = ApiFailure::from(&error);
                    tracing::warn!(%error, "the watch of namespaces failed, retrying");
                }
            }
        }
    }

    fn take(&self, event: Event<PartialObjectMeta<Namespace>>, listed: &mut NamespaceLabels) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(namespace) => listed.extend(entry(namespace)),
            Event::InitDone => *self.known.write() = std::mem::take(listed),
            Event::Apply(namespace) => self.known.write().extend(entry(namespace)),
            Event::Delete(namespace) => {
                let name = namespace.metadata.name.unwrap_or_default();
                self.known.write().remove(&name);
            }
        }
    }
}

fn entry(namespace: PartialObjectMeta<Namespace>) -> Option<(String, KnownNamespace)> {
    let metadata = namespace.metadata;
    let known = KnownNamespace {
        labels: Arc::new(metadata.labels.unwrap_or_default()),
        is_terminating: metadata.deletion_timestamp.is_some(),
    };
    Some((metadata.name?, known))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::api::ObjectMeta;

    use super::*;

    fn namespace(name: &str, tier: &str) -> PartialObjectMeta<Namespace> {
        PartialObjectMeta {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([("tier".to_owned(), tier.to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..PartialObjectMeta::default()
        }
    }

    fn tier(namespaces: &Namespaces, name: &str) -> Option<String> {
        namespaces.labels(name)?.get("tier").cloned()
    }

    #[test]
    fn labels_are_those_of_the_last_watch_event() {
        let (namespaces, mut listed) = (Namespaces::default(), NamespaceLabels::new());
        assert_eq!(tier(&namespaces, "shop"), None);
        namespaces.take(Event::Init, &mut listed);
        namespaces.take(Event::InitApply(namespace("shop", "dev")), &mut listed);
        assert_eq!(tier(&namespaces, "shop"), None, "the list is not complete");
        namespaces.take(Event::InitDone, &mut listed);
        assert_eq!(tier(&namespaces, "shop").as_deref(), Some("dev"));
        namespaces.take(Event::Apply(namespace("shop", "prod")), &mut listed);
        assert_eq!(tier(&namespaces, "shop").as_deref(), Some("prod"));
        namespaces.take(Event::Delete(namespace("shop", "prod")), &mut listed);
        assert_eq!(tier(&namespaces, "shop"), None);
    }

    #[test]
    fn a_namespace_is_terminating_once_it_has_a_deletion_timestamp() {
        let (namespaces, mut listed) = (Namespaces::default(), NamespaceLabels::new());
        namespaces.take(Event::Apply(namespace("shop", "dev")), &mut listed);
        assert!(!namespaces.is_terminating("shop"));
        let mut leaving = namespace("shop", "dev");
        leaving.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        namespaces.take(Event::Apply(leaving), &mut listed);
        assert!(namespaces.is_terminating("shop"));
        assert!(!namespaces.is_terminating("bank"));
    }

    #[test]
    fn a_namespace_missing_in_a_new_list_is_removed() {
        let (namespaces, mut listed) = (Namespaces::default(), NamespaceLabels::new());
        namespaces.take(Event::Apply(namespace("old", "dev")), &mut listed);
        namespaces.take(Event::Init, &mut listed);
        namespaces.take(Event::InitApply(namespace("new", "dev")), &mut listed);
        namespaces.take(Event::InitDone, &mut listed);
        assert_eq!(tier(&namespaces, "old"), None);
        assert_eq!(tier(&namespaces, "new").as_deref(), Some("dev"));
    }
}
