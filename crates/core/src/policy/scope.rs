//! Where a rule applies: kinds, and scopes of namespaces, releases and kinds.

use super::ObjectPlace;
use crate::api::{GroupKind, ObjectScope};

/// Whether the object's kind is among them.
pub(super) fn holds_kind(kinds: &[GroupKind], place: &ObjectPlace<'_>) -> bool {
    kinds
        .iter()
        .any(|one| one.group == place.group && one.kind == place.kind)
}

/// Whether a scope covers a place: every list must, and an empty list covers everything.
pub fn covers(scope: &ObjectScope, place: &ObjectPlace<'_>) -> bool {
    let in_namespace = || {
        let mut namespaces = scope.namespaces.iter();
        namespaces.any(|namespace| namespace == place.namespace)
    };
    let of_release = || {
        scope.releases.iter().any(|release| {
            let name = release.name.as_ref();
            release.namespace == place.release.namespace
                && name.is_none_or(|name| *name == place.release.name)
        })
    };
    (scope.namespaces.is_empty() || in_namespace())
        && (scope.releases.is_empty() || of_release())
        && (scope.kinds.is_empty() || holds_kind(&scope.kinds, place))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::helm::ReleaseName;

    #[rstest]
    #[case::everything(json!({}), true)]
    #[case::namespace(json!({"namespaces": ["db", "shop"]}), true)]
    #[case::other_namespace(json!({"namespaces": ["db"]}), false)]
    #[case::release(json!({"releases": [{"namespace": "flux", "name": "web"}]}), true)]
    #[case::all_releases_of_a_namespace(json!({"releases": [{"namespace": "flux"}]}), true)]
    #[case::other_release(json!({"releases": [{"namespace": "flux", "name": "db"}]}), false)]
    #[case::same_name_elsewhere(json!({"releases": [{"namespace": "shop", "name": "web"}]}), false)]
    #[case::kind(json!({"kinds": [{"group": "apps", "kind": "Deployment"}]}), true)]
    #[case::kind_of_another_group(json!({"kinds": [{"kind": "Deployment"}]}), false)]
    #[case::one_list_does_not_hold(
        json!({"namespaces": ["shop"], "kinds": [{"kind": "Service"}]}),
        false
    )]
    fn every_list_of_a_scope_must_hold(#[case] scope: Value, #[case] expected: bool) {
        let release = ReleaseName {
            namespace: "flux".to_owned(),
            name: "web".to_owned(),
        };
        let place = ObjectPlace {
            group: "apps",
            kind: "Deployment",
            namespace: "shop",
            release: &release,
            chart: "web-1.0.0",
        };
        let scope: ObjectScope = serde_json::from_value(scope).unwrap();
        assert_eq!(covers(&scope, &place), expected);
    }
}
