//! A scan as Markdown (GFM), for a comment on a pull request: a sentence, what could not be looked at, and a table for
//! each group of findings.
//!
//! Invariants
//! - Everything from the cluster is in a code span, so that it is neither markup nor a mention of somebody.
//! - The text fits a comment of GitHub. What is left out is counted, and errors come before findings.
//!
//! Start at [`markdown`].

mod code;

use std::fmt::Write;

use helm_guard_core::{
    scan::{DriftFinding, FindingSeverity, ScanReport},
    text::{counted, plural},
};
use serde_json::Value;

use self::code::code;
use super::{
    group::{self, GroupBy, ReleaseFinding},
    summary::{failure, sentence, unlisted},
};

/// The longest comment of GitHub, in characters.
const COMMENT_CHARS: usize = 65_536;

/// Kept for the sentence about what is left out.
const RESERVED_CHARS: usize = 500;

/// The longest value, in characters.
const VALUE_CHARS: usize = 80;

/// The longest message, in characters.
const MESSAGE_CHARS: usize = 400;

const HEAD: &str =
    "| Finding | Object | Difference | Written by | Next upgrade |\n|---|---|---|---|---|\n";

/// The text.
pub(super) fn markdown(report: &ScanReport, by: GroupBy) -> String {
    let mut comment = Comment::default();
    let is_clean = report.complete && report.findings().all(is_for_information);
    let mark = if is_clean { "✅" } else { "⚠️" };
    comment.must(&format!(
        "## {mark} Helm drift\n\n{}\n",
        code::escaped(&sentence(report))
    ));
    if !report.errors.is_empty() {
        comment.section("\n### Not looked at\n\n");
        for one in &report.errors {
            comment.row(
                "error",
                &format!("- {}\n", code(&failure(one), MESSAGE_CHARS)),
            );
        }
    }
    for group in group::groups(report, by) {
        let heading = group.heading();
        let (title, count) = heading.rsplit_once(": ").unwrap_or((&heading, ""));
        comment.section(&format!(
            "\n### {}: {count}\n\n{HEAD}",
            code(title, VALUE_CHARS)
        ));
        for one in &group.findings {
            comment.row("finding", &row(one, by));
        }
    }
    let more: Vec<String> = report.releases.iter().filter_map(unlisted).collect();
    if !more.is_empty() {
        comment.section("\n### Not listed\n\n");
        for one in more {
            comment.row("note", &format!("- {}\n", code(&one, MESSAGE_CHARS)));
        }
    }
    comment.finish()
}

fn is_for_information(finding: &DriftFinding) -> bool {
    finding.severity == FindingSeverity::Info
}

fn row(one: &ReleaseFinding<'_>, by: GroupBy) -> String {
    let finding = one.finding;
    let mut object = code(&finding.object.to_string(), MESSAGE_CHARS);
    if by != GroupBy::Release {
        let release = code(&one.release_name(), MESSAGE_CHARS);
        object = format!("{object} of release {release}");
    }
    let mut writer = String::new();
    // Writing to a string cannot fail.
    if let Some(by) = &finding.writer {
        let _ = write!(writer, "{}", code(&by.manager, VALUE_CHARS));
    }
    if let Some(since) = &finding.since {
        let comma = if writer.is_empty() { "" } else { ", " };
        let _ = write!(writer, "{comma}{}", code(since, VALUE_CHARS));
    }
    if let Some(change) = &finding.emergency_change {
        let _ = write!(writer, ", emergency change {}", code(change, VALUE_CHARS));
    }
    format!(
        "| **{}** | {object} | {} | {writer} | {} |\n",
        finding.class,
        difference(finding),
        finding.consequence.as_str()
    )
}

fn difference(finding: &DriftFinding) -> String {
    let Some(path) = &finding.path else {
        return code(&finding.message, MESSAGE_CHARS);
    };
    let value = |value: &Option<Value>| match value {
        None => "nothing".to_owned(),
        Some(value) => code(&value.to_string(), VALUE_CHARS),
    };
    let (declared, live) = (value(&finding.declared), value(&finding.live));
    let path = code(path, MESSAGE_CHARS);
    if declared == live {
        format!("{path}: {declared}")
    } else {
        format!("{path}: {declared} → {live}")
    }
}

/// A text that does not grow over the limit.
#[derive(Default)]
struct Comment {
    text: String,
    chars: usize,
    /// The head of a section, until a row of it fits.
    head: String,
    /// What did not fit: how many of what.
    omitted: Vec<(&'static str, usize)>,
}

impl Comment {
    fn must(&mut self, text: &str) {
        self.chars += text.chars().count();
        self.text.push_str(text);
    }

    /// Begins a section, which is left out if nothing of it fits.
    fn section(&mut self, head: &str) {
        head.clone_into(&mut self.head);
    }

    fn row(&mut self, what: &'static str, row: &str) {
        let needed = self.head.chars().count() + row.chars().count();
        if self.omitted.is_empty() && self.chars + needed + RESERVED_CHARS <= COMMENT_CHARS {
            let head = std::mem::take(&mut self.head);
            self.must(&head);
            self.must(row);
            return;
        }
        // Everything after the first that does not fit: a shorter one would be out of its order.
        match self.omitted.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => self.omitted.push((what, 1)),
        }
    }

    fn finish(mut self) -> String {
        let omitted = self.omitted.iter();
        let total: usize = omitted.clone().map(|(_, count)| count).sum();
        if total > 0 {
            let omitted = omitted.map(|(what, count)| counted(*count, what));
            let omitted: Vec<String> = omitted.collect();
            let verb = if plural(total).is_empty() {
                "is"
            } else {
                "are"
            };
            self.must(&format!(
                "\n{} {verb} not shown here, because a comment holds {COMMENT_CHARS} characters at most. \
                 `helm-guard scan -o json` has all of them.\n",
                omitted.join(" and ")
            ));
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::scan::sample::{self, HOSTILE};

    #[test]
    fn a_report_is_a_comment() {
        insta::assert_snapshot!("markdown", markdown(&sample::report(), GroupBy::Release));
    }

    #[test]
    fn a_clean_release_is_one_sentence() {
        let text = markdown(&sample::of(Vec::new()), GroupBy::Release);
        assert!(
            text.starts_with("## ✅ Helm drift\n\n3 releases, "),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn nothing_that_was_not_looked_at_is_clean() {
        let mut report = sample::of(Vec::new());
        report.complete = false;
        let text = markdown(&report, GroupBy::Release);
        assert!(text.starts_with("## ⚠️ Helm drift"), "{text}");
        assert!(text.contains("Not everything could be looked at"), "{text}");
    }

    fn cells(line: &str) -> usize {
        let pipes = line.match_indices('|');
        pipes.filter(|(at, _)| !line[..*at].ends_with('\\')).count() - 1
    }

    #[test]
    fn no_value_leaves_its_cell() {
        let mut report = sample::report();
        for finding in &mut report.releases[2].findings {
            finding.path = finding.path.as_ref().map(|_| HOSTILE.to_owned());
            finding.declared = Some(json!(HOSTILE));
            finding.message = HOSTILE.to_owned();
            finding.object.name = HOSTILE.to_owned();
            finding.emergency_change = Some(HOSTILE.to_owned());
        }
        report.errors[0].message = HOSTILE.to_owned();
        for by in [
            GroupBy::Release,
            GroupBy::Writer,
            GroupBy::Class,
            GroupBy::Chart,
        ] {
            let text = markdown(&report, by);
            for line in text.lines().filter(|line| line.starts_with('|')) {
                assert_eq!(cells(line), 5, "{line}");
            }
            assert!(
                !text.contains(|char: char| char.is_control() && char != '\n'),
                "{text:?}"
            );
            // This must notify no user: GitHub looks for names outside of code.
            assert!(!text.contains("@all"), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_its_marks_only() {
        let text = markdown(&sample::report(), GroupBy::Release);
        assert!(
            text.contains("`\"<redacted 05d210d8>\"` → `\"<redacted 1f2e3d4c>\"`"),
            "{text}"
        );
    }

    #[test]
    fn a_comment_is_never_too_long_and_says_what_is_left_out() {
        let mut report = sample::report();
        let finding = report.releases[2].findings[0].clone();
        report.releases[2].findings = vec![finding.clone(); 2_000];
        for (at, long) in [
            "x".repeat(100_000),
            HOSTILE.repeat(2_000),
            "ä|`".repeat(50_000),
        ]
        .into_iter()
        .enumerate()
        {
            let one = &mut report.releases[2].findings[at];
            one.declared = Some(json!(long));
            one.message.clone_from(&long);
            one.object.name = long;
        }
        let text = markdown(&report, GroupBy::Release);
        let length = text.chars().count();
        assert!(
            length <= COMMENT_CHARS && length > COMMENT_CHARS - 2_000,
            "{length}"
        );
        let shown = text.lines().filter(|line| line.starts_with("| **")).count();
        let left = report.findings().count() - shown;
        assert!(
            text.contains(&format!("{left} findings and 1 note are not shown here")),
            "{text}"
        );

        // Errors come first, and are counted too.
        report.errors = vec![report.errors[0].clone(); 5_000];
        let text = markdown(&report, GroupBy::Release);
        assert!(text.chars().count() <= COMMENT_CHARS);
        let shown = text.lines().filter(|line| line.starts_with("- ")).count();
        let count = report.findings().count();
        let expected = format!(
            "{} errors and {count} findings and 1 note are not shown",
            5_000 - shown
        );
        assert!(text.contains(&expected), "{text}");
    }
}
