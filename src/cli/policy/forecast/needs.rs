//! What a policy needs to allow each row: a preset for exactly this identity, or else an exemption that is
//! no wider than the observed changes.
//!
//! Invariant: an exemption is only proposed if a policy with it compiles and allows the row.

use std::collections::{BTreeMap, BTreeSet};

use helm_guard_core::{
    api::{
        GroupKind, GuardPolicySpec, ObjectScope, ReleaseRef, Subjects,
        policy::exemptions::{ExemptOperation, Exemption, PresetUse},
    },
    compare::path::{FieldPath, Step},
    helm::ReleaseName,
    policy::{
        self, Labels, ObjectPlace, PathChange, Policy, Requester, RuleObject,
        identity::UserIdentity, license::Evidence, presets,
    },
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::record::forecast::{ForecastAct, RowKey};

/// The most exemptions of a policy, and the most paths and releases of one, as in the CRD.
const MOST_EXEMPTIONS: usize = 256;
const MOST_PATHS: usize = 64;
const MOST_RELEASES: usize = 256;

/// The longest path in a policy.
const PATH_BYTES: usize = 1024;

/// The longest name of an exemption, without its unique suffix.
const NAME_LENGTH: usize = 56;

/// The prefix of a service account's user name.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The note on an undeclared autoscaler.
const AUTOSCALER: &str =
    "allowed unless spec.presets.undeclaredAutoscalers is Deny: declare the autoscaler in a chart";

/// What one row needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Needs {
    /// This preset.
    Preset(&'static str),
    /// This exemption.
    Exemption(String),
    /// No exemption can allow it, for this reason.
    Nothing(String),
}

/// What all rows need.
#[derive(Debug, Default)]
pub(super) struct Remedies {
    pub(super) presets: BTreeSet<&'static str>,
    pub(super) exemptions: Vec<Exemption>,
    /// Row by row.
    pub(super) needs: Vec<Needs>,
}

/// A part of an exemption: user, kind and release.
type FieldPart<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

/// Paths, and whether Scale and Delete are allowed.
type Allowed<'a> = (BTreeSet<&'a str>, bool, bool);

impl Remedies {
    /// For rows, the most important first. `taken` are names of exemptions that there are already.
    pub(super) fn of(rows: &[&RowKey], taken: BTreeSet<String>) -> Self {
        let mut remedies = Self::default();
        let mut parts: BTreeMap<FieldPart<'_>, Allowed<'_>> = BTreeMap::new();
        for what in rows {
            let need = need(what);
            match &need {
                Needs::Preset(name) => {
                    remedies.presets.insert(name);
                }
                Needs::Exemption(_) => {
                    let part = (
                        &*what.user,
                        &*what.group,
                        &*what.kind,
                        &*what.namespace,
                        &*what.release,
                    );
                    let (paths, scale, delete) = parts.entry(part).or_default();
                    match what.act {
                        ForecastAct::Change => {
                            paths.insert(&what.field);
                        }
                        ForecastAct::Scale => *scale = true,
                        ForecastAct::Delete => *delete = true,
                        ForecastAct::Autoscale => {}
                    }
                }
                Needs::Nothing(_) => {}
            }
            remedies.needs.push(need);
        }
        remedies.exemptions = exemptions(parts, taken);
        for (what, need) in rows.iter().zip(&mut remedies.needs) {
            if let Needs::Exemption(name) = need {
                let covering = remedies.exemptions.iter().find(|one| holds(one, what));
                match covering {
                    Some(exemption) => name.clone_from(&exemption.name),
                    None => {
                        *need = Needs::Nothing(format!(
                            "a policy has at most {MOST_EXEMPTIONS} exemptions"
                        ));
                    }
                }
            }
        }
        remedies
    }

    /// Why no exemption can allow some of the rows, each reason once.
    pub(super) fn unallowed(&self) -> BTreeSet<&str> {
        let reasons = self.needs.iter().filter_map(|need| match need {
            Needs::Nothing(why) => Some(&**why),
            Needs::Preset(_) | Needs::Exemption(_) => None,
        });
        reasons.collect()
    }

    /// Adds all of it to a policy.
    pub(super) fn extend(&self, spec: &mut GuardPolicySpec) {
        let enabled: BTreeSet<String> = spec
            .presets
            .enable
            .iter()
            .map(|preset| preset.name.clone())
            .collect();
        let new = self.presets.iter().filter(|name| !enabled.contains(**name));
        spec.presets.enable.extend(new.map(|name| PresetUse {
            name: (*name).to_owned(),
            subjects: None,
            kinds: Vec::new(),
        }));
        spec.exemptions.extend(self.exemptions.iter().cloned());
    }
}

/// The same allowed to the same identity in several releases is one exemption: what it lets pass is no
/// more than the sum of its parts.
fn exemptions(
    parts: BTreeMap<FieldPart<'_>, Allowed<'_>>,
    taken: BTreeSet<String>,
) -> Vec<Exemption> {
    type Alike<'a> = (&'a str, &'a str, &'a str, Allowed<'a>);
    let mut alike: BTreeMap<Alike<'_>, Vec<ReleaseRef>> = BTreeMap::new();
    for ((user, group, kind, namespace, release), (paths, scale, delete)) in parts {
        let paths: Vec<&str> = paths.into_iter().collect();
        let mut chunks: Vec<&[&str]> = paths.chunks(MOST_PATHS).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        for (n, chunk) in chunks.into_iter().enumerate() {
            let paths = chunk.iter().copied().collect();
            let allowed = (paths, scale && n == 0, delete && n == 0);
            let releases = alike.entry((user, group, kind, allowed)).or_default();
            releases.push(ReleaseRef {
                namespace: namespace.to_owned(),
                name: Some(release.to_owned()),
            });
        }
    }
    let free = MOST_EXEMPTIONS.saturating_sub(taken.len());
    let presets = presets::ALL.iter().map(|preset| preset.name.to_owned());
    let mut names: BTreeSet<String> = presets.chain(taken).collect();
    let mut exemptions = Vec::new();
    for ((user, group, kind, (paths, scale, delete)), releases) in alike {
        for releases in releases.chunks(MOST_RELEASES) {
            let operations = [
                (delete, ExemptOperation::Delete),
                (scale, ExemptOperation::Scale),
            ];
            exemptions.push(Exemption {
                name: name(kind, user, &mut names),
                subjects: subjects(user),
                kinds: vec![GroupKind {
                    group: group.to_owned(),
                    kind: kind.to_owned(),
                }],
                paths: paths.iter().map(|&path| path.to_owned()).collect(),
                operations: operations
                    .into_iter()
                    .filter_map(|(is_allowed, operation)| is_allowed.then_some(operation))
                    .collect(),
                scope: ObjectScope {
                    releases: releases.to_vec(),
                    ..ObjectScope::default()
                },
            });
        }
    }
    exemptions.truncate(free);
    exemptions
}

/// A unique name made of the kind and the user.
fn name(kind: &str, user: &str, names: &mut BTreeSet<String>) -> String {
    let user = user.strip_prefix(SERVICE_ACCOUNT).unwrap_or(user);
    let text = format!("{kind}-{user}").to_lowercase();
    let mut stem = String::new();
    for char in text.chars().take(NAME_LENGTH) {
        match char {
            'a'..='z' | '0'..='9' => stem.push(char),
            _ if stem.ends_with('-') => {}
            _ => stem.push('-'),
        }
    }
    let stem = stem.trim_matches('-');
    let mut name = stem.to_owned();
    let mut number = 2;
    while !names.insert(name.clone()) {
        name = format!("{stem}-{number}");
        number += 1;
    }
    name
}

fn subjects(user: &str) -> Subjects {
    let account = user
        .strip_prefix(SERVICE_ACCOUNT)
        .and_then(|account| account.split_once(':'));
    match account {
        Some((namespace, name)) => Subjects {
            service_accounts: vec![format!("{namespace}/{name}")],
            ..Subjects::default()
        },
        None => Subjects {
            users: vec![user.to_owned()],
            ..Subjects::default()
        },
    }
}

/// Whether an exemption that was built from rows covers this one.
fn holds(exemption: &Exemption, what: &RowKey) -> bool {
    let is_kind = |kind: &GroupKind| kind.group == what.group && kind.kind == what.kind;
    let is_release = |release: &ReleaseRef| {
        release.namespace == what.namespace && release.name.as_deref() == Some(&*what.release)
    };
    exemption.subjects == subjects(&what.user)
        && exemption.kinds.iter().any(is_kind)
        && exemption.scope.releases.iter().any(is_release)
        && match what.act {
            ForecastAct::Change => exemption.paths.contains(&what.field),
            ForecastAct::Scale => exemption.operations.contains(&ExemptOperation::Scale),
            ForecastAct::Delete => exemption.operations.contains(&ExemptOperation::Delete),
            ForecastAct::Autoscale => false,
        }
}

/// What a row needs, verified by compiling it. The exemption has no name yet.
fn need(what: &RowKey) -> Needs {
    let path = match what.act {
        ForecastAct::Change => match path(&what.field) {
            Ok(path) => path,
            Err(why) => return Needs::Nothing(why.to_owned()),
        },
        ForecastAct::Scale | ForecastAct::Delete => FieldPath::root(),
        ForecastAct::Autoscale => return Needs::Nothing(AUTOSCALER.to_owned()),
    };
    let act = match what.act {
        ForecastAct::Change => policy::Act::Change(PathChange {
            path: &path,
            old: None,
            new: None,
        }),
        ForecastAct::Scale => policy::Act::Scale,
        ForecastAct::Delete | ForecastAct::Autoscale => policy::Act::Delete,
    };
    let release = ReleaseName {
        namespace: what.namespace.clone(),
        name: what.release.clone(),
    };
    let object = RuleObject {
        place: ObjectPlace {
            group: &what.group,
            kind: &what.kind,
            // Proposed exemptions do not depend on it.
            namespace: &what.namespace,
            release: &release,
            chart: "",
        },
        version: "",
        name: "",
        labels: Labels::Unknown,
        manifest: None,
    };
    let identity = UserIdentity {
        user: &what.user,
        groups: &[],
    };
    if let Some(preset) = presets::fitting(identity, &object, act) {
        return Needs::Preset(preset);
    }
    let alone = BTreeMap::from([(
        (
            &*what.user,
            &*what.group,
            &*what.kind,
            &*what.namespace,
            &*what.release,
        ),
        (
            (what.act == ForecastAct::Change)
                .then_some(&*what.field)
                .into_iter()
                .collect(),
            what.act == ForecastAct::Scale,
            what.act == ForecastAct::Delete,
        ),
    )]);
    let spec = GuardPolicySpec {
        exemptions: exemptions(alone, BTreeSet::new()),
        ..GuardPolicySpec::default()
    };
    let compiled = match Policy::compile(&spec) {
        Ok(compiled) => compiled,
        Err(error) => {
            let why = error.problems.first().map(|problem| problem.what.clone());
            return Needs::Nothing(why.unwrap_or_default());
        }
    };
    let by = Requester {
        identity,
        field_manager: None,
        old_object: None,
        evidence: Evidence::default(),
    };
    match compiled.exemption(by, &object, act) {
        Some(_) => Needs::Exemption(String::new()),
        None => Needs::Nothing("an exemption cannot name this identity or field".to_owned()),
    }
}

/// The path, if a policy would parse it as the same path.
fn path(field: &str) -> Result<FieldPath, &'static str> {
    const UNREAD: &str = "a policy cannot name this field";
    let path: FieldPath = field.parse().map_err(|_| UNREAD)?;
    let is_any = |step: &Step| match step {
        Step::Field(text) | Step::Value(text) => text == "*",
        Step::Item(_) | Step::Index(_) => false,
    };
    if path.to_string() != field || field.len() > PATH_BYTES || path.steps().iter().any(is_any) {
        return Err(UNREAD);
    }
    Ok(path)
}
