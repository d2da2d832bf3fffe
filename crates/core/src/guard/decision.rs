//! From a verdict to a decision: the one place where modes and break-glass identities count.

use super::{ObjectRef, Outcome, Request, Verdict};
use crate::policy::Mode;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It violates nothing.
    Allow,
    /// Nobody can say whether it does: it passes, with a warning, and is counted.
    Indeterminate,
    /// Nobody can say whether it does, and it is in a namespace that fails closed: the API server gets an
    /// error instead of an answer, and refuses it.
    FailClosed,
    /// It is refused.
    Deny,
    /// It passes with a kubectl warning, as the mode says.
    Warn,
    /// It passes; only the record knows, as the mode says.
    Audit,
    /// It passes because of who asks, with a warning and a record.
    BreakGlass,
}

impl Decision {
    /// The word for metrics, audit annotations and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allowed",
            Self::Indeterminate => "indeterminate",
            Self::FailClosed => "fail-closed",
            Self::Deny => "denied",
            Self::Warn => "warned",
            Self::Audit => "audited",
            Self::BreakGlass => "break-glass",
        }
    }

    /// Whether the request goes on.
    pub fn allows(self) -> bool {
        !matches!(self, Self::Deny | Self::FailClosed)
    }

    /// The same by an entry that fails closed: there is no passing without a verdict.
    #[must_use]
    pub fn closed(self) -> Self {
        match self {
            Self::Indeterminate => Self::FailClosed,
            other => other,
        }
    }
}

/// A request with all that was decided about it: what is answered and recorded.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// What was asked.
    pub request: &'a Request<'a>,
    /// The object that was judged (of a scale request: the scaled one), as far as it is known.
    pub object: Option<&'a ObjectRef<'a>>,
    /// The judgement.
    pub verdict: &'a Verdict,
    /// What becomes of it.
    pub decision: Decision,
    /// The mode in force.
    pub mode: Mode,
}

/// Who asks, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Anyone.
    Ordinary,
    /// One of the configured break-glass identities.
    BreakGlass,
}

/// Decides. A break-glass identity counts in every mode, since what it changes is recorded; a
/// request that violates nothing is nobody's emergency.
pub fn decide(outcome: Outcome, mode: Mode, asker: Asker) -> Decision {
    match (outcome, asker, mode) {
        (Outcome::Pass, _, _) => Decision::Allow,
        (Outcome::Indeterminate, _, _) => Decision::Indeterminate,
        (Outcome::Violation, Asker::BreakGlass, _) => Decision::BreakGlass,
        (Outcome::Violation, Asker::Ordinary, Mode::Deny) => Decision::Deny,
        (Outcome::Violation, Asker::Ordinary, Mode::Warn) => Decision::Warn,
        (Outcome::Violation, Asker::Ordinary, Mode::Audit) => Decision::Audit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_ordinary_violation_in_deny_mode_is_refused() {
        for outcome in [Outcome::Pass, Outcome::Indeterminate, Outcome::Violation] {
            for mode in [Mode::Deny, Mode::Warn, Mode::Audit] {
                for asker in [Asker::Ordinary, Asker::BreakGlass] {
                    let refused = !decide(outcome, mode, asker).allows();
                    let expected = outcome == Outcome::Violation
                        && mode == Mode::Deny
                        && asker == Asker::Ordinary;
                    assert_eq!(refused, expected, "{outcome:?} {mode:?} {asker:?}");
                }
            }
        }
    }

    #[test]
    fn a_break_glass_identity_that_violates_nothing_is_like_anyone() {
        assert_eq!(
            decide(Outcome::Pass, Mode::Deny, Asker::BreakGlass),
            Decision::Allow
        );
        assert_eq!(
            decide(Outcome::Indeterminate, Mode::Deny, Asker::BreakGlass),
            Decision::Indeterminate
        );
    }

    #[test]
    fn each_decision_has_a_word_of_its_own() {
        let words = [
            Decision::Allow,
            Decision::Indeterminate,
            Decision::FailClosed,
            Decision::Deny,
            Decision::Warn,
            Decision::Audit,
            Decision::BreakGlass,
        ]
        .map(Decision::as_str);
        let expected = [
            "allowed",
            "indeterminate",
            "fail-closed",
            "denied",
            "warned",
            "audited",
            "break-glass",
        ];
        assert_eq!(words, expected);
    }
}
