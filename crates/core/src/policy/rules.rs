//! Exemptions: those of a policy, and the presets, which are built in.
//!
//! A rule names identity *and* kind *and* permission: an exemption in a policy must give all three.

use std::{cmp::Ordering, sync::Arc};

use super::{
    Act, Requester, RuleObject, challenge,
    identity::{Identities, UserIdentity},
    license::License,
    pattern::Pattern,
    problem::Problems,
    scope::{self, check_kinds, covers, holds_kind},
    tree::Tree,
};
use crate::{
    api::{
        GroupKind, ObjectScope,
        policy::exemptions::{ExemptOperation, Exemption},
    },
    compare::{quantity, unquoted},
    names,
};

/// One exemption.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) name: Arc<str>,
    pub(super) who: Who,
    /// `None` for every kind.
    pub(super) kinds: Vec<GroupKind>,
    pub(super) acts: Acts,
    pub(super) scope: ObjectScope,
    pub(super) license: License,
    /// Its purpose, if it is built in.
    pub(super) about: &'static str,
}

/// The identities that a rule applies to.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Anyone,
    These(Identities),
}

/// What a rule allows.
#[derive(Clone, Debug, Default)]
pub(super) struct Acts {
    pub(super) delete: bool,
    pub(super) scale: bool,
    pub(super) change: Vec<Pattern>,
    pub(super) grow: Vec<Pattern>,
    pub(super) remove: Vec<Pattern>,
    pub(super) challenges: bool,
}

impl Rule {
    /// As in the policy, or the name of the preset.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it allows the act: it applies, and its license exists.
    pub fn allows(&self, by: Requester<'_>, object: &RuleObject<'_>, act: Act<'_>) -> bool {
        self.is_for(by.identity, object, act) && self.license.holds(&by.evidence, by.old_object)
    }

    /// Whether it applies to this user, object and act, regardless of its license.
    pub(crate) fn is_for(
        &self,
        identity: UserIdentity<'_>,
        object: &RuleObject<'_>,
        act: Act<'_>,
    ) -> bool {
        self.holds(identity) && self.is_like(object, act)
    }

    /// Whether it applies to this object and act, whoever the user is and regardless of its license.
    pub(crate) fn is_like(&self, object: &RuleObject<'_>, act: Act<'_>) -> bool {
        self.is_about(object) && self.acts.hold(object, act)
    }

    /// Whether it applies to this user.
    pub fn holds(&self, identity: UserIdentity<'_>) -> bool {
        match &self.who {
            Who::Anyone => true,
            Who::These(identities) => identities.hold(identity),
        }
    }

    /// What the controller may do, beyond the identity.
    pub fn license(&self) -> License {
        self.license
    }

    /// Its purpose; empty for the rules of a policy.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// Whether it applies to objects of this kind in this place.
    pub(crate) fn is_about(&self, object: &RuleObject<'_>) -> bool {
        (self.kinds.is_empty() || holds_kind(&self.kinds, &object.place))
            && covers(&self.scope, &object.place)
    }

    /// Whether it allows a controller to delete the object.
    pub fn deletes(&self) -> bool {
        self.acts.delete
    }

    /// Whether it allows a controller to change declared fields.
    pub fn touches(&self, manifest: &Tree<'_>) -> bool {
        let acts = &self.acts;
        let rules = || manifest.value().pointer("/spec/rules").is_some();
        acts.delete
            || acts
                .change
                .iter()
                .any(|path| path.exists_in(manifest.value()))
            || acts.challenges && rules()
    }
}

impl Acts {
    fn hold(&self, object: &RuleObject<'_>, act: Act<'_>) -> bool {
        match act {
            Act::Delete => self.delete,
            Act::Scale => self.scale,
            Act::Change(change) => {
                let covers = |pattern: &Pattern| object.has_at(pattern, change.path);
                self.change.iter().any(covers)
                    || self.grow.iter().any(covers) && is_growth(change.old, change.new)
                    || change.new.is_none() && self.remove.iter().any(covers)
                    || self.challenges && challenge::is_challenge(change)
            }
        }
    }
}

fn is_growth(old: Option<&str>, new: Option<&str>) -> bool {
    let amounts = old.zip(new);
    amounts.and_then(|(old, new)| quantity::order(&unquoted(new), &unquoted(old)))
        == Some(Ordering::Greater)
}

/// Compiles the exemptions of a policy.
pub(crate) fn compile(exemptions: &[Exemption], problems: &mut Problems) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(exemptions.len());
    for (n, exemption) in exemptions.iter().enumerate() {
        let at = format!("spec.exemptions[{n}]");
        let mut earlier = exemptions.iter().take(n);
        if earlier.any(|other| other.name == exemption.name) {
            let name = &exemption.name;
            problems.add(
                format!("{at}.name"),
                format!("{name:?} is also the name of another exemption"),
            );
        }
        if !names::is_label(&exemption.name) {
            problems.add(
                format!("{at}.name"),
                "must consist of lowercase letters, digits and dashes",
            );
        }
        if super::presets::ALL
            .iter()
            .any(|preset| preset.name == exemption.name)
        {
            problems.add(
                format!("{at}.name"),
                format!("{:?} is the name of a preset", exemption.name),
            );
        }
        if exemption.kinds.is_empty() {
            problems.add(format!("{at}.kinds"), "must not be empty");
        }
        check_kinds(&exemption.kinds, &format!("{at}.kinds"), problems);
        scope::check(&exemption.scope, &format!("{at}.scope"), problems);
        if exemption.paths.is_empty() && exemption.operations.is_empty() {
            problems.add(
                &at,
                "has neither paths nor operations, so it would allow nothing",
            );
        }
        let subjects = format!("{at}.subjects");
        rules.push(Rule {
            name: exemption.name.as_str().into(),
            who: Who::These(Identities::required(
                &exemption.subjects,
                &subjects,
                problems,
            )),
            kinds: exemption.kinds.clone(),
            acts: Acts {
                delete: exemption.operations.contains(&ExemptOperation::Delete),
                scale: exemption.operations.contains(&ExemptOperation::Scale),
                change: patterns(&exemption.paths, &format!("{at}.paths"), problems),
                ..Acts::default()
            },
            scope: exemption.scope.clone(),
            license: License::Policy("an exemption"),
            about: "",
        });
    }
    rules
}

/// Compiles paths, each with its place.
pub(super) fn patterns(paths: &[String], at: &str, problems: &mut Problems) -> Vec<Pattern> {
    let read =
        |(n, path): (usize, &String)| problems.take(&format!("{at}[{n}]"), Pattern::new(path));
    paths.iter().enumerate().filter_map(read).collect()
}
