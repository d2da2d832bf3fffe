//! The list types of custom resources, read from their CRDs on first use.
//!
//! One CRD at a time: a cluster's whole OpenAPI is tens of megabytes, while a guard sees a few
//! dozen custom kinds, each of which takes a few kilobytes once it is reduced to list types.
//!
//! Invariants
//! - A failure is never treated as "no such CRD", nor the reverse.
//! - A cached CRD is dropped when it changes. While no watch reports changes, it is cached for
//!   [`UNWATCHED_FOR`] only.
//! - A CRD that changed while it was being read is used once and not cached.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use helm_guard_core::{
    compare::schema::{SchemaError, crd::CrdShape},
    names,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ObjectMeta, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::{ApiFailure, Clients};

/// The maximum number of cached CRDs. A reduced CRD takes a few kilobytes; more kinds than this in
/// use only cost calls.
const KEPT: usize = 512;

/// How long a CRD is cached while no watch reports its changes, and how long its absence is.
const UNWATCHED_FOR: Duration = Duration::from_secs(60);

/// Longer than any deadline of a request.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Locks for reads: one CRD is read once at a time; several CRDs concurrently, if they hash to different locks.
const LOCKS: usize = 16;

/// Seconds after which a watch without events is renewed.
const RENEW_WATCH_AFTER: u32 = 90;

/// Why the types of a custom resource are unknown.
#[derive(Debug, thiserror::Error)]
pub enum CrdError {
    /// The call failed.
    #[error("failed to get CustomResourceDefinition {name:?}: {failure}")]
    Get {
        /// The CRD.
        name: String,
        /// Why.
        failure: ApiFailure,
    },
    /// The CRD is invalid.
    #[error("failed to read CustomResourceDefinition {name:?}: {source}")]
    Schema {
        /// The CRD.
        name: String,
        /// Why.
        source: SchemaError,
    },
    /// Reading the CRD panicked.
    #[error("failed to read CustomResourceDefinition {name:?}: the reader stopped")]
    Stopped {
        /// The CRD.
        name: String,
    },
}

/// The cached CRDs. Shared.
pub struct Crds {
    clients: Clients,
    cache: Mutex<Cache>,
    locks: [tokio::sync::Mutex<()>; LOCKS],
    hasher: RandomState,
}

#[derive(Default)]
struct Cache {
    /// By the CRD's name, `<plural>.<group>`.
    kept: HashMap<Box<str>, Kept>,
    /// Counts uses, to find the least recently used one.
    clock: u64,
    /// Counts watch events, to know whether a read happened before or after one.
    events: u64,
    is_watched: bool,
    /// While the watch lists: the CRDs listed so far.
    listed: HashSet<Box<str>>,
}

struct Kept {
    /// `None` if there is no such CRD.
    shape: Option<Arc<CrdShape>>,
    identity: Identity,
    since: Instant,
    used: u64,
}

/// The cached result for a name: its CRD, or its absence.
struct CachedCrd(Option<Arc<CrdShape>>);

/// Identifies the `spec` of a CRD. Changes of its status, which are more frequent, do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Identity {
    uid: String,
    generation: i64,
}

#[derive(Deserialize)]
struct Identified {
    metadata: Identity,
}

impl From<&ObjectMeta> for Identity {
    fn from(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
        }
    }
}

impl Crds {
    /// An empty cache.
    pub fn new(clients: impl Into<Clients>) -> Self {
        Self {
            clients: clients.into(),
            cache: Mutex::default(),
            locks: Default::default(),
            hasher: RandomState::new(),
        }
    }

    /// The custom resource at `/apis/<group>/.../<plural>`, if its CRD is cached. Never waits.
    pub fn cached(&self, group: &str, plural: &str) -> Option<Arc<CrdShape>> {
        let CachedCrd(shape) = self.cache.lock().get(&name(group, plural)?)?;
        shape
    }

    /// The custom resource at `/apis/<group>/.../<plural>`; `None` when there is no such
    /// CRD, as for the kinds of aggregated API servers.
    pub async fn shape(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<Option<Arc<CrdShape>>, CrdError> {
        let Some(name) = name(group, plural) else {
            return Ok(None);
        };
        if let Some(CachedCrd(known)) = self.cache.lock().get(&name) {
            return Ok(known);
        }
        let Some(lock) = self.locks.get(self.lock_of(&name)) else {
            return Err(CrdError::Stopped { name });
        };
        let _turn = lock.lock().await;
        let events = {
            let mut cache = self.cache.lock();
            if let Some(CachedCrd(known)) = cache.get(&name) {
                return Ok(known);
            }
            cache.events
        };
        let (shape, identity) = self.read(&name).await?;
        let mut cache = self.cache.lock();
        if cache.events == events {
            cache.put(&name, shape.clone(), identity);
        }
        Ok(shape)
    }

    async fn read(&self, name: &str) -> Result<(Option<Arc<CrdShape>>, Identity), CrdError> {
        let failed = |failure| CrdError::Get {
            name: name.to_owned(),
            failure,
        };
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        // As text: the typed CRD would be ten times its size in memory, to be reduced to
        // next to nothing.
        let call = self.clients.call(|client| {
            let request = http::Request::get(&path).body(Vec::new());
            async move {
                let request = request.map_err(kube::Error::HttpError)?;
                Ok(client.request_text(request).await?)
            }
        });
        let text = match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Err(_elapsed) => return Err(failed(ApiFailure::timeout())),
            Ok(Ok(text)) => text,
            Ok(Err(failure)) => {
                return if failure.is_not_found() {
                    Ok((None, Identity::default()))
                } else {
                    Err(failed(failure))
                };
            }
        };
        // Up to 1 MiB of JSON.
        let reduced = tokio::task::spawn_blocking(move || {
            let shape = CrdShape::from_json(&text)?;
            let identity = serde_json::from_str(&text).map(|Identified { metadata }| metadata);
            Ok((Some(Arc::new(shape)), identity.unwrap_or_default()))
        });
        match reduced.await {
            Ok(shape) => shape.map_err(|source| CrdError::Schema {
                name: name.to_owned(),
                source,
            }),
            Err(_panicked) => Err(CrdError::Stopped {
                name: name.to_owned(),
            }),
        }
    }

    /// A number that changes whenever the watch reports a CRD, which may be served differently now.
    pub fn generation(&self) -> u64 {
        self.cache.lock().events
    }

    /// Watches the metadata of all CRDs and drops changed ones. Does not return.
    pub async fn watch(&self) {
        let api: Api<PartialObjectMeta<CustomResourceDefinition>> =
            Api::all(self.clients.pooled().clone());
        let config = watcher::Config {
            timeout: Some(RENEW_WATCH_AFTER),
            ..watcher::Config::default()
        };
        let mut events = watcher::watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.cache.lock().take(&event),
                Err(error) => {
                    let error = ApiFailure::from(&error);
                    tracing::warn!(%error, "the watch of CRDs failed, retrying");
                    self.cache.lock().is_watched = false;
                }
            }
        }
    }

    fn lock_of(&self, name: &str) -> usize {
        // Any bits of a hash will do.
        #[allow(clippy::cast_possible_truncation)]
        let hash = self.hasher.hash_one(name) as usize;
        hash % LOCKS
    }
}

impl Cache {
    fn get(&mut self, name: &str) -> Option<CachedCrd> {
        let kept = self.kept.get_mut(name)?;
        let is_notified_of_changes = self.is_watched && kept.shape.is_some();
        if !is_notified_of_changes && kept.since.elapsed() >= UNWATCHED_FOR {
            return None;
        }
        self.clock += 1;
        kept.used = self.clock;
        Some(CachedCrd(kept.shape.clone()))
    }

    fn put(&mut self, name: &str, shape: Option<Arc<CrdShape>>, identity: Identity) {
        if self.kept.len() >= KEPT && !self.kept.contains_key(name) {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.kept.remove(&oldest);
            }
        }
        self.clock += 1;
        let kept = Kept {
            shape,
            identity,
            since: Instant::now(),
            used: self.clock,
        };
        self.kept.insert(name.into(), kept);
    }

    fn take(&mut self, event: &Event<PartialObjectMeta<CustomResourceDefinition>>) {
        self.events += 1;
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.compare(&object.metadata);
                self.listed
                    .insert(object.metadata.name.as_deref().unwrap_or_default().into());
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.kept
                    .retain(|name, kept| kept.shape.is_none() || listed.contains(name));
                self.is_watched = true;
            }
            Event::Apply(object) => {
                self.compare(&object.metadata);
                self.is_watched = true;
            }
            Event::Delete(object) => {
                self.kept
                    .remove(object.metadata.name.as_deref().unwrap_or_default());
            }
        }
    }

    /// Drops the cached CRD if it is not this one any more.
    fn compare(&mut self, metadata: &ObjectMeta) {
        let name = metadata.name.as_deref().unwrap_or_default();
        if self
            .kept
            .get(name)
            .is_some_and(|kept| kept.identity != Identity::from(metadata))
        {
            self.kept.remove(name);
        }
    }
}

/// The CRD's name. `None` if it is invalid: the core group has no CRDs, and only valid names may go
/// into a path.
fn name(group: &str, plural: &str) -> Option<String> {
    (names::is_subdomain(group) && names::is_label(plural)).then(|| format!("{plural}.{group}"))
}

#[cfg(test)]
mod tests;
