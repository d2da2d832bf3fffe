//! Items that share a merge key, and significant orders.

use rstest::rstest;

use super::*;

const WEB: &str = ".spec.template.spec.containers[name=web]";
const PORT: &str = ".ports[containerPort=8080,protocol=TCP]";

/// The ports of a container, by name, all with the same number.
fn ports(names: &[&str]) -> Value {
    let port = |name: &&str| json!({"name": name, "containerPort": 8080, "protocol": "TCP"});
    let ports: Vec<Value> = names.iter().map(port).collect();
    json!({"containers": [{"name": "web", "ports": ports}]})
}

#[rstest]
#[case::reordered(&["http", "metrics"], &["metrics", "http"], "")]
#[case::one_more(&["http", "metrics"], &["http", "metrics", "debug"], "")]
#[case::one_more_goes(&["http", "metrics", "debug"], &["metrics", "http"], "")]
#[case::one_more_is_renamed(&["http", "metrics", "debug"], &["http", "other", "metrics"], "")]
#[case::one_lost(&["http", "metrics"], &["http"], PORT)]
#[case::the_other_lost(&["http", "metrics"], &["metrics"], PORT)]
#[case::both_lost(&["http", "metrics"], &[], PORT)]
#[case::one_renamed(&["http", "metrics"], &["http", "other"], ".ports[containerPort=8080,protocol=TCP].name")]
#[case::renamed_and_reordered(&["http", "metrics"], &["other", "http"], ".ports[containerPort=8080,protocol=TCP].name")]
#[case::one_twice(&["http", "metrics"], &["http", "http"], ".ports[containerPort=8080,protocol=TCP].name")]
#[case::one_lost_beside_one_more(&["http", "metrics", "debug"], &["http", "debug"], PORT)]
#[case::put_back(&["http"], &["http", "metrics"], "")]
#[case::put_back_beside_drift(&["http", "other"], &["http", "other", "metrics"], "")]
#[case::on_to_a_third_name(&["http", "other"], &["http", "third"], ".ports[containerPort=8080,protocol=TCP].name")]
#[case::drift_that_stays(&["http", "other"], &["other", "http"], "")]
fn each_of_two_declared_ports_of_one_number_is_guarded(
    #[case] old: &[&str],
    #[case] new: &[&str],
    #[case] expected: &str,
) {
    let found = in_pod(&ports(&["http", "metrics"]), &ports(old), &ports(new));
    let expected = (!expected.is_empty()).then(|| format!("{WEB}{expected}"));
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_second_name_of_a_declared_port_is_as_free_as_a_port() {
    assert!(
        in_pod(
            &ports(&["http"]),
            &ports(&["http"]),
            &ports(&["debug", "http"])
        )
        .is_empty()
    );
    assert!(
        in_pod(
            &ports(&["http"]),
            &ports(&["debug", "http"]),
            &ports(&["http"])
        )
        .is_empty()
    );
    let lost = in_pod(
        &ports(&["http"]),
        &ports(&["debug", "http"]),
        &ports(&["debug"]),
    );
    assert_eq!(lost, [format!("{WEB}{PORT}")]);
}

#[test]
fn each_of_two_aliases_of_one_address_is_guarded() {
    let aliases = |names: &[&str]| {
        let alias = |name: &&str| json!({"ip": "10.9.8.7", "hostnames": [name]});
        let aliases: Vec<Value> = names.iter().map(alias).collect();
        json!({"hostAliases": aliases})
    };
    let both = || aliases(&["a", "b"]);
    let lost = in_pod(&both(), &both(), &aliases(&["a"]));
    assert_eq!(lost, [".spec.template.spec.hostAliases[ip=10.9.8.7]"]);
    assert!(in_pod(&both(), &both(), &aliases(&["b", "a"])).is_empty());
    let changed = in_pod(&both(), &both(), &aliases(&["b", "c"]));
    assert_eq!(
        changed,
        [".spec.template.spec.hostAliases[ip=10.9.8.7].hostnames[0]"]
    );
}

fn of_two(declared: [&Value; 2], agreement: Agreement, old: &Value, new: &Value) -> Vec<String> {
    paths(&Case {
        kind: DEPLOYMENT,
        declared: declared.map(|spec| Some(pod(spec))).to_vec(),
        agreement,
        old: pod(old),
        new: pod(new),
    })
}

/// A strategic merge patch may leave one of several, never none.
#[test]
fn while_helm_may_be_at_work_one_of_several_twins_must_remain() {
    let both = ports(&["http", "metrics"]);
    let judge = |agreement, new: &[&str]| of_two([&both, &both], agreement, &both, &ports(new));
    assert!(judge(Agreement::Every, &["metrics"]).is_empty());
    assert_eq!(
        judge(Agreement::Any, &["metrics"]),
        [format!("{WEB}{PORT}")]
    );
    for agreement in [Agreement::Every, Agreement::Any] {
        assert_eq!(judge(agreement, &[]), [format!("{WEB}{PORT}")]);
        assert_eq!(
            judge(agreement, &["http", "x"]),
            [format!("{WEB}{PORT}.name")]
        );
    }
    // As many as before are not what such a patch leaves.
    let three = ports(&["http", "metrics", "debug"]);
    let (old, new) = (
        ports(&["http", "x", "y"]),
        ports(&["metrics", "debug", "x"]),
    );
    let found = of_two([&three, &three], Agreement::Every, &old, &new);
    assert_eq!(found, [format!("{WEB}{PORT}")]);
    let renamed = ports(&["http", "prom"]);
    let judge = |agreement, new: &[&str]| of_two([&renamed, &both], agreement, &both, &ports(new));
    for agreement in [Agreement::Every, Agreement::Any] {
        assert!(judge(agreement, &["http", "prom"]).is_empty());
        assert!(judge(agreement, &["prom", "http"]).is_empty());
        assert_eq!(
            judge(agreement, &["http", "x"]),
            [format!("{WEB}{PORT}.name")]
        );
    }
}

/// Variables by name and value.
fn env(items: &[(&str, &str)]) -> Value {
    let item = |(name, value): &(&str, &str)| json!({"name": name, "value": value});
    let env: Vec<Value> = items.iter().map(item).collect();
    json!({"containers": [{"name": "web", "env": env}]})
}

#[test]
fn a_variable_declared_twice_in_both_manifests_may_not_disappear() {
    let twice = env(&[("A", "1"), ("A", "2"), ("B", "b")]);
    for agreement in [Agreement::Every, Agreement::Any] {
        let judge = |new: &[(&str, &str)]| of_two([&twice, &twice], agreement, &twice, &env(new));
        assert_eq!(judge(&[("B", "b")]), [format!("{WEB}.env[name=A]")]);
        assert!(judge(&[("A", "1"), ("B", "b")]).is_empty());
        assert!(judge(&[("A", "2"), ("B", "b")]).is_empty());
    }
    let without = env(&[("B", "b")]);
    let found = of_two([&without, &twice], Agreement::Any, &twice, &without);
    assert!(found.is_empty(), "only one wants it: {found:?}");
}

#[test]
fn each_declared_value_of_a_variable_declared_twice_is_accepted_and_no_other() {
    let twice = env(&[("A", "1"), ("A", "2")]);
    let mut filled = env(&[("A", "2")]);
    filled["containers"][0]["env"][0]["more"] = json!("undeclared");
    assert!(in_pod(&twice, &twice, &filled).is_empty());
    let found = in_pod(&twice, &twice, &env(&[("A", "3")]));
    assert_eq!(found, [format!("{WEB}.env[name=A].value")]);
}

/// What only one of two manifests declares is guarded after a failure, and may be removed.
#[test]
fn an_item_of_either_manifest_is_guarded_after_a_failed_upgrade() {
    let (with_a, with_b) = (env(&[("A", "1")]), env(&[("B", "1")]));
    let both = env(&[("A", "1"), ("B", "1")]);
    for declared in [[&with_a, &with_b], [&with_b, &with_a]] {
        let judge = |new: &Value| of_two(declared, Agreement::Any, &both, new);
        let changed = judge(&env(&[("A", "2"), ("B", "1")]));
        assert_eq!(changed, [format!("{WEB}.env[name=A].value")]);
        assert!(judge(&with_b).is_empty());
    }
    let pods = [
        ports(&["http"]),
        json!({"containers": [{"name": "db", "image": "i"}]}),
    ];
    let live = json!({"containers": [
        {"name": "web", "ports": pods[0]["containers"][0]["ports"]}, {"name": "db", "image": "i"},
    ]});
    let mut new = live.clone();
    new["containers"][1]["image"] = json!("other");
    for declared in [[&pods[0], &pods[1]], [&pods[1], &pods[0]]] {
        let found = of_two(declared, Agreement::Any, &live, &new);
        assert_eq!(found, [".spec.template.spec.containers[name=db].image"]);
    }
}

#[test]
fn an_undeclared_item_may_be_removed_with_its_list() {
    let secrets = |name: &str| json!({"imagePullSecrets": [{"name": name}]});
    let found = in_pod(&secrets("declared"), &secrets("other"), &json!({}));
    assert!(found.is_empty(), "{found:?}");
    let found = in_pod(
        &json!({"imagePullSecrets": []}),
        &secrets("other"),
        &json!({}),
    );
    assert!(found.is_empty(), "{found:?}");
}

fn init(names: &[&str]) -> Value {
    let container = |name: &&str| json!({"name": name, "image": "i"});
    let containers: Vec<Value> = names.iter().map(container).collect();
    json!({"initContainers": containers})
}

#[rstest]
#[case::swapped(&["a", "b", "c"], &["b", "a", "c"], false)]
#[case::rotated(&["a", "b", "c"], &["c", "a", "b"], false)]
#[case::one_in_front(&["a", "b", "c"], &["mesh", "a", "b", "c"], true)]
#[case::one_between(&["a", "b", "c"], &["a", "mesh", "b", "c"], true)]
#[case::one_moves(&["mesh", "a", "b", "c"], &["a", "b", "mesh", "c"], true)]
#[case::put_right(&["b", "a", "c"], &["a", "b", "c"], true)]
#[case::drift_stays(&["b", "a", "c"], &["b", "a", "mesh", "c"], true)]
#[case::on_to_a_third_order(&["b", "a", "c"], &["b", "c", "a"], false)]
#[case::one_comes_back(&["a", "c"], &["a", "b", "c"], true)]
#[case::one_comes_back_in_another_place(&["a", "c"], &["b", "a", "c"], false)]
#[case::one_comes_back_beside_drift(&["b", "a"], &["b", "a", "c"], true)]
fn declared_init_containers_run_in_their_order(
    #[case] old: &[&str],
    #[case] new: &[&str],
    #[case] passes: bool,
) {
    let found = in_pod(&init(&["a", "b", "c"]), &init(old), &init(new));
    let expected: &[&str] = if passes {
        &[]
    } else {
        &[".spec.template.spec.initContainers"]
    };
    assert_eq!(found, expected);
}

#[test]
fn a_manifest_that_repeats_a_name_is_in_its_own_order() {
    let declared = init(&["a", "b", "a"]);
    for old in [json!({}), init(&["b", "a"]), init(&["b"])] {
        assert!(in_pod(&declared, &old, &declared).is_empty(), "{old}");
    }
}

#[test]
fn the_order_of_either_active_manifest_is_accepted() {
    let (newest, base) = (init(&["b", "a", "new"]), init(&["a", "b", "gone"]));
    let old = init(&["mesh", "a", "b", "gone"]);
    for agreement in [Agreement::Every, Agreement::Any] {
        let judge = |new: &[&str]| of_two([&newest, &base], agreement, &old, &init(new));
        assert!(judge(&["mesh", "b", "a", "new"]).is_empty());
        assert!(judge(&["a", "b", "gone"]).is_empty());
    }
    let three = init(&["a", "b", "c"]);
    let found = of_two(
        [&three, &three],
        Agreement::Every,
        &three,
        &init(&["c", "a", "b"]),
    );
    assert_eq!(found, [".spec.template.spec.initContainers"]);
}

#[rstest]
#[case::before_what_it_refers_to(&[("URL", "http://$(HOST)"), ("HOST", "a"), ("X", "x")], false)]
#[case::its_order_stays(&[("X", "x"), ("HOST", "a"), ("URL", "http://$(HOST)")], true)]
#[case::one_between(&[("HOST", "a"), ("MORE", "m"), ("URL", "http://$(HOST)"), ("X", "x")], true)]
fn a_variable_stays_after_those_that_it_refers_to(
    #[case] new: &[(&str, &str)],
    #[case] passes: bool,
) {
    let declared = env(&[("HOST", "a"), ("URL", "http://$(HOST)"), ("X", "x")]);
    let found = in_pod(&declared, &declared, &env(new));
    let expected = (!passes).then(|| format!("{WEB}.env"));
    assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    assert!(
        in_pod(&declared, &env(new), &declared).is_empty(),
        "put back"
    );
    assert!(in_pod(&declared, &env(new), &env(new)).is_empty());
}

#[test]
fn a_variable_may_return_to_its_place_while_another_stays_displaced() {
    let of = |names: [&str; 4]| {
        let value = |name: &str| match name {
            "HOST_URL" => "http://$(HOST)",
            "PORT_URL" => "tcp://$(PORT)",
            _ => "a",
        };
        env(&names.map(|name| (name, value(name))))
    };
    let declared = of(["HOST", "HOST_URL", "PORT", "PORT_URL"]);
    let old = of(["PORT_URL", "PORT", "HOST_URL", "HOST"]);
    let new = of(["HOST", "HOST_URL", "PORT_URL", "PORT"]);
    assert!(in_pod(&declared, &old, &new).is_empty());
    assert_eq!(in_pod(&declared, &new, &old), [format!("{WEB}.env")]);
}

/// One item of an atomic list is restored, and another stays drifted.
#[test]
fn a_correction_beside_drift_passes_while_two_manifests_are_active() {
    let role = ("rbac.authorization.k8s.io", "v1", "Role");
    let rules = |verbs: &[&str]| {
        let rules: Vec<Value> = verbs.iter().map(|verb| json!({"verbs": [verb]})).collect();
        json!({"rules": rules})
    };
    let judge = |newest: &[&str], agreement, old: &[&str], new: &[&str]| {
        paths(&Case {
            kind: role,
            declared: vec![Some(rules(newest)), Some(rules(&["get", "list"]))],
            agreement,
            old: rules(old),
            new: rules(new),
        })
    };
    for agreement in [Agreement::Every, Agreement::Any] {
        for newest in [
            &["get", "list"][..],
            &["get", "watch"],
            &["get", "list", "watch"],
        ] {
            let found = judge(newest, agreement, &["drift", "other"], &["drift", "list"]);
            assert!(found.is_empty(), "{agreement:?} {newest:?} {found:?}");
            let found = judge(newest, agreement, &["drift", "list"], &["drift", "third"]);
            assert_eq!(found, [".rules[1].verbs[0]"], "{agreement:?} {newest:?}");
            assert!(judge(newest, agreement, &["get", "list"], newest).is_empty());
        }
    }
}
