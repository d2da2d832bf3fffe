//! `helm-guard break-glass`: grants, the tokens that go with them, and what was done under them.
//!
//! Everything here is done as the user of the kubeconfig: RBAC says who may ask for a grant, take a
//! token of the emergency account, approve, and read. The guard checks each grant as it is made.

mod changes;
mod grants;
mod kubeconfig;
mod open;
mod token;
mod values;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use helm_guard_core::api::Span;
use kube::Client;

use self::open::Open;
use super::{output::Format, process};
use crate::cluster::{
    ApiFailure,
    client::{self, Target},
};

/// Manage break-glass: request a grant and a token, and list changes to include in the chart
#[derive(Debug, Parser)]
#[command(after_help = "Exit codes: 0 done, 1 an error.")]
pub struct BreakGlass {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
}

/// The subcommands of `break-glass`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Request a grant, and write a kubeconfig with a token of the emergency account
    Open(Box<Open>),
    /// List the grants
    List {
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
    /// Create a new grant like this one, and revoke this one
    Extend {
        /// The grant
        name: String,
        /// Validity of the new grant, from now: 30m, 1h
        #[arg(long = "for", value_name = "DURATION", default_value = "1h")]
        span: Span,
        /// The new token.
        #[command(flatten)]
        token: Token,
    },
    /// Approve a grant that somebody else has requested
    Approve {
        /// The grant
        name: String,
    },
    /// List unresolved emergency changes
    Changes(changes::Changes),
}

/// The token of the emergency account, and where it goes.
#[derive(Debug, Args)]
pub struct Token {
    /// Emergency account; default: the one in the policy of the cluster
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service_account: Option<String>,
    /// File to write the kubeconfig to
    #[arg(long, value_name = "FILE", default_value = "emergency.yaml")]
    pub output: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// Create only the grant, without a token
    #[arg(long)]
    pub no_token: bool,
}

/// Runs it.
pub(super) fn run(args: &BreakGlass) -> anyhow::Result<ExitCode> {
    let target = Target {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
    };
    process::runtime()?.block_on(async {
        let client = client::connect(&target).await?;
        match &args.command {
            Command::Open(args) => open::open(&client, &target, args).await,
            Command::List { output } => grants::list(&client, *output).await,
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

/// A failed call, told without the content of an object.
trait Told<T> {
    fn told(self, what: &str) -> anyhow::Result<T>;
}

impl<T> Told<T> for kube::Result<T> {
    fn told(self, what: &str) -> anyhow::Result<T> {
        self.map_err(ApiFailure::from)
            .with_context(|| format!("failed to {what}"))
    }
}

/// Who the API server takes us for: the grant must name the one who asks for it.
async fn myself(client: &Client) -> anyhow::Result<String> {
    use k8s_openapi::api::authentication::v1::SelfSubjectReview;
    let api: kube::Api<SelfSubjectReview> = kube::Api::all(client.clone());
    let review = api
        .create(
            &kube::api::PostParams::default(),
            &SelfSubjectReview::default(),
        )
        .await
        .told("ask the API server who we are")?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|user| user.username)
        .context("failed to ask the API server who we are: it does not say")
}

/// Lines of words, in columns.
pub(super) fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = header.iter().map(ToString::to_string).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths);
        let row: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(row.join("   ").trim_end());
        text.push('\n');
    }
    text
}

/// Says something to whoever watches; standard output is for what programs read.
fn say(text: &str) {
    use std::io::Write as _;
    // Nobody is left to tell when even this fails.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [
            vec!["a".to_owned(), "long word".to_owned(), "x".to_owned()],
            vec!["bbb".to_owned(), String::new(), String::new()],
        ];
        assert_eq!(
            columns(&["N", "WORD", "Z"], &rows),
            "N     WORD        Z\na     long word   x\nbbb\n"
        );
    }
}
