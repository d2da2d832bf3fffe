//! What the next upgrade does about a difference, if the chart stays the same.
//!
//! | difference | Helm 3, and Helm 4 client-side | the same, kind not known to Helm | Helm 4 server-side |
//! |---|---|---|---|
//! | a value | reverted (1) | kept (2) | blocks if another manager owns it (3), else reverted |
//! | a field or an item that is gone | reverted (1) | kept (2) | reverted: it has no owner |
//! | a key added to an atomic object | kept (4) | kept (2) | blocks if another manager owns it (3), else reverted |
//! | a field that cannot change | blocks (5) | blocks | blocks |
//! | a value changed at admission | kept: it is changed again | kept | kept |
//! | an object that is gone | recreated (6) | recreated | recreated |
//! | marks | reverted (7) | reverted | blocks if another manager owns one, else reverted |
//!
//! 1. A strategic merge patch from the old manifest, the new one and the live object (`createPatch` in
//!    `pkg/kube/client.go`).
//! 2. A JSON merge patch from the old manifest to the new one: the live object is not looked at (helm#11638,
//!    flux#805, helm-diff#917). Helm knows the kinds of `client-go/kubernetes/scheme` and v1 CRDs.
//! 3. Server-side apply without `--force-conflicts` (k3s-io/helm-controller#343, microsoft/Docker-Provider#1667).
//! 4. What neither manifest declares, a strategic merge patch leaves alone.
//! 5. The API server rejects the update: [`IMMUTABLE`].
//! 6. `Update` in `pkg/kube/client.go` creates what GET does not find.
//! 7. `setMetadataVisitor` forces them into the new manifest alone, so even a two-way patch has them.
//!
//! An item whose merge key was changed by hand comes back next to the changed one. If both have the same name, the
//! API server rejects that: about one Helm 3 upgrade in ten failed after such an edit of a port.

use super::{KindFacts, finding::Consequence, key::LiveKey, writers::FieldWriter};
use crate::{
    compare::{
        Finder, Json, Opened, Violation, at, member, open,
        path::{FieldPath, Step},
    },
    helm::record::ApplyMethod,
};

/// Fields that cannot be changed (the kinds' `ValidateUpdate`): such a difference means that the
/// object was deleted and created again.
const IMMUTABLE: &[(&str, &str, &[&str])] = &[
    ("", "PersistentVolumeClaim", &["spec"]),
    ("", "Secret", &["type"]),
    ("", "Service", &["spec", "clusterIP"]),
    ("apps", "DaemonSet", &["spec", "selector"]),
    ("apps", "Deployment", &["spec", "selector"]),
    ("apps", "ReplicaSet", &["spec", "selector"]),
    ("apps", "StatefulSet", &["spec", "podManagementPolicy"]),
    ("apps", "StatefulSet", &["spec", "selector"]),
    ("apps", "StatefulSet", &["spec", "serviceName"]),
    ("apps", "StatefulSet", &["spec", "volumeClaimTemplates"]),
    ("batch", "Job", &["spec", "selector"]),
    ("batch", "Job", &["spec", "template"]),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        &["roleRef"],
    ),
    ("rbac.authorization.k8s.io", "RoleBinding", &["roleRef"]),
    ("storage.k8s.io", "StorageClass", &["parameters"]),
    ("storage.k8s.io", "StorageClass", &["provisioner"]),
    ("storage.k8s.io", "StorageClass", &["reclaimPolicy"]),
    ("storage.k8s.io", "StorageClass", &["volumeBindingMode"]),
];

/// Built-in groups that are not in `client-go/kubernetes/scheme`, so that Helm treats their kinds as unknown.
const UNKNOWN_TO_HELM: &[&str] = &["apiregistration.k8s.io"];

/// The next upgrade of a release, as far as it concerns one object.
pub(super) struct NextUpgrade<'a> {
    pub(super) method: ApplyMethod,
    pub(super) key: LiveKey<'a>,
    /// Whether the kind is built into Kubernetes.
    pub(super) is_builtin: bool,
    pub(super) live: Json<'a>,
    pub(super) kind: KindFacts<'a>,
}

impl NextUpgrade<'_> {
    /// What it does about a differing field. `other` is the writer, if it is not Helm.
    pub(super) fn of_field(
        &self,
        violation: &Violation<'_>,
        other: Option<&FieldWriter>,
    ) -> Consequence {
        if self.is_rejected(violation) {
            return Consequence::Blocks;
        }
        match (self.method, violation.new, other) {
            (ApplyMethod::ServerSide, Some(_), Some(_)) => Consequence::Blocks,
            (ApplyMethod::ClientSide, ..) if !self.is_known_to_helm() => Consequence::Kept,
            (ApplyMethod::ClientSide, ..) if violation.whole.is_some() => Consequence::Kept,
            (ApplyMethod::ServerSide | ApplyMethod::ClientSide, ..) => Consequence::Reverted,
        }
    }

    /// What it does about marks that are gone or changed; `other` changed one and is not Helm.
    pub(super) fn of_marks(&self, other: Option<&FieldWriter>) -> Consequence {
        match (self.method, other) {
            (ApplyMethod::ServerSide, Some(_)) => Consequence::Blocks,
            _ => Consequence::Reverted,
        }
    }

    fn is_known_to_helm(&self) -> bool {
        self.is_builtin && !UNKNOWN_TO_HELM.contains(&self.key.group)
    }

    /// Whether the API server rejects what the upgrade would write.
    pub(super) fn is_rejected(&self, violation: &Violation<'_>) -> bool {
        let steps = violation.path.steps();
        let is_immutable = IMMUTABLE.iter().any(|(group, kind, path)| {
            (self.key.group, self.key.kind) == (*group, *kind) && starts_with(steps, path)
        });
        is_immutable || self.is_sealed(steps) || self.has_twin(violation)
    }

    /// The data of a ConfigMap or a Secret that somebody made immutable.
    fn is_sealed(&self, steps: &[Step]) -> bool {
        let is_data = ["data", "binaryData", "immutable"]
            .iter()
            .any(|field| starts_with(steps, &[field]));
        self.key.group.is_empty()
            && matches!(self.key.kind, "ConfigMap" | "Secret")
            && is_data
            && at(self.live, &["immutable"]).is_some_and(|value| value.text() == "true")
    }

    /// Whether a port is gone, and another one has its name.
    fn has_twin(&self, violation: &Violation<'_>) -> bool {
        let Some((Step::Item(keys), parents)) = violation.path.steps().split_last() else {
            return false;
        };
        let is_port = matches!(parents.last(), Some(Step::Field(list)) if list == "ports");
        let name = member(violation.declared, "name").filter(|_| is_port);
        let (Some(name), None) = (name, violation.new) else {
            return false;
        };
        let list = Finder::new(self.live, self.kind.shape).find(parents);
        let Some(Opened::List(items)) = list.map(|(list, _)| open(list)) else {
            return false;
        };
        !keys.iter().any(|(key, _)| key == "name")
            && items
                .iter()
                .any(|item| member(*item, "name").map(Json::text) == Some(name.text()))
    }
}

fn starts_with(steps: &[Step], path: &[&str]) -> bool {
    let start = FieldPath::of(path.iter().copied());
    steps.starts_with(start.steps())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        compare::{
            rules::EmptyListPolicy,
            schema::{Shape, builtin::builtin},
        },
        helm::record::ApplyMethod::{ClientSide, ServerSide},
        scan::drift,
    };

    fn consequence(
        method: ApplyMethod,
        kind: &str,
        (declared, live): (&Value, &Value),
        is_other: bool,
    ) -> Consequence {
        let (group, version_and_kind) = kind.split_once('/').unwrap();
        let (version, kind) = version_and_kind.split_once('/').unwrap();
        let shape = builtin().lookup(group, version, kind);
        let (declared, live) = (declared.to_string(), live.to_string());
        let facts = KindFacts {
            shape: shape.unwrap_or_else(Shape::plain),
            empties: EmptyListPolicy::Dropped,
        };
        let found = drift(Json::of(&declared), Json::of(&live), facts);
        let upgrade = NextUpgrade {
            method,
            key: LiveKey {
                group,
                kind,
                namespace: "shop",
                name: "web",
            },
            is_builtin: shape.is_some(),
            live: Json::of(&live),
            kind: facts,
        };
        let writer = FieldWriter {
            manager: "kubectl-edit".to_owned(),
            operation: "Update".to_owned(),
            time: None,
        };
        let [violation] = &*found else {
            panic!("{found:?}");
        };
        upgrade.of_field(violation, is_other.then_some(&writer))
    }

    #[rstest]
    #[case::three_way(ClientSide, "apps/v1/Deployment", json!({"spec": {"replicas": 5}}), true, Consequence::Reverted)]
    #[case::gone(ClientSide, "apps/v1/Deployment", json!({"spec": {}}), true, Consequence::Reverted)]
    #[case::two_way(ClientSide, "example.com/v1/Widget", json!({"spec": {"replicas": 5}}), true, Consequence::Kept)]
    #[case::not_in_helms_scheme(ClientSide, "apiregistration.k8s.io/v1/APIService", json!({"spec": {"replicas": 5}}), true, Consequence::Kept)]
    #[case::conflict(ServerSide, "apps/v1/Deployment", json!({"spec": {"replicas": 5}}), true, Consequence::Blocks)]
    #[case::conflict_of_any_kind(ServerSide, "example.com/v1/Widget", json!({"spec": {"replicas": 5}}), true, Consequence::Blocks)]
    #[case::no_other_owner(ServerSide, "apps/v1/Deployment", json!({"spec": {"replicas": 5}}), false, Consequence::Reverted)]
    #[case::nobody_owns_what_is_gone(ServerSide, "apps/v1/Deployment", json!({"spec": {}}), true, Consequence::Reverted)]
    fn an_upgrade_follows_the_apply_method_and_the_kind(
        #[case] method: ApplyMethod,
        #[case] kind: &str,
        #[case] live: Value,
        #[case] is_other: bool,
        #[case] expected: Consequence,
    ) {
        let declared = json!({"spec": {"replicas": 3}});
        assert_eq!(
            consequence(method, kind, (&declared, &live), is_other),
            expected
        );
    }

    #[rstest]
    #[case::selector(
        "apps/v1/Deployment",
        json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}),
        json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}})
    )]
    #[case::sealed(
        "/v1/ConfigMap", json!({"data": {"a": "1"}}), json!({"data": {"a": "2"}, "immutable": true})
    )]
    #[case::port_of_the_same_name(
        "/v1/Service",
        json!({"spec": {"ports": [{"name": "http", "port": 80}]}}),
        json!({"spec": {"ports": [{"name": "http", "port": 81}]}})
    )]
    fn what_the_api_server_rejects_blocks_every_upgrade(
        #[case] kind: &str,
        #[case] declared: Value,
        #[case] live: Value,
    ) {
        for method in [ClientSide, ServerSide] {
            let found = consequence(method, kind, (&declared, &live), false);
            assert_eq!(found, Consequence::Blocks);
        }
    }

    #[rstest]
    #[case::open(json!({"data": {"a": "2"}, "immutable": false}))]
    #[case::gone(json!({"data": {}}))]
    fn a_config_map_that_may_change_is_reverted(#[case] live: Value) {
        let declared = json!({"data": {"a": "1"}});
        let found = consequence(ClientSide, "/v1/ConfigMap", (&declared, &live), true);
        assert_eq!(found, Consequence::Reverted);
    }

    #[test]
    fn a_key_added_to_an_atomic_object_stays_unless_it_is_applied_as_a_whole() {
        let declared = json!({"spec": {"selector": {"app": "web"}}});
        let live = json!({"spec": {"selector": {"app": "web", "canary": "1"}}});
        let of = |method| consequence(method, "/v1/Service", (&declared, &live), true);
        assert_eq!(of(ClientSide), Consequence::Kept);
        assert_eq!(of(ServerSide), Consequence::Blocks);
    }
}
