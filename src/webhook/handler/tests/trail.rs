//! What a decision leaves behind: its audit line.

use super::*;

#[tokio::test]
async fn what_a_rule_of_the_policy_lets_pass_leaves_a_line_that_names_it() {
    let bench = Setup::default().start();
    let user = json!({"username": "system:serviceaccount:kube-system:generic-garbage-collector"});
    let mut request = with(update(0), "userInfo", user);
    request["operation"] = json!("DELETE");
    request["object"] = Value::Null;
    let response = bench.review(&request).await;
    assert_eq!(response["allowed"], true);
    let line = bench.audit_lines().remove(0);
    assert_eq!(line["decision"], "allowed");
    assert_eq!(line["reason"], "exempt");
    assert_eq!(line["exemption"], "garbage-collector");
    assert_eq!(line["level"], "INFO");
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
async fn a_line_that_cannot_be_written_is_elsewhere_and_counted_and_changes_no_answer() {
    let mut setup = Setup::default();
    let lines = Lines::default();
    setup.audit = Some(AuditLog::with_fallback(Full, lines.clone()));
    let bench = setup.start();
    let response = bench.review(&update(0)).await;
    assert_eq!(response["allowed"], false);
    assert!(bench.metrics().contains("helm_guard_audit_errors_total 1"));
    let line: Value = serde_json::from_slice(&lines.0.lock()).unwrap();
    assert_eq!(line["decision"], "denied");
}
