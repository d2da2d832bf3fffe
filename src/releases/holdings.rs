//! What releases hang on beside their own objects: who would lose something with a namespace or a
//! definition, and which records a release has.
//!
//! A release holds what *each* of its active revisions holds, as with the deletion of an object: while
//! Helm is at work it may take away what only the old manifest has, and after a failed upgrade what only
//! the new one has.

use std::{sync::Arc, time::Instant};

use futures_util::StreamExt;
use tokio::time::timeout_at;

use super::{
    Body, ReadThrough, ReadThroughError, Releases,
    health::count,
    key::StorageKey,
    view::{Content, ReleaseView},
};
use crate::{
    guard::records::{Holder, NAMED, Stake},
    helm::{
        ReleaseName,
        identity::DeclaredObject,
        lifecycle::{Phase, Status},
    },
};

/// Reads under way at a time, so that one deletion does not flood the API server.
const AT_A_TIME: usize = 8;

impl Releases {
    /// The releases that have records in this namespace and are not uninstalled.
    pub fn recorded_in(&self, namespace: &str) -> Vec<Arc<ReleaseName>> {
        let views = self.shared.directory.releases();
        let here = views
            .iter()
            .filter(|view| *view.storage.namespace == *namespace && view.phase.is_some());
        here.map(|view| view.release()).collect()
    }
}

impl ReadThrough {
    /// The releases that would lose something, by their records as they are now. Asked of those that
    /// would by the index; what is so young that no watch has told of it is not found.
    ///
    /// # Errors
    /// When none is found and not all could be read.
    pub async fn holders(
        &self,
        stake: Stake<'_>,
        deadline: Instant,
    ) -> Result<Vec<Holder>, ReadThroughError> {
        let releases = self.releases();
        let storages: Vec<_> = releases
            .directory
            .releases()
            .into_iter()
            .filter(|view| view.holder(stake).is_some())
            .map(|view| Arc::clone(&view.storage))
            .collect();
        let mut reads = futures_util::stream::iter(storages)
            .map(|storage| async move { self.read(&storage).await })
            .buffer_unordered(AT_A_TIME);
        let (mut holders, mut failure) = (Vec::new(), None);
        loop {
            match timeout_at(deadline.into(), reads.next()).await {
                Ok(Some(Ok(view))) => holders.extend(view.holder(stake)),
                Ok(Some(Err(error))) => failure = Some(error),
                Ok(None) => break,
                Err(_) => {
                    failure = Some(ReadThroughError::Deadline);
                    break;
                }
            }
        }
        match failure {
            Some(error) if holders.is_empty() => {
                count(&releases.counters.read_through_errors);
                Err(error)
            }
            _ => {
                holders.sort_by(|a: &Holder, b: &Holder| by_name(a).cmp(&by_name(b)));
                count(&releases.counters.read_throughs);
                Ok(holders)
            }
        }
    }

    /// The revisions of which there are records now, with the status that their labels say.
    pub async fn history(
        &self,
        storage: &Arc<StorageKey>,
        deadline: Instant,
    ) -> Result<Vec<(u32, Status)>, ReadThroughError> {
        let releases = self.releases();
        count(&releases.counters.read_through_lists);
        let listing = timeout_at(deadline.into(), releases.reader.list(storage)).await;
        match listing {
            Ok(Ok(listing)) if listing.is_cut => {
                count(&releases.counters.read_through_errors);
                Err(ReadThroughError::TooManyRecords {
                    release: Arc::clone(storage),
                })
            }
            Ok(Ok(listing)) => {
                count(&releases.counters.read_throughs);
                Ok(listing
                    .records
                    .iter()
                    .map(|stored| (stored.key.revision, stored.status))
                    .collect())
            }
            Ok(Err(failure)) => {
                count(&releases.counters.read_through_errors);
                Err(ReadThroughError::List {
                    release: Arc::clone(storage),
                    failure,
                })
            }
            Err(_) => {
                count(&releases.counters.read_through_errors);
                Err(ReadThroughError::Deadline)
            }
        }
    }
}

fn by_name(holder: &Holder) -> (&str, &str) {
    (&holder.release.namespace, &holder.release.name)
}

impl ReleaseView {
    /// The release, by its records; by where they are, if none can be read.
    fn release(&self) -> Arc<ReleaseName> {
        match self.bodies().next() {
            Some(body) => Arc::clone(body.release()),
            None => Arc::new(ReleaseName {
                namespace: self.storage.namespace.to_string(),
                name: self.storage.name.to_string(),
            }),
        }
    }

    /// What the release would lose, if anything. A release that is being uninstalled gives up all.
    pub fn holder(&self, stake: Stake<'_>) -> Option<Holder> {
        let phase = self.phase?;
        if phase == Phase::Uninstalling {
            return None;
        }
        let objects = match stake {
            Stake::Namespace(namespace) => {
                let is_recorded = *self.storage.namespace == *namespace;
                let holds = || self.each(|body| body.is_in(namespace));
                (is_recorded || holds()).then(Vec::new)?
            }
            Stake::Definition { group, kind } => {
                let holds = |body: &Body| body.has_instances(group, kind);
                let newest = self.each(holds).then(|| self.bodies().next())??;
                newest.instances(group, kind)
            }
        };
        let chart = self.bodies().next().map(|body| Arc::clone(body.chart()));
        let revisions = if self.revisions.is_empty() {
            vec![self.newest]
        } else {
            self.revisions.iter().map(|known| known.revision).collect()
        };
        Some(Holder {
            release: self.release(),
            chart: chart.unwrap_or_else(|| Arc::from("unknown")),
            revisions,
            objects,
        })
    }

    /// Whether it is so in every active revision, of which there is at least one.
    fn each(&self, holds: impl Fn(&Body) -> bool) -> bool {
        !self.revisions.is_empty()
            && self.revisions.iter().all(|known| match &known.content {
                Content::Body(body) => holds(body),
                Content::Unreadable => false,
            })
    }
}

impl Body {
    /// Whether it declares objects of this kind.
    fn has_instances(&self, group: &str, kind: &str) -> bool {
        let mut kinds = self.kinds().iter();
        kinds.any(|known| (&*known.group, &*known.kind) == (group, kind))
    }

    /// Some of the objects of this kind, as a message calls them. None, where they can not be read.
    fn instances(&self, group: &str, kind: &str) -> Vec<String> {
        let objects = self.objects().inspect_err(
            |error| tracing::error!(release = %self.release(), %error, "a kept manifest can not be read"),
        );
        let mut objects = objects.unwrap_or_default();
        objects.retain(|object| (&*object.group, &*object.kind) == (group, kind));
        let named = objects.iter().take(NAMED);
        named.map(|object| self.called(object)).collect()
    }

    /// As a message calls it. Whether the kind is namespaced is not known, so the namespace is said
    /// where the document says one.
    fn called(&self, object: &DeclaredObject) -> String {
        let (kind, name) = (&object.kind, &object.name);
        match object.namespace.as_deref() {
            Some(namespace) if namespace != self.release().namespace && !namespace.is_empty() => {
                format!("{kind} {name:?} in namespace {namespace:?}")
            }
            _ => format!("{kind} {name:?}"),
        }
    }
}
