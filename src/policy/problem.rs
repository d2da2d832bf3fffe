//! What is wrong with a policy: all of it, each thing with its place, so that one look is enough.

use std::fmt;

/// One thing that is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path of the document: `spec.overrides[2].match.releases.chart.version`.
    pub at: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one.
    pub fn add(&mut self, at: impl Into<String>, what: impl fmt::Display) {
        self.0.push(Problem {
            at: at.into(),
            what: what.to_string(),
        });
    }

    /// The value, or what is wrong with it.
    pub fn take<T, E: fmt::Display>(&mut self, at: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(at, error)).ok()
    }

    /// Whether all is well, or everything that is not.
    pub fn conclude(self) -> Result<(), PolicyError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.into_error())
        }
    }

    /// Where it is known already that not all is well.
    pub fn into_error(self) -> PolicyError {
        PolicyError(self.0)
    }
}

/// A policy that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyError(pub Vec<Problem>);

impl fmt::Display for PolicyError {
    /// One line; [`PolicyError::0`] has them one by one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to use the policy: ")?;
        for (n, problem) in self.0.iter().enumerate() {
            let between = if n == 0 { "" } else { "; " };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}
