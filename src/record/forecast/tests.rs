use std::sync::Arc;

use helm_guard_core::{
    api::Mode,
    compare::redact::ShownValue,
    guard::{Decided, Decision, FieldChange, Finding, ObjectRef, Reason, Verdict},
    helm::{ReleaseName, record::ApplyMethod},
};
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    document::{Batch, Document},
    lines::Read,
    *,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const NOW: &str = "2026-11-21T12:00:00Z";

fn what(user: &str, field: &str) -> RowKey {
    RowKey {
        namespace: "shop".to_owned(),
        release: "myapp".to_owned(),
        group: "apps".to_owned(),
        kind: "Deployment".to_owned(),
        act: ForecastAct::Change,
        field: field.to_owned(),
        user: user.to_owned(),
        manager: "kubectl-edit".to_owned(),
    }
}

fn of(users: &[&str], when: &str) -> Forecast {
    let mut forecast = Forecast::default();
    for user in users {
        forecast.note([what(user, ".spec.replicas")], "web", at(when));
    }
    forecast
}

fn all(forecast: &Forecast) -> ViolationCounts {
    let mut sum = total(&forecast.others, Date::MIN);
    for seen in forecast.rows.values() {
        sum.add(seen.since(Date::MIN));
    }
    sum
}

#[test]
fn a_request_is_counted_once_and_so_is_each_of_its_fields() {
    let mut forecast = Forecast::default();
    for name in ["web", "api", "web"] {
        let fields = [what("bob", ".spec.replicas"), what("bob", ".spec.paused")];
        forecast.note(fields, name, at(NOW));
    }
    assert_eq!(forecast.rows.len(), 2);
    let total = all(&forecast);
    assert_eq!((total.fields, total.requests), (6, 3));
    let seen = &forecast.rows[&what("bob", ".spec.replicas")];
    assert!(seen.objects.iter().eq(["api", "web"]));
}

#[test]
fn a_few_objects_are_named_and_it_says_when_there_are_more() {
    let mut forecast = Forecast::default();
    for n in 0..5 {
        forecast.note(
            [what("bob", ".spec.replicas")],
            &format!("web-{n}"),
            at(NOW),
        );
    }
    let seen = &forecast.rows[&what("bob", ".spec.replicas")];
    assert_eq!((seen.objects.len(), seen.more_objects), (3, true));
}

#[rstest]
#[case::user(|n: usize| what(&format!("user-{n}"), ".spec.replicas"))]
#[case::manager(|n: usize| RowKey { manager: n.to_string(), ..what("bob", ".spec") })]
#[case::field(|n: usize| what("bob", &format!(".data.f{n}")))]
fn a_row_that_does_not_fit_is_counted_with_the_others(#[case] make: fn(usize) -> RowKey) {
    let mut forecast = Forecast::default();
    for n in 0..MAX_ROWS + 25 {
        forecast.note([make(n)], "web", at(NOW));
    }
    assert_eq!(forecast.rows.len(), MAX_ROWS);
    assert_eq!(total(&forecast.others, Date::MIN).requests, 25);
    let too_long = what("bob", &"x".repeat(10_000));
    forecast.note([too_long], "web", at(NOW));
    assert_eq!(total(&forecast.others, Date::MIN).requests, 26);
}

#[test]
fn the_rows_with_the_most_requests_are_kept() {
    let often = of(&["bob"; 5], "2026-11-20T12:00:00Z");
    let mut forecast = Forecast::default();
    for n in 0..MAX_ROWS {
        forecast.note([what(&format!("user-{n}"), ".spec")], "web", at(NOW));
    }
    forecast.merge(&often, at(NOW));
    assert_eq!(forecast.rows.len(), MAX_ROWS);
    assert!(forecast.rows.contains_key(&what("bob", ".spec.replicas")));
    assert_eq!(all(&forecast).requests, MAX_ROWS as u64 + 5);
}

#[test]
fn expired_days_are_dropped() {
    let mut forecast = of(&["old"], "2026-10-22T23:59:59Z");
    forecast.merge(&of(&["bob"], "2026-10-23T00:00:00Z"), at(NOW));
    let users: Vec<&str> = forecast.rows.keys().map(|what| &*what.user).collect();
    assert_eq!(users, ["bob"]);
    forecast.merge(&Forecast::default(), at("2026-11-22T00:00:00Z"));
    assert!(forecast.is_empty());
}

#[test]
fn counts_can_be_read_since_a_day() {
    let mut forecast = of(&["bob"], "2026-11-19T23:59:00Z");
    forecast.merge(&of(&["bob", "bob"], "2026-11-20T00:01:00Z"), at(NOW));
    let seen = &forecast.rows[&what("bob", ".spec.replicas")];
    let since = |day: &str| seen.since(day.parse().unwrap()).fields;
    assert_eq!(
        [
            since("2026-11-19"),
            since("2026-11-20"),
            since("2026-11-21")
        ],
        [3, 2, 0]
    );
    assert_eq!(seen.first, at("2026-11-19T23:59:00Z"));
    assert_eq!(seen.last, at("2026-11-20T00:01:00Z"));
}

fn batch(writer: &str, number: u64, forecast: Forecast) -> Batch {
    Batch {
        writer: writer.to_owned(),
        number,
        until: at(NOW),
        forecast,
    }
}

#[rstest]
#[case::nobody(&[], None)]
#[case::one(&[("one", "12:00:00", "11:59:58")], Some("11:59:58"))]
#[case::two_that_run(&[("one", "12:00:00", "11:59:58"), ("two", "11:59:10", "11:59:09")], Some("11:59:09"))]
#[case::one_that_has_stopped(&[("one", "12:00:00", "11:59:58"), ("two", "11:00:00", "10:59:59")], Some("11:59:58"))]
#[case::one_that_could_not_write(&[("one", "12:00:00", "11:59:58"), ("two", "11:59:59", "11:30:00")], Some("11:30:00"))]
fn counts_are_complete_until_the_oldest_write_of_a_running_replica(
    #[case] writers: &[(&str, &str, &str)],
    #[case] expected: Option<&str>,
) {
    let day = |time: &str| at(&format!("2026-11-21T{time}Z"));
    let mut document = Document::new(day("00:00:00"));
    for (writer, written, until) in writers {
        let batch = Batch {
            until: day(until),
            ..batch(writer, 1, Forecast::default())
        };
        document.add(&batch, day(written));
    }
    assert_eq!(document.counted_until(), expected.map(day));
}

/// A Deployment and who changes it, in mode Warn.
fn decided(uid: &str, user: &str, live: &str, requested: &str, collector: &Collector, when: &str) {
    warned(
        Reason::FieldsChanged,
        [uid, user, live, requested],
        collector,
        when,
    );
}

fn warned(reason: Reason, request: [&str; 4], collector: &Collector, when: &str) {
    let [uid, user, live, requested] = request;
    let request = json!({
        "uid": uid, "operation": "UPDATE", "namespace": "shop", "name": "web",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "userInfo": {"username": user}, "options": {"fieldManager": "kubectl-edit"},
    })
    .to_string();
    let request = serde_json::from_str(&request).unwrap();
    let object = ObjectRef {
        group: "apps",
        kind: "Deployment",
        namespace: "shop",
        name: "web".into(),
    };
    let change = FieldChange {
        path: ".spec.replicas".parse().unwrap(),
        declared: ShownValue::Text("3".to_owned()),
        live: ShownValue::Text(live.to_owned()),
        requested: ShownValue::Text(requested.to_owned()),
    };
    let finding = Finding {
        release: Arc::new(ReleaseName {
            namespace: "shop".to_owned(),
            name: "myapp".to_owned(),
        }),
        chart: "myapp-1.0.0".into(),
        apply_method: ApplyMethod::ClientSide,
        mode: Mode::Warn,
        revisions: vec![1],
        changes: vec![change],
        involved: Vec::new(),
    };
    let verdict = Verdict::with_findings(reason, vec![finding]);
    let decided = Decided {
        request: &request,
        object: Some(&object),
        verdict: &verdict,
        decision: Decision::Warn,
        mode: Mode::Warn,
    };
    collector.note(&decided, at(when));
}

/// The API server evaluates a patch again if somebody else wrote the object, with another uid.
#[test]
fn a_request_that_the_api_server_repeats_is_counted_once() {
    let collector = Collector::counting();
    for (uid, when) in [("u-1", NOW), ("u-2", NOW), ("u-3", "2026-11-21T12:00:01Z")] {
        decided(uid, "bob", "3", "0", &collector, when);
    }
    assert_eq!(all(&collector.take()).requests, 1);
    // Also after the counts were taken.
    decided("u-4", "bob", "3", "0", &collector, "2026-11-21T12:00:02Z");
    assert!(collector.take().is_empty());
    // By somebody else, to another value, from another value, and later, it is another request.
    decided("u-5", "eve", "3", "0", &collector, NOW);
    decided("u-6", "bob", "3", "1", &collector, NOW);
    decided("u-7", "bob", "1", "0", &collector, NOW);
    decided("u-8", "bob", "3", "0", &collector, "2026-11-21T12:05:00Z");
    assert_eq!(all(&collector.take()).requests, 4);
}

/// `undeclared: Warn` warns in mode Deny too; `undeclared: Deny` would deny.
#[test]
fn a_warning_about_an_undeclared_field_is_counted() {
    let collector = Collector::counting();
    let request = ["u-1", "bob", "1", "2"];
    warned(Reason::UndeclaredChanged, request, &collector, NOW);
    let counted = collector.take();
    assert_eq!(all(&counted).requests, 1);
    let row = counted.rows.keys().next().unwrap();
    assert_eq!(
        (row.act, &*row.field),
        (ForecastAct::Change, ".spec.replicas")
    );
}

#[test]
fn a_request_that_is_repeated_in_an_audit_log_is_counted_once() {
    let mut read = Read::default();
    for (uid, when) in [("u-1", NOW), ("u-2", NOW), ("u-3", "2026-11-21T12:10:00Z")] {
        let text = line(uid, "warned", when).to_string();
        read.lines(text.as_bytes(), at("2026-11-15T00:00:00Z"))
            .unwrap();
    }
    assert_eq!(read.audit_lines, 3);
    assert_eq!(all(&read.forecast).requests, 2);
    assert_eq!(read.until, Some(at("2026-11-21T12:10:00Z")));
    assert!(read.is_about("shop") && !read.is_about("shpo"));
}

#[test]
fn two_replicas_add_to_one_document_and_no_batch_counts_twice() {
    let mut document = Document::new(at("2026-11-20T00:00:00Z"));
    let batches = [
        batch("one", 1, of(&["bob", "eve"], NOW)),
        batch("two", 1, of(&["bob"], NOW)),
        batch("one", 2, of(&["bob"], NOW)),
    ];
    // Each is added twice, as after a lost answer.
    for batch in batches.iter().chain(&batches) {
        if !document.has(batch) {
            document.add(batch, at(NOW));
        }
    }
    let forecast = document.forecast();
    let count = |user: &str| forecast.rows[&what(user, ".spec.replicas")].since(Date::MIN);
    assert_eq!((count("bob").requests, count("eve").requests), (3, 1));
    assert_eq!(document.writers["one"].batch, 2);
    document.add(
        &batch("two", 2, Forecast::default()),
        at("2026-11-23T00:00:00Z"),
    );
    assert!(document.writers.keys().eq(["two"]));
}

#[test]
fn a_document_reads_back_unchanged() {
    let mut document = Document::new(at(NOW));
    document.add(&batch("one", 1, of(&["bob"], NOW)), at(NOW));
    let text = document.encode().unwrap();
    assert_eq!(serde_json::from_str::<Document>(&text).unwrap(), document);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        value["rows"],
        json!([{
            "namespace": "shop", "release": "myapp", "group": "apps", "kind": "Deployment",
            "act": "change", "field": ".spec.replicas", "user": "bob", "manager": "kubectl-edit",
            "first": NOW, "last": NOW, "objects": ["web"], "days": {"2026-11-21": [1, 1]},
        }])
    );
}

#[test]
fn a_document_always_fits_into_a_config_map() {
    let mut forecast = Forecast::default();
    for n in 0..MAX_ROWS {
        let long = what(&format!("{n}-{}", "u".repeat(1500)), ".spec.replicas");
        forecast.note([long], &"o".repeat(250), at(NOW));
    }
    let mut document = Document::new(at(NOW));
    document.add(&batch("one", 1, forecast), at(NOW));
    let text = document.encode().unwrap();
    assert!(text.len() < 800 * 1024, "{}", text.len());
    assert!(document.rows.len() > 300, "{}", document.rows.len());
    assert_eq!(all(&document.forecast()).requests, MAX_ROWS as u64);
}

fn line(uid: &str, verdict: &str, when: &str) -> Value {
    json!({
        "apiVersion": "helm-guard.dev/v1alpha1", "kind": "AuditLine",
        "timestamp": when, "level": "WARN", "target": "audit", "message": "x", "uid": uid,
        "verdict": verdict, "reason": "fields-changed", "mode": "Warn", "operation": "UPDATE",
        "user": "bob", "groups": ["dev"], "fieldManager": "kubectl-edit",
        "object": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "findings": [{
            "release": {"namespace": "shop", "name": "myapp", "chart": "myapp-1.0.0", "revision": 1},
            "revisions": [1],
            "fields": [{"path": ".spec.replicas", "declared": 3, "live": 3, "requested": 0}],
        }],
    })
}

/// The same as it was written before the fields had the names that they have everywhere.
fn former_line(uid: &str, decision: &str, when: &str) -> Value {
    json!({
        "timestamp": when, "level": "WARN", "target": "audit", "message": "x", "uid": uid,
        "decision": decision, "reason": "fields-changed", "mode": "Warn", "operation": "UPDATE",
        "user": {"name": "bob", "groups": ["dev"]}, "fieldManager": "kubectl-edit",
        "object": {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"},
        "releases": [{"name": "myapp", "namespace": "shop", "chart": "myapp-1.0.0", "revisions": [1],
            "fields": [{"path": ".spec.replicas", "declared": "3", "old": "3", "new": "0"}]}],
    })
}

#[rstest]
#[case::as_written_now(line)]
#[case::as_written_before(former_line)]
fn an_audit_line_is_read_in_its_old_and_new_form(#[case] line: fn(&str, &str, &str) -> Value) {
    let mut read = Read::default();
    let text = line("u-1", "warned", NOW).to_string();
    read.lines(text.as_bytes(), at("2026-11-15T00:00:00Z"))
        .unwrap();
    assert_eq!((read.audit_lines, read.unreadable), (1, 0));
    assert_eq!(read.forecast, of(&["bob"], NOW));
}

#[test]
fn a_line_about_the_guard_itself_is_read_and_counts_nothing() {
    let notice = json!({"timestamp": NOW, "target": "audit", "message": "x", "event": "Suspended",
        "status": "firing", "key": "k"});
    let mut read = Read::default();
    read.lines(notice.to_string().as_bytes(), at(NOW)).unwrap();
    assert_eq!((read.audit_lines, read.unreadable), (1, 0));
    assert!(read.forecast.is_empty());
}

#[test]
fn audit_lines_are_found_between_others_and_each_request_counts_once() {
    let with = |key: &str, value: Value| {
        let mut line = line("u-4", "audited", NOW);
        line[key] = value;
        line
    };
    let lines = [
        line("u-1", "warned", NOW).to_string(),
        line("u-1", "warned", NOW).to_string(),
        line("u-2", "denied", NOW).to_string(),
        line("u-3", "audited", "2026-11-01T00:00:00Z").to_string(),
        with("operation", json!("DELETE")).to_string(),
        json!({"timestamp": NOW, "target": "helm_guard", "message": "listening"}).to_string(),
        json!({"target": "audit"}).to_string(),
        "INFO helm_guard: listening".to_owned(),
        String::new(),
    ];
    let mut read = Read::default();
    let from = at("2026-11-15T00:00:00Z");
    read.lines(lines.join("\n").as_bytes(), from).unwrap();
    assert_eq!((read.audit_lines, read.unreadable), (5, 2));
    assert_eq!(read.since, Some(at("2026-11-01T00:00:00Z")));
    assert_eq!(read.forecast.rows[&what("bob", ".spec.replicas")], {
        let forecast = of(&["bob"], NOW);
        forecast.rows[&what("bob", ".spec.replicas")].clone()
    });
    let deleted = RowKey {
        act: ForecastAct::Delete,
        ..what("bob", "")
    };
    assert_eq!(read.forecast.rows[&deleted].since(Date::MIN).requests, 1);
}

#[test]
fn the_rows_with_the_most_requests_are_kept_in_whatever_order_the_lines_come() {
    let mut text = String::new();
    let mut add = |n: usize, user: &str| {
        let mut line = line(&format!("u-{n}"), "warned", NOW);
        line["user"] = json!(user);
        text.push_str(&line.to_string());
        text.push('\n');
    };
    for n in 0..MAX_ROWS + 100 {
        add(n, &format!("user-{n}"));
    }
    for n in 0..3 {
        let mut line = line(&format!("u-{}", 5000 + n), "warned", NOW);
        line["findings"][0]["fields"][0]["requested"] = json!(n);
        text.push_str(&line.to_string());
        text.push('\n');
    }
    let mut read = Read::default();
    read.lines(text.as_bytes(), at("2026-11-15T00:00:00Z"))
        .unwrap();
    let bob = &read.forecast.rows[&what("bob", ".spec.replicas")];
    assert_eq!(bob.since(Date::MIN).requests, 3);
    assert_eq!(read.forecast.rows.len(), MAX_ROWS);
    assert_eq!(all(&read.forecast).requests, MAX_ROWS as u64 + 103);
}
