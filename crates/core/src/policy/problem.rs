//! The problems of a policy, each with its place, all at once.
//!
//! Invariant: the number and the size of the problems are bounded: [`SHOWN`] problems of [`TEXT_CHARS`]
//! characters each. The others are counted.

use std::{borrow::Cow, fmt};

use crate::text::{self, suggest};

/// The most problems that are kept and shown; more are counted.
pub const SHOWN: usize = 32;

/// The most characters of a text in a message: more than this crate writes by itself, so only texts
/// from a document are ever cut.
pub(crate) const TEXT_CHARS: usize = 512;

/// A text from a document, for a message.
pub fn shortened(text: &str) -> Cow<'_, str> {
    text::shortened(text, TEXT_CHARS)
}

/// One problem of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its place, as a path of the document: `spec.overrides[2].match.releases.chart.version`.
    pub at: String,
    /// The error, lowercase and without a period.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// What to say of an unknown field instead of serde's list of all known ones, if one of them is similar.
fn meant(text: &str) -> Option<String> {
    let rest = text.strip_prefix("unknown field `")?;
    let (field, known) = rest.split_once("`, expected ")?;
    let known = known.split('`').skip(1).step_by(2);
    let nearest = suggest::nearest(field, known)?;
    Some(format!(
        "unknown field `{field}`; did you mean `{nearest}`?"
    ))
}

/// The problems found so far.
#[derive(Debug, Default)]
pub struct Problems {
    shown: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, at: impl Into<String>, what: impl fmt::Display) {
        if self.shown.len() == SHOWN {
            self.more += 1;
            return;
        }
        self.shown.push(Problem {
            at: shortened(&at.into()).into_owned(),
            what: shortened(&what.to_string()).into_owned(),
        });
    }

    /// The value, or `None` after adding its problem.
    pub fn take<T, E: fmt::Display>(&mut self, at: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(at, error)).ok()
    }

    /// The same for a part of a document: a misspelled field is named with the one that may have been meant.
    pub fn parse<T>(&mut self, at: &str, result: serde_json::Result<T>) -> Option<T> {
        let named = |error: serde_json::Error| {
            let text = error.to_string();
            meant(&text).unwrap_or(text)
        };
        self.take(at, result.map_err(named))
    }

    /// Adds those of another check.
    pub fn extend(&mut self, error: PolicyError) {
        self.more += error.more;
        for Problem { at, what } in error.problems {
            self.add(at, what);
        }
    }

    /// The result: no problem, or all of them.
    pub(crate) fn conclude(self) -> Result<(), PolicyError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.into_error())
        }
    }

    /// The error; there must be a problem.
    pub(crate) fn into_error(self) -> PolicyError {
        PolicyError {
            problems: self.shown,
            more: self.more,
        }
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// As [`PolicyError::lines`].
    pub fn lines(self) -> Vec<String> {
        self.into_error().lines()
    }
}

/// An invalid policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError {
    /// The problems, at most [`SHOWN`].
    pub problems: Vec<Problem>,
    /// The number of further problems.
    pub more: usize,
}

impl PolicyError {
    /// A line for each problem, and one for the rest.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        lines.extend((self.more > 0).then(|| format!("and {} more", self.more)));
        lines
    }
}

impl fmt::Display for PolicyError {
    /// One line; [`PolicyError::lines`] has them one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to use the policy: {}", self.lines().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(count: usize) -> PolicyError {
        let mut problems = Problems::default();
        for n in 0..count {
            problems.add(format!("spec.a[{n}]"), "is wrong");
        }
        problems.into_error()
    }

    #[test]
    fn problems_beyond_the_limit_are_counted() {
        assert_eq!(problems(SHOWN).lines().len(), SHOWN);
        let lines = problems(SHOWN + 8).lines();
        assert_eq!(lines.len(), SHOWN + 1);
        assert_eq!(lines.last().map(String::as_str), Some("and 8 more"));
        let error = problems(100_000).to_string();
        assert!(error.ends_with("; and 99968 more"), "{error}");
        assert!(error.len() < SHOWN * 32, "{error}");
    }

    #[test]
    fn a_text_of_any_length_is_cut_between_characters() {
        let mut problems = Problems::default();
        problems.add("é".repeat(100_000), "ü".repeat(100_000));
        let error = problems.into_error().to_string();
        assert!(
            error.chars().count() < 2 * TEXT_CHARS + 64,
            "{}",
            error.len()
        );
        assert!(error.contains('…'), "{error}");
    }
}
