//! Custom resources, which are stored as they are sent and written back by their operators.

use rstest::rstest;

use super::*;
use crate::compare::schema::text;

const SCALED_OBJECT: Kind = ("keda.sh", "v1alpha1", "ScaledObject");

/// An operator reads its resource into a struct, sets a finalizer and writes all of it.
#[rstest]
#[case::bool(json!({"advanced": {"restoreToOriginalReplicaCount": false}}), json!({"advanced": {}}))]
#[case::number(json!({"minReplicaCount": 0, "max": 2}), json!({"max": 2}))]
#[case::text(json!({"authenticationRef": {"kind": "", "name": "a"}}), json!({"authenticationRef": {"name": "a"}}))]
#[case::list(json!({"tolerations": [], "a": 1}), json!({"a": 1}))]
#[case::in_a_list(
    json!({"triggers": [{"type": "cron", "useCachedMetrics": false}]}),
    json!({"triggers": [{"type": "cron"}]})
)]
#[case::a_map_by_its_name(
    json!({"pod": {"nodeSelector": {}, "resources": {"limits": {}}}}),
    json!({"pod": {"resources": {}}})
)]
#[case::all_of_a_struct(json!({"advanced": {"a": false, "b": {"c": 0}}}), json!({}))]
#[case::duration(json!({"duration": "90m", "renewBefore": "360h"}), json!({"duration": "1h30m0s", "renewBefore": "360h0m0s"}))]
#[case::quantity(
    json!({"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}}),
    json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}})
)]
#[case::quantity_as_a_number(json!({"limits": {"cpu": 0.5}}), json!({"limits": {"cpu": "500m"}}))]
fn what_an_operator_writes_back_through_a_struct_has_no_drift(
    #[case] declared: Value,
    #[case] written: Value,
) {
    let spec = |spec: &Value| json!({"spec": spec});
    let found = one(
        SCALED_OBJECT,
        [spec(&declared), spec(&declared), spec(&written)],
    );
    assert!(found.is_empty(), "{found:?}");
    let back = one(
        SCALED_OBJECT,
        [spec(&declared), spec(&written), spec(&declared)],
    );
    assert!(back.is_empty(), "put back: {back:?}");
}

#[rstest]
#[case::truth(json!({"a": false}), json!({"a": true}), ".spec.a")]
#[case::a_value_goes(json!({"a": 3}), json!({}), ".spec.a")]
#[case::a_version(json!({"a": "1.10"}), json!({"a": "1.1"}), ".spec.a")]
#[case::another_duration(json!({"a": "90m"}), json!({"a": "1h31m0s"}), ".spec.a")]
#[case::a_zero_is_filled(json!({"a": ""}), json!({"a": "x"}), ".spec.a")]
#[case::a_map_by_its_name_is_filled_where_it_stood(json!({"nodeSelector": {"a": "b"}}), json!({}), ".spec.nodeSelector")]
#[case::an_empty_volume_goes(json!({"emptyDir": {}}), json!({}), ".spec.emptyDir")]
#[case::an_empty_volume_of_nulls_goes(json!({"emptyDir": {"medium": null}}), json!({}), ".spec.emptyDir")]
#[case::a_choice_goes(json!({"selfSigned": {}}), json!({"ca": {"secretName": "x"}}), ".spec.selfSigned")]
fn anything_else_in_a_custom_resource_is_a_change(
    #[case] declared: Value,
    #[case] new: Value,
    #[case] path: &str,
) {
    let spec = |spec: &Value| json!({"spec": spec});
    let found = one(
        SCALED_OBJECT,
        [spec(&declared), spec(&declared), spec(&new)],
    );
    assert_eq!(found, [path]);
}

/// The API server stores the text of a `ConfigMap`, so another spelling is another text.
#[test]
fn another_spelling_in_a_config_map_is_a_change() {
    let data = |text: &str| json!({"data": {"timeout": text}});
    let found = one(
        ("", "v1", "ConfigMap"),
        [data("90m"), data("90m"), data("1h30m0s")],
    );
    assert_eq!(found, [".data.timeout"]);
}

/// A zero may be left out; the item around it may not.
#[test]
fn an_item_of_zeros_may_not_be_removed() {
    let compiled = text::parse("a.Root\n  ports keyed(port)\n")
        .unwrap()
        .compile();
    let (declared, new) = (r#"{"ports":[{"port":0}]}"#, r#"{"ports":[]}"#);
    let found = compare(&Comparison {
        declared: Declared::One(Json::of(declared)),
        agreement: Agreement::Every,
        old: Json::of(declared),
        new: Json::of(new),
        shape: Shape::at(&compiled.schema, compiled.nodes["a.Root"]),
        empties: EmptyListPolicy::Kept,
    });
    let paths: Vec<String> = found.iter().map(|found| found.path.to_string()).collect();
    assert_eq!(paths, [".ports[port=0]"]);
}
