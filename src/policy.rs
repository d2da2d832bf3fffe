//! Who may do what, where. Pure.
//!
//! Invariants
//! - A [`Policy`] is checked whole when it is made, and never changes; the one in force is replaced
//!   whole ([`Live`]), so that a request sees one policy from beginning to end.
//! - Identities match exactly, and only the user of the review counts, which is the effective one
//!   after impersonation.
//! - Nothing here is asked before something is violated, so a policy costs a harmless request nothing.
//!
//! Start at [`Policy`].

pub mod emergency;
pub mod identity;
pub mod presets;

use std::{fmt, str::FromStr, sync::Arc};

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    emergency::Emergencies,
    identity::{Asking, IdentityError},
    presets::{Act, Presets},
};
use crate::{api::GuardPolicySpec, helm::ReleaseName};

/// What becomes of a violation, strictest first.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Mode {
    /// Refused.
    #[default]
    Deny,
    /// Passes with a kubectl warning.
    Warn,
    /// Passes; only the record knows.
    Audit,
}

/// The policy in force.
pub type Live = Arc<ArcSwap<Policy>>;

/// A policy, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    mode: Mode,
    presets: Presets,
    emergencies: Emergencies,
    runbook_url: Option<String>,
}

/// Whose object it is, and where.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
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

/// Whom to turn to when a change cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut<'a> {
    /// No break-glass identity and no runbook is configured, so nothing is said.
    Unprepared,
    /// There is a break-glass identity, but no page that says how to use it.
    Identity,
    /// The page to read: it says how to use the identities, so it is named alone.
    Runbook(&'a str),
}

/// A policy that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A name that stands for nobody, or for everybody.
    #[error("failed to read {at}: {source}")]
    Identity {
        /// Where in the policy.
        at: &'static str,
        /// What is wrong.
        #[source]
        source: IdentityError,
    },
    /// `spec.runbookURL`
    #[error("failed to read spec.runbookURL: {0:?} is no URL")]
    RunbookUrl(String),
}

impl Policy {
    /// Checks a policy, and makes it ready to be asked.
    pub fn compile(spec: &GuardPolicySpec) -> Result<Self, PolicyError> {
        let emergencies = Emergencies::compile(&spec.break_glass)?;
        if let Some(url) = &spec.runbook_url
            && !is_url(url)
        {
            return Err(PolicyError::RunbookUrl(url.clone()));
        }
        Ok(Self {
            mode: spec.mode,
            presets: Presets::default(),
            emergencies,
            runbook_url: spec.runbook_url.clone(),
        })
    }

    /// As the policy in force.
    pub fn live(self) -> Live {
        Arc::new(ArcSwap::from_pointee(self))
    }

    /// The mode where nothing more specific is said.
    pub fn default_mode(&self) -> Mode {
        self.mode
    }

    /// What becomes of a violation there.
    pub fn mode(&self, _place: &Place<'_>) -> Mode {
        self.mode
    }

    /// The name of the rule that lets somebody do this to an object of this kind.
    pub fn exemption(
        &self,
        asking: Asking<'_>,
        kind: (&str, &str),
        act: Act<'_>,
    ) -> Option<Arc<str>> {
        self.presets.covering(asking.user, kind, act).map(Arc::from)
    }

    /// Who may break the glass, where, and what is asked of them.
    pub fn emergencies(&self) -> &Emergencies {
        &self.emergencies
    }

    /// Whom to turn to when a change cannot wait.
    pub fn way_out(&self) -> WayOut<'_> {
        match &self.runbook_url {
            Some(url) => WayOut::Runbook(url),
            None if self.emergencies.is_empty() => WayOut::Unprepared,
            None => WayOut::Identity,
        }
    }
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>()
        .is_ok_and(|uri| uri.host().is_some() && uri.scheme().is_some())
}

impl Mode {
    /// As the `--mode` flag and metrics write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "Deny",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no mode.
#[derive(Debug, thiserror::Error)]
#[error("unknown mode {0:?}: one of Deny, Warn, Audit")]
pub struct UnknownMode(String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word.to_ascii_lowercase().as_str() {
            "deny" => Ok(Self::Deny),
            "warn" => Ok(Self::Warn),
            "audit" => Ok(Self::Audit),
            _ => Err(UnknownMode(word.to_owned())),
        }
    }
}
