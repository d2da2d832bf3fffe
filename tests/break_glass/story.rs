//! Story 8: an incident at 3 AM, from the grant to the chart.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use testbed::shared;

use crate::{
    charts::myapp,
    night::{EMERGENCY_OPS, Night, OSCAR, break_glass, break_glass_ok, people},
    scene::Screen,
};

#[test]
fn an_incident_from_the_grant_to_the_chart() {
    let rules = json!({"requireGrant": true, "requireReason": true, "requireTicket": true});
    let night = Night::new("incident", &rules);
    let ns = night.ns().to_owned();
    let file = shared().scratch().join("emergency.yaml");
    let output = file.to_str().unwrap();
    let open = [
        "open",
        "--reason",
        "checkout OOM-killed",
        "--ticket",
        "INC-4711",
        "-n",
        &ns,
        "--for",
        "1h",
        "--service-account",
        "ops/emergency-ops",
        "--output",
        output,
    ];
    let grant = break_glass_ok(&people().oscar, &open);
    let grant = grant.trim();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = break_glass(&people().oscar, &open);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr.contains("is there already"), "{stderr}");
    let shown: Value = serde_json::from_str(&break_glass_ok(
        &people().vera,
        &["show", grant, "-o", "json"],
    ))
    .unwrap();
    assert_eq!(shown["spec"]["requestedBy"], OSCAR);

    let raise = "set resources deploy/myapp --limits memory=2Gi";
    night.scene.kubectl_as(&file, raise).warned(&[
        &format!("break-glass change by {EMERGENCY_OPS} recorded as myapp-"),
        "(INC-4711); reconcile it with the chart by ",
    ]);
    let change = night.comes_to("Open");
    assert_eq!(change["spec"]["grant"], grant);
    assert_eq!(change["spec"]["fields"][0]["new"], "\"2Gi\"");
    let values = break_glass_ok(&people().vera, &["changes", "-n", &ns, "--values"]);
    assert!(values.contains("memory: \"2Gi\""), "{values}");

    break_glass_ok(&people().oscar, &["close", grant]);
    night
        .scene
        .kubectl_as(&file, "set resources deploy/myapp --limits memory=3Gi")
        .denied(&["was revoked"]);

    let chart = shared().chart(&myapp("1.0.0"));
    night
        .scene
        .helm(&format!(
            "upgrade myapp {} --set memory=2Gi",
            chart.display()
        ))
        .quiet();
    let settled = night.comes_to("Absorbed");
    assert_eq!(settled["status"]["revision"], 2);
    let open = break_glass_ok(&people().vera, &["changes", "-n", &ns, "-o", "json"]);
    assert_eq!(open.trim(), "[]");
}
