//! Protection of release records, and who may deploy.

use std::collections::BTreeSet;

use super::{
    identity::{Identities, UserIdentity},
    problem::Problems,
    scope,
};
use crate::{
    api::{
        Mode, ReleaseRef,
        policy::records::{self as document, RecordMode},
    },
    helm::ReleaseName,
    names,
};

/// What is guarded in addition to the objects of releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// Release records, against changes that Helm never makes.
    Records,
    /// Namespaces that hold releases.
    Namespaces,
    /// CRDs whose instances releases declare.
    Crds,
    /// Release records, against users who are not deployers.
    Deployers,
}

/// `spec.records`, compiled.
#[derive(Clone, Debug, Default)]
pub struct RecordRules {
    mode: Option<RecordMode>,
    namespaces: Option<RecordMode>,
    definitions: Option<RecordMode>,
    deployers: Vec<Deployers>,
    deployers_mode: Option<Mode>,
    trusted_namespaces: Vec<String>,
}

#[derive(Clone, Debug)]
struct Deployers {
    who: Identities,
    namespaces: Vec<String>,
    releases: Vec<ReleaseRef>,
}

impl RecordRules {
    /// Compiles it and reports its problems.
    pub fn compile(spec: &document::Records, problems: &mut Problems) -> Self {
        let deployers = spec.deployers.iter().enumerate().map(|(n, deployers)| {
            Deployers::compile(deployers, &format!("spec.records.deployers[{n}]"), problems)
        });
        Self {
            mode: spec.mode,
            namespaces: spec.namespaces,
            definitions: spec.definitions,
            deployers: deployers.collect(),
            deployers_mode: spec.deployers_mode,
            trusted_namespaces: trusted(&spec.trusted_namespaces, problems),
        }
    }

    /// Whether this user may deploy objects into a namespace: anyone, if the policy lists no deployers.
    pub fn may_reach(&self, identity: UserIdentity<'_>, namespace: &str) -> bool {
        self.deployers.is_empty()
            || self
                .deployers
                .iter()
                .any(|deployers| deployers.reaches(namespace) && deployers.who.hold(identity))
    }

    /// Whether records in this namespace may claim objects anywhere.
    pub fn trusts(&self, namespace: &str) -> bool {
        let mut trusted = self.trusted_namespaces.iter();
        trusted.any(|trusted| *trusted == *namespace)
    }

    /// The mode for a violation; `otherwise` is the default of the policy. `None` if it is off.
    pub fn mode(&self, guarded: Guarded, otherwise: Mode) -> Option<Mode> {
        let chosen = match guarded {
            Guarded::Records => self.mode,
            Guarded::Namespaces => self.namespaces,
            Guarded::Crds => self.definitions,
            Guarded::Deployers if self.deployers.is_empty() => return None,
            Guarded::Deployers => return Some(self.deployers_mode.unwrap_or(otherwise)),
        };
        match chosen {
            None => Some(otherwise),
            Some(RecordMode::Deny) => Some(Mode::Deny),
            Some(RecordMode::Warn) => Some(Mode::Warn),
            Some(RecordMode::Audit) => Some(Mode::Audit),
            Some(RecordMode::Off) => None,
        }
    }

    /// Who may write the records of this release, by name; empty if the policy lists no deployers for it.
    pub fn deployers(&self, release: &ReleaseName) -> Vec<String> {
        let covering = self
            .deployers
            .iter()
            .filter(|deployers| deployers.covers(release));
        let names = covering.flat_map(|deployers| {
            let users = deployers.who.users().map(str::to_owned);
            users.chain(deployers.who.groups().map(|group| format!("group {group}")))
        });
        let names: BTreeSet<_> = names.collect();
        names.into_iter().collect()
    }

    /// Whether this user may write the records of this release: anyone, if the policy lists no deployers.
    pub fn may_deploy(&self, identity: UserIdentity<'_>, release: &ReleaseName) -> bool {
        self.deployers.is_empty()
            || self
                .deployers
                .iter()
                .any(|deployers| deployers.covers(release) && deployers.who.hold(identity))
    }
}

/// Exact names: a pattern would be mistaken for a name, and match nothing.
fn trusted(namespaces: &[String], problems: &mut Problems) -> Vec<String> {
    for (n, name) in namespaces.iter().enumerate() {
        if !names::is_label(name) {
            let at = format!("spec.records.trustedNamespaces[{n}]");
            problems.add(at, "not a valid namespace name");
        }
    }
    namespaces.to_vec()
}

impl Deployers {
    /// Whether objects in this namespace are within the scope.
    fn reaches(&self, namespace: &str) -> bool {
        let mut named = self.releases.iter();
        (self.namespaces.is_empty() || self.namespaces.iter().any(|known| known == namespace))
            && (self.releases.is_empty() || named.any(|named| named.namespace == namespace))
    }

    fn compile(document: &document::Deployers, at: &str, problems: &mut Problems) -> Self {
        if !document.scope.kinds.is_empty() {
            problems.add(
                format!("{at}.scope.kinds"),
                "only namespaces and releases have an effect here",
            );
        }
        scope::check(&document.scope, &format!("{at}.scope"), problems);
        Self {
            who: Identities::required(&document.subjects, &format!("{at}.subjects"), problems),
            namespaces: document.scope.namespaces.clone(),
            releases: document.scope.releases.clone(),
        }
    }

    /// By the release's own namespace: the deployer chooses where its records are stored.
    fn covers(&self, release: &ReleaseName) -> bool {
        let is_it = |named: &ReleaseRef| {
            named.namespace == release.namespace
                && named.name.as_ref().is_none_or(|name| *name == release.name)
        };
        (self.namespaces.is_empty() || self.namespaces.contains(&release.namespace))
            && (self.releases.is_empty() || self.releases.iter().any(is_it))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::policy::PolicyError;

    fn records(spec: &serde_json::Value) -> Result<RecordRules, PolicyError> {
        let mut problems = Problems::default();
        let spec = serde_json::from_value(spec.clone()).unwrap();
        let records = RecordRules::compile(&spec, &mut problems);
        problems.conclude().map(|()| records)
    }

    fn may(records: &RecordRules, user: &str, namespace: &str, name: &str) -> bool {
        let release = ReleaseName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let identity = UserIdentity { user, groups: &[] };
        records.may_deploy(identity, &release)
    }

    #[test]
    fn anyone_may_deploy_if_no_deployers_are_listed() {
        let records = RecordRules::default();
        assert!(may(&records, "ada", "shop", "web"));
        assert_eq!(records.mode(Guarded::Deployers, Mode::Deny), None);
    }

    /// One everywhere, one in a namespace, and one for a single release.
    fn three_deployers() -> RecordRules {
        records(&json!({"deployers": [
            {"subjects": {"users": ["cd"]}},
            {"subjects": {"serviceAccounts": ["shop/ci"]}, "scope": {"namespaces": ["shop"]}},
            {"subjects": {"users": ["ada"]},
             "scope": {"releases": [{"namespace": "bank", "name": "ledger"}]}},
        ]}))
        .unwrap()
    }

    #[rstest]
    #[case::everywhere("cd", "any", "thing", true)]
    #[case::in_its_namespace("system:serviceaccount:shop:ci", "shop", "web", true)]
    #[case::in_another("system:serviceaccount:shop:ci", "bank", "web", false)]
    #[case::its_release("ada", "bank", "ledger", true)]
    #[case::another_release("ada", "bank", "web", false)]
    #[case::not_a_deployer("bob", "shop", "web", false)]
    fn a_named_deployer_deploys_in_the_scope(
        #[case] user: &str,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] expected: bool,
    ) {
        let records = three_deployers();
        assert_eq!(may(&records, user, namespace, name), expected);
        assert_eq!(
            records.mode(Guarded::Deployers, Mode::Warn),
            Some(Mode::Warn)
        );
    }

    #[rstest]
    #[case::everywhere("cd", "kube-system", true)]
    #[case::in_its_namespace("system:serviceaccount:shop:ci", "shop", true)]
    #[case::in_another("system:serviceaccount:shop:ci", "bank", false)]
    #[case::where_its_release_is("ada", "bank", true)]
    #[case::where_it_is_not("ada", "shop", false)]
    fn a_deployer_reaches_the_namespaces_of_the_scope(
        #[case] user: &str,
        #[case] namespace: &str,
        #[case] expected: bool,
    ) {
        let records = three_deployers();
        let identity = UserIdentity { user, groups: &[] };
        assert_eq!(records.may_reach(identity, namespace), expected);
    }

    #[rstest]
    #[case::a_pattern("flux-*")]
    #[case::everything("*")]
    #[case::nothing("")]
    fn only_the_name_of_a_namespace_is_trusted(#[case] name: &str) {
        let error = records(&json!({"trustedNamespaces": ["flux-system", name]})).unwrap_err();
        let says = "spec.records.trustedNamespaces[1]";
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn the_deployers_of_a_release_are_listed_once() {
        let records = records(&json!({"deployers": [
            {"subjects": {"serviceAccounts": ["shop/ci"], "groups": ["releasers"]}},
            {"subjects": {"serviceAccounts": ["shop/ci"]}, "scope": {"namespaces": ["shop"]}},
            {"subjects": {"users": ["ada"]}, "scope": {"namespaces": ["bank"]}},
        ]}))
        .unwrap();
        let release = ReleaseName {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        assert_eq!(
            records.deployers(&release),
            ["group releasers", "system:serviceaccount:shop:ci"]
        );
    }

    #[test]
    fn each_entry_has_its_own_mode_or_is_off() {
        let records = records(&json!({"mode": "Audit", "namespaces": "Off",
            "deployers": [{"subjects": {"users": ["cd"]}}], "deployersMode": "Warn"}))
        .unwrap();
        let mode = |guarded| records.mode(guarded, Mode::Deny);
        assert_eq!(mode(Guarded::Records), Some(Mode::Audit));
        assert_eq!(mode(Guarded::Namespaces), None);
        assert_eq!(mode(Guarded::Crds), Some(Mode::Deny));
        assert_eq!(mode(Guarded::Deployers), Some(Mode::Warn));
    }

    #[rstest]
    #[case::without_subjects(json!({"subjects": {}}), "must not be empty")]
    #[case::everyone(json!({"subjects": {"groups": ["system:authenticated"]}}), "everyone")]
    #[case::kinds(
        json!({"subjects": {"users": ["cd"]}, "scope": {"kinds": [{"kind": "Secret"}]}}),
        "spec.records.deployers[0].scope.kinds"
    )]
    fn invalid_deployers_are_rejected(#[case] deployers: serde_json::Value, #[case] says: &str) {
        let error = records(&json!({"deployers": [deployers]})).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}
