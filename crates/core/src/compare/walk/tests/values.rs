//! Which values are the same.

use super::*;

#[test]
fn values_compare_as_kubernetes_sees_them() {
    let secret = ("", "v1", "Secret");
    let service = ("", "v1", "Service");
    let role = ("rbac.authorization.k8s.io", "v1", "Role");
    let same: [(Kind, Value, Value, Value); 6] = [
        (
            secret,
            json!({"data": {"a": "Zm9v"}}),
            json!({"data": {"a": "YmFy"}}),
            json!({"data": {"a": "Zm\n9v"}}),
        ),
        (
            secret,
            json!({"data": {"a": "Zm9v"}}),
            json!({"data": {"a": "Zm9v"}}),
            json!({"data": {"a": "Zm9v", "b": "eA=="}}),
        ),
        (
            role,
            json!({"rules": []}),
            json!({"rules": null}),
            json!({"metadata": {}}),
        ),
        (
            role,
            json!({"rules": []}),
            json!({"rules": null}),
            json!({"rules": []}),
        ),
        (
            service,
            json!({"spec": {"ports": [{"port": 80}]}}),
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}}),
            json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}}),
        ),
        (
            DEPLOYMENT,
            json!({"spec": {"replicas": 1, "paused": false}}),
            json!({"spec": {"replicas": 1, "paused": true}}),
            json!({"spec": {"replicas": 1}}),
        ),
    ];
    for (kind, declared, old, new) in same {
        let text = format!("{declared} {new}");
        assert!(one(kind, [declared, old, new]).is_empty(), "{text}");
    }
    let differ: [(Kind, Value, Value, Value); 4] = [
        (
            role,
            json!({"rules": []}),
            json!({"rules": null}),
            json!({"rules": [{"verbs": ["*"]}]}),
        ),
        (
            service,
            json!({"spec": {"ports": [{"port": 80, "targetPort": 80}]}}),
            json!({"spec": {"ports": [{"port": 80, "targetPort": 80}]}}),
            json!({"spec": {"ports": [{"port": 80, "targetPort": "80"}]}}),
        ),
        (
            DEPLOYMENT,
            json!({"spec": {"paused": false}}),
            json!({"spec": {}}),
            json!({"spec": {"paused": true}}),
        ),
        (
            secret,
            json!({"data": {"a": "Zm9v"}}),
            json!({"data": {"a": "Zm9v"}}),
            json!({"data": {"a": "YmFy"}}),
        ),
    ];
    for (kind, declared, old, new) in differ {
        let text = format!("{declared} {new}");
        assert_eq!(one(kind, [declared, old, new]).len(), 1, "{text}");
    }
}

#[test]
fn an_empty_declaration_only_requires_the_object() {
    let kind = ("example.com", "v1", "Issuer");
    let declared = || json!({"spec": {"selfSigned": {}}});
    assert!(
        one(
            kind,
            [
                declared(),
                declared(),
                json!({"spec": {"selfSigned": {"a": 1}}})
            ]
        )
        .is_empty()
    );
    let removed = one(kind, [declared(), declared(), json!({"spec": {"ca": {}}})]);
    assert_eq!(removed, [".spec.selfSigned"]);
    let added = json!({"spec": {"selfSigned": {"a": 1}}});
    assert_eq!(
        one(kind, [declared(), added, json!({"spec": {}})]),
        [".spec.selfSigned"]
    );
    // A built-in kind: the defaults in an object are removed with it, and an empty map is dropped.
    let stateful = ("apps", "v1", "StatefulSet");
    let strategy = |rolling: Value| json!({"spec": {"updateStrategy": rolling}});
    let removed = one(
        stateful,
        [
            strategy(json!({"rollingUpdate": {}})),
            strategy(json!({"rollingUpdate": {"partition": 0}})),
            strategy(json!({"type": "OnDelete"})),
        ],
    );
    assert_eq!(removed, [".spec.updateStrategy.rollingUpdate"]);
    let selector = json!({"nodeSelector": {}});
    let added = json!({"nodeSelector": {"disk": "ssd"}});
    assert!(in_pod(&selector, &added, &json!({})).is_empty());
}

/// An existing empty map is stored. Nothing shows whether the map of a manifest alone would be.
#[test]
fn an_empty_map_that_the_api_server_keeps_may_not_be_removed() {
    let (empty, absent) = (json!({"nodeSelector": {}}), json!({}));
    let found = in_pod(&empty, &empty, &absent);
    assert_eq!(found, [".spec.template.spec.nodeSelector"]);
    let filled = json!({"nodeSelector": {"a": "b"}});
    assert!(in_pod(&empty, &filled, &absent).is_empty());
}
