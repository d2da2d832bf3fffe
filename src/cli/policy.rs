//! `helm-guard policy`: checks policies before they are in force.

#![allow(
    clippy::doc_markdown,
    reason = "comments on arguments are what --help prints"
)]

mod base;
pub(super) mod check;
pub(crate) mod forecast;
mod import;
pub(super) mod presets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::output::Format;

/// `helm-guard policy`
#[derive(Debug, Parser)]
pub(crate) struct PolicyCommand {
    /// The subcommand.
    #[command(subcommand)]
    pub(crate) command: Action,
}

/// The subcommands of `policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Validate a policy, and show what it decides for recorded reviews
    Check(Box<check::PolicyCheck>),
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

/// Runs the subcommand.
pub(super) fn run(args: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match &args.command {
        Action::Check(args) => check::run(args),
        Action::Forecast(args) => forecast::run(args),
        Action::Import(args) => import::run(args),
        Action::Presets { output } => presets::run(*output),
    }
}
