//! `helm-guard break-glass`: grants, their tokens, and the changes made with them.
//!
//! Every command acts as the user of the kubeconfig. RBAC decides who may request a grant, get a token
//! of the emergency account, approve, and read. The guard validates each new grant.

mod api_calls;
mod changes;
mod grants;
mod kubeconfig;
mod open;
mod rights;
mod token;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use helm_guard_core::api::Span;

use self::{open::OpenArgs, token::TokenArgs};
use super::{output::Format, process, target::TargetArgs};
use crate::cluster::client::{self, KubeconfigSelection};

/// Manage break-glass: request a grant and a token, and list changes to include in the chart
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 success, 1 error.")]
// After the arguments of the subcommand, which have no order of their own.
#[command(mut_args(|arg| arg.global(true).display_order(1000)))]
pub(crate) struct BreakGlass {
    /// The subcommand.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The cluster.
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// The subcommands of `break-glass`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Request a grant, and write a kubeconfig with a token of the emergency account
    Open(Box<OpenArgs>),
    /// List the grants in force
    List {
        /// Include grants that have ended
        #[arg(long)]
        all: bool,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Format,
    },
    /// Show a grant
    Show {
        /// The grant
        name: String,
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
        output: Format,
    },
    /// Revoke a grant permanently
    Close {
        /// The grant
        name: String,
    },
    /// Create a new grant like this one, wait for its approvals, and revoke this one
    Extend {
        /// The grant
        name: String,
        /// Validity of the new grant, from now: 30m, 1h
        #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
        span: Span,
        /// The new token.
        #[command(flatten)]
        token: TokenArgs,
    },
    /// Write a kubeconfig with a token for a grant, such as one that was approved later
    Token {
        /// The grant
        name: String,
        /// The token.
        #[command(flatten)]
        token: TokenArgs,
    },
    /// Approve a grant that somebody else has requested
    Approve {
        /// The grant
        name: String,
    },
    /// List unresolved emergency changes
    Changes(changes::ChangesArgs),
}

/// Runs the subcommand.
pub(super) fn run(args: &BreakGlass) -> anyhow::Result<ExitCode> {
    let target = KubeconfigSelection::from(&args.target);
    process::runtime()?.block_on(async {
        let client = client::connect(&target).await?;
        match &args.command {
            Command::Open(args) => open::open(&client, &target, args).await,
            Command::List { all, output } => grants::list(&client, *all, *output).await,
            Command::Token { name, token } => open::token(&client, &target, name, token).await,
            Command::Show { name, output } => grants::show(&client, name, *output).await,
            Command::Close { name } => grants::close(&client, name).await,
            Command::Extend { name, span, token } => {
                open::extend(&client, &target, name, *span, token).await
            }
            Command::Approve { name } => grants::approve(&client, name).await,
            Command::Changes(args) => changes::list(&client, args).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
