//! One pass over the live objects of some releases.
//!
//! Objects are listed by kind and version, with the label that Helm sets, and compared while they are listed, so that no
//! list is held in memory. An object that no list showed is read by itself: it is missing, or has lost the label.
//!
//! Invariant: an object that could not be read is assessed as unreadable, with the reason. A list that failed is also in
//! [`PassResult::failures`].

mod coverage;
mod kind;
mod objects;
mod unclaimed;

use std::collections::{BTreeMap, HashSet};

use helm_guard_core::{
    compare::{dig, schema::ResourceScope, unquoted},
    helm::ReleaseName,
    scan::{
        ObjectAssessment, ReleaseScan, ScanRules,
        key::LiveKey,
        orphans::OwnerRecords,
        report::{NamespaceCoverage, OrphanReport, ScanFailure},
    },
};
use kube::Client;

use self::{coverage::coverage, kind::KindContext, objects::OfKind, unclaimed::find_orphans};
use super::{
    autoscaled::Autoscaled,
    catalog::{Catalog, CatalogEntry, Serving},
    listing::ListCost,
    progress::ScanProgress,
};
use crate::cluster::Crds;

/// What is said of kinds that no release declares, and that may not be listed: orphans among them are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForbiddenKinds {
    /// The scan is not complete.
    Reported,
    /// Nothing. The leader has rights for the kinds that its users chose, and its metrics are about those.
    Skipped,
}

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
    pub(super) forbidden_kinds: ForbiddenKinds,
    /// Whether all objects of the declared kinds are counted.
    pub(super) with_coverage: bool,
    pub(super) progress: &'a ScanProgress,
    /// What is known of the release that a marked object names.
    pub(super) owners: &'a (dyn Fn(&ReleaseName) -> OwnerRecords + Sync),
}

/// What was found.
#[derive(Default)]
pub(super) struct PassResult {
    /// Of each release, in the order of the scans.
    pub(super) assessed: Vec<Vec<ObjectAssessment>>,
    pub(super) orphans: Vec<OrphanReport>,
    pub(super) failures: Vec<ScanFailure>,
    pub(super) coverage: Vec<NamespaceCoverage>,
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
    input.progress.expect(groups.len());
    for group in &groups {
        let context = KindContext::read(input, group, &mut result.failures).await;
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
        input.progress.advance(group.objects.len());
    }
    if input.with_orphans {
        let entries = input.catalog.listable();
        let unlisted = entries.filter(|entry| !listed.contains(&(&*entry.group, &*entry.kind)));
        let unlisted: Vec<_> = unlisted.collect();
        input.progress.expect(unlisted.len());
        find_orphans(input, &unlisted, &is_known, &mut result).await;
    }
    if input.with_coverage {
        coverage(input, &groups, &is_known, &mut result).await;
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

/// Namespace and name of an object.
fn names(json: &str) -> (String, String) {
    let text = |key: &str| {
        let found = dig(json, &["metadata", key]);
        found.map_or_else(String::new, |text| unquoted(text).into_owned())
    };
    (text("namespace"), text("name"))
}
