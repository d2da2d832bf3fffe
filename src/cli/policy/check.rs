//! `helm-guard policy check`: whether a policy is valid, and what it decides for recorded reviews.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Parser;
use helm_guard_core::{
    api::{API_VERSION, Mode, POLICY_NAME},
    policy::{Policy, PolicyError, document},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{
        check::{self, CheckArgs},
        documents::{self, Source},
        in_force::PolicyArgs,
        output::{self, Format, print},
        process,
        target::{StorageArgs, TargetArgs, kubeconfig_help},
    },
    cluster::{
        ApiFailure,
        client::{self, KubeconfigSelection},
        policies,
    },
};

/// Validate a policy, and show what it decides for recorded reviews.
///
/// Without --review, only the policy itself is validated; no cluster is needed for a file. helm-guard check evaluates
/// reviews by the policy in force instead.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 valid and no review denied, 2 at least one review denied, 1 invalid policy or other error."
)]
#[command(mut_group("TargetArgs", |group| group.conflicts_with("releases")))]
#[command(mut_args(kubeconfig_help(
    "Kubeconfig of the cluster to read the policy or releases from"
)))]
pub(crate) struct PolicyCheck {
    /// The policy (GuardPolicy, YAML or JSON); other objects in the file are ignored; - is standard input; default: the
    /// GuardPolicy in the cluster
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// AdmissionReviews to evaluate with it, in the formats of helm-guard check (repeatable)
    #[arg(
        long = "review",
        visible_alias = "reviews",
        value_name = "FILE",
        requires = "file"
    )]
    pub(crate) review: Vec<PathBuf>,
    /// Release records, in the formats of helm-guard check (repeatable)
    #[arg(long, value_name = "FILE", requires = "review")]
    pub(crate) releases: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// The result, for programs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct PolicyValidation {
    api_version: &'static str,
    kind: &'static str,
    /// The file, or the policy in the cluster.
    source: String,
    valid: bool,
    /// The mode outside of overrides; of a valid policy only.
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<Mode>,
    problems: Vec<ReportedProblem>,
}

/// What is wrong at one place of a policy.
#[derive(Debug, Serialize, JsonSchema)]
struct ReportedProblem {
    /// Where in the policy; empty if the problem is not at one place.
    path: String,
    message: String,
}

/// Runs the subcommand.
pub(super) fn run(args: &PolicyCheck) -> anyhow::Result<ExitCode> {
    match &args.file {
        Some(file) if !args.review.is_empty() => evaluate(args, file.clone()),
        Some(file) => {
            let source = Source::of(file);
            validate(
                args.output,
                source.name(),
                documents::policy_document(&source)?,
            )
        }
        None => {
            let name = format!("GuardPolicy {POLICY_NAME:?} in the cluster");
            let found = process::runtime()?.block_on(in_cluster(&args.target))?;
            validate(args.output, name, found)
        }
    }
}

fn evaluate(args: &PolicyCheck, file: PathBuf) -> anyhow::Result<ExitCode> {
    check::run(&CheckArgs {
        reviews: args.review.clone(),
        policy: PolicyArgs {
            policy: Some(file),
            mode: None,
        },
        releases: args.releases.clone(),
        manifest: None,
        release: None,
        definitions: Vec::new(),
        output: args.output,
        target: args.target.clone(),
        storage: StorageArgs::default(),
    })
}

async fn in_cluster(target: &TargetArgs) -> anyhow::Result<Result<Policy, PolicyError>> {
    let client = client::connect(&KubeconfigSelection::from(target)).await?;
    let read = policies::objects(client).get_opt(POLICY_NAME).await;
    let object = match read.map_err(ApiFailure::from) {
        // The CRDs are not installed.
        Err(failure) if failure.is_unserved() => None,
        read => read.with_context(|| format!("failed to get the GuardPolicy {POLICY_NAME}"))?,
    };
    let Some(object) = object else {
        bail!(
            "there is no GuardPolicy {POLICY_NAME} in the cluster: the flags of the guard are its policy; give FILE to \
             check a policy that is not applied yet"
        );
    };
    let spec = document::spec(object.data.get("spec").unwrap_or(&Value::Null));
    Ok(spec.and_then(|spec| Policy::compile(&spec)))
}

fn validate(
    format: Format,
    source: String,
    found: Result<Policy, PolicyError>,
) -> anyhow::Result<ExitCode> {
    let validation = PolicyValidation {
        api_version: API_VERSION,
        kind: "PolicyValidation",
        valid: found.is_ok(),
        mode: found.as_ref().ok().map(Policy::default_mode),
        problems: found.as_ref().err().map(problems).unwrap_or_default(),
        source,
    };
    match (output::encode(format, &validation)?, found) {
        (Some(text), found) => {
            print(text.as_bytes())?;
            Ok(if found.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        (None, Ok(policy)) => {
            let mode = policy.default_mode();
            print(
                format!(
                    "{} is a valid policy (mode {})\n",
                    validation.source,
                    mode.as_str()
                )
                .as_bytes(),
            )?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Err(error)) => Err(documents::invalid(&validation.source, &error)),
    }
}

fn problems(error: &PolicyError) -> Vec<ReportedProblem> {
    let listed = error.problems.iter().map(|problem| ReportedProblem {
        path: problem.at.clone(),
        message: problem.what.clone(),
    });
    let rest = (error.more > 0).then(|| ReportedProblem {
        path: String::new(),
        message: format!("and {} more", error.more),
    });
    listed.chain(rest).collect()
}
