//! The enforcement mode for an object: from the most specific override that sets one.
//!
//! The parts of an override's `match` determine its precedence, from the highest: release names,
//! chart with version, chart, release namespaces, namespace names, namespace labels, kinds. Two
//! overrides are compared by their highest part, then by the next, so that `release + kind` precedes
//! `release`. A policy is rejected if two overrides with the same precedence could match one object
//! and set different values.

#[cfg(test)]
mod tests;
mod versions;

use std::cmp::Reverse;

use semver::{Version, VersionReq};

use super::{
    Labels, RuleObject,
    problem::Problems,
    scope::{check_kinds, check_namespaces, check_release, holds_kind},
    selector::Selector,
};
use crate::api::{
    GroupKind, GuardPolicySpec, Mode,
    policy::overrides::{Match, Override, UndeclaredMode},
};

/// The modes of a policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modes {
    mode: Mode,
    undeclared: UndeclaredMode,
    /// By precedence, the highest first.
    overrides: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    at: String,
    weight: u8,
    matches: Matches,
    mode: Option<Mode>,
    undeclared: Option<UndeclaredMode>,
}

#[derive(Clone, Debug, Default)]
struct Matches {
    namespaces: Vec<String>,
    labels: Option<Selector>,
    release_names: Vec<String>,
    release_namespaces: Vec<String>,
    chart: Option<ChartMatch>,
    kinds: Vec<GroupKind>,
}

#[derive(Clone, Debug)]
struct ChartMatch {
    name: String,
    version: Option<VersionReq>,
}

/// Whether an override matches an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    Yes,
    No,
    /// It depends on the labels of a namespace, which are not known yet.
    Unknown,
}

impl Modes {
    /// Compiles the modes of a policy.
    pub(crate) fn compile(spec: &GuardPolicySpec, problems: &mut Problems) -> Self {
        let mut overrides: Vec<Compiled> = spec
            .overrides
            .iter()
            .enumerate()
            .map(|(n, one)| Compiled::new(one, format!("spec.overrides[{n}]"), problems))
            .collect();
        for (n, one) in overrides.iter().enumerate() {
            for other in overrides.iter().take(n) {
                one.refuse_tie(other, problems);
            }
        }
        overrides.sort_by_key(|one| Reverse(one.weight));
        Self {
            mode: spec.mode,
            undeclared: spec.undeclared.mode,
            overrides,
        }
    }

    pub(crate) fn default_mode(&self) -> Mode {
        self.mode
    }

    /// The mode for a violation there.
    pub(crate) fn mode(&self, object: &RuleObject<'_>) -> Mode {
        self.strictest(object, self.mode, |one| one.mode)
    }

    /// What happens there to changes of undeclared fields.
    pub(crate) fn undeclared(&self, object: &RuleObject<'_>) -> UndeclaredMode {
        // The strictest is the greatest.
        let default = Reverse(self.undeclared);
        self.strictest(object, default, |one| one.undeclared.map(Reverse))
            .0
    }

    /// Whether undeclared fields count anywhere.
    pub(crate) fn guards_undeclared(&self) -> bool {
        let guards = |mode: UndeclaredMode| mode != UndeclaredMode::Allow;
        guards(self.undeclared)
            || self
                .overrides
                .iter()
                .any(|one| one.undeclared.is_some_and(guards))
    }

    /// The value of the override with the highest precedence. While the labels of a namespace are
    /// unknown, the strictest candidate.
    fn strictest<T: Copy + Ord>(
        &self,
        object: &RuleObject<'_>,
        default: T,
        says: impl Fn(&Compiled) -> Option<T>,
    ) -> T {
        let mut possible: Option<T> = None;
        let with = |possible: Option<T>, said: T| possible.map_or(said, |other| other.min(said));
        for one in &self.overrides {
            let Some(said) = says(one) else { continue };
            match one.matches.meet(object) {
                Meets::No => {}
                Meets::Unknown => possible = Some(with(possible, said)),
                Meets::Yes => return with(possible, said),
            }
        }
        with(possible, default)
    }
}

impl Compiled {
    fn new(document: &Override, at: String, problems: &mut Problems) -> Self {
        let matches = Matches::compile(&document.matches, &format!("{at}.match"), problems);
        if document.mode.is_none() && document.undeclared.is_none() {
            problems.add(&at, "has neither mode nor undeclared");
        }
        Self {
            weight: matches.weight(),
            matches,
            mode: document.mode,
            undeclared: document.undeclared,
            at,
        }
    }

    fn refuse_tie(&self, other: &Self, problems: &mut Problems) {
        let contradict = self.mode.zip(other.mode).is_some_and(|(a, b)| a != b)
            || self
                .undeclared
                .zip(other.undeclared)
                .is_some_and(|(a, b)| a != b);
        if contradict && self.weight == other.weight && !self.matches.excludes(&other.matches) {
            problems.add(
                &self.at,
                format!(
                    "ties with {}: an object could match both, they are equally specific, and they \
                     say different things; make one more specific, or let their names exclude each \
                     other",
                    other.at
                ),
            );
        }
    }
}

impl Matches {
    fn compile(document: &Match, at: &str, problems: &mut Problems) -> Self {
        let namespaces = document.namespaces.clone().unwrap_or_default();
        check_namespaces(
            &namespaces.names,
            &format!("{at}.namespaces.names"),
            problems,
        );
        let releases = document.releases.clone().unwrap_or_default();
        for (n, name) in releases.names.iter().enumerate() {
            check_release(name, &format!("{at}.releases.names[{n}]"), problems);
        }
        check_namespaces(
            &releases.namespaces,
            &format!("{at}.releases.namespaces"),
            problems,
        );
        check_kinds(&document.kinds, &format!("{at}.kinds"), problems);
        let labels = namespaces.selector.and_then(|selector| {
            let at = format!("{at}.namespaces.selector");
            problems.take(&at, Selector::new(&selector))
        });
        let chart = releases.chart.map(|chart| {
            let at = format!("{at}.releases.chart.version");
            let version = chart
                .version
                .as_deref()
                .and_then(|range| problems.take(&at, VersionReq::parse(range)));
            ChartMatch {
                name: chart.name,
                version,
            }
        });
        let matches = Self {
            namespaces: namespaces.names,
            labels,
            release_names: releases.names,
            release_namespaces: releases.namespaces,
            chart,
            kinds: document.kinds.clone(),
        };
        if matches.weight() == 0
            && document
                .namespaces
                .as_ref()
                .is_none_or(|n| n.selector.is_none())
        {
            problems.add(at, "matches everything: set spec.mode instead");
        }
        matches
    }

    /// The given parts, one bit each.
    fn weight(&self) -> u8 {
        let chart = self.chart.as_ref();
        [
            !self.release_names.is_empty(),
            chart.is_some_and(|chart| chart.version.is_some()),
            chart.is_some(),
            !self.release_namespaces.is_empty(),
            !self.namespaces.is_empty(),
            self.labels.is_some(),
            !self.kinds.is_empty(),
        ]
        .iter()
        .fold(0, |weight, given| weight << 1 | u8::from(*given))
    }

    fn meet(&self, object: &RuleObject<'_>) -> Meets {
        let among =
            |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
        let is_met = among(&self.release_names, &object.place.release.name)
            && among(&self.release_namespaces, &object.place.release.namespace)
            && among(&self.namespaces, object.place.namespace)
            && self
                .chart
                .as_ref()
                .is_none_or(|chart| chart.is(object.place.chart))
            && (self.kinds.is_empty() || holds_kind(&self.kinds, &object.place));
        match (&self.labels, object.labels, is_met) {
            (_, _, false) => Meets::No,
            (None, _, true) => Meets::Yes,
            // A cluster-scoped object has no namespace labels.
            (Some(_), _, true) if object.place.namespace.is_empty() => Meets::No,
            (Some(_), Labels::Unknown, true) => Meets::Unknown,
            (Some(selector), Labels::Known(labels), true) => {
                if selector.holds(|key| labels.get(key).map(String::as_str)) {
                    Meets::Yes
                } else {
                    Meets::No
                }
            }
        }
    }

    /// Whether no object can match both, as far as the two overrides show.
    fn excludes(&self, other: &Self) -> bool {
        fn disjoint<T: PartialEq>(these: &[T], other: &[T]) -> bool {
            !these.is_empty() && !other.is_empty() && !these.iter().any(|one| other.contains(one))
        }
        let charts = self.chart.as_ref().zip(other.chart.as_ref());
        let labels = self.labels.as_ref().zip(other.labels.as_ref());
        disjoint(&self.release_names, &other.release_names)
            || disjoint(&self.release_namespaces, &other.release_namespaces)
            || disjoint(&self.namespaces, &other.namespaces)
            || disjoint(&self.kinds, &other.kinds)
            || charts.is_some_and(|(one, another)| one.excludes(another))
            || labels.is_some_and(|(one, another)| one.excludes(another))
    }
}

impl ChartMatch {
    /// Whether `name-version` is this chart. The name must be followed by a version, or `web` would
    /// match `web-api-1.0.0` too.
    fn is(&self, chart: &str) -> bool {
        let Some(version) = chart
            .strip_prefix(self.name.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
        else {
            return false;
        };
        let version = Version::parse(version.strip_prefix('v').unwrap_or(version));
        version.is_ok_and(|version| {
            self.version
                .as_ref()
                .is_none_or(|range| range.matches(&version))
        })
    }

    fn excludes(&self, other: &Self) -> bool {
        let ranges = self.version.as_ref().zip(other.version.as_ref());
        self.name != other.name
            || ranges.is_some_and(|(one, another)| versions::apart(one, another))
    }
}
