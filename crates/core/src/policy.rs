//! The compiled policy: modes, exemptions, break-glass identities and alert sinks. Pure.
//!
//! Invariants
//! - A [`Policy`] is validated completely when it is compiled, and is immutable; the one in force
//!   is replaced as a whole ([`Live`]), so that each request sees one policy throughout.
//! - Identities match exactly, and only the user of the review counts, which is the effective one
//!   after impersonation.
//! - Policies are consulted only after a violation, so a harmless request pays nothing for them.
//!
//! Start at [`Policy`].

pub mod alerts;
mod always;
mod challenge;
pub mod control_plane;
pub mod document;
pub mod emergency;
pub mod identity;
mod ignore;
pub mod license;
pub mod loosening;
mod managers;
mod modes;
pub mod pattern;
pub mod presets;
pub mod problem;
mod query;
pub mod records;
mod rules;
pub mod scope;
pub mod selector;
pub mod suspension;
mod target;
#[cfg(test)]
mod tests;
pub mod tightening;
pub mod tolerance;
pub mod tree;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use jiff::SignedDuration;

pub use self::problem::PolicyError;
use self::{
    alerts::AlertSettings,
    emergency::Emergencies,
    identity::UserIdentity,
    ignore::{Exception, Ignored},
    license::{Evidence, License},
    modes::Modes,
    problem::Problems,
    records::RecordRules,
    rules::Rule,
    suspension::Suspension,
    tree::Tree,
};
use crate::{
    api::{
        GuardPolicySpec, Mode, Span,
        policy::{ChartAnnotations, exemptions::UndeclaredAutoscalers, overrides::UndeclaredMode},
    },
    compare::path::FieldPath,
    helm::ReleaseName,
};

/// The policy in force.
pub type Live = Arc<ArcSwap<Policy>>;

/// The annotation of a declared object with the mode for its violations, `Warn` or `Audit`.
const MODE_ANNOTATION: &str = "helm-guard.dev/mode";

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    spec: Arc<GuardPolicySpec>,
    suspension: Option<Suspension>,
    modes: Modes,
    rules: Vec<Rule>,
    undeclared_autoscalers: UndeclaredAutoscalers,
    ignored: Vec<Ignored>,
    exceptions: Vec<Exception>,
    chart_annotations: ChartAnnotations,
    uninstalling_max_age: Option<SignedDuration>,
    records: RecordRules,
    emergencies: Emergencies,
    runbook_url: Option<String>,
    alerts: AlertSettings,
}

/// The owner and the place of an object.
#[derive(Clone, Copy, Debug)]
pub struct ObjectPlace<'a> {
    /// API group of the object.
    pub group: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its namespace, empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The release that declares it.
    pub release: &'a ReleaseName,
    /// `name-version` of the release's chart.
    pub chart: &'a str,
}

/// An object with everything that rules match on. No `Debug`: it may be a Secret.
#[derive(Clone, Copy)]
pub struct RuleObject<'a> {
    /// Its owner and place.
    pub place: ObjectPlace<'a>,
    /// The API version in which it is declared.
    pub version: &'a str,
    /// The name of the object.
    pub name: &'a str,
    /// The labels of its namespace.
    pub labels: Labels<'a>,
    /// The object from the newest active manifest of the release.
    pub manifest: Option<&'a Tree<'a>>,
}

impl RuleObject<'_> {
    /// Whether a path of the object matches the pattern, or is below a match.
    fn has_at(&self, pattern: &pattern::Pattern, path: &FieldPath) -> bool {
        pattern.covers(path, |parents, step| self.manifest?.position(parents, step))
    }
}

/// The labels of a namespace.
#[derive(Clone, Copy, Debug)]
pub enum Labels<'a> {
    /// These.
    Known(&'a BTreeMap<String, String>),
    /// Not known yet: then the strictest candidate applies.
    Unknown,
}

/// Who requests a change, and how.
#[derive(Clone, Copy)]
pub struct Requester<'a> {
    /// User and groups, after impersonation.
    pub identity: UserIdentity<'a>,
    /// The field manager that the client names.
    pub field_manager: Option<&'a str>,
    /// The object before the change.
    pub old_object: Option<&'a Tree<'a>>,
    /// Where a license of an exempt controller may be.
    pub evidence: Evidence<'a>,
}

/// An operation on an object.
#[derive(Clone, Copy)]
pub enum Act<'a> {
    /// The object is deleted.
    Delete,
    /// Change its replicas through the scale subresource.
    Scale,
    /// Set, add or remove the value at a path.
    Change(PathChange<'a>),
}

/// A change of the value at one path, as rules match it.
#[derive(Clone, Copy)]
pub struct PathChange<'a> {
    /// Where in the object.
    pub path: &'a FieldPath,
    /// The value there before it, as JSON text.
    pub old: Option<&'a str>,
    /// The value there after it.
    pub new: Option<&'a str>,
}

/// The hint for emergencies in denials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmergencyHint<'a> {
    /// The page with instructions.
    pub runbook: Option<&'a str>,
    /// How to act as a break-glass identity, if there is one.
    pub access: EmergencyAccess,
}

/// How somebody acts as a break-glass identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmergencyAccess {
    /// There is no such identity.
    #[default]
    None,
    /// As a user or a member of a group.
    Identity,
    /// With a token of a service account, which `helm-guard break-glass open` gets.
    Token,
}

/// What applies where nothing is set.
impl Default for Policy {
    fn default() -> Self {
        Self::of(&GuardPolicySpec::default(), &mut Problems::default())
    }
}

impl Policy {
    /// Validates and compiles a policy.
    ///
    /// # Errors
    /// All problems of the policy.
    pub fn compile(spec: &GuardPolicySpec) -> Result<Self, PolicyError> {
        let mut problems = Problems::default();
        let policy = Self::of(spec, &mut problems);
        problems.conclude()?;
        Ok(policy)
    }

    fn of(spec: &GuardPolicySpec, problems: &mut Problems) -> Self {
        if let Some(url) = &spec.runbook_url
            && !is_url(url)
        {
            problems.add("spec.runbookURL", format!("{url:?} is not a URL"));
        }
        let presets = presets::compile(&spec.presets, problems);
        let alerts = AlertSettings::compile(&spec.alerts, spec.runbook_url.as_deref());
        Self {
            spec: Arc::new(spec.clone()),
            suspension: Suspension::of(spec),
            modes: Modes::compile(spec, problems),
            rules: [presets, rules::compile(&spec.exemptions, problems)].concat(),
            undeclared_autoscalers: spec.presets.undeclared_autoscalers,
            ignored: ignore::compile(&spec.ignore, problems),
            exceptions: ignore::exceptions(&spec.undeclared.except, problems),
            chart_annotations: spec.chart_annotations,
            uninstalling_max_age: spec.uninstalling_max_age.map(Span::get),
            records: RecordRules::compile(&spec.records, problems),
            emergencies: Emergencies::of(&spec.break_glass, problems),
            runbook_url: spec.runbook_url.clone(),
            alerts: problems.take("spec.alerts", alerts).unwrap_or_default(),
        }
    }

    /// As the policy in force.
    pub fn live(self) -> Live {
        Arc::new(ArcSwap::from_pointee(self))
    }

    /// The document that it was compiled from.
    pub fn spec(&self) -> &GuardPolicySpec {
        &self.spec
    }

    /// The same, shared.
    pub fn shared_spec(&self) -> Arc<GuardPolicySpec> {
        Arc::clone(&self.spec)
    }

    /// Why nothing is evaluated, if the kill switch is on.
    pub fn suspension(&self) -> Option<&Suspension> {
        self.suspension.as_ref()
    }

    /// The same policy with the kill switch on or off, whatever its document says.
    #[must_use]
    pub fn with_suspension(&self, suspension: Option<Suspension>) -> Self {
        Self {
            suspension,
            ..self.clone()
        }
    }

    /// The mode where no override applies.
    pub fn default_mode(&self) -> Mode {
        self.modes.default_mode()
    }

    /// The mode for a violation there. If the policy allows it, the object's own manifest may loosen it.
    pub fn mode(&self, object: &RuleObject<'_>) -> Mode {
        let mode = self.modes.mode(object);
        if self.chart_annotations == ChartAnnotations::Ignore {
            return mode;
        }
        let own = object
            .manifest
            .and_then(|manifest| manifest.metadata("annotations", MODE_ANNOTATION))
            .and_then(|word| word.parse().ok());
        own.map_or(mode, |own| mode.max(own))
    }

    /// How long an uninstallation may delete objects.
    pub fn uninstalling_max_age(&self) -> Option<SignedDuration> {
        self.uninstalling_max_age
    }

    /// What happens there to changes of undeclared fields.
    pub fn undeclared(&self, object: &RuleObject<'_>) -> UndeclaredMode {
        self.modes.undeclared(object)
    }

    /// Whether changes of undeclared fields count anywhere.
    pub(crate) fn guards_undeclared(&self) -> bool {
        self.modes.guards_undeclared()
    }

    /// Whether this undeclared change is exempt.
    pub(crate) fn excepts(
        &self,
        identity: UserIdentity<'_>,
        object: &RuleObject<'_>,
        change: PathChange<'_>,
    ) -> bool {
        always::passes(identity, object, change)
            || self
                .exceptions
                .iter()
                .any(|exception| exception.covers(object, change))
    }

    /// The name of the rule under which this passes: a preset, an exemption, an ignored field.
    pub fn exemption(
        &self,
        by: Requester<'_>,
        object: &RuleObject<'_>,
        act: Act<'_>,
    ) -> Option<Arc<str>> {
        let allowing = self.rules.iter().find(|rule| rule.allows(by, object, act));
        if let Some(rule) = allowing {
            return Some(Arc::clone(rule.name()));
        }
        let Act::Change(change) = act else {
            return None;
        };
        let ignored = self
            .ignored
            .iter()
            .find(|ignored| ignored.covers(by, object, change));
        match (ignored, self.chart_annotations) {
            (Some(ignored), _) => Some(Arc::clone(ignored.name())),
            (None, ChartAnnotations::Honor) => ignore::by_chart(object, change),
            (None, ChartAnnotations::Ignore) => None,
        }
    }

    /// The rules in force for objects of this kind and place whose license is a field of the object
    /// itself: anyone who may write that field could make a controller act.
    pub(crate) fn licensed<'p>(
        &'p self,
        object: &'p RuleObject<'_>,
    ) -> impl Iterator<Item = &'p Rule> {
        let is_licensed = |rule: &&Rule| {
            matches!(
                rule.license,
                License::Field(_) | License::Annotation(_) | License::AnnotationValue(..)
            )
        };
        self.rules
            .iter()
            .filter(is_licensed)
            .filter(|rule| rule.is_about(object))
    }

    /// Whether the user is a controller that acts because of objects of another kind (an autoscaler)
    /// or of the state of a namespace: then its license must be looked up.
    pub fn has_license(&self, identity: UserIdentity<'_>, license: License) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.license == license && rule.holds(identity))
    }

    /// The rule that allows an autoscaler that no release declares.
    pub fn undeclared_autoscaler(
        &self,
        by: Requester<'_>,
        object: &RuleObject<'_>,
        act: Act<'_>,
    ) -> Option<Arc<str>> {
        if self.undeclared_autoscalers == UndeclaredAutoscalers::Deny {
            return None;
        }
        let is_it = |rule: &&Rule| {
            rule.license == License::Autoscaler && rule.is_for(by.identity, object, act)
        };
        let rule = self.rules.iter().find(is_it)?;
        Some(Arc::clone(rule.name()))
    }

    /// The break-glass identities, their scope, and the requirements.
    pub fn emergencies(&self) -> &Emergencies {
        &self.emergencies
    }

    /// The alert sinks.
    pub fn alerts(&self) -> &AlertSettings {
        &self.alerts
    }

    /// The protection of release records, and who may deploy.
    pub fn records(&self) -> &RecordRules {
        &self.records
    }

    /// The hint for emergencies in denials.
    pub fn emergency_hint(&self) -> EmergencyHint<'_> {
        let has_account = !self.emergencies.account_namespaces().is_empty();
        EmergencyHint {
            runbook: self.runbook_url.as_deref(),
            access: match (self.emergencies.is_empty(), has_account) {
                (true, _) => EmergencyAccess::None,
                (false, false) => EmergencyAccess::Identity,
                (false, true) => EmergencyAccess::Token,
            },
        }
    }
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>()
        .is_ok_and(|uri| uri.host().is_some() && uri.scheme().is_some())
}
