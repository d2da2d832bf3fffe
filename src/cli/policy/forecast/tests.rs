use helm_guard_core::policy::{Policy, document};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::cli::output::Screen;
use crate::record::forecast::{Forecast, ForecastAct, RowKey};

fn what(user: &str, kind: &str, act: ForecastAct, field: &str) -> RowKey {
    RowKey {
        namespace: "shop".to_owned(),
        release: "myapp".to_owned(),
        group: "apps".to_owned(),
        kind: kind.to_owned(),
        act,
        field: field.to_owned(),
        user: user.to_owned(),
        manager: "kubectl-edit".to_owned(),
    }
}

const ROBOT: &str = "system:serviceaccount:ci:robot";
const KEDA: &str = "system:serviceaccount:keda:keda-operator";
const IMAGE: &str = ".spec.template.spec.containers[name=web].image";

fn source(row_keys: Vec<RowKey>) -> Source {
    let mut counted = Forecast::default();
    for (n, what) in row_keys.into_iter().enumerate() {
        let second = format!("2026-11-21T03:00:{:02}Z", n % 60);
        counted.note([what], "web", second.parse().unwrap());
    }
    Source {
        counted,
        since: Some("2026-11-20T10:00:00Z".parse().unwrap()),
        until: Some("2026-11-21T03:12:10Z".parse().unwrap()),
        unreadable: 0,
        unknown: None,
        notes: Vec::new(),
    }
}

fn some() -> Source {
    let twice = what(
        "bob@example.com",
        "Deployment",
        ForecastAct::Change,
        ".spec.replicas",
    );
    source(vec![
        twice.clone(),
        twice,
        what("bob@example.com", "Deployment", ForecastAct::Delete, ""),
        RowKey {
            release: "other".to_owned(),
            ..what(ROBOT, "Deployment", ForecastAct::Change, IMAGE)
        },
        what(ROBOT, "Deployment", ForecastAct::Change, IMAGE),
        what(KEDA, "Deployment", ForecastAct::Scale, ".spec.replicas"),
        what(
            "system:anonymous",
            "StatefulSet",
            ForecastAct::Change,
            ".spec.replicas",
        ),
    ])
}

/// The report as a pipe gets it.
fn shown(report: &ForecastReport<'_>, format: ForecastFormat) -> String {
    let screen = Screen {
        width: None,
        is_wide: format == ForecastFormat::Wide,
    };
    let text = report.text(format, screen).unwrap();
    anstream::adapter::strip_str(&text).to_string()
}

fn from() -> Date {
    "2026-11-15".parse().unwrap()
}

#[test]
fn a_table_says_what_each_row_needs_and_what_deny_would_have_done() {
    let source = some();
    let report = ForecastReport::of(&source, from(), None, None);
    let text = shown(&report, ForecastFormat::Table);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "RELEASE OBJECT FIELD USER COUNT NEEDS",
            "shop/myapp Deployment/web .spec.replicas bob@example.com 2 exemption",
            "shop/myapp Deployment/web .spec.template.spec.containers[name=web].image \
             system:serviceaccount:ci:robot 1 exemption",
            "shop/myapp Deployment/web .spec.replicas (scale) \
             system:serviceaccount:keda:keda-operator 1 preset keda",
            "shop/myapp Deployment/web (delete) bob@example.com 1 exemption",
            "shop/myapp StatefulSet/web .spec.replicas system:anonymous 1 -",
            "shop/other Deployment/web .spec.template.spec.containers[name=web].image \
             system:serviceaccount:ci:robot 1 exemption",
            "- the name \"system:anonymous\" matches everyone",
            "",
            "Since 2026-11-15, Deny would have denied 7 requests of 4 users to 2 releases \
             (counting since 2026-11-20T10:00Z). Counts up to 2026-11-21T03:12:10Z; later requests are not in it.",
        ]
    );
}

#[test]
fn the_policy_is_valid_and_no_wider_than_what_was_seen() {
    let source = some();
    let text = shown(
        &ForecastReport::of(&source, from(), None, None),
        ForecastFormat::Yaml,
    );
    let spec = document::parse(&text).unwrap();
    Policy::compile(&spec).unwrap();
    let exemptions = serde_json::to_value(&spec.exemptions).unwrap();
    let release = |name: &str| json!({"namespace": "shop", "name": name});
    let deployments = json!([{"group": "apps", "kind": "Deployment"}]);
    assert_eq!(
        exemptions,
        json!([
            {
                "name": "deployment-bob-example-com", "subjects": {"users": ["bob@example.com"]},
                "kinds": deployments, "paths": [".spec.replicas"], "operations": ["Delete"],
                "scope": {"releases": [release("myapp")]},
            },
            {
                "name": "deployment-ci-robot", "subjects": {"serviceAccounts": ["ci/robot"]},
                "kinds": deployments, "paths": [IMAGE],
                "scope": {"releases": [release("myapp"), release("other")]},
            },
        ])
    );
    assert_eq!(spec.presets.enable[0].name, "keda");
}

#[test]
fn json_has_all_that_is_known() {
    let source = some();
    let text = shown(
        &ForecastReport::of(&source, from(), None, None),
        ForecastFormat::Json,
    );
    let value: Value = serde_json::from_str(&text).unwrap();
    testbed::schema::assert_valid("PolicyForecast", &value);
    let summary = json!({"requests": 7, "unlisted": 0, "users": 4, "releases": 2});
    assert_eq!(value["summary"], summary);
    assert_eq!(value["countedUntil"], "2026-11-21T03:12:10Z");
    assert_eq!(value["rows"][0]["count"], 2);
    assert_eq!(
        value["rows"][0]["needs"]["exemption"],
        "deployment-bob-example-com"
    );
}

#[test]
fn a_namespace_and_a_day_narrow_it() {
    let source = some();
    let elsewhere = ForecastReport::of(&source, from(), Some("other"), None);
    let text = shown(&elsewhere, ForecastFormat::Table);
    assert!(
        text.starts_with("Since 2026-11-15, Deny would have denied nothing"),
        "{text}"
    );
    let later = ForecastReport::of(&source, "2026-11-22".parse().unwrap(), None, None);
    let text = shown(&later, ForecastFormat::Wide);
    assert_eq!(
        text,
        "Since 2026-11-22, Deny would have denied nothing. Counts up to 2026-11-21T03:12:10Z; later requests \
         are not in it.\n"
    );
}

#[test]
fn of_an_unknown_namespace_nothing_is_said_to_be_allowed() {
    let source = Source {
        unknown: Some("No audit line is about namespace \"shpo\"".to_owned()),
        ..source(Vec::new())
    };
    let report = ForecastReport::of(&source, from(), Some("shpo"), None);
    let text = shown(&report, ForecastFormat::Table);
    assert_eq!(text, "No audit line is about namespace \"shpo\".\n");
    let json: Value = serde_json::from_str(&shown(&report, ForecastFormat::Json)).unwrap();
    assert!(json["unknown"].is_string(), "{json}");
}

#[rstest]
#[case::no_path("bob", "", "cannot name this field")]
#[case::any_field("bob", ".metadata.labels[\"*\"]", "cannot name this field")]
#[case::unclosed("bob", ".spec[a", "cannot name this field")]
#[case::everyone("system:authenticated", ".spec.a", "matches everyone")]
#[case::nobody("", ".spec.a", "is empty")]
#[case::pattern("b*b", ".spec.a", "names match exactly")]
#[case::like_an_account("ops/robot", ".spec.a", "an exemption cannot name this identity")]
fn what_no_exemption_can_say_is_said_to_be_so(
    #[case] user: &str,
    #[case] field: &str,
    #[case] why: &str,
) {
    let source = source(vec![what(user, "Deployment", ForecastAct::Change, field)]);
    let report = ForecastReport::of(&source, from(), None, None);
    let table = shown(&report, ForecastFormat::Table);
    assert!(table.contains(why), "{table}");
    let policy = document::parse(&shown(&report, ForecastFormat::Yaml)).unwrap();
    assert_eq!(policy.exemptions, []);
}

#[test]
fn reasons_that_are_not_shown_are_counted() {
    let row_keys = (0..10).map(|n| {
        let user = format!("b{n}*b");
        what(&user, "Deployment", ForecastAct::Change, ".spec.a")
    });
    let source = source(row_keys.collect());
    let report = ForecastReport::of(&source, from(), None, None);
    let table = shown(&report, ForecastFormat::Table);
    assert!(
        table.contains("- 2 more reasons: -o json lists all\n"),
        "{table}"
    );
}

#[test]
fn many_people_and_many_fields_stay_within_what_a_policy_takes() {
    let mut row_keys = Vec::new();
    for n in 0..150 {
        row_keys.push(what(
            "bob",
            "ConfigMap",
            ForecastAct::Change,
            &format!(".data.f{n}"),
        ));
    }
    for n in 0..300 {
        row_keys.push(what(
            &format!("user-{n}"),
            "Deployment",
            ForecastAct::Change,
            ".spec.replicas",
        ));
    }
    let source = source(row_keys);
    let report = ForecastReport::of(&source, from(), None, None);
    let spec = document::parse(&shown(&report, ForecastFormat::Yaml)).unwrap();
    Policy::compile(&spec).unwrap();
    assert_eq!(spec.exemptions.len(), 256);
    assert!(spec.exemptions.iter().all(|one| one.paths.len() <= 64));
    let table = shown(&report, ForecastFormat::Table);
    assert!(table.contains("at most 256 exemptions"));
}

#[test]
fn names_from_clients_do_not_steer_the_terminal() {
    let source = source(vec![what(
        "b\u{1b}[31mob",
        "Deployment",
        ForecastAct::Delete,
        "",
    )]);
    let report = ForecastReport::of(&source, from(), None, None);
    let text = report
        .text(ForecastFormat::Wide, Screen::default())
        .unwrap();
    assert!(text.contains("b[31mob"), "{text:?}");
}

#[rstest]
#[case("7d", Ok(7))]
#[case("1h", Ok(1))]
#[case("24h", Ok(1))]
#[case("36h", Ok(2))]
#[case("0d", Err(()))]
#[case("d", Err(()))]
#[case("week", Err(()))]
#[case("4000d", Err(()))]
fn a_span_is_so_many_days(#[case] text: &str, #[case] expected: Result<i64, ()>) {
    assert_eq!(days(text).map_err(|_| ()), expected);
}
