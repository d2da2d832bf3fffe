//! The policy that a guard in the cluster applies, and the requests that the API server sends it.
//!
//! | found | policy |
//! |---|---|
//! | a `GuardPolicy` that its status says is in force | that one |
//! | a registration with a published policy | that one, whatever its source |
//! | a registration without | the `GuardPolicy`, if it is valid; else unknown, which is said |
//! | no registration | the `GuardPolicy` or the default; that no guard is registered is said |
//!
//! Invariant: what could not be read is in [`InForce::notes`]. An assumption is never shown as a fact.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use helm_guard_core::{
    api::{GuardPolicySpec, GuardPolicyStatus, Mode, POLICY_NAME},
    policy::{Policy, document},
};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{Api, Client, api::DynamicObject};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::documents;
use crate::{
    cluster::{ApiFailure, policies},
    webhook::registration::{CONFIGURATION_NAME, published::published},
};

/// The policy of a command that evaluates changes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PolicyArgs {
    /// Policy file (GuardPolicy) to evaluate by, instead of the policy in force
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Enforcement mode to evaluate by, instead of that of the policy: Deny, Warn or Audit
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<Mode>,
}

/// Where a policy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum PolicySource {
    /// The object in the cluster.
    GuardPolicy,
    /// Flags or a policy file of the guard.
    Guard,
    /// The arguments of the command.
    Arguments,
    /// The default policy, because no guard has another one.
    Default,
}

impl PolicySource {
    /// In words.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::GuardPolicy => "of the GuardPolicy in the cluster",
            Self::Guard => "of the guard in the cluster",
            Self::Arguments => "of the arguments",
            Self::Default => "of the default policy",
        }
    }
}

/// The policy that applies, and what is known of the guard.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    pub(super) policy: Policy,
    pub(super) source: PolicySource,
    /// The registration, if there is one and it can be read.
    pub(super) registration: Option<Box<ValidatingWebhookConfiguration>>,
    /// What the reader has to know to understand an answer.
    pub(super) notes: Vec<String>,
}

/// As it is printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppliedPolicy {
    pub(super) source: PolicySource,
    pub(super) mode: Mode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

impl InForce {
    /// A policy that no cluster was asked about.
    pub(super) fn offline(args: &PolicyArgs) -> anyhow::Result<Self> {
        let (policy, source) = match &args.policy {
            Some(file) => (documents::policy(file)?, PolicySource::Arguments),
            None => (Policy::default(), PolicySource::Default),
        };
        Self {
            policy,
            source,
            registration: None,
            notes: Vec::new(),
        }
        .in_mode(args.mode)
    }

    /// The policy in force in a cluster, unless the arguments name another one.
    ///
    /// # Errors
    /// When a call fails for another reason than a missing right, and when there is a policy that cannot be
    /// read.
    pub(super) async fn read(client: &Client, args: &PolicyArgs) -> anyhow::Result<Self> {
        if args.policy.is_some() {
            let mut given = Self::offline(args)?;
            given.registration = registration(client).await?.found();
            return Ok(given);
        }
        let registration = registration(client).await?;
        let object = policy_object(client).await?;
        resolve(registration, object)?.in_mode(args.mode)
    }

    fn in_mode(self, mode: Option<Mode>) -> anyhow::Result<Self> {
        let Some(mode) = mode else {
            return Ok(self);
        };
        let spec = GuardPolicySpec {
            mode,
            ..self.policy.spec().clone()
        };
        Ok(Self {
            policy: Policy::compile(&spec)?,
            source: PolicySource::Arguments,
            ..self
        })
    }

    /// For the head of a report.
    pub(super) fn applied(&self) -> AppliedPolicy {
        AppliedPolicy {
            source: self.source,
            mode: self.policy.default_mode(),
            notes: self.notes.clone(),
        }
    }
}

/// What a read of one object found.
#[derive(Debug)]
enum Lookup<T> {
    Found(T),
    Absent,
    Forbidden,
}

impl<T> Lookup<T> {
    fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent | Self::Forbidden => None,
        }
    }

    fn of(read: Result<Option<T>, ApiFailure>, what: &str) -> anyhow::Result<Self> {
        match read {
            Ok(Some(found)) => Ok(Self::Found(found)),
            Ok(None) => Ok(Self::Absent),
            Err(failure) if failure.is_not_found() => Ok(Self::Absent),
            Err(failure) if failure.is_forbidden() => Ok(Self::Forbidden),
            Err(failure) => Err(failure).with_context(|| format!("failed to get {what}")),
        }
    }
}

async fn registration(
    client: &Client,
) -> anyhow::Result<Lookup<Box<ValidatingWebhookConfiguration>>> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let read = api.get_opt(CONFIGURATION_NAME).await;
    let read = read
        .map(|found| found.map(Box::new))
        .map_err(ApiFailure::from);
    Lookup::of(
        read,
        &format!("the ValidatingWebhookConfiguration {CONFIGURATION_NAME}"),
    )
}

async fn policy_object(client: &Client) -> anyhow::Result<Lookup<DynamicObject>> {
    let read = policies::objects(client.clone()).get_opt(POLICY_NAME).await;
    let read = read.map_err(ApiFailure::from);
    Lookup::of(read, &format!("the GuardPolicy {POLICY_NAME}"))
}

/// The policy of an object, and whether its status says that it is in force.
struct PolicyObject {
    policy: Result<Policy, String>,
    is_in_force: bool,
}

impl PolicyObject {
    fn of(object: &DynamicObject) -> Self {
        let spec = object.data.get("spec").unwrap_or(&Value::Null);
        let policy = document::spec(spec).and_then(|spec| Policy::compile(&spec));
        let status = object.data.get("status").cloned();
        let status: Option<GuardPolicyStatus> =
            status.and_then(|status| serde_json::from_value(status).ok());
        Self {
            policy: policy.map_err(|error| error.to_string()),
            is_in_force: status.is_some_and(|status| {
                status.in_force && Some(status.observed_generation) == object.metadata.generation
            }),
        }
    }
}

fn resolve(
    registration: Lookup<Box<ValidatingWebhookConfiguration>>,
    object: Lookup<DynamicObject>,
) -> anyhow::Result<InForce> {
    let mut notes = Vec::new();
    if let Lookup::Forbidden = object {
        notes.push("you may not read the GuardPolicy".to_owned());
    }
    let suspended = |policy: &Policy| policy.suspension().map(ToString::to_string);
    let object = object.found().map(|object| PolicyObject::of(&object));
    let is_registered = match &registration {
        Lookup::Found(_) => true,
        Lookup::Absent => {
            let suspension = object
                .as_ref()
                .and_then(|object| suspended(object.policy.as_ref().ok()?));
            notes.push(match suspension {
                Some(reason) => format!("the guard is suspended: {reason}"),
                None => "no guard is registered in this cluster: every change is allowed, and the verdicts are \
                         those of a guard with this policy"
                    .to_owned(),
            });
            false
        }
        Lookup::Forbidden => {
            notes.push(format!(
                "you may not read the ValidatingWebhookConfiguration {CONFIGURATION_NAME}: whether a guard is \
                 registered, and with which flags, is unknown"
            ));
            false
        }
    };
    let registration = registration.found();
    let annotations = registration
        .as_ref()
        .and_then(|registration| registration.metadata.annotations.as_ref());
    let found = |policy, source, notes| InForce {
        policy,
        source,
        registration: registration.clone(),
        notes,
    };
    match object {
        Some(PolicyObject {
            policy: Ok(policy),
            is_in_force: true,
        }) => return Ok(found(policy, PolicySource::GuardPolicy, notes)),
        Some(object) if !is_registered => {
            let policy = object
                .policy
                .map_err(anyhow::Error::msg)
                .context("the GuardPolicy is invalid, and no guard publishes the one in force")?;
            notes.push("no guard has reported that the GuardPolicy is in force".to_owned());
            return Ok(found(policy, PolicySource::GuardPolicy, notes));
        }
        Some(object) => {
            let published = published(annotations);
            match (published, object.policy) {
                (Ok(policy), valid) => {
                    notes.push(match valid {
                        Ok(_) => "the GuardPolicy is not in force (yet): this is the policy that the guard applies",
                        Err(_) => "the GuardPolicy is invalid: this is the one before it, which stays in force",
                    }.to_owned());
                    return Ok(found(policy, PolicySource::Guard, notes));
                }
                (Err(error), Ok(policy)) => {
                    notes.push(format!(
                        "the policy in force is unknown: {error}; this is the GuardPolicy, which is not in force yet"
                    ));
                    return Ok(found(policy, PolicySource::GuardPolicy, notes));
                }
                (Err(error), Err(invalid)) => {
                    anyhow::bail!(
                        "failed to read the policy in force: {error}, and the GuardPolicy is invalid: {invalid}; name \
                         one with --policy"
                    )
                }
            }
        }
        None => {}
    }
    if !is_registered {
        return Ok(found(Policy::default(), PolicySource::Default, notes));
    }
    match published(annotations) {
        Ok(policy) => Ok(found(policy, PolicySource::Guard, notes)),
        Err(error) => {
            notes.push(format!(
                "the policy of the guard is unknown: {error}; this is the default policy"
            ));
            Ok(found(Policy::default(), PolicySource::Default, notes))
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::webhook::registration::published::{POLICY, publish};

    fn registered(policy: Option<Mode>) -> Lookup<Box<ValidatingWebhookConfiguration>> {
        let mut registration = ValidatingWebhookConfiguration::default();
        registration.metadata.annotations = policy.map(|mode| {
            let spec = GuardPolicySpec {
                mode,
                ..GuardPolicySpec::default()
            };
            [(POLICY.to_owned(), publish(&spec))].into()
        });
        Lookup::Found(Box::new(registration))
    }

    fn object(spec: &Value, in_force: bool) -> Lookup<DynamicObject> {
        let object = json!({
            "apiVersion": "helm-guard.dev/v1alpha1", "kind": "GuardPolicy",
            "metadata": {"name": "default", "generation": 2}, "spec": spec,
            "status": {"observedGeneration": 2, "inForce": in_force},
        });
        Lookup::Found(serde_json::from_value(object).unwrap())
    }

    #[rstest]
    #[case::the_object(registered(Some(Mode::Deny)), object(&json!({"mode": "Warn"}), true), Mode::Warn, None)]
    #[case::flags(registered(Some(Mode::Audit)), Lookup::Absent, Mode::Audit, None)]
    #[case::an_invalid_object(
        registered(Some(Mode::Audit)),
        object(&json!({"mode": "Never"}), false),
        Mode::Audit,
        Some("invalid")
    )]
    #[case::a_policy_file(
        registered(Some(Mode::Audit)),
        object(&json!({"mode": "Deny"}), false),
        Mode::Audit,
        Some("not in force")
    )]
    #[case::an_older_guard(registered(None), Lookup::Absent, Mode::Deny, Some("unknown"))]
    #[case::no_guard(
        Lookup::Absent,
        Lookup::Absent,
        Mode::Deny,
        Some("no guard is registered")
    )]
    #[case::no_guard_yet(
        Lookup::Absent,
        object(&json!({"mode": "Warn"}), false),
        Mode::Warn,
        Some("no guard is registered")
    )]
    #[case::suspended(
        Lookup::Absent,
        object(&json!({"suspend": true, "suspendReason": "INC-1"}), true),
        Mode::Deny,
        Some("the guard is suspended")
    )]
    #[case::no_rights(Lookup::Forbidden, Lookup::Forbidden, Mode::Deny, Some("may not read"))]
    fn the_policy_in_force_is_that_of_the_guard(
        #[case] registration: Lookup<Box<ValidatingWebhookConfiguration>>,
        #[case] object: Lookup<DynamicObject>,
        #[case] mode: Mode,
        #[case] note: Option<&str>,
    ) {
        let found = resolve(registration, object).unwrap();
        assert_eq!(found.policy.default_mode(), mode);
        let notes = found.notes.join("; ");
        match note {
            Some(note) => assert!(notes.contains(note), "{notes}"),
            None => assert_eq!(notes, ""),
        }
    }

    #[test]
    fn an_unreadable_policy_is_an_error() {
        let invalid = object(&json!({"mode": "Never"}), false);
        let error = resolve(registered(None), invalid).unwrap_err().to_string();
        assert!(error.contains("--policy"), "{error}");
    }

    #[test]
    fn a_mode_replaces_that_of_the_policy() {
        let args = PolicyArgs {
            policy: None,
            mode: Some(Mode::Warn),
        };
        let given = InForce::offline(&args).unwrap();
        assert_eq!(given.applied().mode, Mode::Warn);
    }
}
