//! One object of a release, while it is examined: everything that the rules of the classes look at.

use std::cell::OnceCell;

use super::{
    KindFacts,
    finding::{Consequence, DriftFinding, FindingClass},
    history::History,
    key::LiveKey,
    scanned::{Observed, ScanRules, ScannedObject, ScannedRelease},
    writers::LiveWriters,
};
use crate::{
    api::reported::ReportedField,
    compare::{
        Json,
        path::FieldPath,
        redact::{Redactor, ShownValue},
    },
    guard::is_helm_manager,
};

/// The most fields of one object that are listed, by each rule. A person reads no more, and a release may declare
/// a thousand.
pub(super) const MOST_FIELDS: usize = 256;

/// An object of a release, next to what is known of it. No `Debug`: it may be a Secret.
pub(super) struct ExaminedObject<'e> {
    pub(super) rules: &'e ScanRules<'e>,
    pub(super) release: &'e ScannedRelease<'e>,
    pub(super) history: &'e History<'e>,
    /// `name-version` of the newest chart.
    pub(super) chart: &'e str,
    pub(super) scanned: &'e ScannedObject<'e>,
    pub(super) observed: &'e Observed<'e>,
    pub(super) key: LiveKey<'e>,
    /// The live object as JSON; empty if there is none.
    pub(super) json: &'e str,
    writers: OnceCell<LiveWriters>,
}

impl<'e> ExaminedObject<'e> {
    pub(super) fn new(
        (rules, release, history): (&'e ScanRules<'e>, &'e ScannedRelease<'e>, &'e History<'e>),
        chart: &'e str,
        scanned: &'e ScannedObject<'e>,
        (observed, json): (&'e Observed<'e>, &'e str),
    ) -> Self {
        Self {
            rules,
            release,
            history,
            chart,
            key: scanned.key(observed.scope),
            scanned,
            observed,
            json,
            writers: OnceCell::new(),
        }
    }

    pub(super) fn live(&self) -> Json<'e> {
        Json::of(self.json)
    }

    pub(super) fn kind(&self) -> KindFacts<'e> {
        KindFacts {
            shape: self.observed.knowledge.shape(),
            empties: self.observed.knowledge.empties(),
        }
    }

    /// Parsed when a rule needs it: most objects have no difference.
    pub(super) fn writers(&self) -> &LiveWriters {
        self.writers.get_or_init(|| LiveWriters::of(self.json))
    }

    pub(super) fn is_helm(&self, manager: &str) -> bool {
        is_helm_manager(manager, self.rules.writers)
    }

    /// The newest active revision that declares it.
    pub(super) fn revision(&self) -> u32 {
        let source = match self.scanned.newest {
            Some(_) => self.history.newest,
            None => self.history.base,
        };
        source.map_or(0, |source| source.revision)
    }

    /// The object for people: `Deployment shop/web`.
    pub(super) fn called(&self) -> String {
        let LiveKey {
            kind,
            namespace,
            name,
            ..
        } = self.key;
        match namespace {
            "" => format!("{kind} {name}"),
            namespace => format!("{kind} {namespace}/{name}"),
        }
    }

    pub(super) fn finding(
        &self,
        class: FindingClass,
        consequence: Consequence,
        message: String,
    ) -> DriftFinding {
        let object = (self.key, self.scanned.api_version());
        DriftFinding::new(class, self.release.name, object, consequence, message)
    }

    /// Both values of a field, as they may be shown.
    pub(super) fn values(
        &self,
        path: &FieldPath,
        declared: Option<Json<'_>>,
        live: Option<Json<'_>>,
    ) -> ShownValues {
        let redactor: &Redactor = self.rules.redactor;
        let show = |json: Option<Json<'_>>| {
            redactor.show(self.key.sensitivity(), path, json.map(Json::text))
        };
        ShownValues {
            declared: show(declared),
            live: show(live),
        }
    }
}

/// The declared and the live value of a field.
pub(super) struct ShownValues {
    pub(super) declared: ShownValue,
    pub(super) live: ShownValue,
}

impl ShownValues {
    pub(super) fn to_field(&self, path: &FieldPath) -> ReportedField {
        let texts = [&self.declared, &self.live].map(|shown| match shown {
            ShownValue::Absent => None,
            ShownValue::Text(text) => Some(&**text),
        });
        let [declared, live] = texts;
        ReportedField::of_texts(path.to_string(), [declared, live, None])
    }
}
