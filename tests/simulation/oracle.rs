//! A second implementation of the decision, on the model's own types and without the product's
//! code, except for Helm's status names.

use helm_guard_core::helm::lifecycle::RevisionStatus;

use super::cluster::{Cluster, FIELDS, Manifest, Object, RELEASES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Settled,
    Pending,
    Failed,
    Uninstalling,
}

/// The active manifests of a release; `None` when it is not guarded.
pub fn active(cluster: &Cluster, release: usize) -> Option<(Phase, Vec<Manifest>)> {
    let records = &cluster.records[release];
    let (newest, record) = cluster.newest(release)?;
    let is_pending = |status| {
        matches!(
            status,
            RevisionStatus::PendingInstall
                | RevisionStatus::PendingUpgrade
                | RevisionStatus::PendingRollback
        )
    };
    let below = || records.range(..newest).rev().map(|(_, record)| record);
    let base = || {
        below()
            .find(|record| record.status == RevisionStatus::Deployed)
            .or_else(|| below().find(|record| !is_pending(record.status)))
            .map(|record| record.manifest)
    };
    let mut manifests = vec![record.manifest];
    let phase = match record.status {
        RevisionStatus::Uninstalled => return None,
        RevisionStatus::Uninstalling => Phase::Uninstalling,
        RevisionStatus::Failed => Phase::Failed,
        status if is_pending(status) => Phase::Pending,
        _ => Phase::Settled,
    };
    if matches!(phase, Phase::Failed | Phase::Pending) {
        manifests.extend(base());
    }
    Some((phase, manifests))
}

/// The releases with at least one active manifest that declares the object.
fn claims(cluster: &Cluster, object: usize) -> Vec<(usize, Phase, Vec<Manifest>)> {
    (0..RELEASES.len())
        .filter_map(|release| {
            let (phase, manifests) = active(cluster, release)?;
            let holds = manifests.iter().any(|manifest| manifest[object].is_some());
            holds.then_some((release, phase, manifests))
        })
        .collect()
}

/// How many releases claim an object.
pub fn claimants(cluster: &Cluster, object: usize) -> usize {
    claims(cluster, object).len()
}

/// The declared value at a path of a manifest: the fields, then the annotation and the label.
fn declared(manifest: &Manifest, release: usize, object: usize, path: usize) -> Option<u8> {
    let said = manifest[object]?;
    if path < FIELDS {
        said.fields[path]
    } else {
        u8::try_from(release).ok()
    }
}

fn live(object: &Object, path: usize) -> Option<u8> {
    if path < FIELDS {
        object.fields[path]
    } else {
        object.owner.and_then(|owner| u8::try_from(owner).ok())
    }
}

/// The releases of which an update changes a declared field to an undeclared value.
pub fn objections(cluster: &Cluster, object: usize, old: &Object, new: &Object) -> Vec<usize> {
    let claims = claims(cluster, object);
    let objects = |(release, phase, manifests): &&(usize, Phase, Vec<Manifest>)| {
        (0..=FIELDS).any(|path| {
            let (before, after) = (live(old, path), live(new, path));
            if before == after {
                return false;
            }
            let values: Vec<Option<u8>> = manifests
                .iter()
                .map(|manifest| declared(manifest, *release, object, path))
                .collect();
            let said = || values.iter().flatten();
            let is_unanimous = values.iter().all(Option::is_some);
            let is_guarded = match phase {
                Phase::Failed => said().next().is_some() && (after.is_some() || is_unanimous),
                _ => is_unanimous,
            };
            is_guarded
                && said().all(|value| Some(*value) != after)
                && !is_excused(&claims, *release, (object, path), after)
        })
    };
    claims
        .iter()
        .filter(objects)
        .map(|(release, ..)| *release)
        .collect()
}

/// Another release that claims the object declares the value, or takes ownership and does not
/// declare the field.
fn is_excused(
    claims: &[(usize, Phase, Vec<Manifest>)],
    release: usize,
    (object, path): (usize, usize),
    after: Option<u8>,
) -> bool {
    claims
        .iter()
        .filter(|(other, ..)| *other != release)
        .any(|(other, phase, manifests)| {
            manifests
                .iter()
                .filter(|manifest| manifest[object].is_some())
                .any(|manifest| match declared(manifest, *other, object, path) {
                    Some(value) => Some(value) == after,
                    None => *phase == Phase::Pending && after.is_none(),
                })
        })
}

/// The releases that declare an object in every active manifest, and are not being uninstalled.
pub fn holders(cluster: &Cluster, object: usize) -> Vec<usize> {
    claims(cluster, object)
        .into_iter()
        .filter(|(_, phase, manifests)| {
            *phase != Phase::Uninstalling
                && manifests.iter().all(|manifest| manifest[object].is_some())
        })
        .map(|(release, ..)| release)
        .collect()
}
