//! The metrics and labels that an expression names.
//!
//! promtool parses the expressions; this only finds the selectors in an expression that is valid.

use std::{iter::Peekable, str::Chars};

use rstest::rstest;

/// A metric, and the labels that its matchers name.
#[derive(Debug)]
pub struct SelectedSeries {
    pub metric: String,
    pub labels: Vec<String>,
}

/// Words before a list of labels in parentheses.
const BEFORE_LABELS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];

const OPERATORS: [&str; 7] = ["and", "or", "unless", "offset", "bool", "inf", "nan"];

/// The selectors of an expression, in order.
pub fn selected(expression: &str) -> Vec<SelectedSeries> {
    let mut found = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(&char) = rest.peek() {
        match char {
            '"' => skip_string(&mut rest),
            '[' => skip_past(&mut rest, ']'),
            '0'..='9' => {
                word(&mut rest);
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let name = word(&mut rest);
                found.extend(selector(name, &mut rest));
            }
            '{' => panic!("a selector without a metric: {expression}"),
            _ => {
                rest.next();
            }
        }
    }
    found
}

/// The selector that starts with a word, if that is a metric.
fn selector(name: String, rest: &mut Peekable<Chars<'_>>) -> Option<SelectedSeries> {
    skip_spaces(rest);
    let next = rest.peek().copied();
    if BEFORE_LABELS.contains(&&*name) {
        if next == Some('(') {
            skip_past(rest, ')');
        }
        return None;
    }
    let mut ahead = rest.clone();
    let is_function = next == Some('(') || ["by", "without"].contains(&&*word(&mut ahead));
    if is_function || OPERATORS.contains(&&*name) {
        return None;
    }
    let labels = if next == Some('{') {
        matched_labels(rest)
    } else {
        Vec::new()
    };
    Some(SelectedSeries {
        metric: name,
        labels,
    })
}

/// The labels of `{label="value", …}`.
fn matched_labels(rest: &mut Peekable<Chars<'_>>) -> Vec<String> {
    let mut labels = Vec::new();
    while let Some(&char) = rest.peek() {
        match char {
            '"' => skip_string(rest),
            'a'..='z' | 'A'..='Z' | '_' => labels.push(word(rest)),
            '}' => {
                rest.next();
                break;
            }
            _ => {
                rest.next();
            }
        }
    }
    labels
}

fn word(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(char) =
        rest.next_if(|char| char.is_ascii_alphanumeric() || ['_', ':', '.'].contains(char))
    {
        word.push(char);
    }
    word
}

fn skip_spaces(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|char| char.is_whitespace()).is_some() {}
}

fn skip_past(rest: &mut Peekable<Chars<'_>>, end: char) {
    rest.find(|char| *char == end);
}

/// A string in double quotes.
fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    rest.next();
    while let Some(char) = rest.next() {
        match char {
            '\\' => {
                rest.next();
            }
            '"' => break,
            _ => {}
        }
    }
}

#[rstest]
#[case::plain("up == 1", &["up{}"])]
#[case::function("rate(a_total[5m]) > 0", &["a_total{}"])]
#[case::labels(r#"a{b="c, d{", e=~"f"} or g"#, &["a{b,e}", "g{}"])]
#[case::grouping_before("sum by (b) (a)", &["a{}"])]
#[case::grouping_after("sum(a) by (b)", &["a{}"])]
#[case::matching("a * on (b) group_left (c) d", &["a{}", "d{}"])]
#[case::time("time() - max without (pod) (a) > 3 * 3600", &["a{}"])]
#[case::offset("a unless a offset 5m", &["a{}", "a{}"])]
fn selectors_are_found(#[case] expression: &str, #[case] expected: &[&str]) {
    let found: Vec<String> = selected(expression)
        .iter()
        .map(|series| format!("{}{{{}}}", series.metric, series.labels.join(",")))
        .collect();
    assert_eq!(found, expected);
}
