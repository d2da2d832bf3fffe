//! What people lose when one policy replaces another: the mode becomes stricter, somebody may not act in an
//! emergency any more, denials lose their runbook.
//!
//! [`super::loosening`] is the other direction, which alerts are about. This one is for the person who applies a
//! policy, and did not mean to lock out the people on call.

use crate::{
    api::{GuardPolicySpec, Mode, Subjects},
    text::list,
};

/// The most names in one line.
const MOST_NAMES: usize = 5;

/// What `new` takes away compared with `old`, one per line.
pub fn between(old: &GuardPolicySpec, new: &GuardPolicySpec) -> Vec<String> {
    let mut losses = Vec::new();
    // The strictest mode is the smallest.
    if new.mode < old.mode {
        let effect = match new.mode {
            Mode::Deny => "violations are denied",
            Mode::Warn => "violations get a warning",
            Mode::Audit => "violations are recorded",
        };
        losses.push(format!(
            "mode {} becomes {}: {effect}",
            old.mode.as_str(),
            new.mode.as_str()
        ));
    }
    let lost = lost_identities(old, new);
    if !lost.is_empty() {
        losses.push(format!(
            "no longer a break-glass identity: {}",
            list(&lost, MOST_NAMES)
        ));
    }
    if let (Some(url), None) = (&old.runbook_url, &new.runbook_url) {
        losses.push(format!("denials no longer name the runbook {url}"));
    }
    losses
}

fn lost_identities(old: &GuardPolicySpec, new: &GuardPolicySpec) -> Vec<String> {
    let all = |spec: &GuardPolicySpec| {
        let mut all = Subjects::default();
        for identity in &spec.break_glass.identities {
            all.extend(&identity.subjects);
        }
        all
    };
    let (old, new) = (all(old), all(new));
    let gone = |kind: &str, old: Vec<String>, new: &[String]| -> Vec<String> {
        old.into_iter()
            .filter(|name| !new.contains(name))
            .map(|name| format!("{kind} {name}"))
            .collect()
    };
    // A service account may be named as a user, too.
    let accounts = |subjects: &Subjects| -> Vec<String> {
        let as_users = subjects.users.iter().filter_map(|user| {
            let account = user.strip_prefix("system:serviceaccount:")?;
            Some(account.replacen(':', "/", 1))
        });
        let slashed = subjects.users.iter().filter(|user| user.contains('/'));
        let named = subjects.service_accounts.iter().chain(slashed).cloned();
        named.chain(as_users).collect()
    };
    let users = |subjects: &Subjects| -> Vec<String> {
        let is_account =
            |user: &&String| user.contains('/') || user.starts_with("system:serviceaccount:");
        let users = subjects.users.iter().filter(|user| !is_account(user));
        users.cloned().collect()
    };
    [
        gone("user", users(&old), &users(&new)),
        gone("group", old.groups.clone(), &new.groups),
        gone("service account", accounts(&old), &accounts(&new)),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn flags() -> Value {
        json!({
            "mode": "Audit",
            "breakGlass": {"identities": [{"subjects": {
                "users": ["ada", "ops/emergency"], "groups": ["oncall"],
            }}]},
            "runbookURL": "https://runbooks.example.com",
        })
    }

    #[rstest]
    #[case::nothing(flags(), &[])]
    #[case::less_strict(json!({"mode": "Audit", "breakGlass": {"identities": [{"subjects": {
        "users": ["ada", "bob"], "groups": ["oncall"], "serviceAccounts": ["ops/emergency"],
    }}]}, "runbookURL": "https://other.example.com"}), &[])]
    #[case::what_a_forecast_used_to_print(json!({"exemptions": []}), &[
        "mode Audit becomes Deny: violations are denied",
        "no longer a break-glass identity: user ada, group oncall, service account ops/emergency",
        "denials no longer name the runbook https://runbooks.example.com",
    ])]
    fn what_a_policy_takes_away_is_named(#[case] new: Value, #[case] expected: &[&str]) {
        let spec = |value| serde_json::from_value(value).unwrap();
        assert_eq!(between(&spec(flags()), &spec(new)), expected);
    }
}
