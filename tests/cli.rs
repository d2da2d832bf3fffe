//! The command line as scripts use it: exit codes, stdout and stderr.

use std::process::{Command, Output};

use rstest::rstest;

fn helm_guard(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helm-guard"))
        .args(args)
        // The tests must not use the cluster of the person who runs them.
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const URL: &str = "--register-url=https://127.0.0.1:8443";

#[rstest]
#[case::nothing(&[], "no subcommand")]
#[case::unknown_subcommand(&["guard"], "guard")]
#[case::unknown_flag(&["serve", "--no-such-flag"], "--no-such-flag")]
#[case::value_missing(&["serve", "--mode"], "--mode")]
#[case::wrong_mode(&["serve", "--mode", "Maybe", URL], "expected Deny, Warn or Audit; see")]
#[case::wrong_address(&["serve", "--listen", "here", URL], "--listen")]
#[case::wrong_url(&["serve", "--register-url", "http://127.0.0.1"], "https://")]
#[case::wrong_service(&["serve", "--register-service", "guard"], "NAMESPACE/NAME")]
#[case::no_certificate(&["serve"], "--tls-cert")]
#[case::wrong_shell(&["completions", "tcsh"], "tcsh")]
#[case::missing_kubeconfig(
    &["serve", URL, "--kubeconfig", "/nonexistent/config"],
    "/nonexistent/config"
)]
#[case::missing_kubeconfig_of_the_environment(&["serve", URL], "/nonexistent/kubeconfig")]
fn a_usage_error_is_one_line_on_stderr_and_exit_code_1(#[case] args: &[&str], #[case] says: &str) {
    let output = helm_guard(args);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(stderr.contains(says), "{stderr}");
}

#[test]
fn a_missing_certificate_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, KUBECONFIG).unwrap();
    let output = helm_guard(&[
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--kubeconfig",
        kubeconfig.to_str().unwrap(),
        "--tls-cert=/nonexistent/tls.crt",
        "--tls-key=/nonexistent/tls.key",
    ]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("/nonexistent/tls.crt"), "{stderr}");
}

const KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"#;

#[test]
fn the_version_is_a_document_for_programs() {
    let output = helm_guard(&["version", "-o", "json"]);
    let version: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    testbed::schema::assert_valid("Version", &version);
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[rstest]
#[case::help(&["--help"], "serve")]
#[case::help_of_a_subcommand(&["serve", "--help"], "--break-glass-user")]
#[case::version_flag(&["--version"], env!("CARGO_PKG_VERSION"))]
#[case::version(&["version"], env!("CARGO_PKG_VERSION"))]
#[case::completions(&["completions", "bash"], "complete -F")]
fn requested_output_goes_to_stdout_and_exits_with_0(#[case] args: &[&str], #[case] says: &str) {
    let output = helm_guard(args);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
    assert!(text(&output.stdout).contains(says));
}
