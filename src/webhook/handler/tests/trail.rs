//! The records of a decision: its audit line and its entry in the forecast.

use super::*;

#[rstest]
#[case::warn(Mode::Warn)]
#[case::audit(Mode::Audit)]
#[tokio::test]
async fn the_forecast_contains_what_deny_would_deny(#[case] mode: Mode) {
    let bench = Setup {
        mode,
        ..Setup::default()
    }
    .start();
    bench.review(&update(0)).await;
    let forecast = bench.recorder.forecast.take();
    let rows: Vec<String> = forecast
        .rows
        .keys()
        .map(|what| {
            format!(
                "{}/{} {} {} {} {}",
                what.namespace, what.release, what.kind, what.field, what.user, what.manager
            )
        })
        .collect();
    assert_eq!(
        rows,
        ["shop/myapp Deployment .spec.replicas ada kubectl-edit"]
    );
}

#[tokio::test]
async fn denied_and_emergency_requests_are_not_in_the_forecast() {
    let bench = Setup::default().start();
    bench.review(&update(0)).await;
    bench.review(&by_emergency(update(0))).await;
    bench.review(&update(3)).await;
    assert!(bench.recorder.forecast.take().is_empty());
}

#[tokio::test]
async fn a_forecast_contains_paths_and_never_values() {
    let bench = Setup {
        mode: Mode::Warn,
        declared: SECRET,
        ..Setup::default()
    }
    .start();
    let secret = |data: &str| json!({"metadata": {"name": "web"}, "data": {"password": data}});
    let mut request = update(0);
    request["kind"] = json!({"group": "", "version": "v1", "kind": "Secret"});
    request["resource"] = json!({"group": "", "version": "v1", "resource": "secrets"});
    request["oldObject"] = secret("aHVudGVyMg==");
    request["object"] = secret("czNjcjN0");
    let response = bench.review(&request).await;
    assert_eq!(response["auditAnnotations"]["verdict"], "warned");
    let forecast = bench.recorder.forecast.take();
    let fields: Vec<&str> = forecast.rows.keys().map(|what| &*what.field).collect();
    assert_eq!(fields, [".data.password"]);
    let said = format!("{forecast:?}");
    for secret in ["aHVudGVyMg", "czNjcjN0", "hunter2", "s3cr3t"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_policy_exemption_is_named_in_the_audit_line() {
    let bench = Setup::default().start();
    let request = with(update(0), "userInfo", json!({"username": "robot"}));
    assert_eq!(bench.review(&request).await["allowed"], true);
    let line = bench.audit_lines().remove(0);
    assert_eq!(line["verdict"], "allowed");
    assert_eq!(line["reason"], "exempt");
    assert_eq!(line["exemption"], "replica-robot");
    assert_eq!(line["level"], "INFO");
    assert!(bench.recorder.forecast.take().is_empty());
}

/// Story 7.
#[tokio::test]
async fn a_preset_exemption_leaves_no_audit_line() {
    let mut setup = Setup::default();
    setup.infrastructure.is_terminating = true;
    let bench = setup.start();
    let user = json!({"username": "system:serviceaccount:kube-system:namespace-controller"});
    let mut request = with(update(0), "userInfo", user);
    request["operation"] = json!("DELETE");
    request["object"] = Value::Null;
    let response = bench.review(&request).await;
    assert_eq!(response["auditAnnotations"]["reason"], "exempt");
    assert_eq!(bench.audit_lines(), Vec::<Value>::new());
}

/// A disk that is full.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_unwritable_audit_line_goes_to_stderr_and_is_counted() {
    let mut setup = Setup::default();
    let lines = Lines::default();
    setup.audit = Some(AuditLog::new("p-1", Full).with_fallback(lines.clone()));
    let bench = setup.start();
    let response = bench.review(&update(0)).await;
    assert_eq!(response["allowed"], false);
    assert!(bench.metrics().contains("helm_guard_audit_errors_total 1"));
    let line: Value = serde_json::from_slice(&lines.0.lock()).unwrap();
    assert_eq!(line["verdict"], "denied");
}
