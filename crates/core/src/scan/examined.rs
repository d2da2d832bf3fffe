//! One object of a release, while it is examined: everything that the rules of the classes look at.

use std::cell::OnceCell;

use serde_json::Value;

use super::{
    KindFacts,
    exact::{DifferingTexts, ExactDifference},
    finding::{Consequence, DriftFinding, FindingClass},
    history::History,
    key::LiveKey,
    repair::{FieldRepair, LostField, NoRepair},
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
    value: OnceCell<Option<Value>>,
    manifest: OnceCell<Option<Value>>,
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
            value: OnceCell::new(),
            manifest: OnceCell::new(),
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

    /// The live object as a tree, if there is one. Parsed for whole values only ([`super::exact`]).
    pub(super) fn value(&self) -> Option<&Value> {
        let parse = || serde_json::from_str(self.json).ok();
        self.value.get_or_init(parse).as_ref()
    }

    /// The same of what is declared.
    fn manifest(&self) -> Option<&Value> {
        let declared = self.scanned.newest.or(self.scanned.base);
        let parse = || serde_json::from_str(&declared?.json).ok();
        self.manifest.get_or_init(parse).as_ref()
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

    /// The difference at a path; none if its values may not be kept.
    pub(super) fn exact(
        &self,
        path: &FieldPath,
        texts: DifferingTexts<'_>,
        repair: impl FnOnce(&LostField<'_>) -> Result<FieldRepair, NoRepair>,
    ) -> Option<Box<ExactDifference>> {
        if !self.rules.redactor.keeps(self.key.sensitivity(), path) {
            return None;
        }
        let read = |json: Option<Json<'_>>| -> Option<Option<Value>> {
            let text = json.map(Json::text).filter(|text| *text != "null");
            text.map(serde_json::from_str).transpose().ok()
        };
        let (declared, live) = (read(texts.declared)?, read(texts.live)?);
        let repair = match (&declared, self.value()) {
            (None, _) => Err(NoRepair::Undeclared),
            (Some(_), None) => Err(NoRepair::NoObject),
            (Some(_), Some(_)) if !self.is_in_declared_version() => Err(NoRepair::OtherVersion),
            (Some(declared), Some(object)) => repair(&LostField {
                object,
                shape: self.kind().shape,
                manifest: self.manifest(),
                path,
                declared,
                live: live.as_ref(),
            }),
        };
        Some(Box::new(ExactDifference {
            declared,
            live,
            repair,
        }))
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
