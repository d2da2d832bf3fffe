//! **Orphaned**: objects with the marks of a release that does not declare them, or that has no record. No upgrade
//! of any release touches them.
//!
//! Marks are copied: a controller gives the annotations of a Deployment to its `ReplicaSets`, and others copy whole
//! objects. So only what Helm wrote and nothing owns is an orphan.
//!
//! Start at [`orphan`].

use super::{
    finding::{Consequence, DriftFinding, FindingClass, FindingSeverity},
    key::LiveKey,
    ownership::MARKS,
    report::OrphanReport,
    scanned::ScanRules,
    writers::LiveWriters,
};
use crate::{
    compare::{dig, unquoted},
    guard::{is_helm_manager, subject::owner_in},
    helm::ReleaseName,
};

/// Helm never deletes an object with this annotation and any value (`pkg/kube/resource_policy.go`).
const RESOURCE_POLICY: &str = "helm.sh/resource-policy";

/// A live object that may have marks.
#[derive(Clone, Copy)]
pub struct MarkedObject<'a> {
    /// Which object.
    pub key: LiveKey<'a>,
    /// Group and version, as in a manifest.
    pub api_version: &'a str,
    /// The object as JSON, at least its metadata.
    pub json: &'a str,
}

/// What is known of the release that an object names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerRecords {
    /// It has an active revision.
    Active,
    /// It has an active revision, but what that declares could not be read.
    Unread,
    /// It was uninstalled, and its records were kept.
    Uninstalled,
    /// It has no record. A release in a database (`HELM_DRIVER=sql`) has none in the cluster either.
    None,
}

/// The finding about an object that no release has, if it is an orphan.
///
/// `is_known` says whether any release has it among its [`super::ReleaseScan::objects`]; then that scan is about
/// it. `records` looks up the release that the object names.
pub fn orphan(
    object: &MarkedObject<'_>,
    rules: &ScanRules<'_>,
    is_known: impl Fn(LiveKey<'_>) -> bool,
    records: impl Fn(&ReleaseName) -> OwnerRecords,
) -> Option<OrphanReport> {
    let metadata = dig(object.json, &["metadata"])?;
    let [[_, labels @ ..], ..] = &MARKS;
    if dig(metadata, labels).map(unquoted).as_deref() != Some("Helm") || is_known(object.key) {
        return None;
    }
    let owner = owner_in(object.json)?;
    let has = |path: &[&str]| dig(metadata, path).is_some_and(|value| value != "[]");
    if has(&["ownerReferences"]) || has(&["deletionTimestamp"]) {
        return None;
    }
    let writers = LiveWriters::of(object.json);
    let is_helm = |manager: &str| is_helm_manager(manager, rules.writers);
    if writers.are_known() && !writers.include(is_helm) {
        return None;
    }
    let is_kept = is_kept(object.json);
    let release = format!("{}/{}", owner.namespace, owner.name);
    let message = match records(&owner) {
        OwnerRecords::Active => format!("release {release} does not declare it any more"),
        OwnerRecords::Unread => return None,
        OwnerRecords::Uninstalled => format!("release {release} was uninstalled"),
        OwnerRecords::None => format!("it names release {release}, which has no record"),
    };
    let of = (object.key, object.api_version.to_owned());
    let mut finding = if is_kept {
        kept(&owner, of, &message)
    } else {
        let class = FindingClass::Orphaned;
        DriftFinding::new(class, &owner, of, Consequence::Leaked, message)
    };
    let created = dig(metadata, &["creationTimestamp"]);
    finding.since = created.and_then(|time| serde_json::from_str(time).ok());
    Some(OrphanReport {
        release_namespace: owner.namespace,
        release_name: owner.name,
        is_kept,
        finding,
    })
}

/// Whether Helm never deletes a live object, although nothing declares it.
pub(super) fn is_kept(json: &str) -> bool {
    dig(json, &["metadata", "annotations", RESOURCE_POLICY]).is_some()
}

/// The finding about an object that is there on purpose.
pub(super) fn kept(owner: &ReleaseName, of: (LiveKey<'_>, String), why: &str) -> DriftFinding {
    let message = format!("{why}, and helm.sh/resource-policy kept it");
    let class = FindingClass::Orphaned;
    let mut finding = DriftFinding::new(class, owner, of, Consequence::Kept, message);
    finding.severity = FindingSeverity::Info;
    finding
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        compare::redact::Redactor, guard::HELM_WRITERS, policy::Policy,
        scan::emergencies::OpenEmergencies,
    };

    const KEY: LiveKey<'static> = LiveKey {
        group: "",
        kind: "ConfigMap",
        namespace: "shop",
        name: "web",
    };

    fn marked() -> Value {
        json!({"metadata": {
            "name": "web", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop",
            },
            "managedFields": [{"manager": "helm", "operation": "Update", "fieldsV1": {"f:data": {}}}],
        }})
    }

    fn find(object: &Value, is_known: bool, records: OwnerRecords) -> Option<OrphanReport> {
        let (policy, redactor) = (Policy::default(), Redactor::new(b"key"));
        let rules = ScanRules {
            policy: &policy,
            redactor: &redactor,
            writers: HELM_WRITERS,
            emergencies: &OpenEmergencies::default(),
            now: "2026-02-01T00:00:00Z".parse().unwrap(),
            pending_grace: jiff::SignedDuration::from_mins(10),
        };
        let json = object.to_string();
        let object = MarkedObject {
            key: KEY,
            api_version: "v1",
            json: &json,
        };
        orphan(&object, &rules, |_| is_known, |_| records)
    }

    #[rstest]
    #[case::dropped(OwnerRecords::Active, "does not declare it any more")]
    #[case::uninstalled(OwnerRecords::Uninstalled, "was uninstalled")]
    #[case::no_record(OwnerRecords::None, "has no record")]
    fn a_marked_object_that_no_release_has_is_an_orphan(
        #[case] records: OwnerRecords,
        #[case] says: &str,
    ) {
        let found = find(&marked(), false, records).unwrap();
        assert!(found.finding.message.contains(says), "{found:?}");
        assert_eq!(found.finding.consequence, Consequence::Leaked);
        assert_eq!(
            found.finding.id,
            "Orphaned/shop/web/core/ConfigMap/shop/web"
        );
        assert_eq!(found.finding.since.as_deref(), Some("2026-01-01T00:00:00Z"));
        assert!(find(&marked(), true, records).is_none());
    }

    #[test]
    fn an_object_that_helm_keeps_is_told_apart() {
        let mut object = marked();
        object["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
        let found = find(&object, false, OwnerRecords::None).unwrap();
        assert!(found.is_kept);
        assert_eq!(found.finding.consequence, Consequence::Kept);
        assert_eq!(found.finding.severity, FindingSeverity::Info);
    }

    #[test]
    fn of_a_release_that_could_not_be_read_no_object_is_an_orphan() {
        assert_eq!(find(&marked(), false, OwnerRecords::Unread), None);
    }

    #[rstest]
    #[case::no_label("/metadata/labels", json!({}))]
    #[case::of_another_tool("/metadata/labels", json!({"app.kubernetes.io/managed-by": "argo"}))]
    #[case::no_owner("/metadata/annotations", json!({"meta.helm.sh/release-name": "web"}))]
    #[case::copied("/metadata/managedFields/0/manager", json!("reflector"))]
    #[case::of_a_controller("/metadata/ownerReferences", json!([{"kind": "Deployment"}]))]
    #[case::being_deleted("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))]
    fn other_objects_are_no_orphans(#[case] pointer: &str, #[case] value: Value) {
        let mut object = marked();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key] = value;
        assert_eq!(find(&object, false, OwnerRecords::None), None);
    }
}
