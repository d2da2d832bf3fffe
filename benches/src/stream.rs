//! The reviews that the servers are called with.
//!
//! [`mixed`] is what a cluster sends to the guard. What its registration keeps away (status, pods of
//! the built-in controllers, leases, events) is not in it, since the guard never sees that either.
//! In 20 reviews:
//!
//! | reviews | what | verdict |
//! |---|---|---|
//! | 9 | objects that got the label by copying and that no release declares: Pods, Jobs, claims | not declared |
//! | 4 | writes of controllers to declared objects that change no declared field | nothing declared changes |
//! | 3 | a Helm upgrade: Deployment, `ConfigMap`, Service | nothing declared changes (the new revision has it) |
//! | 2 | people: `kubectl rollout restart`, `kubectl annotate` | nothing declared changes |
//! | 1 | a horizontal autoscaler scales a Deployment | exempt |
//! | 1 | `helm uninstall` deletes | uninstalling |
//!
//! [`heavy`] contains only 34 KB updates that differ in several places, are evaluated in full, and are allowed.
//! [`denials`] are edits of images, each of another release, so that no two share a read-through.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    api::Records,
    cases,
    load::{Expected, is_allowed},
    release::{self, About, Release, State},
    review::{Review, edited},
};

/// Releases in the index of the server bench.
pub const RELEASES: usize = 1_000;

/// Different reviews in the mixed stream.
const MIXED: usize = 2_000;

/// Releases with a large Deployment.
const HEAVY: usize = 32;

/// About the size of a heavy review, in bytes.
const HEAVY_BYTES: usize = 34_000;

const DEPLOYMENT: [&str; 4] = ["apps", "v1", "Deployment", "deployments"];
const CONFIG_MAP: [&str; 4] = ["", "v1", "ConfigMap", "configmaps"];
const SERVICE: [&str; 4] = ["", "v1", "Service", "services"];

/// A stream and what must come of it.
pub struct Stream {
    /// What it is called.
    pub name: &'static str,
    /// The reviews to send.
    pub bodies: Vec<Bytes>,
    /// What every answer must be.
    pub expected: Expected,
}

impl Stream {
    /// Bytes of a review on average.
    pub fn mean_bytes(&self) -> f64 {
        let sum: usize = self.bodies.iter().map(Bytes::len).sum();
        sum as f64 / self.bodies.len().max(1) as f64
    }
}

/// The releases that the streams are about.
pub fn releases() -> Vec<Release> {
    (0..RELEASES).map(release_at).collect()
}

fn release_at(number: usize) -> Release {
    let state = match number % 10 {
        0 => State::Upgrading,
        1 => State::Uninstalling,
        _ => State::Deployed,
    };
    Release { number, state }
}

/// All records that the streams need.
pub fn records() -> Records {
    let mut records = Records::of(&releases());
    for number in 0..HEAVY {
        let (name, declared) = heavy_release(number);
        let about = About {
            namespace: "heavy",
            name: &name,
            chart: 0,
            revision: 1,
            status: "deployed",
        };
        let payload = release::payload(&about, &release::manifest(&[declared]));
        records.add("heavy", &name, (1, "deployed"), &payload);
    }
    records
}

fn heavy_release(number: usize) -> (String, Value) {
    let name = format!("heavy-{number}");
    // What the API server keeps of who set what makes the live object more than twice as large.
    let declared = cases::deployment(&name, "heavy", HEAVY_BYTES * 44 / 100);
    (name, declared)
}

/// What a cluster sends.
pub fn mixed() -> Stream {
    let bodies = (0..MIXED).map(|number| mixed_review(number).into());
    Stream {
        name: "mixed",
        bodies: bodies.collect(),
        expected: Expected::Allowed,
    }
}

/// The kinds of reviews, spread over the 20.
const ORDER: [fn(usize) -> Vec<u8>; 20] = [
    noise, controller, noise, upgrade, noise, person, noise, controller, noise, upgrade, noise,
    scale, noise, controller, noise, upgrade, noise, person, controller, uninstall,
];

fn mixed_review(number: usize) -> Vec<u8> {
    let make = ORDER.get(number % ORDER.len()).copied().unwrap_or(noise);
    make(number)
}

/// One of the releases in a state; different for different numbers.
fn one_in(state: State, number: usize) -> Release {
    let tens = (number * 7) % (RELEASES / 10);
    let ones = match state {
        State::Upgrading => 0,
        State::Uninstalling => 1,
        State::Deployed => 2 + number % 8,
    };
    release_at(tens * 10 + ones)
}

/// The objects of a release that a review is about: Deployment, changing `ConfigMap`, Service.
fn part(release: &Release, revision: u32, number: usize) -> ([&'static str; 4], Value) {
    let (of, name) = match number % 3 {
        0 => (DEPLOYMENT, format!("{}-app", release.name())),
        1 => (CONFIG_MAP, format!("{}-0", release.name())),
        _ => (SERVICE, format!("{}-app", release.name())),
    };
    (of, declared(release, revision, of[2], &name))
}

fn declared(release: &Release, revision: u32, kind: &str, name: &str) -> Value {
    let objects = release.objects(revision);
    let found = objects
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_default()
}

fn deployment_of(release: &Release) -> Value {
    let name = format!("{}-app", release.name());
    release.live(&declared(release, 3, "Deployment", &name))
}

/// As the API server has it after a write: a later version, and who wrote.
fn written_by(object: &Value, manager: &str) -> Value {
    let mut written = edited(object, &[("/metadata/resourceVersion", "123457".into())]);
    if let Some(managers) = written["metadata"]["managedFields"].as_array_mut() {
        managers.push(json!({
            "manager": manager, "operation": "Update", "apiVersion": object["apiVersion"],
            "time": "2026-01-03T04:05:06Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:annotations": {"f:example.com/note": {}}}},
        }));
    }
    written
}

fn noise(number: usize) -> Vec<u8> {
    let release = one_in(State::Deployed, number);
    // As a pod template makes them: spec and labels of the Deployment, another kind and name.
    let like = deployment_of(&release);
    let copy = |kind: &str, version: &str, spec: &Value| {
        let mut object = like.clone();
        object["kind"] = kind.into();
        object["apiVersion"] = version.into();
        object["spec"] = spec.clone();
        object["metadata"]["name"] = format!("{}-{number:x}", release.name()).into();
        object
    };
    let template = &like["spec"]["template"];
    let (of, user, object) = match number % 3 {
        0 => {
            let pod = copy("Pod", "v1", &template["spec"]);
            (
                ["", "v1", "Pod", "pods"],
                "system:serviceaccount:kube-system:descheduler",
                pod,
            )
        }
        1 => {
            let job = copy("Job", "batch/v1", &json!({"template": template}));
            let user = "system:serviceaccount:kube-system:cronjob-controller";
            (["batch", "v1", "Job", "jobs"], user, job)
        }
        _ => {
            let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "resources": {"requests": {"storage": "10Gi"}}});
            let claim = copy("PersistentVolumeClaim", "v1", &spec);
            let of = ["", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"];
            (
                of,
                "system:serviceaccount:kube-system:persistent-volume-binder",
                claim,
            )
        }
    };
    let after = written_by(&object, "kube-controller-manager");
    let review = Review {
        number,
        operation: if number.is_multiple_of(3) {
            "DELETE"
        } else {
            "UPDATE"
        },
        of,
        sub_resource: "",
        user,
        manager: "",
        object: if number.is_multiple_of(3) {
            &Value::Null
        } else {
            &after
        },
        old_object: &object,
    };
    review.body()
}

fn controller(number: usize) -> Vec<u8> {
    let release = one_in(State::Deployed, number);
    let before = deployment_of(&release);
    let after = written_by(&before, "kube-controller-manager");
    let after = with_annotation(after, "deployment.kubernetes.io/revision", "4");
    let user = "system:serviceaccount:kube-system:deployment-controller";
    update(number, DEPLOYMENT, user, "", &before, &after)
}

fn upgrade(number: usize) -> Vec<u8> {
    let release = one_in(State::Upgrading, number);
    let (of, before) = part(&release, 3, number);
    let (_, after) = part(&release, 4, number);
    let (before, after) = (release.live(&before), release.live(&after));
    let after = edited(&after, &[("/metadata/resourceVersion", "123457".into())]);
    update(number, of, "deployer@example.com", "helm", &before, &after)
}

fn person(number: usize) -> Vec<u8> {
    let release = one_in(State::Deployed, number);
    if (number / ORDER.len()).is_multiple_of(2) {
        let before = deployment_of(&release);
        let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-03T04:05:06Z"});
        let after = edited(
            &written_by(&before, "kubectl-rollout"),
            &[("/spec/template/metadata/annotations", restarted)],
        );
        return update(
            number,
            DEPLOYMENT,
            "alice@example.com",
            "kubectl-rollout",
            &before,
            &after,
        );
    }
    let (of, declared) = part(&release, 3, number);
    let before = release.live(&declared);
    let after = with_annotation(
        written_by(&before, "kubectl-annotate"),
        "example.com/note",
        "x",
    );
    update(
        number,
        of,
        "alice@example.com",
        "kubectl-annotate",
        &before,
        &after,
    )
}

fn scale(number: usize) -> Vec<u8> {
    let release = one_in(State::Deployed, number);
    let of = |replicas: u32| {
        json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1",
            "metadata": {
                "name": format!("{}-app", release.name()), "namespace": release.namespace(),
                "uid": "c5d3f1b0-7a64-4c1d-9a53-2b1f0e6d7c88", "resourceVersion": "123456",
                "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"replicas": replicas},
            "status": {"replicas": 2, "selector": format!("app={}-app", release.name())},
        })
    };
    let review = Review {
        number,
        operation: "UPDATE",
        of: DEPLOYMENT,
        sub_resource: "scale",
        user: "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        manager: "",
        object: &of(5),
        old_object: &of(2),
    };
    review.body()
}

fn uninstall(number: usize) -> Vec<u8> {
    let release = one_in(State::Uninstalling, number);
    let (of, declared) = part(&release, 3, number);
    let review = Review {
        number,
        operation: "DELETE",
        of,
        sub_resource: "",
        user: "deployer@example.com",
        manager: "",
        object: &Value::Null,
        old_object: &release.live(&declared),
    };
    review.body()
}

fn with_annotation(mut object: Value, key: &str, value: &str) -> Value {
    object["metadata"]["annotations"][key] = value.into();
    object
}

fn update(
    number: usize,
    of: [&str; 4],
    user: &str,
    manager: &str,
    before: &Value,
    after: &Value,
) -> Vec<u8> {
    let review = Review {
        number,
        operation: "UPDATE",
        of,
        sub_resource: "",
        user,
        manager,
        object: after,
        old_object: before,
    };
    review.body()
}

/// The heaviest stream.
pub fn heavy() -> Stream {
    let bodies = (0..HEAVY).map(|number| {
        let (name, declared) = heavy_release(number);
        let before = release::live(&declared, &name, "heavy");
        let after = cases::in_three_places(&written_by(&before, "kubectl-edit"));
        update(
            number,
            DEPLOYMENT,
            "alice@example.com",
            "kubectl-edit",
            &before,
            &after,
        )
        .into()
    });
    Stream {
        name: "heaviest",
        bodies: bodies.collect(),
        expected: Expected::Allowed,
    }
}

/// Violations, each of another release.
pub fn denials() -> Stream {
    let settled = releases()
        .into_iter()
        .filter(|release| release.state == State::Deployed);
    let bodies = settled.map(|release| {
        let before = deployment_of(&release);
        let after = edited(
            &written_by(&before, "kubectl-set"),
            &[("/spec/template/spec/containers/0/image", json!("evil:1"))],
        );
        let number = release.number;
        update(
            number,
            DEPLOYMENT,
            "bob@example.com",
            "kubectl-set",
            &before,
            &after,
        )
        .into()
    });
    Stream {
        name: "denials",
        bodies: bodies.collect(),
        expected: Expected::Denied,
    }
}

/// What an answer says of why, for the counts that show what a stream is made of.
pub fn reason(answer: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let annotations = answer["response"]["auditAnnotations"].as_object();
    let reason = annotations
        .into_iter()
        .flatten()
        .find(|(key, _)| key.ends_with("reason"))
        .and_then(|(_, value)| value.as_str());
    reason.unwrap_or("unknown").to_owned()
}

/// Whether an answer allows and warns of nothing: then nothing was read again for it.
pub fn is_plain_pass(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    is_allowed(answer) && !text.contains("\"warnings\":")
}

#[cfg(test)]
mod tests {
    use helm_guard::webhook::envelope;

    use super::*;

    #[test]
    fn every_review_of_the_mixed_stream_is_one() {
        for number in 0..ORDER.len() * 3 {
            let body = mixed_review(number);
            let request = envelope::parse(&body).expect("a review");
            assert!(!request.name.is_empty() && !request.uid.is_empty());
            assert!(
                (600..40_000).contains(&body.len()),
                "{number}: {}",
                body.len()
            );
        }
    }

    #[test]
    fn a_heavy_review_has_34_kilobytes() {
        let stream = heavy();
        assert!(
            (32_000..36_000).contains(&stream.bodies[0].len()),
            "{}",
            stream.bodies[0].len()
        );
    }

    #[test]
    fn each_kind_of_review_has_its_share() {
        let count = |kind: fn(usize) -> Vec<u8>| {
            ORDER
                .iter()
                .filter(|make| std::ptr::fn_addr_eq(**make, kind))
                .count()
        };
        let kinds: [fn(usize) -> Vec<u8>; 6] =
            [noise, controller, upgrade, person, scale, uninstall];
        assert_eq!(kinds.map(count), [9, 4, 3, 2, 1, 1]);
    }
}
