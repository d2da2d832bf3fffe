//! The policy that a printed one extends: mode, break-glass and all the rest of what is in force is carried
//! over, so that applying the result takes nothing away.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use helm_guard_core::{
    api::{self, GuardPolicySpec, Mode},
    policy::Policy,
};
use serde_json::{Map, Value, json};

use crate::{
    cli::{
        documents,
        in_force::{InForce, PolicyArgs, PolicySource},
        output::{self, print_note},
        target::TargetArgs,
    },
    cluster::client::{self, KubeconfigSelection},
};

/// What a printed policy extends.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BaseArgs {
    /// Policy file to extend; default: the policy in force in the cluster
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
}

/// The policy that is extended.
#[derive(Clone, Debug)]
pub(super) struct BasePolicy {
    spec: GuardPolicySpec,
    /// What the reader has to know before applying the result.
    notes: Vec<String>,
}

impl BasePolicy {
    pub(super) fn from_file(file: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            spec: documents::policy(file)?.spec().clone(),
            notes: Vec::new(),
        })
    }

    /// Where no policy is known: one that denies nothing.
    pub(super) fn unknown(why: &str) -> Self {
        Self {
            spec: GuardPolicySpec {
                mode: Mode::Audit,
                ..GuardPolicySpec::default()
            },
            notes: vec![format!(
                "{why}, so mode and break-glass are not carried over: set spec.mode and spec.breakGlass before \
                 you apply this, or people on call are locked out"
            )],
        }
    }

    /// The policy in force in a cluster.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn in_force(target: &TargetArgs) -> anyhow::Result<Self> {
        let client = client::connect(&KubeconfigSelection::from(target)).await?;
        let found = InForce::read(&client, &PolicyArgs::default()).await?;
        Ok(match found.source {
            PolicySource::GuardPolicy | PolicySource::Guard | PolicySource::Arguments => Self {
                spec: found.policy.spec().clone(),
                notes: Vec::new(),
            },
            PolicySource::Default => Self::unknown(&found.notes.join("; ")),
        })
    }

    /// What is in force, or a policy that denies nothing where there is no cluster.
    pub(super) async fn find(args: &BaseArgs, target: &TargetArgs) -> anyhow::Result<Self> {
        if let Some(file) = &args.into {
            return Self::from_file(file);
        }
        match Self::in_force(target).await {
            Ok(base) => Ok(base),
            Err(error) if target.kubeconfig.is_none() && target.context.is_none() => {
                Ok(Self::unknown(&format!("no cluster was asked ({error:#})")))
            }
            Err(error) => {
                Err(error).context("failed to read the policy in force; name one with --into FILE")
            }
        }
    }

    pub(super) fn exemption_names(&self) -> impl Iterator<Item = &str> {
        self.spec.exemptions.iter().map(|one| one.name.as_str())
    }

    /// The document of this policy after `extend`, after the notes as comments and warnings.
    ///
    /// # Errors
    /// When the result is not a valid policy.
    pub(super) fn print_with(
        &self,
        comments: &[String],
        extend: impl FnOnce(&mut GuardPolicySpec),
    ) -> anyhow::Result<String> {
        let mut spec = self.spec.clone();
        extend(&mut spec);
        Policy::compile(&spec).context("failed to extend the policy")?;
        for note in &self.notes {
            print_note(&format!("warning: {note}"));
        }
        let lines = comments.iter().chain(&self.notes);
        let mut text = String::new();
        for line in lines {
            text.push_str("# ");
            text.push_str(line);
            text.push('\n');
        }
        Ok(text + &output::yaml(&document(&spec)?))
    }
}

/// The document of a spec, without what is the default; mode and break-glass always.
fn document(spec: &GuardPolicySpec) -> anyhow::Result<Value> {
    let default = serde_json::to_value(GuardPolicySpec::default())?;
    let mut shown = without_defaults(serde_json::to_value(spec)?, &default);
    if let Value::Object(fields) = &mut shown {
        fields.insert("mode".to_owned(), json!(spec.mode));
        let emergencies = fields.entry("breakGlass").or_insert_with(|| json!({}));
        if let Value::Object(emergencies) = emergencies {
            emergencies.entry("identities").or_insert_with(|| json!([]));
        }
    }
    Ok(json!({
        "apiVersion": format!("{}/{}", api::GROUP, api::VERSION),
        "kind": "GuardPolicy",
        "metadata": {"name": api::POLICY_NAME},
        "spec": shown,
    }))
}

fn without_defaults(value: Value, default: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value;
    };
    let fields = fields.into_iter().filter_map(|(name, value)| {
        let default = default.get(&name).unwrap_or(&Value::Null);
        (value != *default).then(|| (name, without_defaults(value, default)))
    });
    Value::Object(fields.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use helm_guard_core::policy::{document as parser, tightening};

    use super::*;

    fn printed(spec: &Value) -> String {
        let base = BasePolicy {
            spec: serde_json::from_value(spec.clone()).unwrap(),
            notes: Vec::new(),
        };
        base.print_with(&["first".to_owned()], |_| {}).unwrap()
    }

    #[test]
    fn a_printed_policy_takes_nothing_away() {
        let spec = json!({
            "mode": "Audit",
            "breakGlass": {"identities": [{"subjects": {"groups": ["oncall"]}}], "requireReason": true},
            "ignore": [{"paths": ["/spec/replicas"]}],
            "alerts": {"denials": {"above": 5, "within": "1m"}},
            "runbookURL": "https://runbooks.example.com",
        });
        let text = printed(&spec);
        assert!(text.starts_with("# first\n"), "{text}");
        let before: GuardPolicySpec = serde_json::from_value(spec).unwrap();
        let after = parser::parse(&text).unwrap();
        assert_eq!(after, before);
        assert_eq!(tightening::between(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn mode_and_break_glass_are_always_written() {
        let text = printed(&json!({}));
        assert!(text.contains("mode: \"Deny\""), "{text}");
        assert!(text.contains("breakGlass:\n    identities: []"), "{text}");
        assert!(!text.contains("presets"), "{text}");
    }

    #[test]
    fn an_unknown_policy_denies_nothing() {
        let base = BasePolicy::unknown("no cluster was asked");
        let text = base.print_with(&[], |_| {}).unwrap();
        assert!(text.contains("mode: \"Audit\""), "{text}");
        assert!(text.contains("# no cluster was asked"), "{text}");
    }
}
