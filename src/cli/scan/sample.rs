//! A report with findings of many classes, for the tests of the formats.

use helm_guard_core::{
    compare::schema::{Shape, builtin::builtin},
    scan::{
        DriftFinding, ScanReport,
        exact::ExactDifference,
        repair::{FieldRepair, LostField, NoRepair},
    },
};
use serde_json::{Value, json};

/// What every format has to live with.
pub(super) const HOSTILE: &str =
    "a|b`c``d]]>e\"f'g\0h\u{1b}[31mi\nj\u{9b}2J\u{202e}k\\|l<&>@all $(id)";

/// The object of a finding.
pub(super) struct SampleObject {
    api_version: &'static str,
    kind: &'static str,
    manifest: Value,
    live: Value,
}

pub(super) fn deployment() -> SampleObject {
    SampleObject {
        api_version: "apps/v1",
        kind: "Deployment",
        manifest: json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [
            {"name": "sidecar", "image": "proxy:1"}, {"name": "web", "image": "web:1"},
        ]}}}}),
        live: json!({"spec": {"replicas": 5, "template": {"spec": {"containers": [
            {"name": "web", "image": "web:1"},
        ]}}}}),
    }
}

pub(super) fn config(declared: &str, live: &str) -> SampleObject {
    SampleObject {
        api_version: "v1",
        kind: "ConfigMap",
        manifest: json!({"data": {"nginx.conf": declared}}),
        live: json!({"data": {"nginx.conf": live}}),
    }
}

impl SampleObject {
    /// A finding about one of its fields, with whole values, as a scan makes it.
    pub(super) fn changed(
        &self,
        class: &str,
        path: &str,
        (declared, live): (&Value, Option<&Value>),
    ) -> DriftFinding {
        let mut finding = finding(
            class,
            (self.api_version, self.kind, "web"),
            json!({
                "path": path, "declared": declared, "live": live, "consequence": "Reverted",
                "message": format!("{path} of {} shop/web differs", self.kind),
            }),
        );
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", "v1"));
        let shape = builtin().lookup(group, version, self.kind);
        finding.exact = Some(Box::new(ExactDifference {
            declared: Some(declared.clone()),
            live: live.cloned(),
            repair: FieldRepair::of(&LostField {
                object: &self.live,
                shape: shape.unwrap_or_else(Shape::plain),
                manifest: Some(&self.manifest),
                path: &path.parse().unwrap(),
                declared,
                live,
            }),
        }));
        finding
    }
}

/// A finding of a class about an object in `shop`.
pub(super) fn finding(
    class: &str,
    (api_version, kind, name): (&str, &str, &str),
    rest: impl Into<Value>,
) -> DriftFinding {
    let rest = rest.into();
    let severity = match class {
        "MutatedAtAdmission" => "Info",
        "Orphaned" => "Low",
        "Missing" | "Unmarked" => "High",
        _ => "Medium",
    };
    let path = rest["path"].as_str().map(|path| format!("/{path}"));
    let mut document = json!({
        "id": format!("{class}/shop/web/{kind}/shop/{name}{}", path.unwrap_or_default()),
        "class": class, "severity": severity,
        "object": {"apiVersion": api_version, "kind": kind, "namespace": "shop", "name": name},
    });
    let fields = document.as_object_mut().unwrap();
    fields.extend(rest.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

fn by_hand(mut finding: DriftFinding) -> DriftFinding {
    let writer = json!({
        "manager": "kubectl-edit", "operation": "Update", "time": "2026-11-20T10:00:00Z",
    });
    finding.writer = serde_json::from_value(writer).unwrap();
    finding.since = Some("2026-11-20T10:00:00Z".to_owned());
    finding
}

/// Lines of which two differ, far from each other.
pub(super) fn settings(first: &str, second: &str) -> String {
    let lines = (1..=20).map(|n| match n {
        2 => format!("listen {first};\n"),
        17 => format!("root {second};\n"),
        n => format!("line {n};\n"),
    });
    lines.collect()
}

fn web() -> Vec<DriftFinding> {
    let (old, new) = (settings("80", "/srv"), settings("81", "/tmp"));
    let mut text = config(&old, &new).changed(
        "Changed",
        ".data[\"nginx.conf\"]",
        (&json!(old), Some(&json!(new))),
    );
    // As a report shows long values.
    text.declared = Some(json!("\"line 1;\\nlisten 80… (230 bytes)"));
    text.live = Some(json!("\"line 1;\\nlisten 81… (230 bytes)"));
    text.described = serde_json::from_value(json!(["declared", "live"])).unwrap();
    let secret = json!({
        "path": ".data.password", "declared": "<redacted 05d210d8>", "live": "<redacted 1f2e3d4c>",
        "described": ["declared", "live"], "consequence": "Reverted",
        "message": ".data.password of Secret shop/web is <redacted 1f2e3d4c>",
    });
    let mut missing = finding(
        "Missing",
        ("v1", "Service", "web"),
        json!({
            "consequence": "Recreated",
            "message": "Service shop/web does not exist, and revision 3 declares it",
        }),
    );
    missing.exact = Some(Box::new(ExactDifference {
        declared: Some(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}]},
        })),
        live: None,
        repair: Err(NoRepair::NoObject),
    }));
    let sidecar = json!({"name": "sidecar", "image": "proxy:1"});
    vec![
        by_hand(deployment().changed("Changed", ".spec.replicas", (&json!(3), Some(&json!(5))))),
        by_hand(text),
        by_hand(finding("Changed", ("v1", "Secret", "web"), secret)),
        deployment().changed(
            "Removed",
            ".spec.template.spec.containers[name=sidecar]",
            (&sidecar, None),
        ),
        missing,
        finding(
            "Unmarked",
            ("apps/v1", "Deployment", "web"),
            json!({
                "consequence": "Reverted",
                "message": "Deployment shop/web has lost its marks: app.kubernetes.io/managed-by is gone",
            }),
        ),
        finding(
            "Claimed",
            ("apps/v1", "Deployment", "web"),
            json!({
                "path": ".spec.paused", "declared": false, "live": false, "consequence": "Blocks",
                "writer": {"manager": "hpa", "operation": "Update"},
                "message": "\"hpa\" owns .spec.paused of Deployment shop/web: the next upgrade that changes it from \
                            false fails with a conflict",
            }),
        ),
        finding(
            "MutatedAtAdmission",
            ("example.com/v1", "Widget", "web"),
            json!({
                "path": ".spec.text", "declared": "plain", "live": HOSTILE, "consequence": "Kept",
                "message": ".spec.text of Widget shop/web is different, since Helm wrote it: something changes it at \
                            admission",
            }),
        ),
    ]
}

fn release(place: (&str, &str), state: &str, findings: &[DriftFinding]) -> Value {
    let (namespace, name) = place;
    json!({
        "namespace": namespace, "name": name, "revision": 3, "status": "deployed", "chart": name,
        "chartVersion": "1.2.0", "state": state, "objects": 4, "findings": findings,
    })
}

/// Of three releases: one is not readable, one is clean, and one has drift.
pub(super) fn report() -> ScanReport {
    let unread = finding(
        "Unreadable",
        ("example.com/v1", "Ledger", "main"),
        json!({
            "consequence": "Unknown",
            "message": "Ledger shop/main is not known: the scan may not read it",
        }),
    );
    let orphan = |kind: &str, name: &str, consequence: &str, is_kept: bool| {
        let rest = json!({
            "releaseNamespace": "shop", "releaseName": "gone", "kept": is_kept, "consequence": consequence,
            "since": "2026-01-01T00:00:00Z",
            "message": "it names release shop/gone, which has no record",
        });
        let mut orphan =
            serde_json::to_value(finding("Orphaned", ("v1", kind, name), rest.clone())).unwrap();
        orphan
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        if is_kept {
            orphan["severity"] = json!("Info");
        }
        orphan
    };
    let document = json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "ScanReport", "cluster": "kind-test",
        "scannedAt": "2026-11-21T03:12:09Z", "complete": false,
        "summary": {"releases": 3, "objects": 14, "inSync": 1, "drifted": 1, "errors": 2},
        "releases": [
            release(("pay", "ledger"), "Error", &[unread]),
            release(("shop", "clean"), "InSync", &[]),
            release(("shop", "web"), "Drifted", &[]),
        ],
        "orphans": [
            orphan("ConfigMap", "left", "Leaked", false),
            orphan("PersistentVolumeClaim", "data", "Kept", true),
        ],
        "errors": [{
            "kind": "Ingress.networking.k8s.io", "namespace": "shop",
            "message": "ingresses is forbidden: <&>\u{1b}[31m",
        }],
    });
    let mut report: ScanReport = serde_json::from_value(document).unwrap();
    let with_drift = report.releases.last_mut().unwrap();
    with_drift.findings = web();
    with_drift.more_findings = 2;
    report
}

/// A report with nothing but these findings of `shop/web`.
pub(super) fn of(findings: Vec<DriftFinding>) -> ScanReport {
    let mut report = report();
    report.releases.retain(|release| release.name == "web");
    report.releases[0].findings = findings;
    report.releases[0].more_findings = 0;
    report.orphans.clear();
    report.errors.clear();
    report.complete = true;
    report
}
