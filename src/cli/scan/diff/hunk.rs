//! The hunks of one finding: the lines of the declared and of the live value.

use std::{fmt::Write, time::Duration};

use helm_guard_core::{api::reported::ReportedValue, scan::DriftFinding};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::cli::{
    output::{Tone, toned, yaml},
    scan::visible::visible,
};

/// After this, the shortest difference of two texts is no longer looked for, and a longer one is shown.
const MOST_TIME: Duration = Duration::from_secs(1);

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;

/// One side of a difference.
#[derive(Clone, Copy)]
enum Side<'v> {
    /// There is no value.
    Nothing,
    /// A value.
    Whole(&'v Value),
    /// A text about it: its hash, or its beginning.
    Described(&'v str),
}

impl<'v> Side<'v> {
    fn of(value: Option<&'v Value>, is_described: bool) -> Self {
        match value {
            None => Self::Nothing,
            Some(Value::String(text)) if is_described => Self::Described(text),
            Some(value) => Self::Whole(value),
        }
    }

    fn is_text_in_lines(self) -> bool {
        matches!(self, Self::Whole(Value::String(text)) if text.contains('\n'))
    }

    /// The lines; `in_lines` shows strings as they are, and not as JSON.
    fn lines(self, in_lines: bool) -> String {
        let lines = match self {
            Self::Nothing => return String::new(),
            Self::Described(text) => format!("{text}\n"),
            Self::Whole(Value::String(text)) if in_lines => text.clone(),
            Self::Whole(value) => yaml(value),
        };
        visible(&lines, &['\n', '\t'])
    }
}

/// Writes the hunks of a finding, and says whether there are any. Writing to a string cannot fail.
pub(super) fn write_hunks(text: &mut String, finding: &DriftFinding, heading: &str) -> bool {
    let [declared, live] = sides(finding);
    let in_lines = declared.is_text_in_lines() || live.is_text_in_lines();
    let (declared, live) = (declared.lines(in_lines), live.lines(in_lines));
    let mut config = TextDiff::configure();
    let diff = config.timeout(MOST_TIME).diff_lines(&declared, &live);
    let mut unified = diff.unified_diff();
    let mut is_empty = true;
    for hunk in unified.context_radius(CONTEXT_LINES).iter_hunks() {
        is_empty = false;
        let _ = writeln!(text, "{} {heading}", hunk.header());
        for change in hunk.iter_changes() {
            let (tone, sign) = match change.tag() {
                ChangeTag::Equal => (Tone::Plain, ' '),
                ChangeTag::Delete => (Tone::Bad, '-'),
                ChangeTag::Insert => (Tone::Good, '+'),
            };
            let value = change.value().trim_end_matches('\n');
            let _ = writeln!(text, "{}", toned(tone, &format!("{sign}{value}")));
            if change.missing_newline() {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    !is_empty
}

/// What is declared, and what is live.
fn sides(finding: &DriftFinding) -> [Side<'_>; 2] {
    if let Some(exact) = &finding.exact {
        return [&exact.declared, &exact.live].map(|value| Side::of(value.as_ref(), false));
    }
    let is_described = |value| finding.described.contains(&value);
    let declared = Side::of(
        finding.declared.as_ref(),
        is_described(ReportedValue::Declared),
    );
    let live = Side::of(finding.live.as_ref(), is_described(ReportedValue::Live));
    [declared, live]
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::cli::scan::sample;

    fn hunks(declared: Value, live: Value) -> String {
        let mut finding = sample::finding(
            "Changed",
            ("v1", "ConfigMap", "web"),
            json!({"consequence": "Reverted", "message": ""}),
        );
        finding.declared = Some(declared).filter(|value| !value.is_null());
        finding.live = Some(live).filter(|value| !value.is_null());
        let mut text = String::new();
        write_hunks(&mut text, &finding, "H");
        strip_str(&text).to_string()
    }

    #[rstest]
    #[case::number(json!(3), json!(5), "@@ -1 +1 @@ H\n-3\n+5\n")]
    #[case::of_another_type(json!("3"), json!(3), "@@ -1 +1 @@ H\n-\"3\"\n+3\n")]
    #[case::gone(json!("a"), Value::Null, "@@ -1 +0,0 @@ H\n-\"a\"\n")]
    #[case::object(
        json!({"a": 1, "b": [1, 2]}), json!({"a": 1, "b": [1, 3]}),
        "@@ -1,4 +1,4 @@ H\n a: 1\n b:\n   - 1\n-  - 2\n+  - 3\n"
    )]
    #[case::lines(json!("a\nb\n"), json!("a\nc\n"), "@@ -1,2 +1,2 @@ H\n a\n-b\n+c\n")]
    #[case::one_line_became_two(
        json!("a"), json!("a\nb"),
        "@@ -1 +1,2 @@ H\n-a\n\\ No newline at end of file\n+a\n+b\n\\ No newline at end of file\n"
    )]
    #[case::other_line_ends(json!("a\nb\n"), json!("a\r\nb\n"), "@@ -1,2 +1,2 @@ H\n-a\n+a\\r\n b\n")]
    #[case::nothing(Value::Null, Value::Null, "")]
    #[case::equal(json!(1), json!(1), "")]
    fn a_difference_is_shown_in_lines(
        #[case] declared: Value,
        #[case] live: Value,
        #[case] expected: &str,
    ) {
        assert_eq!(hunks(declared, live), expected);
    }

    #[test]
    fn colors_are_those_of_the_other_outputs() {
        let finding = sample::finding(
            "Changed",
            ("v1", "ConfigMap", "web"),
            json!({"declared": 1, "live": 2, "consequence": "Reverted", "message": ""}),
        );
        let mut text = String::new();
        write_hunks(&mut text, &finding, "H");
        let expected = [toned(Tone::Bad, "-1"), toned(Tone::Good, "+2")].join("\n");
        assert!(text.contains(&expected), "{text:?}");
    }

    /// Lines that have nothing in common are the slowest to compare.
    #[test]
    fn large_texts_are_compared_in_bounded_time() {
        let text = |seed: u64| -> String {
            let lines = (0..20_000_u64)
                .map(|n| format!("{:x}\n", (n + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            lines.collect::<Vec<_>>().concat()
        };
        let started = std::time::Instant::now();
        let shown = hunks(json!(text(0)), json!(text(1_000_000)));
        assert!(shown.lines().count() > 40_000);
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
