//! The objects of one kind: listed if there are several, otherwise read one by one.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt, stream};
use helm_guard_core::{
    policy::license::Autoscaler,
    scan::{
        LiveObject, Observed, ReleaseScan, ScannedObject,
        key::LiveKey,
        orphans::{MarkedObject, orphan},
        report::ScanFailure,
        scanned::{KindServing, UnreadableReason},
    },
};
use http::Request;

use super::{KindGroup, PassInput, PassResult, kind::KindContext, names, scope};
use crate::{
    cluster::ApiFailure,
    scanner::{
        MANAGED,
        autoscaled::Autoscaled,
        catalog::CatalogEntry,
        listing::{ListError, ListQuery, ListedPart, each_object},
    },
};

/// Objects of a kind that are read one by one instead of with a list.
const FEW: usize = 3;

/// The most objects that are read one by one if the kind may not be listed.
const MOST_SINGLE: usize = 2_000;

/// Objects that are read at a time.
const CONCURRENT: usize = 8;

/// The objects of one kind, and all that is needed to compare them.
pub(super) struct OfKind<'a, 's> {
    pub(super) input: &'a PassInput<'a>,
    pub(super) scans: &'a [ReleaseScan<'s>],
    pub(super) group: &'a KindGroup<'a>,
    pub(super) context: &'a KindContext<'a>,
    pub(super) autoscaled: &'a Autoscaled,
    pub(super) is_known: &'a (dyn Fn(LiveKey<'_>) -> bool + Sync),
}

impl<'a, 's> OfKind<'a, 's> {
    /// Returns whether the kind was listed.
    pub(super) async fn scan(&self, result: &mut PassResult) -> bool {
        let Some(entry) = self.context.entry else {
            let reason = match self.context.serving {
                KindServing::Nowhere => UnreadableReason::KindGone,
                _ => UnreadableReason::Failed("it is unknown what the API group serves"),
            };
            for at in &self.group.objects {
                self.assess(*at, LiveObject::Unreadable(reason), result);
            }
            return false;
        };
        let mut left: Vec<(usize, usize)> = self.group.objects.clone();
        let is_listed = entry.is_listable && self.group.objects.len() > FEW;
        let mut may_list = true;
        if is_listed {
            match self.list(entry, result).await {
                Ok(seen) => left.retain(|at| !seen.contains(at)),
                Err(error) => {
                    let of_kind = format!("{}.{}", self.group.kind, self.group.group);
                    result.failures.push(ScanFailure {
                        kind: Some(of_kind.trim_end_matches('.').to_owned()),
                        namespace: self.input.namespace.map(str::to_owned),
                        message: format!("failed to list: {error}"),
                    });
                    may_list = false;
                }
            }
        }
        if left.len() > MOST_SINGLE && !may_list {
            let reason = UnreadableReason::Failed("its kind could not be listed");
            for at in left {
                self.assess(at, LiveObject::Unreadable(reason), result);
            }
            return false;
        }
        let reading = stream::iter(left).map(|at| async move { (at, self.get(entry, at).await) });
        let mut reading = reading.buffer_unordered(CONCURRENT);
        while let Some((at, read)) = reading.next().await {
            result.cost.calls += 1;
            let failed;
            let live = match &read {
                Ok(Some(json)) => LiveObject::Present {
                    json,
                    version: &entry.version,
                },
                Ok(None) => LiveObject::Absent,
                Err(failure) if failure.code == Some(403) => {
                    LiveObject::Unreadable(UnreadableReason::Forbidden)
                }
                Err(failure) => {
                    failed = failure.to_string();
                    LiveObject::Unreadable(UnreadableReason::Failed(&failed))
                }
            };
            self.assess(at, live, result);
        }
        is_listed && may_list
    }

    /// Compares what a list shows, and returns which objects it showed.
    async fn list(
        &self,
        entry: &CatalogEntry,
        result: &mut PassResult,
    ) -> Result<HashSet<(usize, usize)>, ListError> {
        let scope = scope(entry);
        let mut wanted: HashMap<(&str, &str), Vec<(usize, usize)>> = HashMap::new();
        for at in &self.group.objects {
            let Some(object) = self.object(*at) else {
                continue;
            };
            let key = object.key(Some(scope));
            wanted
                .entry((key.namespace, key.name))
                .or_default()
                .push(*at);
        }
        let query = ListQuery {
            kind: entry,
            namespace: self.input.namespace,
            labels: MANAGED,
            // Release records are large, and no release declares one.
            fields: match &*entry.kind {
                "Secret" if entry.group.is_empty() => "type!=helm.sh/release.v1",
                _ => "",
            },
            part: ListedPart::Whole,
        };
        let mut seen = HashSet::new();
        let api_version = entry.api_version();
        let taken = &mut *result;
        let take = |json: &str| {
            let (namespace, name) = names(json);
            let key = LiveKey {
                group: &entry.group,
                kind: &entry.kind,
                namespace: &namespace,
                name: &name,
            };
            match wanted.get(&(&*namespace, &*name)) {
                Some(objects) => {
                    for at in objects {
                        // A list that was started again shows objects again.
                        if seen.insert(*at) {
                            let version = &*entry.version;
                            let live = LiveObject::Present { json, version };
                            self.assess(*at, live, taken);
                        }
                    }
                }
                None if self.input.with_orphans => {
                    let object = MarkedObject {
                        key,
                        api_version: &api_version,
                        json,
                    };
                    let input = self.input;
                    let found = orphan(&object, input.rules, self.is_known, input.owners);
                    taken.orphans.extend(found);
                }
                None => {}
            }
        };
        let cost = each_object(self.input.client, &query, take).await?;
        result.cost.add(cost);
        Ok(seen)
    }

    fn object(&self, (of, at): (usize, usize)) -> Option<&'a ScannedObject<'s>> {
        self.scans.get(of)?.objects().get(at)
    }

    fn assess(&self, at: (usize, usize), live: LiveObject<'_>, result: &mut PassResult) {
        let (Some(object), Some(scan)) = (self.object(at), self.scans.get(at.0)) else {
            return;
        };
        let scope = self.context.entry.map(scope);
        let replicas_path: Vec<&str> = self
            .context
            .replicas_path
            .iter()
            .map(String::as_str)
            .collect();
        let observed = Observed {
            live,
            scope,
            knowledge: self.context.knowledge(self.group),
            serving: self.context.serving,
            replicas_path: &replicas_path,
            autoscaler: self.autoscaler(object.key(scope)),
        };
        let found = scan.assess(object, &observed);
        if let Some(assessed) = result.assessed.get_mut(at.0) {
            assessed.push(found);
        }
    }

    fn autoscaler(&self, key: LiveKey<'_>) -> Option<Autoscaler> {
        if self.context.replicas_path.is_empty() {
            return None;
        }
        self.autoscaled.of(key)
    }

    async fn get(
        &self,
        entry: &CatalogEntry,
        at: (usize, usize),
    ) -> Result<Option<String>, ApiFailure> {
        let Some(object) = self.object(at) else {
            return Ok(None);
        };
        let key = object.key(Some(scope(entry)));
        let namespace = Some(key.namespace).filter(|namespace| !namespace.is_empty());
        let path = format!("{}/{}", entry.path(namespace), key.name);
        let request = Request::get(path).body(Vec::new());
        let request = request.map_err(|_| ApiFailure::unreadable())?;
        match self
            .input
            .client
            .request_text(request)
            .await
            .map_err(ApiFailure::from)
        {
            Err(failure) if failure.is_not_found() => Ok(None),
            // The API server ends a document with a newline, which is no part of the object.
            read => read.map(|text| Some(text.trim_ascii().to_owned())),
        }
    }
}
