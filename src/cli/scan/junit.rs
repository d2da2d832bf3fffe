//! A scan as `JUnit` XML, so that a CI shows what drifted next to the tests that failed.
//!
//! | in the report | here |
//! |---|---|
//! | a release | a suite |
//! | an object with findings that count | a test case that failed, one line for each finding |
//! | what could not be read or compared | a test case with an error |
//! | an object with findings for information only | a test case that passed, with its output |
//! | all other objects of a release | one test case that passed; skipped if they were not compared |
//! | orphans | a suite |
//! | other failures of the scan | a suite of errors |
//!
//! A test case has the same name in every scan, so a CI can follow it. Start at [`junit`].

use std::fmt::Write;

use helm_guard_core::{
    scan::{
        DriftFinding, ScanReport,
        report::{DriftState, ReleaseReport},
    },
    text::shortened,
};
use serde_json::Value;

use super::{
    group::by_object,
    summary::{failure, unlisted},
    xml::{content, tag},
};

/// The longest summary of a test case, in characters. Its text is whole.
const SUMMARY_CHARS: usize = 300;

/// The XML. `counts` says which findings make a test case fail: those that make the command fail.
pub(super) fn junit(report: &ScanReport, counts: impl Fn(&DriftFinding) -> bool) -> String {
    let suites = report.releases.iter();
    let mut suites: Vec<TestSuite> = suites.map(|release| of_release(release, &counts)).collect();
    if !report.orphans.is_empty() {
        let orphans = report.orphans.iter();
        let orphans: Vec<_> = orphans.map(|orphan| &orphan.finding).collect();
        let cases = orphans.iter().map(|finding| {
            let name = finding.object.to_string();
            TestCase::of(name, &[*finding], &counts)
        });
        suites.push(TestSuite {
            name: "orphans".to_owned(),
            cases: cases.collect(),
        });
    }
    if !report.errors.is_empty() {
        let cases = report.errors.iter().map(|one| {
            let kind = one.kind.as_deref().unwrap_or("scan");
            let place = one.namespace.as_deref().unwrap_or("all namespaces");
            TestCase {
                name: format!("{kind} in {place}"),
                outcome: Outcome::Error("ScanFailure".to_owned(), failure(one)),
            }
        });
        suites.push(TestSuite {
            name: "scan".to_owned(),
            cases: cases.collect(),
        });
    }
    written(report, &suites)
}

struct TestSuite {
    name: String,
    cases: Vec<TestCase>,
}

struct TestCase {
    name: String,
    outcome: Outcome,
}

/// How a test case ended; a class and a text where something is wrong.
enum Outcome {
    Passed,
    /// Passed, with a text.
    Noted(String),
    Skipped(&'static str),
    Failure(String, String),
    Error(String, String),
}

fn of_release(release: &ReleaseReport, counts: impl Fn(&DriftFinding) -> bool) -> TestSuite {
    let rest = match release.state {
        DriftState::Pending => Outcome::Skipped("an operation of Helm is running"),
        DriftState::Error => Outcome::Skipped("not everything of the release could be compared"),
        DriftState::InSync | DriftState::Drifted => Outcome::Passed,
    };
    let mut cases = vec![TestCase {
        name: "other declared objects".to_owned(),
        outcome: rest,
    }];
    for findings in by_object(&release.findings) {
        let Some(first) = findings.first() else {
            continue;
        };
        cases.push(TestCase::of(first.object.to_string(), &findings, &counts));
    }
    if let Some(more) = unlisted(release) {
        cases.push(TestCase {
            name: "findings that are not listed".to_owned(),
            outcome: Outcome::Failure("Unlisted".to_owned(), more),
        });
    }
    TestSuite {
        name: format!("{}/{}", release.namespace, release.name),
        cases,
    }
}

impl TestCase {
    fn of(
        name: String,
        findings: &[&DriftFinding],
        counts: impl Fn(&DriftFinding) -> bool,
    ) -> Self {
        let text: String = findings.iter().map(|finding| described(finding)).collect();
        let class_of = |is_it: &dyn Fn(&DriftFinding) -> bool| {
            let mut found = findings.iter().filter(|finding| is_it(finding));
            found.next().map(|finding| finding.class.to_string())
        };
        let outcome = match (class_of(&DriftFinding::is_error), class_of(&counts)) {
            (Some(class), _) => Outcome::Error(class, text),
            (None, Some(class)) => Outcome::Failure(class, text),
            (None, None) => Outcome::Noted(text),
        };
        Self { name, outcome }
    }
}

/// A finding in lines. The first one is a sentence.
fn described(finding: &DriftFinding) -> String {
    let mut text = format!("{}: {}\n", finding.class, finding.message);
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name}: {value}");
        }
    };
    line("field", finding.path.clone());
    line("declared", finding.declared.as_ref().map(Value::to_string));
    line("live", finding.live.as_ref().map(Value::to_string));
    let writer = finding.writer.as_ref();
    line("written by", writer.map(|writer| writer.manager.clone()));
    line("since", finding.since.clone());
    line(
        "next upgrade",
        Some(finding.consequence.as_str().to_owned()),
    );
    line("emergency change", finding.emergency_change.clone());
    line("ID", Some(finding.id.clone()));
    text
}

fn written(report: &ScanReport, suites: &[TestSuite]) -> String {
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let name = format!("helm-guard scan of {}", report.cluster);
    xml.push_str(&start("testsuites", &name, all(), &[]));
    for suite in suites {
        let at = [("timestamp", report.scanned_at.trim_end_matches('Z'))];
        xml.push_str("  ");
        xml.push_str(&start("testsuite", &suite.name, suite.cases.iter(), &at));
        for case in &suite.cases {
            write_case(&mut xml, &suite.name, case);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// The start of a suite with the numbers of its cases.
fn start<'c>(
    element: &str,
    name: &str,
    cases: impl Iterator<Item = &'c TestCase>,
    more: &[(&str, &str)],
) -> String {
    let (mut tests, mut failures, mut errors, mut skipped) = (0, 0, 0, 0);
    for case in cases {
        tests += 1;
        match case.outcome {
            Outcome::Passed | Outcome::Noted(_) => {}
            Outcome::Skipped(_) => skipped += 1,
            Outcome::Failure(..) => failures += 1,
            Outcome::Error(..) => errors += 1,
        }
    }
    let counts = [tests, failures, errors, skipped].map(|count: usize| count.to_string());
    let [tests, failures, errors, skipped] = counts.each_ref().map(String::as_str);
    let mut attributes = vec![
        ("name", name),
        ("tests", tests),
        ("failures", failures),
        ("errors", errors),
        ("skipped", skipped),
    ];
    attributes.extend(more);
    format!("{}>\n", tag(element, &attributes))
}

fn write_case(xml: &mut String, suite: &str, case: &TestCase) {
    let start = tag("testcase", &[("classname", suite), ("name", &case.name)]);
    let body = match &case.outcome {
        Outcome::Passed => None,
        Outcome::Noted(text) => Some(format!("<system-out>{}</system-out>", content(text))),
        Outcome::Skipped(why) => Some(format!("{}/>", tag("skipped", &[("message", why)]))),
        Outcome::Failure(class, text) => Some(wrong("failure", class, text)),
        Outcome::Error(class, text) => Some(wrong("error", class, text)),
    };
    // Writing to a string cannot fail.
    let _ = match body {
        None => writeln!(xml, "    {start}/>"),
        Some(body) => writeln!(xml, "    {start}>\n      {body}\n    </testcase>"),
    };
}

fn wrong(element: &str, class: &str, text: &str) -> String {
    let summary = text.lines().next().unwrap_or_default();
    let summary = shortened(summary, SUMMARY_CHARS);
    let start = tag(element, &[("type", class), ("message", &summary)]);
    format!("{start}>{}</{element}>", content(text))
}

#[cfg(test)]
mod tests {
    use helm_guard_core::scan::FindingSeverity;
    use roxmltree::{Document, Node};

    use super::*;
    use crate::cli::scan::sample::{self, HOSTILE};

    fn counts(finding: &DriftFinding) -> bool {
        finding.severity > FindingSeverity::Info
    }

    fn cases<'d>(document: &'d Document<'d>) -> Vec<Node<'d, 'd>> {
        let all = document.descendants();
        all.filter(|node| node.has_tag_name("testcase")).collect()
    }

    /// The cases with such an element.
    fn with(document: &Document<'_>, element: &str) -> Vec<String> {
        let cases = cases(document).into_iter();
        let found = cases.filter(|case| case.children().any(|node| node.has_tag_name(element)));
        let name = |case: Node<'_, '_>| {
            let text = |key| case.attribute(key).unwrap();
            format!("{}: {}", text("classname"), text("name"))
        };
        found.map(name).collect()
    }

    #[test]
    fn a_report_is_a_test_run() {
        insta::assert_snapshot!("junit", junit(&sample::report(), counts));
    }

    #[test]
    fn each_object_ends_as_its_findings_say() {
        let xml = junit(&sample::report(), counts);
        let document = Document::parse(&xml).unwrap();
        assert_eq!(
            with(&document, "failure"),
            [
                "shop/web: Deployment shop/web",
                "shop/web: ConfigMap shop/web",
                "shop/web: Secret shop/web",
                "shop/web: Service shop/web",
                "shop/web: findings that are not listed",
                "orphans: ConfigMap shop/left",
            ]
        );
        assert_eq!(
            with(&document, "error"),
            [
                "pay/ledger: Ledger shop/main",
                "scan: Ingress.networking.k8s.io in shop"
            ]
        );
        assert_eq!(
            with(&document, "system-out"),
            [
                "shop/web: Widget shop/web",
                "orphans: PersistentVolumeClaim shop/data"
            ]
        );
        assert_eq!(
            with(&document, "skipped"),
            ["pay/ledger: other declared objects"]
        );
        let names: Vec<_> = cases(&document)
            .iter()
            .map(|case| (case.attribute("classname"), case.attribute("name")))
            .collect();
        assert!(names.contains(&(Some("shop/clean"), Some("other declared objects"))));
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn the_numbers_are_those_of_the_cases() {
        let xml = junit(&sample::report(), counts);
        let document = Document::parse(&xml).unwrap();
        let root = document.root_element();
        let suites = root.children().filter(Node::is_element);
        for suite in suites.chain([root]) {
            for (attribute, element) in [
                ("failures", "failure"),
                ("errors", "error"),
                ("skipped", "skipped"),
                ("tests", "testcase"),
            ] {
                let found = suite
                    .descendants()
                    .filter(|node| node.has_tag_name(element));
                let count = found.count().to_string();
                assert_eq!(suite.attribute(attribute), Some(&*count), "{xml}");
            }
        }
    }

    #[test]
    fn a_release_in_an_operation_has_not_passed() {
        let mut report = sample::of(Vec::new());
        report.releases[0].state = DriftState::Pending;
        let xml = junit(&report, counts);
        let document = Document::parse(&xml).unwrap();
        assert_eq!(
            with(&document, "skipped"),
            ["shop/web: other declared objects"]
        );
    }

    /// `--fail-on` decides about the exit code, and so about the test cases.
    #[test]
    fn only_findings_that_count_fail() {
        let xml = junit(&sample::report(), |finding| {
            finding.class.as_str() == "Missing"
        });
        let document = Document::parse(&xml).unwrap();
        assert_eq!(
            with(&document, "failure"),
            [
                "shop/web: Service shop/web",
                "shop/web: findings that are not listed"
            ]
        );
        assert_eq!(with(&document, "error").len(), 2);
    }

    #[test]
    fn any_text_is_valid_xml() {
        let mut report = sample::report();
        let long = HOSTILE.repeat(2_000);
        report.cluster.clone_from(&long);
        let release = report.releases.last_mut().unwrap();
        release.name.clone_from(&long);
        for finding in &mut release.findings {
            finding.message.clone_from(&long);
            finding.object.name.clone_from(&long);
            finding.path = Some(long.clone());
        }
        let xml = junit(&report, counts);
        let document = Document::parse(&xml).unwrap();
        let is_long = |node: &Node<'_, '_>| {
            node.attribute("message")
                .is_some_and(|text| text.chars().count() > 400)
        };
        assert!(!document.descendants().any(|node| is_long(&node)));
    }
}
