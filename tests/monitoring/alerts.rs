//! The alerts: when they fire, and what is said about them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use rstest::rstest;
use serde_json::Value;

use super::{
    all_alerts,
    expressions::{SelectedSeries, selected},
    folder, items, metrics, promtool, root, rules, text, with_rules, yaml,
};

fn unit_tests() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("tests")).unwrap();
    let files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files
}

/// All cases of the unit tests.
fn cases() -> Vec<Value> {
    let files = unit_tests();
    let tests = files.iter().map(|file| yaml(file)["tests"].take());
    tests
        .flat_map(|tests| items(&tests).cloned().collect::<Vec<_>>())
        .collect()
}

#[test]
fn each_alert_fires_when_it_should_and_only_then() {
    let mut rules = rules();
    let groups = rules["groups"].as_array_mut().unwrap();
    let alerts = groups
        .iter_mut()
        .flat_map(|group| group["rules"].as_array_mut().unwrap());
    for alert in alerts {
        // A unit test gives all annotations of an alert. These are fixed texts.
        let annotations = alert["annotations"].as_object_mut().unwrap();
        for name in ["description", "runbook_url"] {
            let fixed = annotations.remove(name).unwrap();
            assert!(!text(&fixed).contains("{{"), "{fixed}");
        }
    }
    let folder = with_rules(&rules);
    for file in unit_tests() {
        let name = file.file_name().unwrap().to_str().unwrap();
        fs::copy(&file, folder.path().join(name)).unwrap();
        let printed = promtool(&folder, &["test", "rules", name]);
        assert!(printed.contains("SUCCESS"), "{printed}");
    }
}

#[test]
fn each_alert_has_a_test_that_it_fires_and_one_that_it_does_not() {
    let (mut fires, mut is_silent) = (BTreeSet::new(), BTreeSet::new());
    let cases = cases();
    for expectation in cases
        .iter()
        .flat_map(|case| items(&case["alert_rule_test"]))
    {
        let alert = text(&expectation["alertname"]);
        if items(&expectation["exp_alerts"]).next().is_some() {
            fires.insert(alert);
        } else {
            is_silent.insert(alert);
        }
    }
    let rules = rules();
    let alerts: BTreeSet<&str> = all_alerts(&rules)
        .into_iter()
        .map(|alert| text(&alert["alert"]))
        .collect();
    assert_eq!(fires, alerts);
    assert_eq!(is_silent, alerts);
}

/// A test with labels that no scrape has would show nothing.
#[test]
fn the_series_of_the_tests_have_the_labels_of_a_scrape() {
    let known = metrics::known();
    let mut count = 0;
    for case in cases() {
        for series in items(&case["input_series"]).map(|input| text(&input["series"])) {
            let SelectedSeries { metric, labels } = selected(series).remove(0);
            let expected = &known[&metric];
            let missing = expected.iter().find(|label| !labels.contains(label));
            assert_eq!(missing, None, "{series}");
            let unknown = labels.iter().find(|label| {
                !expected.contains(label) && !metrics::OF_THE_TARGET.contains(&label.as_str())
            });
            assert_eq!(unknown, None, "{series}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

/// They are published for `helm_release_info` of no particular exporter, and may be in use already.
#[rstest]
#[case(
    "HelmReleaseFailed",
    "5m",
    r#"helm_release_info{status="failed"} == 1"#
)]
#[case(
    "HelmVersionInconsistency",
    "1h",
    r#"count by (chart) ( count by (chart, chart_version) (helm_release_info{status="deployed"}) ) > 1"#
)]
#[case(
    "HelmReleaseStale",
    "24h",
    "(time() - helm_release_last_deployed_timestamp) / 86400 > 30"
)]
#[case("HelmDriftDetected", "4h", "helm_drift_detected == 1")]
fn published_alerts_keep_their_expressions(
    #[case] name: &str,
    #[case] wait: &str,
    #[case] expression: &str,
) {
    let rules = rules();
    let alerts = all_alerts(&rules);
    let alert = alerts.iter().find(|alert| alert["alert"] == name).unwrap();
    let words: Vec<&str> = text(&alert["expr"]).split_whitespace().collect();
    assert_eq!(words.join(" "), expression);
    assert_eq!(alert["for"], wait);
}

#[test]
fn each_alert_is_explained_and_has_a_severity() {
    const PAGE: &str = "https://github.com/helm-guard/helm-guard/blob/main/docs/monitoring.md#";
    let page = fs::read_to_string(root().join("docs/monitoring.md")).unwrap();
    let (_, section) = page.split_once("\n## Prometheus alerts\n").unwrap();
    let headings: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let rules = rules();
    let mut names = BTreeSet::new();
    for alert in all_alerts(&rules) {
        let (name, annotations) = (text(&alert["alert"]), &alert["annotations"]);
        assert!(names.insert(name), "two alerts {name}");
        let severity = text(&alert["labels"]["severity"]);
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        let runbook = text(&annotations["runbook_url"]).strip_prefix(PAGE);
        assert_eq!(runbook, Some(&*name.to_lowercase()), "{name}");
        assert!(!text(&annotations["summary"]).ends_with('.'), "{name}");
        assert!(text(&annotations["description"]).ends_with('.'), "{name}");
    }
    assert_eq!(names, headings);
}
