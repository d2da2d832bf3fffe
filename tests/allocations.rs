//! The heap use of an evaluation: none for an unchanged object, and proportional to the size if
//! everything changes. Heap blocks are counted, because time is too imprecise.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use helm_guard_core::{
    compare::{
        Agreement, Comparison, Declared, Json, compare, path::FieldPath, redact::Redactor,
        rules::EmptyListPolicy, schema::builtin::builtin, undo::undo,
    },
    guard::{
        Claim, ConversionTargets, Knowledge, ObjectRef, Question, Reach, RecordsAt, Request,
        RevisionClaim, RevisionObject, Verdict, judge,
    },
    helm::{
        ReleaseName, identity::DeclaredObject, lifecycle::Phase, record::ApplyMethod,
        storage::Driver,
    },
    policy::{Labels, Policy, license::Facts},
};
use serde_json::{Value, json};

/// Only one test can count.
static COUNTING: Mutex<()> = Mutex::new(());

#[global_allocator]
static HEAP: dhat::Alloc = dhat::Alloc;

fn deployment(image: &str) -> String {
    let containers: Vec<_> = (0..40)
        .map(|n| json!({"name": format!("c{n}"), "image": image, "args": ["--a", "--b"]}))
        .collect();
    json!({"spec": {"replicas": 3, "template": {"spec": {"containers": containers}}}}).to_string()
}

/// The heap blocks that a comparison allocates, and the number of its violations.
fn blocks(declared: &str, old: &str, new: &str) -> (u64, usize) {
    let shape = builtin().lookup("apps", "v1", "Deployment").unwrap();
    let before = dhat::HeapStats::get().total_blocks;
    let (declared, old, new) = (Json::of(declared), Json::of(old), Json::of(new));
    let comparison = Comparison {
        declared: Declared::One(declared),
        agreement: Agreement::Every,
        old,
        new,
        shape,
        empties: EmptyListPolicy::Dropped,
    };
    let found = compare(&comparison).len();
    (dhat::HeapStats::get().total_blocks - before, found)
}

#[test]
fn comparing_an_unchanged_object_allocates_nothing() {
    let _turn = COUNTING.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let (declared, live, edited) = (deployment("a"), deployment("a"), deployment("b"));
    assert_eq!(blocks(&declared, &live, &live.clone()), (0, 0));
    let (taken, found) = blocks(&declared, &live, &edited);
    assert!(
        taken > 0 && found == 40,
        "the measurement sees allocations: {taken} {found}"
    );
}

/// A Deployment with `count` variables, whose names the field manager `robot` owns.
fn with_variables(count: usize, value: &str) -> Value {
    let name = |n: usize| format!("E{n}");
    let env: Vec<Value> = (0..count)
        .map(|n| json!({"name": name(n), "value": value}))
        .collect();
    let owned: serde_json::Map<String, Value> = (0..count)
        .map(|n| {
            let key = format!("k:{}", json!({"name": name(n)}));
            (key, json!({".": {}, "f:name": {}}))
        })
        .collect();
    let containers = json!({r#"k:{"name":"web"}"#: {"f:env": owned}});
    json!({
        "metadata": {
            "annotations": {"helm-guard.dev/ignore": "/spec/template/spec/containers/0/env/0"},
            "managedFields": [{"manager": "robot", "fieldsV1": {
                "f:spec": {"f:template": {"f:spec": {"f:containers": containers}}},
            }}],
        },
        "spec": {"template": {"spec": {"containers": [{"name": "web", "env": env}]}}},
    })
}

fn claim(release: &str, object: &Value) -> Claim {
    let declared = DeclaredObject {
        group: "apps".into(),
        version: "v1".into(),
        kind: "Deployment".into(),
        namespace: None,
        name: "web".into(),
        source: None,
        line: 1,
        keep: false,
        json: object.to_string().into(),
    };
    Claim {
        release: Arc::new(ReleaseName {
            namespace: "shop".into(),
            name: release.into(),
        }),
        records: RecordsAt {
            driver: Driver::Secret,
            namespace: "shop".into(),
        },
        reach: Reach::Own,
        chart: "web-1.0.0".into(),
        phase: Phase::Settled,
        uninstalling_since: None,
        apply_method: ApplyMethod::default(),
        hook_accounts: Arc::default(),
        revisions: vec![RevisionClaim {
            revision: 1,
            held: RevisionObject::Declared(Arc::new(declared)),
        }],
    }
}

fn evaluate(policy: &Policy, claims: &[Claim], [old, new]: [&Value; 2]) -> Verdict {
    let review = json!({
        "uid": "1", "operation": "UPDATE", "name": "web", "namespace": "shop",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "userInfo": {"username": "alice"},
        "oldObject": old, "object": new,
    })
    .to_string();
    let request: Request<'_> = serde_json::from_str(&review).unwrap();
    judge(&Question {
        request: &request,
        object: &ObjectRef {
            group: "apps",
            kind: "Deployment",
            namespace: "shop",
            name: Cow::Borrowed("web"),
        },
        claims,
        knowledge: Knowledge::Builtin(builtin().lookup("apps", "v1", "Deployment").unwrap()),
        conversions: ConversionTargets::Versions(&[]),
        replicas_path: &["spec", "replicas"],
        policy,
        labels: Labels::Unknown,
        facts: Facts::default(),
        redactor: &Redactor::new(b"key"),
    })
}

/// Four times the size costs about four times the work, not sixteen times.
#[track_caller]
fn assert_in_proportion(what: &str, work: impl Fn(usize)) {
    let [small, large] = [300, 1_200].map(|count| {
        let before = dhat::HeapStats::get().total_blocks;
        work(count);
        dhat::HeapStats::get().total_blocks - before
    });
    assert!(
        small > 300 && large < 6 * small,
        "{what}: {small} blocks for 300 items, {large} for 1,200"
    );
}

#[test]
fn the_cost_of_evaluating_a_change_is_proportional_to_its_size() {
    let _turn = COUNTING.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let policy = |spec: Value| Policy::compile(&serde_json::from_value(spec).unwrap()).unwrap();
    let env = "/spec/template/spec/containers/0/env";
    let some = r#".spec.template.spec.containers[].env[] | select(.name != "E0") | .name"#;
    for (what, spec) in [
        ("no rule", json!({})),
        (
            "a position",
            json!({"ignore": [{"paths": [format!("{env}/0")]}]}),
        ),
        (
            "an expression",
            json!({"ignore": [{"jqPathExpressions": [some]}]}),
        ),
        (
            "a manager",
            json!({"ignore": [{"managedFieldsManagers": ["robot"]}]}),
        ),
        (
            "the chart's own paths",
            json!({"chartAnnotations": "Honor"}),
        ),
    ] {
        let policy = policy(spec);
        assert_in_proportion(what, |count| {
            let object = |value: &str| with_variables(count, value);
            let claims = [claim("web", &object("a")), claim("other", &object("b"))];
            let found = evaluate(&policy, &claims, [&object("a"), &object("c")]);
            let changes = found.findings.iter().map(|finding| finding.changes.len());
            assert!(changes.sum::<usize>() >= 2 * (count - 1), "{what}");
        });
    }
}

#[test]
fn the_cost_of_looking_up_another_release_is_proportional_to_its_size() {
    let _turn = COUNTING.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    let policy = Policy::default();
    // Another release declares every key of a large ConfigMap, too: 30,000 keys fit into an object.
    assert_in_proportion("a map of keys", |count| {
        let object = |value: &str| {
            let data = (0..count).map(|n| (format!("k{n}"), json!(value)));
            json!({"metadata": {"annotations": data.collect::<serde_json::Map<_, _>>()}})
        };
        let claims = [claim("web", &object("a")), claim("other", &object("b"))];
        let found = evaluate(&policy, &claims, [&object("a"), &object("c")]);
        assert_eq!(found.findings.len(), 2);
        let taken_over = evaluate(&policy, &claims, [&object("a"), &object("b")]);
        assert_eq!(taken_over.findings.len(), 0);
    });
}

#[test]
fn the_cost_of_an_undo_patch_is_proportional_to_its_size() {
    let _turn = COUNTING.lock();
    let _profiler = dhat::Profiler::builder().testing().build();
    for (what, new) in [("changed", None), ("removed", Some(with_variables(1, "c")))] {
        assert_in_proportion(what, |count| {
            let old = with_variables(count, "a");
            let new = new.clone().unwrap_or_else(|| with_variables(count, "c"));
            let path = |n: usize| {
                let path = format!(".spec.template.spec.containers[name=web].env[name=E{n}]");
                path.parse::<FieldPath>().unwrap()
            };
            let paths: Vec<FieldPath> = (0..count).map(path).collect();
            let mut patched = new.clone();
            json_patch::patch(&mut patched, &undo(&old, &new, &paths)).unwrap();
            let env = "/spec/template/spec/containers/0/env";
            assert_eq!(patched.pointer(env), old.pointer(env));
        });
    }
}
