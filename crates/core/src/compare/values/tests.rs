//! Each rule of equality and satisfaction by itself, on a type with every kind of field.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::compare::{budget::StepBudget, json::Json, schema::text};

const TYPES: &str = "a.Root\n  amounts list quantity\n  any unordered\n  atomic atomic map\n  \
                     env variables(name)\n  keyed keyed(name,protocol=\"TCP\")\n  list list\n  map map\n  \
                     port int-or-string\n  ref atomic\n  set set\n";

/// Runs `test` with the shape of a type of [`TYPES`].
fn with_shape<T>(test: impl FnOnce(Shape<'_>) -> T) -> T {
    let compiled = text::parse(TYPES).unwrap().compile();
    test(Shape::at(&compiled.schema, compiled.nodes["a.Root"]))
}

fn are_same(a: &Value, b: &Value, empties: EmptyListPolicy) -> bool {
    let (a, b) = (a.to_string(), b.to_string());
    let (left, right) = (Json::of(&a), Json::of(&b));
    let (left, right) = (Some(left), Some(right));
    let budget = StepBudget::default();
    let rules = Rules {
        empties,
        budget: &budget,
    };
    let one_way = with_shape(|shape| same(left, right, shape, rules));
    let other_way = with_shape(|shape| same(right, left, shape, rules));
    assert_eq!(one_way, other_way, "{a} and {b}");
    one_way
}

#[rstest]
#[case::null_is_absent(json!({"a": null}), json!({}), true)]
#[case::empty_object(json!({"a": {}}), json!({}), false)]
#[case::one_more(json!({"a": 1}), json!({"a": 1, "b": 2}), false)]
#[case::another_field(json!({"a": 1}), json!({"b": 1}), false)]
#[case::object_or_list(json!({"a": {}}), json!({"a": []}), false)]
#[case::object_or_text(json!({"a": {}}), json!({"a": "{}"}), false)]
#[case::longer(json!({"list": [1]}), json!({"list": [1, 1]}), false)]
#[case::reordered(json!({"list": [1, 2]}), json!({"list": [2, 1]}), false)]
#[case::amounts(json!({"amounts": ["1", 2]}), json!({"amounts": ["1000m", "2"]}), true)]
#[case::set(json!({"set": [1, 2]}), json!({"set": [2, 1]}), true)]
#[case::another_set(json!({"set": [1, 2]}), json!({"set": [2, 3]}), false)]
#[case::repeated_member(json!({"set": [1, 1]}), json!({"set": [1, 2]}), false)]
#[case::no_order(json!({"any": [{"a": 1}, {"a": 2}]}), json!({"any": [{"a": 2}, {"a": 1}]}), true)]
#[case::items(
    json!({"keyed": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}),
    json!({"keyed": [{"name": "b", "v": 2}, {"name": "a", "v": 1}]}),
    true
)]
#[case::item_changed(
    json!({"keyed": [{"name": "a", "v": 1}, {"name": "b", "v": 2}]}),
    json!({"keyed": [{"name": "b", "v": 1}, {"name": "a", "v": 1}]}),
    false
)]
#[case::items_without_keys(json!({"keyed": [{"v": 1}, {"v": 2}]}), json!({"keyed": [{"v": 2}, {"v": 1}]}), false)]
#[case::escaped_item_without_keys(json!({"keyed": [{"v": 1.0}]}), json!({"keyed": [{"v": 1}]}), true)]
fn sameness(#[case] a: Value, #[case] b: Value, #[case] expected: bool) {
    assert_eq!(are_same(&a, &b, EmptyListPolicy::Kept), expected);
    assert_eq!(are_same(&a, &b, EmptyListPolicy::Dropped), expected);
    assert!(are_same(&a, &a, EmptyListPolicy::Kept));
}

#[test]
fn an_empty_list_is_none_where_it_is_dropped() {
    let (empty, none) = (json!({"list": []}), json!({}));
    assert!(are_same(&empty, &none, EmptyListPolicy::Dropped));
    assert!(!are_same(&empty, &none, EmptyListPolicy::Kept));
}

/// `expected`: for custom resources and for built-in kinds.
fn satisfied(declared: &Value, old: &Value, new: &Value) -> [bool; 2] {
    let texts = [declared, old, new].map(Value::to_string);
    let [declared, old, new] = texts.each_ref().map(|text| Json::of(text));
    let against = ComparedValue {
        old: Some(old),
        new: Some(new),
    };
    [EmptyListPolicy::Kept, EmptyListPolicy::Dropped].map(|empties| {
        let rules = Rules {
            empties,
            budget: &StepBudget::default(),
        };
        with_shape(|shape| satisfies(declared, against, shape, rules))
    })
}

#[rstest]
#[case::more_than_declared(json!({"a": 1}), json!({"a": 1, "b": 2}), true)]
#[case::another_value(json!({"a": 1}), json!({"a": 2}), false)]
#[case::another_type(json!({"a": {}}), json!({"a": [1]}), false)]
#[case::absent(json!({"a": 1}), json!({}), false)]
#[case::absent_zero(json!({"a": 0, "b": "", "c": false, "d": null, "e": {}}), json!({}), true)]
#[case::absent_zero_inside(json!({"a": {"b": {"c": 0}}}), json!({}), true)]
#[case::absent_value_inside(json!({"a": {"b": {"c": 0, "d": 1}}}), json!({}), false)]
#[case::absent_members(json!({"a": [0]}), json!({}), false)]
#[case::list(json!({"list": [{"a": 1}]}), json!({"list": [{"a": 1, "b": 2}]}), true)]
#[case::longer_list(json!({"list": [1]}), json!({"list": [1, 2]}), false)]
#[case::shorter_list(json!({"list": [1, 2]}), json!({"list": [1]}), false)]
#[case::reordered_list(json!({"list": [1, 2]}), json!({"list": [2, 1]}), false)]
#[case::more_members(json!({"set": [1, 2]}), json!({"set": [3, 2, 1]}), true)]
#[case::fewer_members(json!({"set": [1, 2]}), json!({"set": [2]}), false)]
#[case::no_order(json!({"any": [{"a": 1}, {"a": 2}]}), json!({"any": [{"a": 2}, {"a": 1, "b": 1}]}), true)]
#[case::no_order_but_one_more(json!({"any": [1]}), json!({"any": [1, 2]}), false)]
#[case::more_items(
    json!({"keyed": [{"name": "a", "v": 1}]}),
    json!({"keyed": [{"name": "b", "v": 2}, {"name": "a", "v": 1, "w": 1}]}),
    true
)]
#[case::item_changed(json!({"keyed": [{"name": "a", "v": 1}]}), json!({"keyed": [{"name": "a", "v": 2}]}), false)]
#[case::item_gone(json!({"keyed": [{"name": "a"}]}), json!({"keyed": [{"name": "b"}]}), false)]
#[case::default_key(json!({"keyed": [{"name": "a"}]}), json!({"keyed": [{"name": "a", "protocol": "TCP"}]}), true)]
#[case::another_key(json!({"keyed": [{"name": "a"}]}), json!({"keyed": [{"name": "a", "protocol": "UDP"}]}), false)]
#[case::items_without_keys(json!({"keyed": [{"v": 1}]}), json!({"keyed": [{"v": 1, "w": 1}]}), true)]
#[case::more_items_without_keys(json!({"keyed": [{"v": 1}]}), json!({"keyed": [{"v": 1}, {"w": 1}]}), false)]
#[case::a_declared_one_of_two_variables(
    json!({"env": [{"name": "a", "v": 1}, {"name": "a", "v": 2}]}), json!({"env": [{"name": "a", "v": 1, "w": 1}]}), true
)]
#[case::neither_of_two_variables(
    json!({"env": [{"name": "a", "v": 1}, {"name": "a", "v": 2}]}), json!({"env": [{"name": "a", "v": 3}]}), false
)]
fn satisfaction(#[case] declared: Value, #[case] new: Value, #[case] expected: bool) {
    // There was no old value that could show an empty one.
    assert_eq!(satisfied(&declared, &json!({}), &new), [expected; 2]);
    assert_eq!(satisfied(&declared, &declared, &declared), [true; 2]);
}

/// An operator omits zero values of its custom resource, whatever was there.
#[rstest]
#[case(json!(false))]
#[case(json!(0))]
#[case(json!(""))]
#[case(json!([]))]
fn an_absent_value_satisfies_a_zero_of_a_custom_resource(#[case] zero: Value) {
    let declared = json!({"list": [{"e": zero}]});
    let absent = json!({"list": [{}]});
    assert!(satisfied(&declared, &declared, &absent)[0], "{declared}");
    let declared = json!({"e": zero, "a": 1});
    assert!(satisfied(&declared, &declared, &json!({"a": 1}))[0]);
    assert!(!satisfied(&declared, &declared, &json!({"a": 1, "e": "x"}))[0]);
}

/// An empty map is omitted; an empty struct is a choice.
#[test]
fn an_absent_map_satisfies_an_empty_one_of_a_custom_resource() {
    let empty = |field: &str| json!({field: {}});
    assert!(satisfied(&empty("map"), &empty("map"), &json!({}))[0]);
    assert!(!satisfied(&empty("e"), &empty("e"), &json!({}))[0]);
}

#[rstest]
#[case::duration(json!("90m"), json!("1h30m0s"), [true, false])]
#[case::quantity(json!("1000m"), json!("1"), [true, false])]
#[case::number(json!(0.5), json!("500m"), [true, false])]
#[case::version(json!("1.10"), json!("1.1"), [false, false])]
#[case::another(json!("90m"), json!("1h31m0s"), [false, false])]
fn an_operator_respells_a_value_of_its_custom_resource(
    #[case] declared: Value,
    #[case] new: Value,
    #[case] expected: [bool; 2],
) {
    let of = |value: &Value| json!({"a": {"v": value}});
    let (declared, new) = (of(&declared), of(&new));
    assert_eq!(satisfied(&declared, &declared, &new), expected);
}

#[test]
fn a_port_number_is_not_a_port_name_if_the_schema_has_both() {
    let of = |value: Value| json!({"port": value});
    assert_eq!(
        satisfied(&of(json!(80)), &of(json!(80)), &of(json!("80"))),
        [false; 2]
    );
}

/// An atomic value: it may contain nothing undeclared, except what was there before or may be a default.
#[rstest]
#[case::a_key_more(json!({"atomic": {"a": "1"}}), json!({}), json!({"atomic": {"a": "1", "b": "2"}}), false)]
#[case::a_key_less(json!({"atomic": {"a": "1"}}), json!({}), json!({"atomic": {}}), false)]
#[case::another_order(json!({"atomic": {"a": "1", "b": "2"}}), json!({}), json!({"atomic": {"b": "2", "a": "1"}}), true)]
#[case::was_there(
    json!({"atomic": {"a": "1"}}),
    json!({"atomic": {"b": "2"}}),
    json!({"atomic": {"a": "1", "b": "2"}}),
    true
)]
#[case::filled_in(json!({"ref": {"name": "a"}}), json!({}), json!({"ref": {"name": "a", "apiVersion": "v1"}}), true)]
#[case::grown(json!({"ref": {"name": "a"}}), json!({}), json!({"ref": {"name": "a", "more": {"b": 1}}}), false)]
fn an_atomic_object_is_satisfied_only_by_declared_keys(
    #[case] declared: Value,
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: bool,
) {
    assert_eq!(satisfied(&declared, &old, &new), [expected; 2]);
}

/// In a built-in kind, the API server keeps an existing empty value, so removing it is a change.
#[rstest]
#[case::stood_there(json!({"e": {}}), json!({"e": {}}), json!({}), false)]
#[case::had_grown(json!({"e": {}}), json!({"e": {"a": 1}}), json!({}), true)]
#[case::was_true(json!({"e": false}), json!({"e": true}), json!({}), true)]
#[case::in_a_list(json!({"list": [{"e": {}}]}), json!({"list": [{"e": {}}]}), json!({"list": [{}]}), false)]
#[case::in_a_list_of_another_length(
    json!({"list": [{"e": {}}]}), json!({"list": [{"e": {}}, 1]}), json!({"list": [{}]}), true
)]
#[case::in_an_item(
    json!({"keyed": [{"name": "a", "e": {}}]}),
    json!({"keyed": [{"name": "b"}, {"name": "a", "e": {}}]}),
    json!({"keyed": [{"name": "a"}]}),
    false
)]
#[case::in_another_item(
    json!({"keyed": [{"name": "a", "e": {}}]}),
    json!({"keyed": [{"name": "b", "e": {}}, {"name": "a"}]}),
    json!({"keyed": [{"name": "a"}]}),
    true
)]
fn the_old_object_shows_which_empty_values_are_kept(
    #[case] declared: Value,
    #[case] old: Value,
    #[case] new: Value,
    #[case] expected: bool,
) {
    assert_eq!(satisfied(&declared, &old, &new), [expected; 2]);
}

#[test]
fn a_built_in_kind_keeps_an_existing_false() {
    let off = json!({"e": false});
    assert_eq!(satisfied(&off, &off, &json!({})), [true, false]);
}

#[test]
fn an_absent_list_satisfies_an_empty_one() {
    let (empty, none) = (json!({"list": []}), json!({}));
    assert_eq!(satisfied(&empty, &none, &none), [true; 2]);
    assert_eq!(satisfied(&empty, &empty, &none), [true, true]);
}
