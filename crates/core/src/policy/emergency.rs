//! Break-glass identities, their scopes and the requirements: `spec.breakGlass`, compiled.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{
    ObjectPlace,
    identity::{Identities, UserIdentity},
    problem::Problems,
    scope::{self, covers},
};
use crate::api::{
    ObjectScope, Subjects,
    policy::breakglass::{BreakGlass, OnRecordFailure},
};

/// The rules for emergencies.
#[derive(Clone, Debug, Default)]
pub struct Emergencies {
    identities: Vec<(Identities, ObjectScope)>,
    /// Who may approve a grant; `None` for anyone whom RBAC allows.
    pub approvers: Option<Identities>,
    /// The requirements, as written.
    pub rules: BreakGlass,
}

impl Emergencies {
    /// Compiles a spec that must be valid.
    #[cfg(test)]
    pub fn compile(rules: &BreakGlass) -> Result<Self, super::PolicyError> {
        let mut problems = Problems::default();
        let emergencies = Self::of(rules, &mut problems);
        problems.conclude()?;
        Ok(emergencies)
    }

    /// Compiles a spec and reports its problems.
    pub fn of(rules: &BreakGlass, problems: &mut Problems) -> Self {
        let mut identities = Vec::with_capacity(rules.identities.len());
        for (n, identity) in rules.identities.iter().enumerate() {
            let at = format!("spec.breakGlass.identities[{n}]");
            scope::check(&identity.scope, &format!("{at}.scope"), problems);
            let who = Identities::of(&identity.subjects, &format!("{at}.subjects"), problems);
            identities.push((who, identity.scope.clone()));
        }
        let approvers = rules.approvers.as_ref().map(|approvers| {
            Identities::required(approvers, "spec.breakGlass.approvers", problems)
        });
        if let Some(account) = &rules.service_account {
            let subjects = Subjects {
                service_accounts: vec![account.clone()],
                ..Subjects::default()
            };
            Identities::of(&subjects, "spec.breakGlass.serviceAccount", problems);
        }
        Self {
            identities,
            approvers,
            rules: rules.clone(),
        }
    }

    /// Whether there is no break-glass identity.
    pub fn is_empty(&self) -> bool {
        self.identities.iter().all(|(who, _)| who.is_empty())
    }

    /// Whether this is a break-glass identity anywhere.
    pub fn names(&self, identity: UserIdentity<'_>) -> bool {
        self.identities.iter().any(|(who, _)| who.hold(identity))
    }

    /// Whether this is a break-glass identity there.
    pub fn reaches(&self, identity: UserIdentity<'_>, place: &ObjectPlace<'_>) -> bool {
        let mut identities = self.identities.iter();
        identities.any(|(who, scope)| who.hold(identity) && covers(scope, place))
    }

    /// The users and groups with break-glass anywhere.
    pub fn who(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let all = || self.identities.iter().map(|(who, _)| who);
        let owned = str::to_owned;
        (
            all().flat_map(Identities::users).map(owned).collect(),
            all().flat_map(Identities::groups).map(owned).collect(),
        )
    }

    /// The namespaces of the break-glass service accounts.
    pub fn account_namespaces(&self) -> BTreeSet<String> {
        let all = self.identities.iter().map(|(who, _)| who);
        let accounts = all.flat_map(Identities::accounts);
        accounts
            .map(|(namespace, _)| namespace.to_owned())
            .collect()
    }

    /// Those of `subjects` that are not break-glass identities.
    pub fn strangers<'s>(&self, subjects: &'s Identities) -> Vec<&'s str> {
        let known = |name: &str, holds: fn(&Identities, &str) -> bool| {
            self.identities.iter().any(|(who, _)| holds(who, name))
        };
        let users = subjects
            .users()
            .filter(|name| !known(name, Identities::names_user));
        let groups = subjects
            .groups()
            .filter(|name| !known(name, Identities::names_group));
        users.chain(groups).collect()
    }

    /// Whether break-glass needs a grant: every requirement that only a grant can meet implies it.
    pub fn requires_grant(&self) -> bool {
        let rules = &self.rules;
        rules.require_grant || rules.require_reason || rules.require_ticket || rules.approvals > 0
    }

    /// The longest duration of a grant.
    pub fn longest(&self) -> SignedDuration {
        self.rules.max_duration.get()
    }

    /// How long a change may stay outside of the chart.
    pub fn reconcile_within(&self) -> SignedDuration {
        self.rules.reconcile_within.get()
    }

    /// What happens to a change that cannot be recorded.
    pub fn on_record_failure(&self) -> OnRecordFailure {
        self.rules.on_record_failure
    }
}

/// The identities in a document.
pub fn identities(subjects: &Subjects) -> Result<Identities, super::identity::IdentityError> {
    let users = subjects.users.iter().chain(&subjects.service_accounts);
    Identities::new(users.cloned(), subjects.groups.iter().cloned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::helm::ReleaseName;

    fn emergencies(spec: Value) -> Result<Emergencies, crate::policy::PolicyError> {
        Emergencies::compile(&serde_json::from_value(spec).unwrap())
    }

    #[rstest]
    #[case::nothing(json!({}), false)]
    #[case::grant(json!({"requireGrant": true}), true)]
    #[case::reason(json!({"requireReason": true}), true)]
    #[case::ticket(json!({"requireTicket": true}), true)]
    #[case::approval(json!({"approvals": 1}), true)]
    fn a_requirement_of_grants_implies_a_grant(#[case] spec: Value, #[case] expected: bool) {
        assert_eq!(emergencies(spec).unwrap().requires_grant(), expected);
    }

    #[test]
    fn the_namespaces_of_break_glass_service_accounts_are_known() {
        let rules = emergencies(json!({"identities": [
            {"subjects": {"serviceAccounts": ["break-glass/ops"], "users": ["ada"]}},
            {"subjects": {"users": ["system:serviceaccount:other:ops", "third/ops"],
                "groups": ["on-call"]}},
        ]}))
        .unwrap();
        let namespaces: Vec<String> = rules.account_namespaces().into_iter().collect();
        assert_eq!(namespaces, ["break-glass", "other", "third"]);
        let (users, groups) = rules.who();
        assert_eq!(users.len(), 4);
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), ["on-call"]);
    }

    #[rstest]
    #[case::identity(json!({"identities": [{"subjects": {"users": ["*"]}}]}), "identities")]
    #[case::approver(
        json!({"approvers": {"groups": ["system:authenticated"]}}),
        "spec.breakGlass.approvers"
    )]
    fn groups_of_everybody_are_rejected(#[case] spec: Value, #[case] says: &str) {
        let error = emergencies(spec).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn an_identity_for_one_namespace_does_not_reach_another() {
        let rules = emergencies(json!({"identities": [
            {"subjects": {"users": ["ada"]}, "scope": {"namespaces": ["shop"]}},
            {"subjects": {"users": ["bob"]}},
        ]}))
        .unwrap();
        let release = ReleaseName {
            namespace: "db".to_owned(),
            name: "db".to_owned(),
        };
        let place = ObjectPlace {
            group: "",
            kind: "Service",
            namespace: "db",
            release: &release,
            chart: "db-1.0.0",
        };
        let identity = |user| UserIdentity { user, groups: &[] };
        assert!(rules.names(identity("ada")));
        assert!(!rules.reaches(identity("ada"), &place));
        assert!(rules.reaches(identity("bob"), &place));
    }
}
