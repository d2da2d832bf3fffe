//! Marked objects of the kinds that no release declares. Only their metadata is listed.

use helm_guard_core::{
    guard::subject::owner_in,
    scan::{
        key::LiveKey,
        orphans::{MarkedObject, orphan},
        report::ScanFailure,
    },
    text,
};

use super::{ForbiddenKinds, PassInput, PassResult, names};
use crate::scanner::{
    MANAGED,
    catalog::CatalogEntry,
    listing::{ListQuery, ListedPart, each_object},
};

/// Kinds that Helm never creates: controllers create their objects, often in large numbers, or nobody does.
const NEVER_DECLARED: [&str; 6] = [
    "ComponentStatus",
    "EndpointSlice",
    "Event",
    "Lease",
    "Node",
    "ReplicaSet",
];

/// Marked objects of the kinds that no release declares.
pub(super) async fn find_orphans(
    input: &PassInput<'_>,
    entries: &[&CatalogEntry],
    is_known: &(dyn Fn(LiveKey<'_>) -> bool + Sync),
    result: &mut PassResult,
) {
    let mut forbidden = Vec::new();
    for &entry in entries {
        let is_elsewhere = input.namespace.is_some() && !entry.is_namespaced;
        if is_elsewhere || NEVER_DECLARED.contains(&&*entry.kind) {
            input.progress.advance(0);
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
        input.progress.advance(found.len());
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
    if !forbidden.is_empty() && input.forbidden_kinds == ForbiddenKinds::Reported {
        let kinds = text::list(&forbidden, 5);
        result.failures.push(ScanFailure {
            kind: None,
            namespace: input.namespace.map(str::to_owned),
            message: format!("orphans of kinds that you may not list are unknown: {kinds}"),
        });
    }
}
