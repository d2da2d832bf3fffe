//! Any text may be a manifest. The result consists of objects: each parses to itself again, and has no drift
//! from itself.

#![no_main]

use helm_guard_core::{compare::{
        Agreement, Comparison, Declared, Json, compare,
        schema::{Shape, builtin::builtin},
        rules::EmptyListPolicy,
    }, helm::{ReleaseName, manifest}};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let release = ReleaseName {
        namespace: "shop".into(),
        name: "web".into(),
    };
    let read = manifest::parse(text, &release);
    for problem in &read.problems {
        let _ = problem.error.to_string();
    }
    for object in &read.objects {
        assert!(!object.name.is_empty() && !object.kind.is_empty() && !object.version.is_empty());

        assert!(object.json.starts_with('{'));
        let document = Json::of(&object.json);
        let object_read = document;
        let known = builtin().lookup(&object.group, &object.version, &object.kind);
        let found = compare(&Comparison {
            declared: Declared::One(object_read),
            agreement: Agreement::Every,
            old: object_read,
            new: object_read,
            shape: known.unwrap_or_else(Shape::plain),
            empties: known.map_or(EmptyListPolicy::Kept, |_| EmptyListPolicy::Dropped),
        });
        assert!(found.is_empty());

        // Every item of a list is applied, even one annotated as a hook; on its own it would be a hook.
        let value: Value = serde_json::from_str(&object.json).unwrap();
        let hook = "/metadata/annotations/helm.sh~1hook";
        if value.pointer(hook).is_some() {
            continue;
        }
        let again = manifest::parse(&object.json, &release);
        assert!(again.problems.is_empty(), "{:?}", again.problems);
        let [twin] = again.objects.as_slice() else {
            panic!("one object parses as {}", again.objects.len());
        };
        assert_eq!(twin.json, object.json);
        assert_eq!(
            (
                &twin.group,
                &twin.version,
                &twin.kind,
                &twin.name,
                twin.keep
            ),
            (
                &object.group,
                &object.version,
                &object.kind,
                &object.name,
                object.keep
            )
        );
    }
});
