//! What a request costs inside the process: from the body to the verdict, without sockets.
//!
//! `cargo bench --bench judge`; absolute figures are of the machine, ratios travel. Instruction counts
//! repeat on any machine: `valgrind --tool=callgrind --toggle-collect='*decide*' JUDGE --test CASE`,
//! where JUDGE is the program that `cargo bench --no-run` names.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops at what it did not expect; criterion's macros make public items"
)]

use std::{borrow::Cow, hint::black_box, sync::Arc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use helm_guard::{
    compare::{redact::Redactor, schema::builtin::builtin},
    guard::{
        Claim, Elsewhere, Held, Knowledge, ObjectRef, Outcome, Question, RecordsAt, RevisionClaim,
        judge, screen,
    },
    helm::{ReleaseName, lifecycle::Phase, manifest, storage::Driver},
    policy::{Labels, Policy},
    webhook::envelope,
};
use serde_json::{Value, json};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A Deployment with as many containers as it takes to make a review of about `bytes`.
fn deployment(bytes: usize) -> Value {
    let container = |n: usize| {
        let env: Vec<Value> = (0..8)
            .map(|e| json!({"name": format!("VARIABLE_{e}"), "value": format!("value-{n}-{e}")}))
            .collect();
        json!({
            "name": format!("container-{n}"), "image": format!("registry.example/team/app-{n}:1.2.{n}"),
            "args": ["--listen", ":8080", "--level", "info"], "env": env,
            "ports": [{"containerPort": 8080 + n, "name": format!("port-{n}"), "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true},
            "volumeMounts": [{"name": "data", "mountPath": format!("/data/{n}")}],
        })
    };
    let mut containers: Vec<Value> = Vec::new();
    loop {
        containers.push(container(containers.len()));
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "labels": {
                "app": "web", "app.kubernetes.io/managed-by": "Helm"}, "annotations": {
                "meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": containers, "volumes": [{"name": "data", "emptyDir": {}}]}}},
        });
        // Old and new object make the review.
        if object.to_string().len() * 2 >= bytes {
            return object;
        }
    }
}

fn review(old: &Value, new: &Value) -> Vec<u8> {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "UPDATE",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "name": "web", "namespace": "shop",
            "userInfo": {"username": "alice@example.com", "groups": ["system:authenticated"]},
            "object": new, "oldObject": old, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions"},
        },
    })
    .to_string()
    .into_bytes()
}

fn claim(declared: &Value) -> Claim {
    let release = ReleaseName {
        namespace: "shop".into(),
        name: "web".into(),
    };
    let manifest = manifest::parse(&format!("---\n{declared}\n"), &release);
    let object = manifest
        .objects
        .into_iter()
        .next()
        .expect("the manifest has one object");
    Claim {
        release: Arc::new(release),
        records: RecordsAt {
            driver: Driver::Secret,
            namespace: "shop".into(),
        },
        chart: "web-1.0.0".into(),
        phase: Phase::Settled,
        uninstalling_since: None,
        revisions: vec![RevisionClaim {
            revision: 1,
            held: Held::Declared(Arc::new(object)),
        }],
    }
}

/// Everything that is done for a request but the sockets and the look-up.
#[inline(never)] // so that callgrind can tell it from the rest
fn decide(body: &[u8], claims: &[Claim], policy: &Policy, redactor: &Redactor) -> Outcome {
    let request = envelope::parse(body).expect("a review");
    if let Some(reason) = screen(&request) {
        return reason.outcome();
    }
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: Cow::Borrowed("web"),
    };
    let shape = builtin()
        .lookup("apps", "v1", "Deployment")
        .expect("a built-in kind");
    let question = Question {
        request: &request,
        object: &object,
        claims,
        knowledge: Knowledge::Builtin(shape),
        elsewhere: Elsewhere::Versions(&[]),
        replicas_path: &[],
        policy,
        labels: Labels::Unknown,
        redactor,
    };
    judge(&question).reason.outcome()
}

fn edited(object: &Value, edits: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (pointer, value) in edits {
        let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
        let parent = object.pointer_mut(parent).expect("a parent");
        parent[field] = value.clone();
    }
    object
}

fn judgements(criterion: &mut Criterion) {
    let (policy, redactor) = (Policy::default(), Redactor::new(b"bench"));
    for (size, bytes) in [("4KB", 4_000), ("34KB", 34_000), ("900KB", 900_000)] {
        let live = deployment(bytes);
        let claims = [claim(&live)];
        let managed = |at: &str| {
            (
                "/metadata/managedFields",
                json!([{"manager": "kubectl", "time": at}]),
            )
        };
        let old = edited(&live, &[managed("1")]);
        let image = "/spec/template/spec/containers/0";
        let image = format!("{image}/image");
        let restarted = (
            "/spec/template/metadata/annotations",
            json!({"kubectl.kubernetes.io/restartedAt": "x"}),
        );
        let noise = edited(&live, &[managed("2")]);
        let cases = [
            ("raw-equal", &claims[..], old.clone(), Outcome::Pass),
            ("declared by nobody", &[], noise.clone(), Outcome::Pass),
            ("unchanged spec", &claims, noise, Outcome::Pass),
            (
                "undeclared changes in three places",
                &claims,
                edited(
                    &live,
                    &[
                        managed("2"),
                        restarted,
                        ("/spec/paused", json!(true)),
                        (
                            "/spec/template/spec/tolerations",
                            json!([{"operator": "Exists"}]),
                        ),
                    ],
                ),
                Outcome::Pass,
            ),
            (
                "a violation",
                &claims,
                edited(&live, &[managed("2"), (&image, json!("evil:1"))]),
                Outcome::Violation,
            ),
        ];
        let mut group = criterion.benchmark_group(format!("judge {size}"));
        for (name, claims, new, outcome) in cases {
            let body = review(&old, &new);
            assert_eq!(decide(&body, claims, &policy, &redactor), outcome, "{name}");
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| decide(black_box(&body), claims, &policy, &redactor));
            });
        }
        let body = review(&old, &old);
        group.bench_function("envelope alone", |bencher| {
            bencher.iter(|| envelope::parse(black_box(&body)).map(|request| request.operation));
        });
        group.bench_function("for scale: whole serde_json::Value", |bencher| {
            bencher.iter(|| serde_json::from_slice::<Value>(black_box(&body)).map(drop));
        });
    }
}

criterion_group!(benches, judgements);
criterion_main!(benches);
