//! A memory limit of 128Mi, raised to 2Gi at three o'clock; what happens to it.

mod records;

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::compare::schema::builtin::builtin;

const MADE: &str = "2026-11-21T03:00:00Z";
const SOON: &str = "2026-11-21T03:00:10Z";
const LATER: &str = "2026-11-21T09:00:00Z";
const NEXT_WEEK: &str = "2026-11-28T09:00:00Z";

fn limits(memory: &str) -> Value {
    let resources = json!({"limits": {"memory": memory}});
    json!({
        "metadata": {"name": "web", "uid": "o-1", "resourceVersion": "7"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "resources": resources}]}}},
    })
}

fn raised() -> EmergencyChangeSpec {
    change(&json!({
        "operation": "Update",
        "fields": [{
            "path": ".spec.template.spec.containers[name=web].resources.limits.memory",
            "declared": "128Mi", "live": "128Mi", "requested": "2Gi",
        }],
    }))
}

fn change(more: &Value) -> EmergencyChangeSpec {
    let mut spec = json!({
        "user": "ada", "at": MADE, "requestUid": "u-1",
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop",
            "name": "web", "uid": "o-1", "resourceVersion": "6"},
        "release": {"name": "myapp", "namespace": "shop", "chart": "myapp-1.0.0", "revision": 3},
        "reconcileBy": "2026-11-22T03:00:00Z",
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn sight<'a>(
    change: &'a EmergencyChangeSpec,
    state: ChangeState,
    live: Option<&'a Value>,
    standing: DeclaredState<'a>,
    now: &str,
) -> Sight<'a> {
    Sight {
        change,
        state,
        live,
        standing,
        shape: builtin().lookup("apps", "v1", "Deployment").unwrap(),
        empties: EmptyListPolicy::Dropped,
        now: now.parse().unwrap(),
    }
}

/// The state that follows, if there is another one.
fn next_state(
    change: &EmergencyChangeSpec,
    state: ChangeState,
    live: Option<&Value>,
    standing: DeclaredState<'_>,
    now: &str,
) -> Option<ChangeState> {
    let next = resolve(&sight(change, state, live, standing, now));
    next.map(|next| next.state)
}

#[rstest]
#[case::in_a_moment(ChangeState::Pending, "128Mi", (3, "128Mi"), SOON, None)]
#[case::it_shows(ChangeState::Pending, "2Gi", (3, "128Mi"), SOON, Some(ChangeState::Open))]
#[case::it_never_came(ChangeState::Pending, "128Mi", (3, "128Mi"), LATER, Some(ChangeState::Void))]
#[case::it_is_still_there(ChangeState::Open, "2Gi", (3, "128Mi"), LATER, None)]
#[case::an_upgrade_of_something_else(ChangeState::Open, "2Gi", (4, "128Mi"), LATER, None)]
#[case::too_long(ChangeState::Open, "2Gi", (3, "128Mi"), NEXT_WEEK, Some(ChangeState::Overdue))]
#[case::too_long_at_once(ChangeState::Pending, "2Gi", (3, "128Mi"), NEXT_WEEK, Some(ChangeState::Overdue))]
#[case::the_chart_took_it(ChangeState::Open, "2Gi", (4, "2Gi"), LATER, Some(ChangeState::Absorbed))]
#[case::in_other_words(ChangeState::Open, "2Gi", (4, "2048Mi"), LATER, Some(ChangeState::Absorbed))]
#[case::late_but_taken(ChangeState::Overdue, "2Gi", (5, "2Gi"), NEXT_WEEK, Some(ChangeState::Absorbed))]
#[case::overdue_stays(ChangeState::Overdue, "2Gi", (3, "128Mi"), LATER, None)]
#[case::by_hand(ChangeState::Open, "128Mi", (3, "128Mi"), LATER, Some(ChangeState::Reverted))]
#[case::by_an_upgrade(ChangeState::Open, "128Mi", (4, "128Mi"), LATER, Some(ChangeState::Reverted))]
#[case::late_but_undone(ChangeState::Overdue, "128Mi", (3, "128Mi"), NEXT_WEEK, Some(ChangeState::Reverted))]
#[case::the_chart_has_its_own_idea(ChangeState::Open, "1Gi", (4, "1Gi"), LATER, Some(ChangeState::Superseded))]
#[case::another_emergency(ChangeState::Open, "4Gi", (3, "128Mi"), LATER, Some(ChangeState::Superseded))]
#[case::settled_for_good(ChangeState::Reverted, "2Gi", (3, "128Mi"), LATER, None)]
#[case::a_clock_that_was_set_back(ChangeState::Pending, "128Mi", (3, "128Mi"), "2020-01-01T00:00:00Z", None)]
#[case::a_clock_that_leapt(ChangeState::Open, "2Gi", (3, "128Mi"), "2099-01-01T00:00:00Z", Some(ChangeState::Overdue))]
#[case::and_came_back(ChangeState::Overdue, "2Gi", (3, "128Mi"), SOON, None)]
#[case::void_for_good(ChangeState::Void, "2Gi", (3, "128Mi"), LATER, None)]
fn a_change_of_a_field(
    #[case] state: ChangeState,
    #[case] live: &str,
    #[case] declared: (u32, &str),
    #[case] now: &str,
    #[case] expected: Option<ChangeState>,
) {
    let (change, live) = (raised(), limits(live));
    let object = limits(declared.1);
    let standing = DeclaredState::Deployed {
        revision: declared.0,
        object: Some(&object),
    };
    let next = next_state(&change, state, Some(&live), standing, now);
    assert_eq!(next, expected);
}

#[rstest]
#[case::in_time(ChangeState::Open, LATER, None)]
#[case::too_long(ChangeState::Open, NEXT_WEEK, Some(ChangeState::Overdue))]
#[case::too_long_at_once(ChangeState::Pending, NEXT_WEEK, Some(ChangeState::Overdue))]
#[case::overdue_stays(ChangeState::Overdue, NEXT_WEEK, None)]
#[case::settled_for_good(ChangeState::Absorbed, NEXT_WEEK, None)]
fn a_change_of_an_unreadable_object_becomes_overdue(
    #[case] state: ChangeState,
    #[case] now: &str,
    #[case] expected: Option<ChangeState>,
) {
    let next = blind(&raised(), state, now.parse().unwrap(), "403 Forbidden");
    if let Some(next) = &next {
        assert!(next.message.contains("403"), "{}", next.message);
    }
    assert_eq!(next.map(|next| next.state), expected);
}

#[test]
fn nothing_is_resolved_while_helm_is_at_work() {
    let change = raised();
    for (memory, expected) in [
        ("128Mi", Some(ChangeState::Reverted)),
        ("2Gi", None),
        ("1Gi", None),
    ] {
        let live = limits(memory);
        let next = next_state(
            &change,
            ChangeState::Open,
            Some(&live),
            DeclaredState::Unsaid,
            LATER,
        );
        // What was before is what was before, whatever Helm is going to declare.
        assert_eq!(next, expected, "{memory}");
    }
    assert_eq!(
        resolve(&sight(
            &change,
            ChangeState::Open,
            None,
            DeclaredState::Unsaid,
            LATER
        )),
        None
    );
}

#[test]
fn a_change_becomes_overdue_even_while_helm_is_at_work() {
    let (change, live) = (raised(), limits("2Gi"));
    let next = next_state(
        &change,
        ChangeState::Open,
        Some(&live),
        DeclaredState::Unsaid,
        NEXT_WEEK,
    );
    assert_eq!(next, Some(ChangeState::Overdue));
}

#[test]
fn a_field_that_the_chart_drops_is_absorbed() {
    let (change, live) = (raised(), limits("2Gi"));
    let object = json!({"spec": {"replicas": 1}});
    let standing = DeclaredState::Deployed {
        revision: 4,
        object: Some(&object),
    };
    let next = resolve(&sight(
        &change,
        ChangeState::Open,
        Some(&live),
        standing,
        LATER,
    ))
    .unwrap();
    assert_eq!(
        (next.state, next.revision),
        (ChangeState::Absorbed, Some(4))
    );
}

#[rstest]
#[case::release_gone(Some("2Gi"), DeclaredState::Gone)]
#[case::not_in_the_chart(Some("2Gi"), DeclaredState::Deployed { revision: 4, object: None })]
#[case::object_gone(None, DeclaredState::Deployed { revision: 3, object: None })]
fn a_missing_object_or_release_supersedes_the_change(
    #[case] memory: Option<&str>,
    #[case] standing: DeclaredState<'_>,
) {
    let (change, live) = (raised(), memory.map(limits));
    let next = next_state(&change, ChangeState::Open, live.as_ref(), standing, LATER);
    assert_eq!(next, Some(ChangeState::Superseded));
}

#[rstest]
#[case::under_way(ChangeState::Pending, Some("o-1"), true, 3, SOON, None)]
#[case::never_came(
    ChangeState::Pending,
    Some("o-1"),
    true,
    3,
    LATER,
    Some(ChangeState::Void)
)]
#[case::gone(ChangeState::Pending, None, true, 3, SOON, Some(ChangeState::Open))]
#[case::long_gone(
    ChangeState::Open,
    None,
    true,
    3,
    NEXT_WEEK,
    Some(ChangeState::Overdue)
)]
#[case::there_again(
    ChangeState::Open,
    Some("o-2"),
    true,
    4,
    LATER,
    Some(ChangeState::Reverted)
)]
#[case::out_of_the_chart(ChangeState::Open, None, false, 4, LATER, Some(ChangeState::Absorbed))]
#[case::of_what_no_chart_declares(
    ChangeState::Pending,
    None,
    false,
    3,
    SOON,
    Some(ChangeState::Open)
)]
#[case::and_there_again(
    ChangeState::Open,
    Some("o-2"),
    false,
    3,
    LATER,
    Some(ChangeState::Reverted)
)]
fn a_delete(
    #[case] state: ChangeState,
    #[case] uid: Option<&str>,
    #[case] is_declared: bool,
    #[case] revision: u32,
    #[case] now: &str,
    #[case] expected: Option<ChangeState>,
) {
    let change = change(&json!({"operation": "Delete"}));
    let live = uid.map(|uid| json!({"metadata": {"uid": uid}}));
    let object = limits("128Mi");
    let standing = DeclaredState::Deployed {
        revision,
        object: is_declared.then_some(&object),
    };
    let next = next_state(&change, state, live.as_ref(), standing, now);
    assert_eq!(next, expected);
}

#[rstest]
#[case::untouched(ChangeState::Pending, "6", "b2xk", 3, LATER, Some(ChangeState::Void))]
#[case::touched(ChangeState::Pending, "7", "bmV3", 3, SOON, Some(ChangeState::Open))]
#[case::still_there(ChangeState::Open, "9", "bmV3", 3, LATER, None)]
#[case::taken(ChangeState::Open, "9", "b2xk", 4, LATER, Some(ChangeState::Absorbed))]
#[case::back(ChangeState::Open, "9", "b2xk", 3, LATER, Some(ChangeState::Reverted))]
fn a_secret_is_compared_with_its_chart_alone(
    #[case] state: ChangeState,
    #[case] version: &str,
    #[case] value: &str,
    #[case] revision: u32,
    #[case] now: &str,
    #[case] expected: Option<ChangeState>,
) {
    let change = change(&json!({"operation": "Update", "fields": [{
        "path": ".data.password", "declared": "<redacted 1>", "old": "<redacted 1>",
        "new": "<redacted 2>",
    }]}));
    let secret = |value: &str| {
        json!({
            "metadata": {"uid": "o-1", "resourceVersion": version}, "data": {"password": value},
        })
    };
    let (live, object) = (secret(value), secret("b2xk"));
    let standing = DeclaredState::Deployed {
        revision,
        object: Some(&object),
    };
    let next = resolve(&Sight {
        shape: builtin().lookup("", "v1", "Secret").unwrap(),
        ..sight(&change, state, Some(&live), standing, now)
    });
    assert_eq!(next.map(|next| next.state), expected);
}

#[rstest]
#[case::as_written_now(json!([
    {"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 5},
    {"path": ".spec.paused", "declared": false, "live": false, "requested": true},
]))]
#[case::as_written_before(json!([
    {"path": ".spec.replicas", "declared": "3", "old": "3", "new": "5"},
    {"path": ".spec.paused", "declared": "false", "old": "false", "new": "true"},
]))]
fn one_remaining_field_keeps_the_change_open(#[case] fields: Value) {
    let change = change(&json!({"operation": "Update", "fields": fields}));
    let object = json!({"spec": {"replicas": 3, "paused": false}});
    let standing = DeclaredState::Deployed {
        revision: 3,
        object: Some(&object),
    };
    let live = json!({"spec": {"replicas": 3, "paused": true}});
    let next = resolve(&sight(
        &change,
        ChangeState::Pending,
        Some(&live),
        standing,
        LATER,
    ))
    .unwrap();
    assert_eq!(next.state, ChangeState::Open);
}

/// Two names of one port, of which somebody renamed or removed the second.
#[rstest]
#[case::renamed(Some("stats"), &["http", "stats"], Some(ChangeState::Open))]
#[case::renamed_and_back(Some("stats"), &["http", "metrics"], Some(ChangeState::Void))]
#[case::removed(None, &["http"], Some(ChangeState::Open))]
#[case::removed_and_back(None, &["metrics", "http"], Some(ChangeState::Void))]
fn a_change_of_one_of_several_items_of_a_key_is_seen(
    #[case] new: Option<&str>,
    #[case] live: &[&str],
    #[case] expected: Option<ChangeState>,
) {
    let object = |names: &[&str]| {
        let ports = names
            .iter()
            .map(|name| json!({"name": name, "containerPort": 80, "protocol": "TCP"}));
        let ports: Vec<Value> = ports.collect();
        json!({
            "metadata": {"name": "web", "uid": "o-1", "resourceVersion": "7"},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "ports": ports}]}}},
        })
    };
    let port = ".spec.template.spec.containers[name=web].ports[containerPort=80,protocol=TCP]";
    let item = json!({"name": "metrics", "containerPort": 80, "protocol": "TCP"});
    let field = match new {
        Some(new) => json!({
            "path": format!("{port}.name"),
            "declared": "metrics", "live": "metrics", "requested": new,
        }),
        None => json!({"path": port, "declared": item, "live": item}),
    };
    let change = change(&json!({"operation": "Update", "fields": [field]}));
    let (declared, live) = (object(&["http", "metrics"]), object(live));
    let standing = DeclaredState::Deployed {
        revision: 3,
        object: Some(&declared),
    };
    let next = next_state(&change, ChangeState::Pending, Some(&live), standing, LATER);
    assert_eq!(next, expected);
}

/// Helm's own patch keeps one of two variables of a name.
#[rstest]
#[case::as_declared("two", Some(ChangeState::Reverted))]
#[case::as_changed("mine", None)]
fn any_value_of_a_variable_declared_twice_resolves(
    #[case] live: &str,
    #[case] expected: Option<ChangeState>,
) {
    let object = |values: &[&str]| {
        let env = values
            .iter()
            .map(|value| json!({"name": "A", "value": value}));
        let env: Vec<Value> = env.collect();
        json!({
            "metadata": {"name": "web", "uid": "o-1", "resourceVersion": "7"},
            "spec": {"template": {"spec": {"containers": [{"name": "web", "env": env}]}}},
        })
    };
    let change = change(&json!({"operation": "Update", "fields": [{
        "path": ".spec.template.spec.containers[name=web].env[name=A].value",
        "declared": "one", "live": "two", "requested": "mine",
    }]}));
    let (declared, live) = (object(&["one", "two"]), object(&[live]));
    let standing = DeclaredState::Deployed {
        revision: 3,
        object: Some(&declared),
    };
    let next = next_state(&change, ChangeState::Open, Some(&live), standing, LATER);
    assert_eq!(next, expected);
}
