//! `helm-guard policy`: checks policies before they are in force.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

mod base;
pub mod forecast;
mod import;
mod presets;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use super::{
    check::{self, CheckArgs},
    documents,
    in_force::PolicyArgs,
    output::{Format, print},
    target::{StorageDriver, TargetArgs, kubeconfig_help},
};

/// `helm-guard policy`
#[derive(Debug, Parser)]
pub struct PolicyCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Action,
}

/// The subcommands of `policy`.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Validate a policy, and show what it decides for recorded reviews
    Check(Box<PolicyCheck>),
    /// Show what mode Deny would have denied, and which exemptions would allow it
    Forecast(Box<forecast::ForecastArgs>),
    /// Convert the rules of Flux HelmReleases and Argo CD Applications into a policy
    Import(Box<import::ImportArgs>),
    /// List the built-in exemptions
    Presets {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Format,
    },
}

/// Validate a policy, and show what it decides for recorded reviews.
///
/// Without --review, only the policy itself is validated, and no cluster is needed.
#[derive(Debug, Parser)]
#[command(
    after_help = "Exit codes: 0 valid and no review denied, 2 at least one review denied, 1 invalid policy or other error."
)]
#[command(mut_group("TargetArgs", |group| group.conflicts_with("releases").requires("review")))]
#[command(mut_args(kubeconfig_help(
    "Kubeconfig of the cluster to read releases from, unless --releases is given"
)))]
pub struct PolicyCheck {
    /// The policy (GuardPolicy, YAML or JSON); - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// AdmissionReviews to evaluate with it, in the formats of helm-guard check (repeatable)
    #[arg(long = "review", visible_alias = "reviews", value_name = "FILE")]
    pub review: Vec<PathBuf>,
    /// Release records, in the formats of helm-guard check (repeatable)
    #[arg(long, value_name = "FILE", requires = "review")]
    pub releases: Vec<PathBuf>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// The cluster.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match &args.command {
        Action::Check(args) => check_policy(args),
        Action::Forecast(args) => forecast::run(args),
        Action::Import(args) => import::run(args),
        Action::Presets { output } => presets::run(*output),
    }
}

fn check_policy(args: &PolicyCheck) -> anyhow::Result<ExitCode> {
    if args.review.is_empty() {
        documents::policy(&args.file)?;
        print(b"the policy is valid\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    check::run(&CheckArgs {
        reviews: args.review.clone(),
        policy: PolicyArgs {
            policy: Some(args.file.clone()),
            mode: None,
        },
        releases: args.releases.clone(),
        manifest: None,
        release: None,
        definitions: Vec::new(),
        output: args.output,
        target: args.target.clone(),
        storage_drivers: vec![StorageDriver::Secrets],
    })
}
