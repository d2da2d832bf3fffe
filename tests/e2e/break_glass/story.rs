//! Story 8: an incident at 3 AM, from the grant to the chart.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};
use testbed::shared;

use super::{
    night::{
        ACCOUNT, EMERGENCY_OPS, Night, OSCAR, admin, break_glass, break_glass_ok, create, people,
    },
    sinks::{ROUTING_KEY, sinks},
};
use crate::{
    charts::myapp,
    scene::{Screen, eventually},
};

#[test]
fn an_incident_is_tracked_from_the_grant_to_the_chart() {
    let rules = json!({"requireGrant": true, "requireReason": true, "requireTicket": true});
    let channel = sinks();
    let night = Night::with_alerts("incident", &rules, &channel.of_each_sort("incident"));
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
        ACCOUNT,
        "--write-kubeconfig",
        output,
    ];
    let grant = break_glass_ok(&people().oscar, &open);
    let grant = grant.trim();
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = break_glass(&people().oscar, &open);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr.contains("already exists"), "{stderr}");
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
        "Helm applies release myapp server-side: an upgrade or rollback to another value will stop",
        "--force-conflicts takes the field back",
    ]);
    // The alert and the ticket are sent before anything else happens.
    channel.await_post("/incident/slack", &["INC-4711", EMERGENCY_OPS, "myapp"]);
    // A guard also announces what its predecessor did not.
    let page = channel.await_post("/incident/pagerduty", &["\"trigger\"", &ns]);
    assert_eq!(page.body["routing_key"], ROUTING_KEY);
    channel.await_post("/incident/alertmanager/api/v2/alerts", &["BreakGlass"]);
    let ticket = channel.await_post("/incident/http", &["myapp"]);
    assert_eq!(ticket.body["fields"]["labels"], json!(["INC-4711"]));
    let description = ticket.body["fields"]["description"].as_str().unwrap();
    assert!(description.contains("2Gi"), "{description}");

    let change = night.comes_to("Open");
    assert_eq!(change["spec"]["grant"], grant);
    let token = change["spec"]["credentialId"].as_str().unwrap();
    assert!(token.starts_with("JTI="), "{token}");
    assert_eq!(change["spec"]["fields"][0]["requested"], "2Gi");
    let values = break_glass_ok(&people().vera, &["changes", "-n", &ns, "--values"]);
    assert!(values.contains("memory: \"2Gi\""), "{values}");
    assert!(values.contains("or you use --force-conflicts"), "{values}");
    assert_eq!(change["spec"]["release"]["serverSideApply"], true);

    break_glass_ok(&people().oscar, &["close", grant]);
    // The token has ended, not only the grant.
    eventually("the end of the token", || {
        let asked = night.scene.kubectl_as(&file, "auth whoami").run();
        asked.says("Unauthorized").then_some(())
    });
    night.raise("3Gi").denied(&["was revoked"]);

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
    channel.await_post("/incident/slack", &["Absorbed"]);
    let closed = channel.await_post("/incident/pagerduty", &["\"resolve\"", &ns]);
    assert_eq!(closed.body["dedup_key"], page.body["dedup_key"]);
    channel.await_post("/incident/http", &["\"state\":\"Absorbed\""]);
    let open = break_glass_ok(&people().vera, &["changes", "-n", &ns, "-o", "json"]);
    let open: Value = serde_json::from_str(&open).unwrap();
    assert_eq!(open["items"], json!([]));
}

/// As the warning of the change says: Helm 4.3 stops, and the flag that it names resolves the conflict.
#[test]
fn helm_reports_a_conflict_on_an_emergency_field_until_force_conflicts() {
    let night = Night::new("conflict", &json!({}));
    night.raise("2Gi").warned(&["--force-conflicts"]);
    night.comes_to("Open");
    let chart = shared().chart(&myapp("1.0.0"));
    let upgrade = format!("upgrade myapp {} --set memory=1Gi", chart.display());
    let stopped = night.scene.helm(&upgrade).refused();
    assert!(
        stopped.says("conflict with \"kubectl"),
        "{}",
        stopped.stderr
    );
    night
        .scene
        .helm(&format!("{upgrade} --force-conflicts"))
        .quiet();
    night.comes_to("Superseded");
}

/// A release that Helm patches client-side has no such conflict, and gets no warning.
#[test]
fn client_side_releases_get_no_conflict_warning() {
    let night = Night::new("client-side", &json!({}));
    let chart = shared().chart(&myapp("1.0.0"));
    let again = format!("install again {} --server-side=false", chart.display());
    night.scene.helm("uninstall myapp --wait").ok();
    night
        .scene
        .helm(&again.replace("install again", "install myapp"))
        .ok();
    night.scene.settled("deployment/myapp", 1);
    let output = night.raise("2Gi").warned(&["recorded as myapp-"]);
    assert!(!output.says("--force-conflicts"), "{}", output.stderr);
}

/// The guard ends tokens of grants that nobody closes: expired ones, and those revoked by other means.
#[test]
fn a_token_ends_with_its_grant_even_if_nobody_closes_it() {
    let night = Night::new("ended", &json!({"requireGrant": true}));
    let file = shared().scratch().join("ended.yaml");
    let output = file.to_str().unwrap();
    let open = [
        "open",
        "-n",
        night.ns(),
        "--for",
        "1h",
        "--service-account",
        ACCOUNT,
    ];
    let open = [
        &open[..],
        &[
            "--write-kubeconfig",
            output,
            "--reason",
            "a",
            "--ticket",
            "b",
        ],
    ]
    .concat();
    let grant = break_glass_ok(&people().oscar, &open);
    let whoami = || night.scene.kubectl_as(&file, "auth whoami").run();
    assert!(whoami().says(EMERGENCY_OPS));
    admin("patch --type=merge -p {\"spec\":{\"revoked\":true}} breakglassgrant")
        .arg(grant.trim())
        .ok();
    eventually("the end of the token", || {
        whoami().says("Unauthorized").then_some(())
    });
}

#[test]
fn an_unreconciled_emergency_is_announced_again_after_its_grant_expired() {
    let channel = sinks();
    let rules = json!({"requireGrant": true, "reconcileWithin": "20s"});
    let night = Night::with_alerts("forgotten", &rules, &channel.of_each_sort("forgotten"));
    create(&people().oscar, &night.grant("brief", 15)).ok();
    night.raise("2Gi").warned(&["recorded as myapp-"]);
    eventually("the end of the grant", || {
        let tried = night.raise("3Gi").arg("--dry-run=server").run();
        tried.says("expired at").then_some(())
    });
    night.raise("3Gi").denied(&["expired at"]);

    night.comes_to("Overdue");
    channel.await_post("/forgotten/slack", &["Overdue"]);
    channel.await_post("/forgotten/alertmanager/api/v2/alerts", &["Overdue"]);
    channel.await_post("/forgotten/http", &["\"state\":\"Overdue\""]);
    // What would be announced again would be announced before what comes next.
    night
        .scene
        .kubectl("set resources deploy/myapp --limits memory=128Mi")
        .quiet();
    night.comes_to("Reverted");
    channel.await_post("/forgotten/slack", &["Reverted"]);
    // Once, and not for changes that did not happen: denied ones and dry runs.
    assert_eq!(channel.count("/forgotten/slack", &["Overdue"]), 1);
    assert_eq!(channel.count("/forgotten/slack", &["3Gi"]), 0);
    assert_eq!(night.changes().len(), 1);
}
