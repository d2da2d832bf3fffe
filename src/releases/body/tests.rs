use rstest::rstest;

use super::*;

fn object(namespace: Option<&str>, name: &str, json: &str) -> DeclaredObject {
    DeclaredObject {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        kind: "Deployment".to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        source: None,
        line: 1,
        keep: false,
        json: json.into(),
    }
}

fn body_in(store: &Arc<BodyStore>, objects: Vec<DeclaredObject>) -> Body {
    let parts = Parts {
        release: ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        about: About::default(),
        objects,
        problems: 0,
    };
    Body::new(parts, store)
}

fn body(objects: Vec<DeclaredObject>) -> Body {
    body_in(&Arc::default(), objects)
}

fn found(body: &Body, namespace: &str, name: &str) -> Option<String> {
    let found = body.find("apps", "Deployment", namespace, name);
    let found = found.expect("it can be read");
    found.map(|object| object.json.to_string())
}

#[rstest]
#[case::no_namespace_is_the_releases(&[(None, "1")], "shop", Some("1"))]
#[case::an_empty_one_too(&[(Some(""), "1")], "shop", Some("1"))]
#[case::elsewhere(&[(None, "1")], "test", None)]
#[case::its_own(&[(None, "1"), (Some("test"), "2")], "test", Some("2"))]
#[case::the_last_of_several(&[(None, "1"), (Some("shop"), "2"), (Some("test"), "3")], "shop", Some("2"))]
#[case::the_last_whatever_its_namespace(&[(Some("a"), "1"), (Some("b"), "2"), (None, "3")], "", Some("3"))]
#[case::the_last_in_the_manifest(&[(None, "3"), (Some("b"), "2"), (Some("a"), "1")], "", Some("1"))]
fn the_last_document_for_an_object_wins(
    #[case] documents: &[(Option<&str>, &str)],
    #[case] namespace: &str,
    #[case] expected: Option<&str>,
) {
    let objects = documents
        .iter()
        .map(|(namespace, json)| object(*namespace, "web", json));
    let body = body(objects.collect());
    assert_eq!(found(&body, namespace, "web").as_deref(), expected);
    assert_eq!(found(&body, namespace, "other"), None);
}

#[test]
fn an_object_in_use_is_unpacked_once() {
    let body = body(vec![object(None, "a", "1"), object(None, "b", "2")]);
    let find = |name| body.find("apps", "Deployment", "shop", name);
    let (first, again) = (find("a").unwrap().unwrap(), find("a").unwrap().unwrap());
    assert!(Arc::ptr_eq(&first, &again));
}

#[test]
fn a_new_body_never_gets_cached_objects_of_an_old_one() {
    let store = Arc::<BodyStore>::default();
    for number in 0..100 {
        let json = number.to_string();
        let body = body_in(&store, vec![object(None, "web", &json)]);
        assert_eq!(found(&body, "shop", "web"), Some(json));
    }
    assert_eq!((store.bodies(), store.bytes()), (0, 0));
}

#[test]
fn colliding_keys_cost_a_lookup_and_change_no_answer() {
    let mut body = body(Vec::new());
    let names = ["a", "b", "c"];
    // As if all names hashed like "b".
    let key = ObjectKey::new("apps", "Deployment", "shop", "b");
    let objects: Vec<_> = names
        .iter()
        .map(|name| (key, object(None, name, &format!("{name:?}"))))
        .collect();
    body.objects = Packed::new(&objects, |_, _| None);
    body.store.enters(body.objects.bytes());
    assert_eq!(found(&body, "shop", "b").as_deref(), Some("\"b\""));
    body.objects = Packed::new(&objects[..1], |_, _| None);
    body.store.enters(body.objects.bytes());
    body.number = body.store.cache.number();
    assert_eq!(found(&body, "shop", "b"), None);
}

#[test]
fn an_object_that_cannot_be_unpacked_is_an_error_and_not_absent() {
    let mut body = body(vec![object(None, "web", "1")]);
    body.objects.break_blocks();
    let found = body.find("apps", "Deployment", "shop", "web");
    assert!(found.is_err());
    let other = body.find("apps", "Deployment", "shop", "other");
    assert_eq!(other, Ok(None), "that it does not declare this is known");
}

#[test]
fn kinds_and_namespaces_are_known_without_unpacking() {
    let elsewhere = object(Some("test"), "b", "2");
    let mut body = body(vec![object(None, "a", "1"), elsewhere]);
    body.objects.break_blocks();
    assert!(body.is_in("shop") && body.is_in("test") && !body.is_in("other"));
    let kinds: Vec<_> = body.kinds().iter().map(|kind| &*kind.kind).collect();
    assert_eq!((kinds, body.count()), (vec!["Deployment"], 2));
}

/// As large as a manifest allows.
#[test]
fn the_largest_object_is_unpacked_once_and_not_for_each_request() {
    let json = "x".repeat(helm_guard_core::helm::manifest::OBJECT_BYTES);
    let body = body(vec![object(None, "web", &json), object(None, "other", "1")]);
    let find = || {
        body.find("apps", "Deployment", "shop", "web")
            .unwrap()
            .unwrap()
    };
    let first = find();
    assert_eq!(first.json.len(), json.len());
    assert!(Arc::ptr_eq(&first, &find()));
}
