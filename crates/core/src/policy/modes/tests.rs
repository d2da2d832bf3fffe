use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::policy::{
    Policy,
    tests::{Asked, policy},
};

fn with(overrides: &Value) -> Policy {
    policy(json!({"overrides": overrides}))
}

fn mode(policy: &Policy, asked: Asked<'_>) -> Mode {
    asked.place(|place| policy.mode(place))
}

#[test]
fn the_most_specific_override_counts() {
    let policy = with(&json!([
        {"match": {"kinds": [{"group": "apps", "kind": "Deployment"}]}, "mode": "Audit"},
        {"match": {"namespaces": {"names": ["shop"]}}, "mode": "Warn"},
        {"match": {"releases": {"chart": {"name": "myapp"}}}, "mode": "Audit"},
        {"match": {"releases": {"chart": {"name": "myapp", "version": "^2"}}}, "mode": "Warn"},
        {"match": {"releases": {"names": ["special"]}}, "mode": "Deny"},
        {"match": {"releases": {"names": ["special"]}, "kinds": [{"kind": "ConfigMap"}]}, "mode": "Warn"},
    ]));
    let asked = Asked {
        namespace: "bank",
        chart: "other-1.0.0",
        ..Asked::by("bob")
    };
    let cases = [
        ("kind", asked, Mode::Audit),
        ("nothing", asked.kind(("apps", "DaemonSet")), Mode::Deny),
        (
            "namespace over kind",
            Asked {
                namespace: "shop",
                ..asked
            },
            Mode::Warn,
        ),
        (
            "chart over namespace",
            Asked {
                namespace: "shop",
                chart: "myapp-1.2.0",
                ..asked
            },
            Mode::Audit,
        ),
        (
            "version over chart",
            Asked {
                chart: "myapp-2.1.0",
                ..asked
            },
            Mode::Warn,
        ),
        (
            "not that chart",
            Asked {
                chart: "myapp-api-2.1.0",
                ..asked
            },
            Mode::Audit,
        ),
        (
            "release over chart",
            Asked {
                release: ("bank", "special"),
                chart: "myapp-2.1.0",
                ..asked
            },
            Mode::Deny,
        ),
        (
            "release and kind",
            Asked {
                release: ("bank", "special"),
                ..asked
            }
            .kind(("", "ConfigMap")),
            Mode::Warn,
        ),
    ];
    for (what, asked, expected) in cases {
        assert_eq!(mode(&policy, asked), expected, "{what}");
    }
}

#[test]
fn the_strictest_mode_applies_until_namespace_labels_are_known() {
    let policy = policy(json!({"mode": "Warn", "overrides": [
        {"match": {"namespaces": {"selector": {"matchLabels": {"tier": "dev"}}}}, "mode": "Audit"},
        {"match": {"namespaces": {"selector": {"matchLabels": {"tier": "prod"}}}}, "mode": "Deny"},
    ]}));
    let labels = |tier: &str| BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
    for (tier, expected) in [
        ("dev", Mode::Audit),
        ("prod", Mode::Deny),
        ("test", Mode::Warn),
    ] {
        let labels = labels(tier);
        let asked = Asked {
            labels: Some(&labels),
            ..Asked::by("bob")
        };
        assert_eq!(mode(&policy, asked), expected, "{tier}");
    }
    assert_eq!(mode(&policy, Asked::by("bob")), Mode::Deny);
    let of_no_namespace = Asked {
        namespace: "",
        ..Asked::by("bob")
    };
    assert_eq!(mode(&policy, of_no_namespace), Mode::Warn);
}

#[test]
fn mode_and_undeclared_are_looked_up_separately() {
    let policy = policy(json!({"undeclared": {"mode": "Warn"}, "overrides": [
        {"match": {"releases": {"names": ["myapp"]}}, "mode": "Audit"},
        {"match": {"namespaces": {"names": ["shop"]}}, "undeclared": "Deny"},
    ]}));
    let asked = Asked::by("bob");
    assert_eq!(mode(&policy, asked), Mode::Audit);
    let undeclared = |asked: Asked<'_>| asked.place(|place| policy.undeclared(place));
    assert_eq!(undeclared(asked), UndeclaredMode::Deny);
    let elsewhere = Asked {
        namespace: "bank",
        ..asked
    };
    assert_eq!(undeclared(elsewhere), UndeclaredMode::Warn);
}

#[rstest]
#[case::same_names(json!({"releases": {"names": ["a", "b"]}}), json!({"releases": {"names": ["b", "c"]}}), true)]
#[case::other_names(json!({"releases": {"names": ["a"]}}), json!({"releases": {"names": ["b"]}}), false)]
#[case::other_kinds(json!({"kinds": [{"kind": "Pod"}]}), json!({"kinds": [{"kind": "Secret"}]}), false)]
#[case::other_groups(json!({"kinds": [{"kind": "Ingress", "group": "a"}]}), json!({"kinds": [{"kind": "Ingress", "group": "b"}]}), false)]
#[case::other_charts(json!({"releases": {"chart": {"name": "a"}}}), json!({"releases": {"chart": {"name": "b"}}}), false)]
#[case::ranges_that_meet(json!({"releases": {"chart": {"name": "a", "version": ">=1"}}}), json!({"releases": {"chart": {"name": "a", "version": "<2"}}}), true)]
#[case::ranges_apart(json!({"releases": {"chart": {"name": "a", "version": ">=2"}}}), json!({"releases": {"chart": {"name": "a", "version": "<2"}}}), false)]
#[case::selectors(json!({"namespaces": {"selector": {"matchLabels": {"a": "1"}}}}), json!({"namespaces": {"selector": {"matchLabels": {"b": "1"}}}}), true)]
#[case::selectors_apart(json!({"namespaces": {"selector": {"matchLabels": {"a": "1"}}}}), json!({"namespaces": {"selector": {"matchLabels": {"a": "2"}}}}), false)]
#[case::another_weight(json!({"namespaces": {"names": ["a"]}}), json!({"kinds": [{"kind": "Pod"}]}), false)]
#[case::names_decide_over_kinds(
    json!({"releases": {"names": ["a"]}, "kinds": [{"kind": "Pod"}]}),
    json!({"releases": {"names": ["b"]}, "kinds": [{"kind": "Pod"}]}), false)]
fn overlapping_overrides_with_equal_precedence_are_rejected(
    #[case] one: Value,
    #[case] other: Value,
    #[case] ties: bool,
) {
    for (second, expected) in [("Warn", ties), ("Audit", false)] {
        let spec = json!({"overrides": [
            {"match": one, "mode": "Audit"}, {"match": other, "mode": second},
        ]});
        let error = Policy::compile(&serde_json::from_value(spec).unwrap()).err();
        assert_eq!(error.is_some(), expected, "{error:?}");
    }
}
