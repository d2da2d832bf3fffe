//! Where a rule applies: kinds, and scopes of namespaces, releases and kinds.

use super::{ObjectPlace, problem::Problems};
use crate::{
    api::{GroupKind, ObjectScope},
    names, text,
};

/// Reports names that nothing in a cluster can have, so that a rule with them would never apply.
pub(super) fn check(scope: &ObjectScope, at: &str, problems: &mut Problems) {
    check_namespaces(&scope.namespaces, &format!("{at}.namespaces"), problems);
    for (n, release) in scope.releases.iter().enumerate() {
        let at = format!("{at}.releases[{n}]");
        check_namespace(&release.namespace, &format!("{at}.namespace"), problems);
        if let Some(name) = &release.name {
            check_release(name, &format!("{at}.name"), problems);
        }
    }
    check_kinds(&scope.kinds, &format!("{at}.kinds"), problems);
}

pub(super) fn check_namespaces(namespaces: &[String], at: &str, problems: &mut Problems) {
    for (n, namespace) in namespaces.iter().enumerate() {
        check_namespace(namespace, &format!("{at}[{n}]"), problems);
    }
}

fn check_namespace(namespace: &str, at: &str, problems: &mut Problems) {
    if !names::is_label(namespace) {
        problems.add(at, format!("no namespace can be named {namespace:?}"));
    }
}

/// Reports a name that no release can have. `at` is the place in the policy.
pub(super) fn check_release(name: &str, at: &str, problems: &mut Problems) {
    if name.contains('/') {
        let text =
            format!("{name:?} is not the name of a release: its namespace is a field of its own");
        problems.add(at, text);
    } else if !names::is_subdomain(name) {
        problems.add(at, format!("no release can be named {name:?}"));
    }
}

/// [`check`] for kinds. A kind starts with a capital, as in `kind: Deployment`: `deployments` is a resource.
pub(super) fn check_kinds(kinds: &[GroupKind], at: &str, problems: &mut Problems) {
    for (n, GroupKind { group, kind }) in kinds.iter().enumerate() {
        let at = format!("{at}[{n}]");
        if !kind.starts_with(|first: char| first.is_ascii_uppercase())
            || !kind.chars().all(char::is_alphanumeric)
        {
            problems.add(
                format!("{at}.kind"),
                format!("no kind can be named {kind:?}, unlike Deployment"),
            );
        }
        if !group.is_empty() && !names::is_subdomain(group) {
            let text = format!(
                "no API group can be named {group:?}, unlike apps; a version is not part of it"
            );
            problems.add(format!("{at}.group"), text);
        }
    }
}

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

/// A scope in a few words: `ns shop, shop/web; Deployment.apps`.
pub fn describe(scope: &ObjectScope) -> String {
    let releases = scope.releases.iter().map(|release| match &release.name {
        Some(name) => format!("{}/{name}", release.namespace),
        None => format!("{}/*", release.namespace),
    });
    let namespaces = scope.namespaces.iter().map(|name| format!("ns {name}"));
    let places: Vec<String> = namespaces.chain(releases).collect();
    let kinds = scope.kinds.iter().map(|kind| match kind.group.as_str() {
        "" => kind.kind.clone(),
        group => format!("{}.{group}", kind.kind),
    });
    let kinds: Vec<String> = kinds.collect();
    match (places.is_empty(), kinds.is_empty()) {
        (true, true) => "everything".to_owned(),
        (true, false) => text::list(kinds, 3),
        (false, true) => text::list(places, 3),
        (false, false) => format!("{}; {}", text::list(places, 3), text::list(kinds, 3)),
    }
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

    #[rstest]
    #[case::possible(json!({"namespaces": ["shop"], "releases": [{"namespace": "flux", "name": "web.v1"}],
        "kinds": [{"group": "apps", "kind": "Deployment"}, {"kind": "Secret"}]}), &[])]
    #[case::namespace(json!({"namespaces": ["shop", "Shop", "a/b"]}), &["namespaces[1]", "namespaces[2]"])]
    #[case::release(json!({"releases": [{"namespace": "shop", "name": "shop/web"}, {"namespace": ""}]}),
        &["releases[0].name", "releases[1].namespace"])]
    #[case::resource(json!({"kinds": [{"group": "apps", "kind": "deployments"}]}), &["kinds[0].kind"])]
    #[case::any_kind(json!({"kinds": [{"kind": "*"}]}), &["kinds[0].kind"])]
    #[case::kind_with_group(json!({"kinds": [{"kind": "Deployment.apps"}]}), &["kinds[0].kind"])]
    #[case::group_with_version(json!({"kinds": [{"group": "apps/v1", "kind": "Deployment"}]}), &["kinds[0].group"])]
    fn a_scope_with_a_name_that_nothing_has_is_invalid(
        #[case] scope: Value,
        #[case] expected: &[&str],
    ) {
        let scope: ObjectScope = serde_json::from_value(scope).unwrap();
        let mut problems = Problems::default();
        check(&scope, "scope", &mut problems);
        let places: Vec<String> = problems
            .into_error()
            .problems
            .into_iter()
            .map(|one| one.at)
            .collect();
        let expected: Vec<String> = expected.iter().map(|at| format!("scope.{at}")).collect();
        assert_eq!(places, expected);
    }

    #[rstest]
    #[case::everything(json!({}), "everything")]
    #[case::namespaces(json!({"namespaces": ["a", "b", "c", "d"]}), "ns a, ns b, ns c and 1 more")]
    #[case::releases(json!({"releases": [{"namespace": "shop", "name": "web"}, {"namespace": "db"}]}), "shop/web, db/*")]
    #[case::kinds(json!({"kinds": [{"group": "apps", "kind": "Deployment"}, {"kind": "Secret"}]}),
        "Deployment.apps, Secret")]
    #[case::both(json!({"namespaces": ["shop"], "kinds": [{"kind": "Secret"}]}), "ns shop; Secret")]
    fn a_scope_is_described_in_a_few_words(#[case] scope: Value, #[case] expected: &str) {
        let scope: ObjectScope = serde_json::from_value(scope).unwrap();
        assert_eq!(describe(&scope), expected);
    }
}
