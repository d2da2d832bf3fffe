//! Two active manifests.

use super::*;

/// One manifest replaces another: L declares a and b, base declares b and c, with other values.
#[test]
fn while_helm_may_be_at_work_both_manifests_are_accepted() {
    let newest = || Some(json!({"data": {"a": "new", "b": "new"}}));
    let base = || Some(json!({"data": {"b": "old", "c": "old"}}));
    let judge = |agreement, old: Value, new: Value| {
        let kind = ("", "v1", "ConfigMap");
        let declared = vec![newest(), base()];
        let wrap = |data: Value| json!({"data": data});
        paths(&Case {
            kind,
            declared,
            agreement,
            old: wrap(old),
            new: wrap(new),
        })
    };
    let clean = || json!({"a": "new", "b": "old", "c": "old"});
    let cases: [(&str, Value, &[&str], &[&str]); 7] = [
        (
            "to the new value",
            json!({"a": "new", "b": "new", "c": "old"}),
            &[],
            &[],
        ),
        (
            "a third value",
            json!({"a": "new", "b": "x", "c": "old"}),
            &[".data.b"],
            &[".data.b"],
        ),
        (
            "both gone",
            json!({"a": "new", "c": "old"}),
            &[".data.b"],
            &[".data.b"],
        ),
        (
            "only in the newest, changed",
            json!({"a": "x", "b": "old", "c": "old"}),
            &[],
            &[".data.a"],
        ),
        (
            "only in the newest, gone",
            json!({"b": "old", "c": "old"}),
            &[],
            &[],
        ),
        (
            "only in the base, changed",
            json!({"a": "new", "b": "old", "c": "x"}),
            &[],
            &[".data.c"],
        ),
        (
            "only in the base, gone",
            json!({"a": "new", "b": "old"}),
            &[],
            &[],
        ),
    ];
    for (what, new, pending, failed) in cases {
        assert_eq!(
            judge(Agreement::Every, clean(), new.clone()),
            pending,
            "pending, {what}"
        );
        assert_eq!(
            judge(Agreement::Any, clean(), new),
            failed,
            "failed, {what}"
        );
    }
}

#[test]
fn after_a_failed_upgrade_an_object_that_only_one_revision_holds_is_guarded() {
    let kind = ("", "v1", "ConfigMap");
    let object = |v: &str| json!({"data": {"a": v}});
    let judge = |new| {
        let declared = vec![Some(object("1")), None];
        paths(&Case {
            kind,
            declared,
            agreement: Agreement::Any,
            old: object("1"),
            new,
        })
    };
    assert_eq!(judge(object("2")), [".data.a"]);
    assert!(judge(object("1")).is_empty());
}

#[test]
fn after_a_failed_upgrade_a_field_of_a_list_that_only_one_revision_holds_may_be_removed() {
    let role = ("rbac.authorization.k8s.io", "v1", "Role");
    let with_rule = |one: Value| json!({"rules": [one]});
    let whole = with_rule(json!({"verbs": ["get"], "resourceNames": ["a"]}));
    let judge = |declared: [Option<&Value>; 2], new: &Value| {
        paths(&Case {
            kind: role,
            declared: declared.map(Option::<&Value>::cloned).to_vec(),
            agreement: Agreement::Any,
            old: whole.clone(),
            new: new.clone(),
        })
    };
    let other = json!({"metadata": {"name": "a"}});
    for declared in [[Some(&whole), Some(&other)], [Some(&other), Some(&whole)]] {
        let found = judge(declared, &with_rule(json!({"verbs": ["get"]})));
        assert!(found.is_empty(), "{found:?}");
        let found = judge(
            declared,
            &with_rule(json!({"verbs": ["put"], "resourceNames": ["a"]})),
        );
        assert_eq!(found, [".rules[0].verbs[0]"]);
    }
}
