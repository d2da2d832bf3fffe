//! Atomic objects.

use rstest::rstest;

use super::*;

const SERVICE: Kind = ("", "v1", "Service");
const POLICY: Kind = ("networking.k8s.io", "v1", "NetworkPolicy");

fn service(selector: &Value) -> Value {
    json!({"spec": {"selector": selector}})
}

/// The paths that rules match, and those that messages show.
fn parts(kind: Kind, [declared, old, new]: [Value; 3]) -> Vec<(String, Option<String>)> {
    let texts = [declared, old, new].map(|value| value.to_string());
    let [declared, old, new] = texts.each_ref().map(|text| Json::of(text));
    let found = compare(&Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old,
        new,
        shape: builtin().lookup(kind.0, kind.1, kind.2).unwrap(),
        empties: EmptyListPolicy::Dropped,
    });
    let told = |violation: &Violation<'_>| violation.whole.as_ref().map(|w| w.path.to_string());
    let pairs = found.iter().map(|v| (v.path.to_string(), told(v)));
    pairs.collect()
}

#[rstest]
#[case::narrowed(json!({}), json!({"matchLabels": {"a": "b"}}))]
#[case::by_an_expression(json!({}), json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}))]
#[case::one_label_more(json!({"matchLabels": {"a": "b"}}), json!({"matchLabels": {"a": "b", "c": "d"}}))]
#[case::an_expression_more(
    json!({"matchLabels": {"a": "b"}}),
    json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "a", "operator": "Exists"}]})
)]
fn a_declared_selector_may_not_be_narrowed(#[case] declared: Value, #[case] new: Value) {
    for (at, wrap) in [
        (
            ".spec.podSelector",
            &(|selector: &Value| json!({"spec": {"podSelector": selector}}))
                as &dyn Fn(&Value) -> Value,
        ),
        (
            ".spec.ingress[0].from[0].namespaceSelector",
            &|selector: &Value| json!({"spec": {"ingress": [{"from": [{"namespaceSelector": selector}]}]}}),
        ),
    ] {
        let [declared, new] = [&declared, &new].map(wrap);
        let found = parts(POLICY, [declared.clone(), declared.clone(), new.clone()]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1.as_deref(), Some(at), "{found:?}");
        assert!(found[0].0.starts_with(at), "{found:?}");
        assert!(
            one(POLICY, [declared.clone(), new, declared]).is_empty(),
            "put back"
        );
    }
}

#[rstest]
#[case::a_key_more(json!({"a": "1"}), json!({"a": "1"}), json!({"a": "1", "x": "2"}), &[".spec.selector.x"])]
#[case::two_keys_more(
    json!({"a": "1"}), json!({"a": "1"}), json!({"a": "1", "x": "2", "y": ""}),
    &[".spec.selector.x", ".spec.selector.y"]
)]
#[case::a_declared_key(json!({"a": "1"}), json!({"a": "1"}), json!({"a": "2"}), &[".spec.selector.a"])]
#[case::a_key_that_others_added_changes(
    json!({"a": "1"}), json!({"a": "1", "x": "2"}), json!({"a": "1", "x": "3"}), &[".spec.selector.x"]
)]
#[case::a_key_that_others_added_goes(json!({"a": "1"}), json!({"a": "1", "x": "2"}), json!({"a": "1"}), &[])]
#[case::a_key_that_others_added_stays(
    json!({"a": "1", "b": "2"}), json!({"a": "1", "x": "2"}), json!({"a": "1", "x": "2", "b": "2"}), &[]
)]
#[case::drift_is_put_right_beside_other_drift(
    json!({"a": "1", "b": "1"}), json!({"a": "9", "b": "9", "x": "9"}), json!({"a": "1", "b": "9", "x": "9"}), &[]
)]
#[case::a_change_beside_drift(
    json!({"a": "1", "b": "1"}), json!({"a": "9", "b": "1"}), json!({"a": "9", "b": "2"}), &[".spec.selector.b"]
)]
fn only_the_change_of_an_atomic_value_counts(
    #[case] declared: Value,
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: &[&str],
) {
    let objects = [&declared, &old, &new].map(service);
    assert_eq!(one(SERVICE, objects), expected);
}

#[test]
fn only_keys_of_active_manifests_may_be_added() {
    let judge = |agreement, old: Value, new: Value| {
        paths(&Case {
            kind: SERVICE,
            declared: vec![
                Some(service(&json!({"a": "1", "new": "1"}))),
                Some(service(&json!({"a": "1", "old": "1"}))),
            ],
            agreement,
            old: service(&old),
            new: service(&new),
        })
    };
    for agreement in [Agreement::Every, Agreement::Any] {
        let before = || json!({"a": "1", "old": "1", "x": "9"});
        for new in [
            json!({"a": "1", "new": "1", "x": "9"}),
            json!({"a": "1", "old": "1", "new": "1", "x": "9"}),
            json!({"a": "1", "new": "1"}),
        ] {
            let found = judge(agreement, before(), new.clone());
            assert!(found.is_empty(), "{agreement:?} {new}: {found:?}");
        }
        let found = judge(
            agreement,
            before(),
            json!({"a": "1", "old": "1", "x": "9", "y": "9"}),
        );
        assert_eq!(found, [".spec.selector.y"], "{agreement:?}");
    }
}

#[rstest]
#[case::comes_with_its_default(json!({}), json!({"fieldRef": {"fieldPath": "a", "apiVersion": "v1"}}), true)]
#[case::becomes_another_with_its_default(
    json!({"fieldRef": {"fieldPath": "z"}}),
    json!({"fieldRef": {"fieldPath": "a", "apiVersion": "v1"}}),
    true
)]
#[case::zero_values_are_written_out(
    json!({"fieldRef": {"fieldPath": "a"}}),
    json!({"fieldRef": {"fieldPath": "a", "apiVersion": ""}}),
    true
)]
#[case::a_field_more(
    json!({"fieldRef": {"fieldPath": "a"}}),
    json!({"fieldRef": {"fieldPath": "a", "apiVersion": "v2"}}),
    false
)]
fn the_api_server_fills_defaults_into_a_struct(
    #[case] old: Value,
    #[case] new: Value,
    #[case] passes: bool,
) {
    let env = |from: &Value| json!({"containers": [{"name": "web", "env": [{"name": "A", "valueFrom": from}]}]});
    let declared = env(&json!({"fieldRef": {"fieldPath": "a"}}));
    let found = in_pod(&declared, &env(&old), &env(&new));
    assert_eq!(found.is_empty(), passes, "{found:?}");
}

#[test]
fn a_declared_claim_reference_may_be_completed() {
    let kind = ("", "v1", "PersistentVolume");
    let volume = |claim: Value| json!({"spec": {"claimRef": claim}});
    let declared = volume(json!({"name": "data", "namespace": "shop"}));
    let bound =
        volume(json!({"name": "data", "namespace": "shop", "uid": "u", "resourceVersion": "1"}));
    assert!(one(kind, [declared.clone(), declared, bound]).is_empty());
}

#[test]
fn a_declared_empty_selector_is_guarded_and_an_undeclared_one_is_free() {
    let spec = |selector: Value| json!({"nodeSelector": selector});
    let ssd = || spec(json!({"disk": "ssd"}));
    assert_eq!(
        in_pod(&spec(json!({})), &json!({}), &ssd()),
        [".spec.template.spec.nodeSelector.disk"]
    );
    assert!(in_pod(&json!({"hostNetwork": true}), &json!({}), &ssd()).is_empty());
}
