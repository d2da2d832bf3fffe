//! `/metrics` of a guard with some activity.

use testbed::HelmVersion;

use crate::{
    charts::myapp,
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

#[test]
fn the_metrics_cover_releases_decisions_latency_index_and_certificates() {
    let turn = Turn::take();
    let scene = Scene::new("metrics", HelmVersion::V4);
    scene.install("myapp", &myapp("1.2.0"));
    let guard = turn.guard("Deny");
    let ns = scene.ns.name();
    scene.kubectl("annotate deployment/myapp a=b").quiet();
    scene
        .kubectl("scale --replicas=0 deployment/myapp")
        .denied(&[]);
    scene
        .oncall("scale --replicas=1 deployment/myapp")
        .warned(&[]);
    let metrics = guard.admin_get("/metrics").body;
    let value = |words: &[&str]| {
        let line = metrics
            .lines()
            .filter(|line| !line.starts_with('#'))
            .find(|line| words.iter().all(|word| line.contains(word)));
        let line = line.unwrap_or_else(|| panic!("no line with {words:?} in\n{metrics}"));
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    let decisions = |words: &[&str]| value(&[&["helm_guard_decisions_total{"], words].concat());
    assert!(decisions(&["\"denied\"", "\"fields-changed\"", "\"Deny\""]) >= 1.0);
    assert!(decisions(&["\"allowed\"", "\"nothing-declared-changes\""]) >= 1.0);
    assert!(decisions(&["\"break-glass\""]) >= 1.0);
    assert!(value(&["helm_guard_break_glass_total"]) >= 1.0);
    let lasted = value(&["helm_guard_request_duration_seconds_count"]);
    assert!(lasted >= 3.0);
    let bucket = |le| value(&["helm_guard_request_duration_seconds_bucket", le]);
    assert!((bucket("le=\"+Inf\"") - lasted).abs() < f64::EPSILON);
    assert!(bucket("le=\"0.00005\"") < lasted, "a denial reads records");
    assert!(value(&["helm_guard_request_duration_seconds_sum"]) > 0.0);
    assert!(value(&["helm_guard_index_releases"]) >= 1.0);
    assert!(value(&["helm_guard_index_objects"]) >= 5.0);
    assert!(value(&["helm_guard_read_throughs_total"]) >= 1.0);
    assert!(value(&["helm_guard_certificate_not_after_timestamp_seconds", "leaf"]) > 1.7e9);
    assert!(value(&["helm_guard_certificate_not_after_timestamp_seconds", "ca"]) > 1.7e9);
    assert!((value(&["helm_guard_registered"]) - 1.0).abs() < f64::EPSILON);
    let namespace = format!("namespace=\"{ns}\"");
    let release = [
        "helm_release_info{",
        "release=\"myapp\"",
        &namespace,
        "chart=\"myapp\"",
        "chart_version=\"1.2.0\"",
        "app_version=\"1.2.0\"",
        "status=\"deployed\"",
    ];
    assert!((value(&release) - 1.0).abs() < f64::EPSILON);
    assert!(value(&["helm_release_last_deployed_timestamp{", &namespace]) > 1.7e9);
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(!line.contains("@example.com"), "no user is a label: {line}");
    }

    scene.helm("uninstall myapp").ok();
    eventually("no series of a release that is gone", || {
        (!guard.admin_get("/metrics").body.contains(&namespace)).then_some(())
    });
}
