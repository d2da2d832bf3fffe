//! Presets: well-known writers in clusters, and exactly what each may change.
//!
//! A preset names identity *and* kind *and* path. Identities are exact names, never prefixes, and no
//! ordinary user can obtain one: those under `kube-system` belong to the control plane, the others are
//! the defaults of a controller's own chart or manifests, which a policy can replace. The presets that
//! are on by default are writers that a cluster needs; each can be switched off. Many legitimate
//! writers need no preset, because they change only undeclared fields.
//!
//! Each entry has its license ([`License`]), so that nobody can make an exempt controller do what they
//! may not do themselves.

mod all;
#[cfg(test)]
mod tests;

pub use all::ALL;

use super::{
    Act, RuleObject,
    identity::{Identities, UserIdentity},
    license::License,
    pattern::Pattern,
    problem::Problems,
    rules::{Acts, Rule, Who},
};
use crate::api::{GroupKind, ObjectScope, Subjects, policy::exemptions::PresetChoice};

/// A built-in exemption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name in policies, audit annotations and metrics.
    pub name: &'static str,
    /// Its purpose, in a sentence.
    pub about: &'static str,
    /// Whether it is on by default.
    pub is_default: bool,
    /// Who may do what.
    pub entries: &'static [PresetRule],
}

/// What some identities may do to some kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresetRule {
    /// Exact user names; none for everyone.
    pub users: &'static [&'static str],
    /// The kinds it is about, as (group, kind); none for every kind.
    pub kinds: &'static [(&'static str, &'static str)],
    /// What it allows.
    pub grants: &'static [Grant],
    /// The license that it needs.
    pub license: License,
}

/// What a preset allows its identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Delete the objects.
    Delete,
    /// Change the replicas through the scale subresource.
    Scale,
    /// Change this path, a JSON pointer with `*`, and everything below it.
    Change(&'static str),
    /// Increase the quantity at this path.
    Grow(&'static str),
    /// Remove the value at this path, or one below it.
    Remove(&'static str),
    /// Add and remove the routes of ACME challenges to and from an Ingress.
    Challenges,
}

/// The rules of the presets that a policy chooses.
pub fn compile(choice: &PresetChoice, problems: &mut Problems) -> Vec<Rule> {
    for (n, name) in choice.disable.iter().enumerate() {
        let at = format!("spec.presets.disable[{n}]");
        match find(name) {
            None => problems.add(at, unknown(name)),
            Some(_) if choice.enable.iter().any(|used| used.name == *name) => {
                problems.add(at, format!("{name} is enabled too"));
            }
            Some(_) => {}
        }
    }
    let mut rules: Vec<Rule> = ALL
        .iter()
        .filter(|preset| {
            let is_named = |name: &str| name == preset.name;
            preset.is_default
                && !choice.disable.iter().any(|name| is_named(name))
                && !choice.enable.iter().any(|used| is_named(&used.name))
        })
        .flat_map(|preset| preset.rules(None, &[]))
        .collect();
    for (n, used) in choice.enable.iter().enumerate() {
        let at = format!("spec.presets.enable[{n}]");
        let earlier = choice.enable.iter().take(n);
        if earlier.into_iter().any(|other| other.name == used.name) {
            problems.add(&at, format!("{} is there twice", used.name));
        }
        let subjects = used.subjects.as_ref().map(|subjects: &Subjects| {
            Identities::of(subjects, &format!("{at}.subjects"), problems)
        });
        match find(&used.name) {
            Some(preset) => rules.extend(preset.rules(subjects.as_ref(), &used.kinds)),
            None => problems.add(format!("{at}.name"), unknown(&used.name)),
        }
    }
    rules
}

/// Whether a rule of this name is a preset: no exemption of a policy may have the name of one.
pub fn is_one(name: &str) -> bool {
    find(name).is_some()
}

/// The preset that would allow this change for this identity. Not a preset for everyone, which would
/// allow it for others too, and not one without a declared license, because enabling it would change
/// nothing.
pub fn fitting(
    identity: UserIdentity<'_>,
    object: &RuleObject<'_>,
    act: Act<'_>,
) -> Option<&'static str> {
    let fits =
        |rule: &Rule| matches!(rule.who, Who::These(_)) && rule.is_for(identity, object, act);
    let preset = ALL.iter().find(|preset| {
        let helps = |rule: &Rule| match rule.license {
            License::NotNeeded(_) | License::Policy(_) => true,
            License::Autoscaler => !preset.is_default,
            _ => false,
        };
        let mut rules = preset.rules(None, &[]).into_iter();
        rules.any(|rule| helps(&rule) && fits(&rule))
    });
    preset.map(|preset| preset.name)
}

fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|preset| preset.name == name)
}

fn unknown(name: &str) -> String {
    format!("there is no preset {name:?}: see helm-guard policy presets")
}

impl Preset {
    fn rules(&self, subjects: Option<&Identities>, kinds: &[GroupKind]) -> Vec<Rule> {
        let rule = |entry: &PresetRule| Rule {
            name: self.name.into(),
            who: match (subjects, entry.users) {
                (Some(identities), _) => Who::These(identities.clone()),
                (None, []) => Who::Anyone,
                (None, users) => Who::These(Identities::of_users(users)),
            },
            kinds: if kinds.is_empty() {
                entry.kinds()
            } else {
                kinds.to_vec()
            },
            acts: entry.acts(),
            scope: ObjectScope::default(),
            license: entry.license,
            about: self.about,
        };
        self.entries.iter().map(rule).collect()
    }
}

impl PresetRule {
    fn kinds(&self) -> Vec<GroupKind> {
        let kind = |(group, kind): &(&str, &str)| GroupKind {
            group: (*group).to_owned(),
            kind: (*kind).to_owned(),
        };
        self.kinds.iter().map(kind).collect()
    }

    fn acts(&self) -> Acts {
        let mut acts = Acts::default();
        for grant in self.grants {
            match grant {
                Grant::Delete => acts.delete = true,
                Grant::Scale => acts.scale = true,
                // A test checks that all of them are valid paths.
                Grant::Change(path) => acts.change.extend(Pattern::new(path)),
                Grant::Grow(path) => acts.grow.extend(Pattern::new(path)),
                Grant::Remove(path) => acts.remove.extend(Pattern::new(path)),
                Grant::Challenges => acts.challenges = true,
            }
        }
        acts
    }
}
