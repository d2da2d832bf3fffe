//! `scan --coverage`: how much of a namespace belongs to releases.

use serde_json::json;
use testbed::HelmVersion;

use super::Unguarded;

#[test]
fn coverage_counts_what_somebody_put_into_a_namespace() {
    let unguarded = Unguarded::new("scan-coverage", HelmVersion::V4);
    let scene = &unguarded.scene;
    let coverage = || {
        let output = unguarded.scan("--coverage -o json");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["complete"], true, "{report:#}");
        testbed::schema::assert_valid("ScanReport", &report);
        report["coverage"].clone()
    };
    // ReplicaSets and Pods have an owner, and Kubernetes makes `kube-root-ca.crt` and `default`.
    let declared = scene.get(
        "deployment,service,configmap,secret,serviceaccount -l app.kubernetes.io/managed-by=Helm",
    );
    let declared = declared["items"].as_array().unwrap().len();
    let of = |objects: usize| json!([{"namespace": scene.ns.name(), "objects": objects, "declared": declared}]);
    assert_eq!(coverage(), of(declared));
    scene
        .kubectl("create service clusterip by-hand --tcp=80")
        .ok();
    assert_eq!(coverage(), of(declared + 1));
    let text = String::from_utf8(unguarded.scan("--coverage").stdout).unwrap();
    assert!(text.contains("OF RELEASES"), "{text}");
    let refused = unguarded.scan("myapp --coverage");
    assert_eq!(
        refused.status.code(),
        Some(1),
        "it is about a whole namespace"
    );
}
