//! Golden answers: the messages for people, and the fields for programs.

mod break_glass;

use std::sync::Arc;

use helm_guard_core::{
    api::Mode,
    breakglass::Refusal,
    compare::{
        path::{FieldPath, Step},
        redact::ShownValue,
    },
    guard::{Decided, Decision, FieldChange, Finding, ObjectRef},
    helm::{ReleaseName, record::ApplyMethod},
    policy::{EmergencyAccess, EmergencyHint},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::record::{Emergency, changes::PersistError};

fn shown(text: &str) -> ShownValue {
    ShownValue::Text(text.to_owned())
}

fn finding(namespace: &str, revisions: &[u32], changes: Vec<FieldChange>) -> Finding {
    Finding {
        apply_method: ApplyMethod::default(),
        release: Arc::new(ReleaseName {
            namespace: namespace.to_owned(),
            name: "myapp".to_owned(),
        }),
        chart: Arc::from("myapp-1.2.0"),
        mode: Mode::Deny,
        revisions: revisions.to_vec(),
        changes,
        involved: Vec::new(),
    }
}

fn replicas() -> FieldChange {
    FieldChange {
        path: FieldPath::of(["spec", "replicas"]),
        declared: shown("3"),
        live: shown("3"),
        requested: shown("0"),
    }
}

fn image() -> FieldChange {
    let containers = FieldPath::of(["spec", "template", "spec", "containers"]);
    FieldChange {
        path: containers
            .join(Step::Item(vec![("name".to_owned(), "web".to_owned())]))
            .join(Step::Field("image".to_owned())),
        declared: shown("\"nginx:1\""),
        live: shown("\"nginx:1\""),
        requested: ShownValue::Absent,
    }
}

fn object(kind: &'static str, namespace: &'static str) -> ObjectRef<'static> {
    ObjectRef {
        group: "apps",
        kind,
        namespace,
        name: "myapp".into(),
    }
}

struct Case {
    reason: Reason,
    exemption: Option<&'static str>,
    findings: Vec<Finding>,
    decision: Decision,
    mode: Mode,
    object: ObjectRef<'static>,
    emergency_hint: EmergencyHint<'static>,
    dry_run: bool,
    refusal: Option<Refusal>,
    emergency: Option<Emergency>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            reason: Reason::FieldsChanged,
            exemption: None,
            findings: vec![finding("shop", &[3], vec![replicas()])],
            decision: Decision::Deny,
            mode: Mode::Deny,
            object: object("Deployment", "shop"),
            emergency_hint: EmergencyHint::default(),
            dry_run: false,
            refusal: None,
            emergency: None,
        }
    }
}

impl Case {
    fn response(&self) -> Value {
        let body = json!({"uid": "u-1", "operation": "UPDATE", "dryRun": self.dry_run,
            "namespace": self.object.namespace,
            "userInfo": {"username": "system:serviceaccount:ops:emergency"}})
        .to_string();
        let request = serde_json::from_str(&body).unwrap();
        let verdict = helm_guard_core::guard::Verdict {
            exemption: self.exemption.map(Arc::from),
            ..helm_guard_core::guard::Verdict::with_findings(self.reason, self.findings.clone())
        };
        let answer = AnswerContents {
            decided: Decided {
                request: &request,
                object: Some(&self.object),
                verdict: &verdict,
                decision: self.decision,
                mode: self.mode,
            },
            emergency_hint: self.emergency_hint,
            refusal: self.refusal.as_ref(),
            emergency: self.emergency.as_ref(),
        };
        let mut review: Value = serde_json::from_slice(&answer.to_json().unwrap()).unwrap();
        assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
        assert_eq!(review["kind"], "AdmissionReview");
        assert_eq!(review["response"]["uid"], "u-1");
        review["response"].take()
    }

    fn message(&self) -> String {
        self.response()["status"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn warnings(&self) -> Vec<String> {
        serde_json::from_value(self.response()["warnings"].clone()).unwrap_or_default()
    }
}

#[test]
fn a_denial_names_the_declared_value_the_release_and_the_remedy() {
    let case = Case {
        emergency_hint: EmergencyHint {
            runbook: Some("https://runbooks.example/helm"),
            access: EmergencyAccess::Identity,
        },
        ..Case::default()
    };
    assert_eq!(
        case.message(),
        r#"
Deployment "myapp" is declared by Helm release "myapp" in namespace "shop" (revision 3, chart myapp-1.2.0):
  .spec.replicas: declared 3, live 3, requested 0
Change the chart or its values and run: helm upgrade myapp <chart> -n shop
In an emergency: https://runbooks.example/helm"#
    );
}

#[test]
fn a_denied_delete_explains_how_to_delete() {
    let case = Case {
        reason: Reason::ObjectDeleted,
        findings: vec![finding("shop", &[3], vec![])],
        object: object("ServiceAccount", "shop"),
        emergency_hint: EmergencyHint {
            runbook: None,
            access: EmergencyAccess::Identity,
        },
        ..Case::default()
    };
    assert_eq!(
        case.message(),
        r#"
ServiceAccount "myapp" is declared by Helm release "myapp" in namespace "shop" (revision 3, chart myapp-1.2.0)
Remove it from the chart and run: helm upgrade myapp <chart> -n shop
Or remove the whole release: helm uninstall myapp -n shop
In an emergency: make the change as a break-glass identity"#
    );
    assert_eq!(
        case.response()["status"]["details"]["causes"],
        json!([{"reason": "FieldValueForbidden",
            "message": "declared by Helm release \"myapp\" in namespace \"shop\""}])
    );
}

#[rstest]
#[case::drifted(ApplyMethod::ServerSide, shown("4"), true)]
#[case::as_declared(ApplyMethod::ServerSide, shown("3"), false)]
#[case::never_set(ApplyMethod::ServerSide, ShownValue::Absent, false)]
#[case::client_side(ApplyMethod::ClientSide, shown("4"), false)]
fn the_remedy_forces_conflicts_where_server_side_apply_would_stop(
    #[case] apply_method: ApplyMethod,
    #[case] live: ShownValue,
    #[case] forces: bool,
) {
    let change = FieldChange { live, ..replicas() };
    let case = Case {
        findings: vec![Finding {
            apply_method,
            ..finding("shop", &[3], vec![change])
        }],
        ..Case::default()
    };
    assert_eq!(case.message().contains("-n shop --force-conflicts"), forces);
}

#[test]
fn two_releases_and_two_revisions_are_all_named() {
    let case = Case {
        findings: vec![
            finding("shop", &[4, 3], vec![replicas(), image()]),
            finding("other", &[1], vec![replicas()]),
        ],
        ..Case::default()
    };
    assert_eq!(
        case.message(),
        r#"
Deployment "myapp" is declared by Helm release "myapp" in namespace "shop" (revisions 4, 3, chart myapp-1.2.0):
  .spec.replicas: declared 3, live 3, requested 0
  .spec.template.spec.containers[name=web].image: declared "nginx:1", live "nginx:1", requested nothing
Deployment "myapp" in namespace "shop" is declared by Helm release "myapp" in namespace "other" (revision 1, chart myapp-1.2.0):
  .spec.replicas: declared 3, live 3, requested 0
Change the chart or its values and run: helm upgrade myapp <chart> -n shop
Change the chart or its values and run: helm upgrade myapp <chart> -n other"#
    );
}

#[test]
fn a_denial_has_a_kubernetes_status_for_programs() {
    let case = Case {
        findings: vec![finding("shop", &[3], vec![image()])],
        ..Case::default()
    };
    let mut response = case.response();
    let message = response["status"]["message"].take();
    assert!(message.as_str().unwrap().contains("helm upgrade"));
    assert_eq!(
        response,
        json!({
            "uid": "u-1",
            "allowed": false,
            "status": {
                "status": "Failure", "code": 403, "reason": "Forbidden", "message": null,
                "details": {"name": "myapp", "group": "apps", "kind": "Deployment", "causes": [{
                    "reason": "FieldValueForbidden",
                    "field": "spec.template.spec.containers[name=web].image",
                    "message": "declared \"nginx:1\", live \"nginx:1\", requested nothing",
                }]},
            },
            "auditAnnotations": {
                "verdict": "denied", "reason": "fields-changed", "mode": "Deny",
                "release": "shop/myapp", "revision": "3",
                "fields": ".spec.template.spec.containers[name=web].image",
            },
        })
    );
}

#[test]
fn warn_mode_sends_the_same_text_as_warnings() {
    let case = Case {
        decision: Decision::Warn,
        mode: Mode::Warn,
        ..Case::default()
    };
    assert_eq!(
        case.warnings(),
        [
            "helm-guard: allowed in mode Warn; it would be denied in mode Deny:",
            r#"helm-guard: Deployment "myapp" is declared by Helm release "myapp" in namespace "shop" (revision 3, chart myapp-1.2.0):"#,
            "helm-guard: .spec.replicas: declared 3, live 3, requested 0",
            "helm-guard: Change the chart or its values and run: helm upgrade myapp <chart> -n shop",
        ]
    );
    let response = case.response();
    assert_eq!(response["allowed"], true);
    assert_eq!(response["status"], Value::Null);
    assert_eq!(response["auditAnnotations"]["verdict"], "warned");
}

#[test]
fn audit_mode_only_writes_to_the_audit_log() {
    let response = Case {
        decision: Decision::Audit,
        mode: Mode::Audit,
        ..Case::default()
    }
    .response();
    assert_eq!(
        response,
        json!({"uid": "u-1", "allowed": true, "auditAnnotations": {
            "verdict": "audited", "reason": "fields-changed", "mode": "Audit",
            "release": "shop/myapp", "revision": "3", "fields": ".spec.replicas",
        }})
    );
}

#[test]
fn allowed_requests_get_no_message() {
    let response = Case {
        reason: Reason::Exempt,
        exemption: Some("hpa-replicas"),
        findings: vec![],
        decision: Decision::Allow,
        ..Case::default()
    }
    .response();
    assert_eq!(
        response,
        json!({"uid": "u-1", "allowed": true, "auditAnnotations": {
            "verdict": "allowed", "reason": "exempt", "mode": "Deny", "exemption": "hpa-replicas",
        }})
    );
}

#[test]
fn an_indeterminate_request_is_allowed_with_a_warning() {
    let case = Case {
        reason: Reason::RecordUnreadable,
        findings: vec![],
        decision: Decision::Indeterminate,
        ..Case::default()
    };
    assert_eq!(
        case.warnings(),
        [
            r#"helm-guard: Deployment "myapp" is allowed without evaluation: the release record that declares it cannot be read (record-unreadable)"#
        ]
    );
}

#[test]
fn a_long_list_is_truncated_with_a_count_within_the_limits_of_the_api_server() {
    let wide = FieldChange {
        path: FieldPath::of(["data", &"é".repeat(300)]),
        declared: shown(&"ü".repeat(300)),
        live: shown("\u{7f}"),
        requested: ShownValue::Absent,
    };
    let changes = vec![wide; 100];
    let deny = Case {
        findings: vec![finding("shop", &[3], changes.clone())],
        ..Case::default()
    };
    assert!(deny.message().len() <= 6 * 1024);
    let response = deny.response();
    assert!(
        response["auditAnnotations"]["fields"]
            .as_str()
            .unwrap()
            .len()
            <= 2 * 1024
    );
    assert_eq!(
        response["status"]["details"]["causes"]
            .as_array()
            .unwrap()
            .len(),
        64
    );

    let short = Case {
        findings: vec![finding("shop", &[3], vec![replicas(); 100])],
        ..Case::default()
    };
    assert!(short.message().contains("\n  and 84 more fields\n"));

    let warn = Case {
        decision: Decision::Warn,
        findings: vec![finding("shop", &[3], changes)],
        ..Case::default()
    };
    let warnings = warn.warnings();
    assert!(warnings.len() > 2);
    let chars = |text: &String| text.chars().count();
    assert!(warnings.iter().all(|warning| chars(warning) <= 256));
    assert!(warnings.iter().map(chars).sum::<usize>() <= 4096);
    assert!(!warnings.concat().contains(|c: char| c.is_control()));
}
