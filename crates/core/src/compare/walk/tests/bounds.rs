//! The work of a comparison, counted in steps.

use super::*;

/// The violations, and the steps taken.
fn steps(kind: Kind, [declared, old, new]: [&Value; 3]) -> (Vec<String>, u64) {
    let texts = [declared, old, new].map(Value::to_string);
    let [declared, old, new] = texts.each_ref().map(|text| Json::of(text));
    let known = builtin().lookup(kind.0, kind.1, kind.2);
    let comparison = Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old,
        new,
        shape: known.unwrap_or_else(Shape::plain),
        empties: if known.is_some() {
            EmptyListPolicy::Dropped
        } else {
            EmptyListPolicy::Kept
        },
    };
    let budget = StepBudget::default();
    let found = compare_within(&comparison, &budget);
    let paths = found.iter().map(|v| v.path.to_string()).collect();
    (paths, budget.spent())
}

/// A few steps for each item, and those to scan the text.
const STEPS_AN_ITEM: usize = 100;

#[track_caller]
fn assert_linear(kind: Kind, objects: [&Value; 3], items: usize) -> Vec<String> {
    let (found, steps) = steps(kind, objects);
    let most = items * STEPS_AN_ITEM;
    assert!(steps < most as u64, "{steps} steps for {items} items");
    found
}

#[test]
fn a_finalizer_among_very_many_is_found_at_once() {
    let many = 35_000;
    let object = |names: Vec<String>| json!({"metadata": {"finalizers": names}});
    let names = || (0..many).map(|n| format!("example.com/f{n}"));
    let (declared, reversed) = (object(names().collect()), object(names().rev().collect()));
    let more = object(names().chain(["example.com/more".to_owned()]).collect());
    let less = object(names().skip(1).collect());
    let config = ("", "v1", "ConfigMap");
    assert!(assert_linear(config, [&declared, &declared, &more], many).is_empty());
    assert!(assert_linear(config, [&declared, &declared, &reversed], many).is_empty());
    let found = assert_linear(config, [&declared, &declared, &less], many);
    assert_eq!(found, [r#".metadata.finalizers["example.com/f0"]"#]);
}

#[test]
fn a_metric_among_very_many_is_found_at_once() {
    let hpa = ("autoscaling", "v2", "HorizontalPodAutoscaler");
    let many = 10_000;
    let metric = |n: usize, target: usize| json!({"type": "External", "external": {"metric": {"name": format!("m{n}")}, "target": {"value": target}}});
    let object = |metrics: Vec<Value>| json!({"spec": {"metrics": metrics}});
    let declared = object((0..many).map(|n| metric(n, 1)).collect());
    let reordered = object((0..many).rev().map(|n| metric(n, 1)).collect());
    let changed = object(
        (0..many)
            .map(|n| metric(n, if n == 7 { 2 } else { 1 }))
            .collect(),
    );
    assert!(assert_linear(hpa, [&declared, &declared, &reordered], many).is_empty());
    let found = assert_linear(hpa, [&declared, &declared, &changed], many);
    assert_eq!(found, [".spec.metrics"]);
}

#[test]
fn very_many_empty_items_are_as_many_steps() {
    let many = 100_000;
    for (kind, object) in [
        (
            DEPLOYMENT,
            &(|items| pod(&json!({"containers": items}))) as &dyn Fn(Vec<Value>) -> Value,
        ),
        (
            ("", "v1", "ConfigMap"),
            &|items| json!({"metadata": {"finalizers": items}}),
        ),
        (
            ("autoscaling", "v2", "HorizontalPodAutoscaler"),
            &|items| json!({"spec": {"metrics": items}}),
        ),
        (
            ("example.com", "v1", "Widget"),
            &|items| json!({"spec": {"items": items}}),
        ),
    ] {
        let items = |last: Value| {
            let empty = (1..many).map(|_| json!({}));
            object(empty.chain([last]).collect())
        };
        let (declared, new) = (items(json!({})), items(json!({"a": 1})));
        let (_, steps) = steps(kind, [&declared, &declared, &new]);
        assert!(steps < 100 * many, "{kind:?}: {steps} steps");
    }
}

#[test]
fn very_many_items_of_one_key_are_as_many_steps() {
    let many = 10_000;
    let env = |last: &str| {
        let item = |value: &str| json!({"name": "A", "value": value});
        let values = (1..many).map(|n| item(&n.to_string()));
        pod(
            &json!({"containers": [{"name": "web", "env": values.chain([item(last)]).collect::<Vec<_>>()}]}),
        )
    };
    let found = assert_linear(DEPLOYMENT, [&env("x"), &env("x"), &env("y")], many);
    assert_eq!(found.len(), 1);
    let ports = |last: &str| {
        let item = |name: &str| json!({"name": name, "containerPort": 1});
        let names = (1..many).map(|n| item(&n.to_string()));
        pod(
            &json!({"containers": [{"name": "web", "ports": names.chain([item(last)]).collect::<Vec<_>>()}]}),
        )
    };
    let found = assert_linear(
        DEPLOYMENT,
        [&ports("x"), &ports("x"), &ports("y")],
        many * 10,
    );
    assert_eq!(found.len(), 1);
}

#[test]
fn a_comparison_out_of_steps_reports_a_change() {
    let nested = |inner: &str| {
        let wide = "x".repeat(3 << 19);
        let text = format!(
            r#"{}{{"wide":"{wide}","v":"{inner}"}}{}"#,
            r#"{"a":"#.repeat(250),
            "}".repeat(250)
        );
        serde_json::value::RawValue::from_string(text).unwrap()
    };
    let texts = [nested("1"), nested("1"), nested("2")];
    let [declared, old, new] = texts.each_ref().map(|raw| Json::of(raw.get()));
    let budget = StepBudget::default();
    let comparison = Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old,
        new,
        shape: Shape::plain(),
        empties: EmptyListPolicy::Kept,
    };
    let found = compare_within(&comparison, &budget);
    assert_eq!(found.len(), 1);
    assert!(found[0].too_complex);
    assert!(budget.is_spent());
    assert!(!found[0].path.steps().is_empty());
}

#[test]
fn running_out_of_steps_anywhere_reports_a_change() {
    let object = |image: &str, finalizer: &str| {
        json!({
            "metadata": {"finalizers": ["a/b", finalizer]},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
        })
    };
    let texts = [object("a", "c/d"), object("a", "c/d"), object("b", "c/e")];
    let texts = texts.map(|object| object.to_string());
    let [declared, old, new] = texts.each_ref().map(|text| Json::of(text));
    let comparison = Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old,
        new,
        shape: builtin().lookup("apps", "v1", "Deployment").unwrap(),
        empties: EmptyListPolicy::Dropped,
    };
    let whole = StepBudget::default();
    assert_eq!(compare_within(&comparison, &whole).len(), 2);
    for most in 0..=whole.spent() {
        let budget = StepBudget::of(most);
        let found = compare_within(&comparison, &budget);
        let ends = found.iter().filter(|violation| violation.too_complex);
        assert_eq!(ends.count(), 1, "{most} steps: {found:?}");
    }
}
