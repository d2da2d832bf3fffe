use clap::Parser;
use helm_guard_core::{
    api::Mode,
    policy::{EmergencyAccess, EmergencyHint},
};
use rstest::rstest;

use super::*;
use crate::cli::args::{Args, Command};

fn resolve(flags: &[&str]) -> Result<Config, String> {
    let words = ["helm-guard", "serve"].iter().chain(flags);
    let args = Args::try_parse_from(words).map_err(|error| error.to_string())?;
    let Command::Serve(serve) = args.command else {
        panic!("serve was asked for");
    };
    Config::resolve(*serve).map_err(|error| error.to_string())
}

const URL: [&str; 2] = ["--register-url", "https://127.0.0.1:8443"];

#[test]
fn a_url_is_enough_to_begin_with() {
    let config = resolve(&URL).unwrap();
    assert_eq!(config.policy.default_mode(), Mode::Deny);
    assert_eq!(config.policy.emergency_hint(), EmergencyHint::default());
    assert_eq!(config.drain_delay, Duration::from_secs(5));
    assert_eq!(config.tls_files, None);
    assert!((2..=8).contains(&config.worker_threads.get()));
    assert_eq!(
        config.registration.map(|registration| registration.at_exit),
        Some(AtExit::Keep)
    );
}

#[rstest]
#[case::unless_told_otherwise(&[], &[Driver::Secret])]
#[case::config_maps(&["--storage-drivers", "configmaps"], &[Driver::ConfigMap])]
#[case::both(&["--storage-drivers=configmaps,secrets"], &[Driver::Secret, Driver::ConfigMap])]
fn records_are_read_from_what_the_flag_names(#[case] flags: &[&str], #[case] expected: &[Driver]) {
    assert_eq!(
        resolve(&[&URL[..], flags].concat()).unwrap().drivers,
        expected
    );
}

#[rstest]
#[case::of_aks(&[], ToleratedLabels::default())]
#[case::none(&["--tolerate-namespace-requirements="], ToleratedLabels::parse([]).unwrap())]
#[case::two(
    &["--tolerate-namespace-requirements", "team,control-plane=true"],
    ToleratedLabels::parse(["team", "control-plane=true"]).unwrap()
)]
fn the_flag_replaces_the_tolerated_labels(
    #[case] flags: &[&str],
    #[case] tolerated: ToleratedLabels,
) {
    let config = resolve(&[&URL[..], flags].concat()).unwrap();
    let foreign = config.registration.unwrap().foreign;
    let handling = Handling::Correct;
    assert_eq!(
        foreign,
        ForeignRequirements {
            tolerated,
            handling
        }
    );
}

#[test]
fn files_are_enough_where_somebody_else_registers() {
    let config = resolve(&["--tls-cert", "tls.crt", "--tls-key", "tls.key"]).unwrap();
    assert_eq!(config.registration, None);
    assert!(config.tls_files.is_some());
}

#[test]
fn the_flags_say_what_a_denial_advises_in_an_emergency() {
    let account = ["--break-glass-user", "ops/emergency"];
    let page = ["--runbook-url", "https://runbooks.example/helm"];
    let config = resolve(&[&URL[..], &account, &page].concat()).unwrap();
    assert_eq!(
        config.policy.emergency_hint(),
        EmergencyHint {
            runbook: Some("https://runbooks.example/helm"),
            access: EmergencyAccess::Token,
        }
    );
    let user = ["--break-glass-user", "ada@example.com"];
    let config = resolve(&[&URL[..], &user].concat()).unwrap();
    let hint = config.policy.emergency_hint();
    assert_eq!(hint.access, EmergencyAccess::Identity);
}

#[rstest]
#[case::mode(&["--mode", "Denny"], "expected Deny, Warn or Audit")]
#[case::no_number(&["--worker-threads", "many"], "invalid")]
#[case::no_threads(&["--worker-threads", "0"], "--worker-threads 0")]
#[case::drain_delay(&["--drain-delay", "soon"], "--drain-delay")]
#[case::drain_delay_without_unit(&["--drain-delay", "5"], "--drain-delay")]
#[case::endless_drain_delay(&["--drain-delay", "11m"], "--drain-delay")]
#[case::negative_drain_delay(&["--drain-delay=-5s"], "--drain-delay")]
#[case::policy_grace(&["--policy-grace", "soon"], "--policy-grace")]
#[case::scan_interval(&["--scan-interval", "often"], "--scan-interval")]
#[case::short_scan_interval(&["--scan-interval", "1s"], "--scan-interval")]
#[case::endless_policy_grace(&["--policy-grace", "25h"], "--policy-grace")]
#[case::a_file_is_always_there(&["--policy", "x", "--require-policy"], "cannot be used with")]
#[case::log_level(&["--log-level", "loud"], "--log-level")]
#[case::log_filter(&["--log-level", "helm_guard=loud"], "--log-level")]
#[case::log_format(&["--log-format", "xml"], "json, text")]
#[case::namespace(&["--watch-namespace", "Shop"], "--watch-namespace")]
#[case::own_release(&["--own-release", "guard"], "--own-release")]
#[case::owner(&["--owner-cluster-role", "../guard"], "--owner-cluster-role")]
#[case::tolerated_label(&["--tolerate-namespace-requirements", "team,a in (b)"], "\"a in (b)\"")]
#[case::no_tolerated_label(&["--tolerate-namespace-requirements", "team,"], "\"\" is not a label")]
#[case::foreign_requirements(&["--foreign-requirements", "ignore"], "correct, report")]
#[case::tolerated_and_closed(
    &["--tolerate-namespace-requirements=team", "--fail-closed-namespaces=team=shop"],
    "choose another label"
)]
#[case::namespaces_without_a_label(&["--fail-closed-namespaces", "!a"], "one label")]
#[case::labels(&["--fail-closed-namespaces", "a=b,c=d"], "one label")]
#[case::storage_driver(&["--storage-drivers", "secrets,sql"], "secrets, configmaps")]
#[case::runbook(&["--runbook-url", "see the wiki"], "runbookURL")]
#[case::everyone(&["--break-glass-group", "system:authenticated"], "everyone")]
#[case::key_without_certificate(&["--tls-key", "tls.key"], "--tls-cert")]
#[case::both_ways_to_register(&["--register-service", "a/b"], "cannot be used with")]
#[case::unknown_flag(&["--polizei", "x"], "--polizei")]
#[case::no_audit_size(&["--audit-log-path", "a", "--audit-log-maxsize", "0"], "--audit-log-maxsize")]
#[case::nothing_to_rotate(&["--audit-log-maxbackup", "2"], "--audit-log-path")]
#[case::two_policies(&["--policy", "x", "--mode", "Warn"], "cannot be used with")]
#[case::two_identities(&["--policy", "x", "--break-glass-user", "ada"], "cannot be used with")]
fn a_wrong_flag_is_refused_by_name(#[case] flags: &[&str], #[case] says: &str) {
    let error = resolve(&[&URL[..], flags].concat()).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[rstest]
#[case::nothing_to_serve_with(&[], "no certificate")]
#[case::plain_http(&["--register-url", "http://127.0.0.1"], "https")]
#[case::service_without_namespace(&["--register-service", "guard"], "NAMESPACE/NAME")]
#[case::nothing_to_unregister(
    &["--tls-cert", "a", "--tls-key", "b", "--unregister-on-exit"],
    "--register-url"
)]
fn an_incomplete_command_line_is_refused(#[case] flags: &[&str], #[case] says: &str) {
    let error = resolve(flags).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[test]
fn audit_lines_go_where_the_flag_says() {
    let audit = |flags: &[&str]| resolve(&[&URL[..], flags].concat()).unwrap().audit;
    assert_eq!(audit(&[]), AuditTarget::StandardError);
    assert_eq!(
        audit(&["--audit-log-path", "-"]),
        AuditTarget::StandardOutput
    );
    let kept = Retention {
        max_bytes: 100 << 20,
        max_backups: 3,
    };
    assert_eq!(
        audit(&["--audit-log-path", "a.log", "--audit-log-maxbackup", "3"]),
        AuditTarget::File("a.log".into(), kept)
    );
}

#[test]
fn the_guards_own_namespace_is_what_the_flags_say() {
    let own = |flags: &[&str]| {
        let config = resolve(flags).unwrap();
        (config.own_namespace, config.guard_namespace)
    };
    assert_eq!(own(&URL), (None, "default".to_owned()));
    let named = ["--guard-namespace", "ops"];
    let ops = (Some("ops".to_owned()), "ops".to_owned());
    assert_eq!(own(&[&URL[..], &named].concat()), ops);
    assert_eq!(own(&["--register-service", "ops/guard"]), ops);
}

#[test]
fn the_own_release_is_named_or_known_by_the_service_or_by_its_chart() {
    let own = |flags: &[&str]| resolve(flags).unwrap().own_release;
    let in_ops = |known_by| {
        Some(Own {
            namespace: "ops".to_owned(),
            known_by,
        })
    };
    assert_eq!(own(&URL), None);
    let service = ["--register-service", "ops/guard"];
    let by_service = KnownBy::Service("guard".to_owned());
    assert_eq!(own(&service), in_ops(by_service));
    let url = [&URL[..], &["--guard-namespace", "ops"]].concat();
    assert_eq!(own(&url), in_ops(KnownBy::Chart));
    let named = ["--own-release", "ops/web"];
    let by_name = in_ops(KnownBy::Name("web".to_owned()));
    assert_eq!(own(&[&service[..], &named].concat()), by_name);
}

#[test]
fn a_bare_level_keeps_the_libraries_quiet() {
    assert_eq!(filter("debug").unwrap(), "warn,helm_guard=debug");
    assert_eq!(filter("error").unwrap(), "error,helm_guard=error");
    assert!(filter("helm_guard=trace,kube=debug").is_ok());
}
