//! The entry for all actions of emergency identities, so that they are all recorded, and not only violations.
//!
//! It contains the identities of the policy in force, and is updated with it. Without break-glass identities
//! there is no such entry. It excludes no namespace, because actions in `kube-system` or on the guard itself are
//! the most important to record. The guard never denies anything here.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::admissionregistration::v1::{MatchCondition, RuleWithOperations, ValidatingWebhook},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{Registration, client_config, entry};
use crate::webhook::paths::Route;

/// The entry for actions of emergency identities.
pub(crate) const EMERGENCIES_WEBHOOK: &str = "emergencies.helm-guard.dev";

/// The most names: a longer expression would cost each write of the cluster too much.
const MOST_NAMES: usize = 512;

/// The users and groups whose requests are recorded, by exact names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// User names.
    pub users: BTreeSet<String>,
    /// Names of groups; a request of any member is recorded.
    pub groups: BTreeSet<String>,
}

impl Watched {
    /// The number of names that are not in the entry.
    pub fn left_out(&self) -> usize {
        (self.users.len() + self.groups.len()).saturating_sub(MOST_NAMES)
    }
}

pub(super) fn of(registration: &Registration) -> Option<ValidatingWebhook> {
    let watched = &registration.watched;
    if watched.users.is_empty() && watched.groups.is_empty() {
        return None;
    }
    let users: Vec<&String> = watched.users.iter().take(MOST_NAMES).collect();
    let groups: Vec<&String> = watched
        .groups
        .iter()
        .take(MOST_NAMES - users.len())
        .collect();
    let words = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
    let condition = |name: &str, expression: String| MatchCondition {
        name: name.to_owned(),
        expression,
    };
    Some(ValidatingWebhook {
        client_config: client_config(registration, Route::Emergencies, EMERGENCIES_WEBHOOK),
        match_conditions: Some(vec![
            condition(
                "by-an-emergency-identity",
                format!(
                    "(has(request.userInfo.username) && request.userInfo.username in {}) || \
                     (has(request.userInfo.groups) && {}.exists(group, group in \
                     request.userInfo.groups))",
                    list(&users),
                    list(&groups)
                ),
            ),
            // Routine requests of clients: access reviews, events, leases.
            condition(
                "not-by-the-way",
                "!(request.resource.group in ['authorization.k8s.io', 'authentication.k8s.io', \
                 'coordination.k8s.io', 'events.k8s.io'] || request.resource.group == '' && \
                 request.resource.resource == 'events')"
                    .to_owned(),
            ),
        ]),
        namespace_selector: Some(LabelSelector::default()),
        rules: Some(vec![RuleWithOperations {
            api_groups: words(&["*"]),
            api_versions: words(&["*"]),
            operations: words(&["CREATE", "UPDATE", "DELETE", "CONNECT"]),
            resources: words(&["*/*"]),
            scope: Some("*".to_owned()),
        }]),
        ..entry(registration, EMERGENCIES_WEBHOOK, &[], "*/*")
    })
}

/// A list of texts in CEL.
fn list(names: &[&String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A string literal in CEL; user names may contain any character.
fn quoted(name: &str) -> String {
    let mut text = String::from("'");
    for c in name.chars() {
        match c {
            '\'' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            c if c.is_control() => {
                use std::fmt::Write as _;
                // Writing to a string cannot fail.
                let _ = write!(text, "\\U{:08x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("ada@example.com", "'ada@example.com'")]
    #[case::quote("o'hara", r"'o\'hara'")]
    #[case::backslash(r"corp\ada", r"'corp\\ada'")]
    #[case::line_break("a\nb", r"'a\U0000000ab'")]
    #[case::injection("'] || true || ['", r"'\'] || true || [\''")]
    fn a_name_cannot_leave_its_quotes(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(quoted(name), expected);
    }

    #[test]
    fn names_beyond_the_limit_are_left_out() {
        let watched = Watched {
            users: (0..MOST_NAMES).map(|n| format!("user-{n}")).collect(),
            groups: (0..3).map(|n| format!("group-{n}")).collect(),
        };
        assert_eq!(watched.left_out(), 3);
    }
}
