//! One pass over the live objects of some releases.
//!
//! Objects are listed by kind and version, with the label that Helm sets, and compared while they are listed, so that no
//! list is held in memory. An object that no list showed is read by itself: it is missing, or has lost the label.
//!
//! Invariant: an object that could not be read is assessed as unreadable, with the reason. A list that failed is also in
//! [`PassResult::failures`].

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, HashSet},
};

use futures_util::{StreamExt, stream};
use helm_guard_core::{
    compare::{
        dig,
        schema::{ResourceScope, Shape, builtin::builtin, crd::CrdShape},
        unquoted,
    },
    guard::{Knowledge, subject::owner_in},
    helm::ReleaseName,
    policy::license::Autoscaler,
    scan::{
        LiveObject, ObjectAssessment, Observed, ReleaseScan, ScanRules, ScannedObject,
        key::LiveKey,
        orphans::{MarkedObject, OwnerRecords, orphan},
        report::{OrphanReport, ScanFailure},
        scanned::{KindServing, UnreadableReason},
    },
};
use http::Request;
use kube::Client;
use std::sync::Arc;

use super::{
    autoscaled::Autoscaled,
    catalog::{Catalog, CatalogEntry, Serving},
    listing::{ListCost, ListQuery, ListedPart, each_object},
};
use crate::cluster::{ApiFailure, Crds};

/// Helm's label, which each object that it manages has.
const MANAGED: &str = "app.kubernetes.io/managed-by=Helm";

/// Objects of a kind that are read one by one instead of with a list.
const FEW: usize = 3;

/// The most objects that are read one by one if the kind may not be listed.
const MOST_SINGLE: usize = 2_000;

/// Objects that are read at a time.
const CONCURRENT: usize = 8;

/// Kinds whose objects controllers make in large numbers, and Helm never does.
const NEVER_DECLARED: [&str; 4] = ["Event", "Lease", "EndpointSlice", "ReplicaSet"];

/// What is scanned.
pub(super) struct PassInput<'a> {
    pub(super) client: &'a Client,
    pub(super) crds: &'a Crds,
    pub(super) catalog: &'a Catalog,
    pub(super) rules: &'a ScanRules<'a>,
    /// One namespace, or all.
    pub(super) namespace: Option<&'a str>,
    /// Whether marked objects that no release has are looked for.
    pub(super) with_orphans: bool,
    /// What is known of the release that a marked object names.
    pub(super) owners: &'a dyn Fn(&ReleaseName) -> OwnerRecords,
}

/// What was found.
#[derive(Default)]
pub(super) struct PassResult {
    /// Of each release, in the order of the scans.
    pub(super) assessed: Vec<Vec<ObjectAssessment>>,
    pub(super) orphans: Vec<OrphanReport>,
    pub(super) failures: Vec<ScanFailure>,
    pub(super) cost: ListCost,
}

/// The objects of a kind in one version.
struct KindGroup<'s> {
    group: &'s str,
    version: &'s str,
    kind: &'s str,
    /// Which scan, and which of its objects.
    objects: Vec<(usize, usize)>,
}

/// What all objects of a kind share.
struct KindContext<'k> {
    entry: Option<&'k CatalogEntry>,
    serving: KindServing,
    crd: Option<Arc<CrdShape>>,
    has_schema: bool,
    replicas_path: Vec<String>,
}

/// Compares the objects of these scans with the cluster.
pub(super) async fn pass(input: &PassInput<'_>, scans: &[ReleaseScan<'_>]) -> PassResult {
    let mut result = PassResult {
        assessed: scans.iter().map(|_| Vec::new()).collect(),
        ..PassResult::default()
    };
    let (groups, known) = groups(scans, input.catalog);
    let is_known = |key: LiveKey<'_>| known.contains(&owned(key));
    let autoscaled =
        Autoscaled::read(input.client, input.catalog, input.namespace, &is_known).await;
    result.failures.extend(autoscaled.failure());
    let mut listed = HashSet::new();
    for group in &groups {
        let context = context(input, group, &mut result.failures).await;
        let of_kind = OfKind {
            input,
            scans,
            group,
            context: &context,
            autoscaled: &autoscaled,
            is_known: &is_known,
        };
        if of_kind.scan(&mut result).await {
            listed.insert((group.group, group.kind));
        }
    }
    if input.with_orphans {
        let entries = input.catalog.listable();
        let unlisted = entries.filter(|entry| !listed.contains(&(&*entry.group, &*entry.kind)));
        find_orphans(input, unlisted, &is_known, &mut result).await;
    }
    result
}

type OwnedKey = (String, String, String, String);

fn owned(key: LiveKey<'_>) -> OwnedKey {
    let LiveKey {
        group,
        kind,
        namespace,
        name,
    } = key;
    (group.into(), kind.into(), namespace.into(), name.into())
}

/// The objects by kind and version, and the keys of all of them.
fn groups<'s>(
    scans: &'s [ReleaseScan<'_>],
    catalog: &Catalog,
) -> (Vec<KindGroup<'s>>, HashSet<OwnedKey>) {
    let mut groups = BTreeMap::<_, Vec<(usize, usize)>>::new();
    let mut known = HashSet::new();
    for (of, scan) in scans.iter().enumerate() {
        for (at, object) in scan.objects().iter().enumerate() {
            let key = object.key(None);
            let version = object.version();
            groups
                .entry((key.group, key.kind, version))
                .or_default()
                .push((of, at));
            let scope = match catalog.serving(key.group, version, key.kind) {
                Serving::AsDeclared(entry) | Serving::OtherVersion(entry) => Some(scope(entry)),
                Serving::Absent | Serving::Unknown => None,
            };
            known.insert(owned(object.key(scope)));
        }
    }
    let groups = groups
        .into_iter()
        .map(|((group, kind, version), objects)| KindGroup {
            group,
            version,
            kind,
            objects,
        });
    (groups.collect(), known)
}

fn scope(entry: &CatalogEntry) -> ResourceScope {
    if entry.is_namespaced {
        ResourceScope::Namespaced
    } else {
        ResourceScope::Cluster
    }
}

async fn context<'k>(
    input: &PassInput<'k>,
    of: &KindGroup<'_>,
    failures: &mut Vec<ScanFailure>,
) -> KindContext<'k> {
    let (entry, serving) = match input.catalog.serving(of.group, of.version, of.kind) {
        Serving::AsDeclared(entry) => (Some(entry), KindServing::Served),
        Serving::OtherVersion(entry) => (Some(entry), KindServing::InOtherVersions),
        Serving::Absent => (None, KindServing::Nowhere),
        Serving::Unknown => (None, KindServing::Unknown),
    };
    let mut context = KindContext {
        entry,
        serving,
        crd: None,
        has_schema: true,
        replicas_path: Vec::new(),
    };
    if builtin().knows_group(of.group) {
        let is_scaled = matches!(
            of.kind,
            "Deployment" | "StatefulSet" | "ReplicaSet" | "ReplicationController"
        );
        if is_scaled {
            context.replicas_path = vec!["spec".to_owned(), "replicas".to_owned()];
        }
    } else if let Some(entry) = entry {
        match input.crds.shape(&entry.group, &entry.plural).await {
            Ok(crd) => {
                let version = crd
                    .iter()
                    .flat_map(|crd| &crd.versions)
                    .find(|version| version.name == of.version);
                let path = version.and_then(|version| version.spec_replicas_path.as_deref());
                let steps = path.unwrap_or_default().split('.').skip(1);
                context.replicas_path = steps.map(str::to_owned).collect();
                context.crd = crd;
            }
            Err(error) => {
                context.has_schema = false;
                failures.push(ScanFailure {
                    kind: Some(format!("{}.{}", of.kind, of.group)),
                    namespace: None,
                    message: format!("failed to read the schema: {error}"),
                });
            }
        }
    }
    context
}

impl KindContext<'_> {
    fn knowledge(&self, of: &KindGroup<'_>) -> Knowledge<'_> {
        if builtin().knows_group(of.group) {
            let shape = builtin().lookup(of.group, of.version, of.kind);
            return Knowledge::Builtin(shape.unwrap_or_else(Shape::plain));
        }
        if !self.has_schema {
            return Knowledge::Unavailable;
        }
        let shape = self.crd.as_ref().and_then(|crd| crd.shape(of.version));
        Knowledge::Custom(shape.unwrap_or_else(Shape::plain))
    }
}

/// The objects of one kind, and all that is needed to compare them.
struct OfKind<'a, 's> {
    input: &'a PassInput<'a>,
    scans: &'a [ReleaseScan<'s>],
    group: &'a KindGroup<'a>,
    context: &'a KindContext<'a>,
    autoscaled: &'a Autoscaled,
    is_known: &'a dyn Fn(LiveKey<'_>) -> bool,
}

impl<'a, 's> OfKind<'a, 's> {
    /// Returns whether the kind was listed.
    async fn scan(&self, result: &mut PassResult) -> bool {
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
    ) -> Result<HashSet<(usize, usize)>, super::listing::ListError> {
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
        let seen = RefCell::new(HashSet::new());
        let api_version = entry.api_version();
        let taken = RefCell::new(&mut *result);
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
                        if seen.borrow_mut().insert(*at) {
                            let version = &*entry.version;
                            let live = LiveObject::Present { json, version };
                            self.assess(*at, live, &mut taken.borrow_mut());
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
                    taken.borrow_mut().orphans.extend(found);
                }
                None => {}
            }
        };
        let cost = each_object(self.input.client, &query, take).await?;
        result.cost.add(cost);
        Ok(seen.into_inner())
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
            read => read.map(Some),
        }
    }
}

/// Namespace and name of an object.
fn names(json: &str) -> (String, String) {
    let text = |key: &str| {
        let found = dig(json, &["metadata", key]);
        found.map_or_else(String::new, |text| unquoted(text).into_owned())
    };
    (text("namespace"), text("name"))
}

/// Marked objects of the kinds that no release declares.
async fn find_orphans<'c>(
    input: &PassInput<'_>,
    entries: impl Iterator<Item = &'c CatalogEntry>,
    is_known: &dyn Fn(LiveKey<'_>) -> bool,
    result: &mut PassResult,
) {
    let mut forbidden = Vec::new();
    for entry in entries {
        let is_elsewhere = input.namespace.is_some() && !entry.is_namespaced;
        if is_elsewhere || NEVER_DECLARED.contains(&&*entry.kind) {
            continue;
        }
        let query = ListQuery {
            kind: entry,
            namespace: input.namespace,
            labels: MANAGED,
            fields: "",
            part: ListedPart::Metadata,
        };
        let api_version = entry.api_version();
        let mut found = Vec::new();
        let take = |json: &str| {
            if owner_in(json).is_none() {
                return;
            }
            let (namespace, name) = names(json);
            let object = MarkedObject {
                key: LiveKey {
                    group: &entry.group,
                    kind: &entry.kind,
                    namespace: &namespace,
                    name: &name,
                },
                api_version: &api_version,
                json,
            };
            found.extend(orphan(&object, input.rules, is_known, input.owners));
        };
        let listed = each_object(input.client, &query, take).await;
        // A list that was started again shows objects again.
        found.sort_by(|a, b| a.finding.id.cmp(&b.finding.id));
        found.dedup_by(|a, b| a.finding.id == b.finding.id);
        result.orphans.append(&mut found);
        match listed {
            Ok(cost) => result.cost.add(cost),
            // A resource without a list, or a CRD that has just gone.
            Err(error) if error.is_unserved() => {}
            Err(error) if error.is_forbidden() => forbidden.push(entry.kind.clone()),
            Err(error) => result.failures.push(ScanFailure {
                kind: Some(entry.kind.clone()),
                namespace: input.namespace.map(str::to_owned),
                message: format!("failed to list: {error}"),
            }),
        }
    }
    if !forbidden.is_empty() {
        let kinds = helm_guard_core::text::list(&forbidden, 5);
        result.failures.push(ScanFailure {
            kind: None,
            namespace: input.namespace.map(str::to_owned),
            message: format!("orphans of kinds that you may not list are unknown: {kinds}"),
        });
    }
}
