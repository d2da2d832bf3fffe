//! Identities: exact names of users, groups and service accounts.

use std::{borrow::Cow, collections::BTreeSet};

use super::problem::Problems;
use crate::{api::Subjects, names};

/// The prefix of a service account's user name (`k8s.io/apiserver/pkg/authentication/serviceaccount`).
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The prefix of the group of all service accounts of a namespace.
const SERVICE_ACCOUNTS_OF: &str = "system:serviceaccounts:";

/// Groups of everyone, or of all anonymous users: in a policy they would switch the guard off.
const EVERYONE: [&str; 4] = [
    "system:authenticated",
    "system:unauthenticated",
    "system:anonymous",
    "system:serviceaccounts",
];

/// An invalid configured name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// An empty name, or one with blanks around it.
    #[error("the name {0:?} is empty or has spaces around it")]
    Blank(String),
    /// A pattern, where only exact names match.
    #[error("the name {0:?} contains \"*\": patterns are not supported, names match exactly")]
    Pattern(String),
    /// A name that applies to everybody.
    #[error("the name {0:?} matches everyone")]
    Everyone(String),
    /// A group that anyone who may create service accounts in a namespace can join.
    #[error(
        "the group {0:?} holds whatever service account somebody makes in that namespace: name the \
         service accounts"
    )]
    Mintable(String),
    /// `system:serviceaccount:` without a namespace and a name.
    #[error("{0:?} is not a service account: expected NAMESPACE/NAME")]
    ServiceAccount(String),
    /// No user, no group, no service account.
    #[error("must not be empty")]
    NoSubjects,
}

/// The user of a review: the effective one after impersonation.
#[derive(Clone, Copy, Debug)]
pub struct UserIdentity<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The user's groups.
    pub groups: &'a [Cow<'a, str>],
}

/// Some users, groups and service accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities {
    users: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Identities {
    /// From user names and group names. A user `namespace/name`, both valid Kubernetes names, is
    /// that service account.
    pub fn new(
        users: impl IntoIterator<Item = String>,
        groups: impl IntoIterator<Item = String>,
    ) -> Result<Self, IdentityError> {
        let users = users.into_iter().map(user).collect::<Result<_, _>>()?;
        let groups = groups.into_iter().map(group).collect::<Result<_, _>>()?;
        Ok(Self { users, groups })
    }

    /// The subjects of a document; reports their problems.
    pub fn of(subjects: &Subjects, at: &str, problems: &mut Problems) -> Self {
        let mut identities = Self::default();
        for (n, name) in subjects.users.iter().enumerate() {
            let user = user(name.clone());
            identities
                .users
                .extend(problems.take(&format!("{at}.users[{n}]"), user));
        }
        for (n, name) in subjects.groups.iter().enumerate() {
            let group = group(name.clone());
            identities
                .groups
                .extend(problems.take(&format!("{at}.groups[{n}]"), group));
        }
        for (n, name) in subjects.service_accounts.iter().enumerate() {
            let account = service_account(name);
            identities
                .users
                .extend(problems.take(&format!("{at}.serviceAccounts[{n}]"), account));
        }
        identities
    }

    /// As [`Identities::of`], but empty subjects are a problem.
    pub fn required(subjects: &Subjects, at: &str, problems: &mut Problems) -> Self {
        if *subjects == Subjects::default() {
            problems.add(at, IdentityError::NoSubjects);
        }
        Self::of(subjects, at, problems)
    }

    /// Exact user names that were validated before.
    pub(super) fn of_users(users: &[&str]) -> Self {
        Self {
            users: users.iter().map(|&name| name.to_owned()).collect(),
            groups: BTreeSet::new(),
        }
    }

    /// Whether no identity is configured.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// The names of the users, including service accounts.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(String::as_str)
    }

    /// The names of the groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    /// The service accounts among them: namespace and name.
    pub fn accounts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.users().filter_map(|user| {
            let account = user.strip_prefix(SERVICE_ACCOUNT)?;
            account.split_once(':')
        })
    }

    /// Whether this user is named itself, not through a group.
    pub(crate) fn names_user(&self, user: &str) -> bool {
        self.users.contains(user)
    }

    /// Whether this group is named.
    pub(crate) fn names_group(&self, group: &str) -> bool {
        self.groups.contains(group)
    }

    /// Whether this user or one of its groups is named.
    pub fn hold(&self, identity: UserIdentity<'_>) -> bool {
        self.users.contains(identity.user)
            || identity
                .groups
                .iter()
                .any(|group| self.groups.contains(group.as_ref()))
    }
}

fn check(name: String) -> Result<String, IdentityError> {
    if name.is_empty() || name.trim() != name {
        Err(IdentityError::Blank(name))
    } else if name.contains('*') {
        Err(IdentityError::Pattern(name))
    } else if EVERYONE.contains(&name.as_str()) {
        Err(IdentityError::Everyone(name))
    } else {
        Ok(name)
    }
}

fn user(name: String) -> Result<String, IdentityError> {
    let name = expand_service_account(check(name)?);
    match name.strip_prefix(SERVICE_ACCOUNT) {
        Some(account) => match account.split_once(':') {
            Some((namespace, account)) if is_account(namespace, account) => Ok(name),
            _ => Err(IdentityError::ServiceAccount(name)),
        },
        None => Ok(name),
    }
}

fn group(name: String) -> Result<String, IdentityError> {
    let name = check(name)?;
    if name.starts_with(SERVICE_ACCOUNTS_OF) {
        Err(IdentityError::Mintable(name))
    } else {
        Ok(name)
    }
}

fn service_account(name: &str) -> Result<String, IdentityError> {
    let user = expand_service_account(name.to_owned());
    if user.starts_with(SERVICE_ACCOUNT) && user != name {
        Ok(user)
    } else {
        Err(IdentityError::ServiceAccount(name.to_owned()))
    }
}

fn expand_service_account(name: String) -> String {
    match name.split_once('/') {
        Some((namespace, account)) if is_account(namespace, account) => {
            format!("{SERVICE_ACCOUNT}{namespace}:{account}")
        }
        _ => name,
    }
}

/// As the API server parses the names of service accounts (`serviceaccount.SplitUsername`).
fn is_account(namespace: &str, account: &str) -> bool {
    names::is_label(namespace) && names::is_subdomain(account)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn holds(identities: &Identities, user: &str, groups: &[&'static str]) -> bool {
        let groups: Vec<_> = groups.iter().copied().map(Cow::Borrowed).collect();
        identities.hold(UserIdentity {
            user,
            groups: &groups,
        })
    }

    #[rstest]
    #[case::by_user_name("ada", &[], true)]
    #[case::by_full_service_account_name("system:serviceaccount:ops:emergency", &[], true)]
    #[case::by_short_service_account_name("system:serviceaccount:ops:night-shift", &[], true)]
    #[case::by_group("bob", &["dev", "sre:on-call"], true)]
    #[case::unlisted_user_and_group("bob", &["dev"], false)]
    #[case::longer_name("adam", &[], false)]
    #[case::shorter_name("ad", &[], false)]
    #[case::other_case("Ada", &[], false)]
    #[case::same_account_elsewhere("system:serviceaccount:dev:emergency", &[], false)]
    #[case::account_with_a_longer_name("system:serviceaccount:ops:emergency-2", &[], false)]
    #[case::a_user_called_like_the_group("sre:on-call", &[], false)]
    #[case::a_group_called_like_the_user("bob", &["ada"], false)]
    #[case::the_short_form_is_not_a_user_name("ops/night-shift", &[], false)]
    fn identities_match_exactly(
        #[case] name: &'static str,
        #[case] groups: &[&'static str],
        #[case] expected: bool,
    ) {
        let identities = Identities::new(
            [
                "ada".to_owned(),
                "system:serviceaccount:ops:emergency".to_owned(),
                "ops/night-shift".to_owned(),
            ],
            ["sre:on-call".to_owned()],
        )
        .unwrap();
        assert_eq!(holds(&identities, name, groups), expected);
    }

    #[rstest]
    #[case::of_an_identity_provider("https://id.example/team")]
    #[case::upper_case("Ops/Emergency")]
    #[case::two_slashes("a/b/c")]
    #[case::namespace_with_a_dot("ops.east/emergency")]
    #[case::account_that_is_too_long(&format!("ops/{}", "e".repeat(254)))]
    fn an_invalid_service_account_name_stays_a_user_name(#[case] name: &str) {
        let identities = Identities::new([name.to_owned()], []).unwrap();
        assert!(holds(&identities, name, &[]));
    }

    #[test]
    fn without_identities_no_user_has_break_glass() {
        let identities = Identities::default();
        assert!(identities.is_empty());
        assert!(!holds(&identities, "", &[""]));
    }

    #[test]
    fn names_that_a_namespace_owner_can_obtain_are_rejected() {
        let group = Identities::new([], ["system:serviceaccounts:shop".to_owned()]);
        let said = group.unwrap_err().to_string();
        assert!(said.contains("name the service accounts"), "{said}");
        for name in [
            "system:serviceaccount:ops",
            "system:serviceaccount:ops:",
            "system:serviceaccount:ops.east:emergency",
        ] {
            let user = Identities::new([name.to_owned()], []);
            let said = user.unwrap_err().to_string();
            assert!(said.contains("not a service account"), "{said}");
        }
    }

    #[rstest]
    #[case::empty("", "is empty")]
    #[case::blanks(" ada", "spaces around")]
    #[case::pattern("system:serviceaccount:ops:*", "match exactly")]
    #[case::everyone("system:authenticated", "matches everyone")]
    #[case::every_account("system:serviceaccounts", "matches everyone")]
    fn an_invalid_name_is_rejected(#[case] name: &str, #[case] says: &str) {
        for (users, groups) in [(vec![name], vec![]), (vec![], vec![name])] {
            let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
            let error = Identities::new(owned(users), owned(groups)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
