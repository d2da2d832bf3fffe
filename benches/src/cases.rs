//! The cost of a request inside the process: from the body to the verdict, without sockets.
//!
//! The same cases are timed by criterion (`judge.rs`) and counted in instructions ([`crate::counts`]).
//! Start at [`all`].

use std::{borrow::Cow, hint::black_box, sync::Arc};

use helm_guard::webhook::envelope;
use helm_guard_core::{
    compare::{redact::Redactor, schema::builtin::builtin},
    guard::{
        Claim, ConversionTargets, Knowledge, ObjectRef, Question, Reach, RecordsAt, RevisionClaim,
        RevisionObject, VerdictOutcome, judge, screen,
    },
    helm::{ReleaseName, lifecycle::Phase, manifest, storage::Driver},
    policy::{Labels, Policy, license::Facts},
};
use serde_json::{Value, json};

use crate::review::{Review, edited};

/// The measured work of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// From the body to the verdict, which must be this one.
    Decide(VerdictOutcome),
    /// Only the envelope is read.
    Envelope,
    /// The whole body is parsed into a `serde_json::Value`, for comparison.
    Value,
}

/// Work that is measured by itself.
pub struct Case {
    /// Its size: `34KB`.
    pub size: &'static str,
    /// The row in the report, together with the size.
    pub name: &'static str,
    /// The measured work.
    pub work: Work,
    /// The review.
    pub body: Vec<u8>,
    claims: Vec<Claim>,
    policy: Policy,
    redactor: Redactor,
}

impl Case {
    /// Its title in tables and in the baseline.
    pub fn title(&self) -> String {
        format!("{} {}", self.size, self.name)
    }

    /// Runs it once. Not inlined, so that callgrind can distinguish it from the rest.
    #[inline(never)]
    pub fn measured(&self) -> Option<VerdictOutcome> {
        self.once()
    }

    /// Runs it once without counting, as a warm-up.
    #[inline(never)]
    pub fn once(&self) -> Option<VerdictOutcome> {
        let body = black_box(&self.body);
        match self.work {
            Work::Decide(_) => decide(body, &self.claims, &self.policy, &self.redactor),
            Work::Envelope => envelope::parse(body).ok().map(|_| VerdictOutcome::Pass),
            Work::Value => serde_json::from_slice::<Value>(body)
                .ok()
                .map(|_| VerdictOutcome::Pass),
        }
    }

    /// Whether the result is the expected one.
    pub fn holds(&self) -> bool {
        match self.work {
            Work::Decide(outcome) => self.once() == Some(outcome),
            Work::Envelope | Work::Value => self.once().is_some(),
        }
    }
}

/// Sizes of reviews. A review of 68 KB contains a Deployment of 34 KB twice, before and after.
pub const SIZES: [(&str, usize); 4] = [
    ("4KB", 4_000),
    ("34KB", 34_000),
    ("68KB", 68_000),
    ("900KB", 900_000),
];

/// All cases, in the order of the table.
pub fn all() -> impl Iterator<Item = Case> {
    SIZES
        .into_iter()
        .flat_map(|(size, bytes)| of_size(size, bytes))
}

/// The cases of one size: the review has about this many bytes.
pub fn of_size(size: &'static str, bytes: usize) -> Vec<Case> {
    let live = deployment("web", "shop", bytes);
    let managed = |at: &str| {
        (
            "/metadata/managedFields",
            json!([{"manager": "kubectl", "time": at}]),
        )
    };
    let old = edited(&live, &[managed("1")]);
    let noise = edited(&live, &[managed("2")]);
    let three = edited(&in_three_places(&live), &[managed("2")]);
    let image = ("/spec/template/spec/containers/0/image", json!("evil:1"));
    let violation = edited(&live, &[managed("2"), image]);
    let claims = vec![claim(&live)];
    let case = |name, work, claims: &[Claim], new: &Value| Case {
        size,
        name,
        work,
        body: body(&old, new),
        claims: claims.to_vec(),
        policy: Policy::default(),
        redactor: Redactor::new(b"bench"),
    };
    let pass = Work::Decide(VerdictOutcome::Pass);
    vec![
        case("envelope alone", Work::Envelope, &claims, &old),
        case("raw-equal", pass, &claims, &old),
        case("undeclared", pass, &[], &noise),
        case("unchanged spec", pass, &claims, &noise),
        case("undeclared changes in three places", pass, &claims, &three),
        case(
            "a violation",
            Work::Decide(VerdictOutcome::Violation),
            &claims,
            &violation,
        ),
        case(
            "for scale: whole serde_json::Value",
            Work::Value,
            &claims,
            &old,
        ),
    ]
}

/// A Deployment with enough containers for a review of about `bytes`.
pub fn deployment(name: &str, namespace: &str, bytes: usize) -> Value {
    // Old and new object make the review.
    let wanted = bytes / 2;
    let (mut containers, mut length) = (Vec::new(), 500);
    while containers.is_empty() || length < wanted {
        let container = container(containers.len());
        length += container.to_string().len() + 1;
        containers.push(container);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {
            "app": name, "app.kubernetes.io/managed-by": "Helm"}, "annotations": {
            "meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": containers, "volumes": [{"name": "data", "emptyDir": {}}]}}},
    })
}

/// A copy that differs in three undeclared places.
pub fn in_three_places(object: &Value) -> Value {
    edited(
        object,
        &[
            (
                "/spec/template/metadata/annotations",
                json!({"kubectl.kubernetes.io/restartedAt": "2026-01-02T03:04:05Z"}),
            ),
            ("/spec/paused", json!(true)),
            (
                "/spec/template/spec/tolerations",
                json!([{"operator": "Exists"}]),
            ),
        ],
    )
}

fn container(n: usize) -> Value {
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
}

fn body(old: &Value, new: &Value) -> Vec<u8> {
    let review = Review {
        number: 1,
        operation: "UPDATE",
        of: ["apps", "v1", "Deployment", "deployments"],
        sub_resource: "",
        user: "alice@example.com",
        manager: "",
        object: new,
        old_object: old,
    };
    review.body()
}

fn claim(declared: &Value) -> Claim {
    let release = ReleaseName {
        namespace: "shop".into(),
        name: "web".into(),
    };
    let manifest = manifest::parse(&format!("---\n{declared}\n"), &release);
    let revisions = manifest.objects.into_iter().map(|object| RevisionClaim {
        revision: 1,
        held: RevisionObject::Declared(Arc::new(object)),
    });
    Claim {
        release: Arc::new(release),
        records: RecordsAt {
            driver: Driver::Secret,
            namespace: "shop".into(),
        },
        reach: Reach::Own,
        chart: "web-1.0.0".into(),
        phase: Phase::Settled,
        uninstalling_since: None,
        apply_method: helm_guard_core::helm::record::ApplyMethod::default(),
        hook_accounts: Arc::default(),
        revisions: revisions.collect(),
    }
}

/// Everything except sockets and the lookup.
fn decide(
    body: &[u8],
    claims: &[Claim],
    policy: &Policy,
    redactor: &Redactor,
) -> Option<VerdictOutcome> {
    let request = envelope::parse(body).ok()?;
    if let Some(reason) = screen(&request) {
        return Some(reason.outcome());
    }
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: Cow::Borrowed("web"),
    };
    let question = Question {
        request: &request,
        object: &object,
        claims,
        knowledge: Knowledge::Builtin(builtin().lookup("apps", "v1", "Deployment")?),
        conversions: ConversionTargets::Versions(&[]),
        replicas_path: &[],
        policy,
        labels: Labels::Unknown,
        facts: Facts::default(),
        redactor,
    };
    Some(judge(&question).reason.outcome())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_the_expected_verdict() {
        let cases: Vec<Case> = of_size("34KB", 34_000);
        for case in &cases {
            assert!(case.holds(), "{}", case.title());
            let length = case.body.len();
            assert!((30_000..40_000).contains(&length), "{length}");
        }
    }

    #[test]
    fn the_uid_is_the_first_uid_of_a_review() {
        let live = deployment("web", "shop", 4_000);
        let live = edited(&live, &[("/metadata/uid", json!("of-the-object"))]);
        let body = String::from_utf8(body(&live, &live)).unwrap_or_default();
        let at = body.find("\"uid\":\"").unwrap_or_default();
        assert!(body[at..].starts_with("\"uid\":\"705ab4f5"));
    }
}
