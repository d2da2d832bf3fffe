//! Disjoint ranges of versions.

use semver::{Comparator, Op, VersionReq};

type Number = (u64, u64, u64);

/// The lower bound, inclusive, and the upper bound, exclusive; the upper bound may be absent.
struct Interval {
    from: Number,
    to: Option<Number>,
}

/// Whether no release version is in both. Pre-releases are ignored: they are disjoint if the
/// versions around them are.
pub(super) fn apart(one: &VersionReq, other: &VersionReq) -> bool {
    let all = one.comparators.iter().chain(&other.comparators);
    let mut common = Interval {
        from: (0, 0, 0),
        to: None,
    };
    for comparator in all {
        let interval = interval(comparator);
        common.from = common.from.max(interval.from);
        common.to = match (common.to, interval.to) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    common.to.is_some_and(|to| to <= common.from)
}

fn interval(comparator: &Comparator) -> Interval {
    let major = comparator.major;
    let minor = comparator.minor.unwrap_or(0);
    let patch = comparator.patch.unwrap_or(0);
    let at = (major, minor, patch);
    // The first version after all versions that start with the comparator's digits.
    let after = match (comparator.minor, comparator.patch) {
        (None, _) => (major + 1, 0, 0),
        (Some(minor), None) => (major, minor + 1, 0),
        (Some(minor), Some(patch)) => (major, minor, patch + 1),
    };
    let between = |from, to| Interval { from, to: Some(to) };
    match comparator.op {
        Op::Greater => Interval {
            from: after,
            to: None,
        },
        Op::GreaterEq => Interval { from: at, to: None },
        Op::Less => between((0, 0, 0), at),
        Op::LessEq => between((0, 0, 0), after),
        Op::Tilde if comparator.minor.is_some() => between(at, (major, minor + 1, 0)),
        Op::Caret if major > 0 || comparator.minor.is_none() => between(at, (major + 1, 0, 0)),
        Op::Caret if minor > 0 || comparator.patch.is_none() => between(at, (0, minor + 1, 0)),
        Op::Exact | Op::Wildcard | Op::Tilde | Op::Caret => between(at, after),
        // A variant that a later version of the library adds: not known to exclude anything.
        _ => Interval {
            from: (0, 0, 0),
            to: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("<2", ">=2", true)]
    #[case("<=1.2", ">1.2", true)]
    #[case("<=1.2", ">=1.2.3", false)]
    #[case("~1.2", "~1.3", true)]
    #[case("^1.2", "^1.9", false)]
    #[case("^0.2", "^0.3", true)]
    #[case("1.*", "2.*", true)]
    #[case(">=1, <2", "=1.5.0", false)]
    #[case("*", "=1.5.0", false)]
    fn disjoint_ranges_are_recognized(
        #[case] one: &str,
        #[case] other: &str,
        #[case] expected: bool,
    ) {
        let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
        assert_eq!(apart(&one, &other), expected);
        assert_eq!(apart(&other, &one), expected);
    }
}
