//! Label selectors, from Kubernetes objects and from the syntax of `kubectl -l`.

use crate::api::policy::overrides::{Operator, Selector as Document};

/// Requirements that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// An invalid selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Neither letter, digit, dash, underscore, dot nor slash.
    #[error("{0:?} is not a valid label key")]
    Key(String),
    /// `In` and `NotIn` compare with values.
    #[error("In and NotIn need values ({0})")]
    NoValues(String),
    /// `Exists` and `DoesNotExist` do not.
    #[error("Exists and DoesNotExist take no values ({0})")]
    Values(String),
    /// A text that `kubectl -l` would reject.
    #[error("{0:?} is not a requirement such as a=b, a!=b, a in (b,c), a notin (b), a or !a")]
    Requirement(String),
}

impl Selector {
    /// Reads the label selector of a Kubernetes object.
    pub fn new(document: &Document) -> Result<Self, SelectorError> {
        let labels = document.match_labels.iter().map(|(key, value)| {
            let test = Test::In(vec![value.clone()]);
            (key, test)
        });
        let mut requirements = Vec::new();
        for (key, test) in labels {
            requirements.push(Requirement::new(key, test)?);
        }
        for asked in &document.match_expressions {
            let values = || asked.values.clone();
            let test = match asked.operator {
                Operator::In => Test::In(values()),
                Operator::NotIn => Test::NotIn(values()),
                Operator::Exists => Test::Exists,
                Operator::DoesNotExist => Test::Absent,
            };
            let wants_values = matches!(test, Test::In(_) | Test::NotIn(_));
            match (wants_values, asked.values.is_empty()) {
                (true, true) => return Err(SelectorError::NoValues(asked.key.clone())),
                (false, false) => return Err(SelectorError::Values(asked.key.clone())),
                _ => requirements.push(Requirement::new(&asked.key, test)?),
            }
        }
        Ok(Self(requirements))
    }

    /// From the syntax of `kubectl -l`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let requirements = split(text).into_iter().map(Requirement::parse);
        requirements.collect::<Result<_, _>>().map(Self)
    }

    /// The only label that it requires, with the accepted values: any if there are none. `None` if it
    /// requires several labels, or the absence of one.
    pub fn single_label(&self) -> Option<(&str, &[String])> {
        match self.0.as_slice() {
            [only] => match &only.test {
                Test::In(values) => Some((&only.key, values)),
                Test::Exists => Some((&only.key, &[])),
                Test::NotIn(_) | Test::Absent => None,
            },
            _ => None,
        }
    }

    /// Whether labels, or annotations, match it.
    pub fn holds<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> bool {
        self.0.iter().all(|requirement| {
            let found = value(&requirement.key);
            match &requirement.test {
                Test::In(values) => found.is_some_and(|found| contains(values, found)),
                Test::NotIn(values) => found.is_none_or(|found| !contains(values, found)),
                Test::Exists => found.is_some(),
                Test::Absent => found.is_none(),
            }
        })
    }

    /// Whether no labels can match both: one label would need two values.
    pub fn excludes(&self, other: &Self) -> bool {
        self.0.iter().any(|one| {
            other.0.iter().any(|another| {
                one.key == another.key
                    && match (&one.test, &another.test) {
                        (Test::In(these), Test::In(others)) => {
                            !these.iter().any(|value| contains(others, value))
                        }
                        (Test::In(these), Test::NotIn(others))
                        | (Test::NotIn(others), Test::In(these)) => {
                            these.iter().all(|value| contains(others, value))
                        }
                        (Test::Absent, Test::In(_) | Test::Exists)
                        | (Test::In(_) | Test::Exists, Test::Absent) => true,
                        _ => false,
                    }
            })
        })
    }
}

fn contains(values: &[String], value: &str) -> bool {
    values.iter().any(|one| one == value)
}

impl Requirement {
    fn new(key: &str, test: Test) -> Result<Self, SelectorError> {
        let is_key = !key.is_empty()
            && key
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
        if is_key {
            let key = key.to_owned();
            Ok(Self { key, test })
        } else {
            Err(SelectorError::Key(key.to_owned()))
        }
    }

    fn parse(text: &str) -> Result<Self, SelectorError> {
        let text = text.trim();
        if let Some(key) = text.strip_prefix('!') {
            return Self::new(key.trim(), Test::Absent);
        }
        for (sign, is_in) in [("!=", false), ("==", true), ("=", true)] {
            if let Some((key, value)) = text.split_once(sign) {
                let values = vec![value.trim().to_owned()];
                return Self::new(
                    key.trim(),
                    if is_in {
                        Test::In(values)
                    } else {
                        Test::NotIn(values)
                    },
                );
            }
        }
        let Some((head, list)) = text.split_once('(') else {
            return match text.split_whitespace().collect::<Vec<_>>().as_slice() {
                [key] => Self::new(key, Test::Exists),
                _ => Err(SelectorError::Requirement(text.to_owned())),
            };
        };
        let values: Option<Vec<String>> = list
            .strip_suffix(')')
            .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect());
        match (
            head.split_whitespace().collect::<Vec<_>>().as_slice(),
            values,
        ) {
            ([key, "in"], Some(values)) => Self::new(key, Test::In(values)),
            ([key, "notin"], Some(values)) => Self::new(key, Test::NotIn(values)),
            _ => Err(SelectorError::Requirement(text.to_owned())),
        }
    }
}

/// Splits at the commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|char| {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        char == ',' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("app=web", true)]
    #[case("app==web", true)]
    #[case("app != web", false)]
    #[case("other!=web", true)]
    #[case("app in (api, web),tier", true)]
    #[case("app notin (web)", false)]
    #[case("tier", true)]
    #[case("!tier", false)]
    #[case("!other,app=web", true)]
    #[case("app=web,tier=back", false)]
    #[case("example.com/a-b=", true)]
    fn a_text_selects_as_kubectl_does(#[case] text: &str, #[case] selected: bool) {
        let labels = |key: &str| match key {
            "app" => Some("web"),
            "tier" => Some("front"),
            "example.com/a-b" => Some(""),
            _ => None,
        };
        assert_eq!(Selector::parse(text).unwrap().holds(labels), selected);
    }

    #[rstest]
    #[case("")]
    #[case("a b")]
    #[case("a in b")]
    #[case("a in (b")]
    #[case("a within (b)")]
    #[case("=b")]
    #[case("a*=b")]
    fn an_invalid_selector_is_rejected(#[case] text: &str) {
        assert!(Selector::parse(text).is_err(), "{text}");
    }

    #[rstest]
    #[case("a=1", "a=2", true)]
    #[case("a=1", "a=1", false)]
    #[case("a=1", "b=2", false)]
    #[case("a=1", "a!=1", true)]
    #[case("a in (1,2)", "a notin (1)", false)]
    #[case("a", "!a", true)]
    fn two_selectors_exclude_each_other_by_a_label(
        #[case] one: &str,
        #[case] other: &str,
        #[case] excluded: bool,
    ) {
        let (one, other) = (
            Selector::parse(one).unwrap(),
            Selector::parse(other).unwrap(),
        );
        assert_eq!(one.excludes(&other), excluded);
        assert_eq!(other.excludes(&one), excluded);
    }
}
