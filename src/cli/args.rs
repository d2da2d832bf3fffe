//! The arguments, as `--help` shows them. Each subcommand has its arguments in its own file.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use super::{
    break_glass::BreakGlass, check::CheckArgs, explain::Explain, output::Format,
    policy::PolicyCommand, registration::RegistrationCommand, scan::Scan, serve::args::Serve,
};

/// Prevents drift in Helm releases: a validating admission webhook that compares every change of a
/// declared object with the release's own manifest.
#[derive(Debug, Parser)]
#[command(
    name = "helm-guard",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Args {
    /// The subcommand.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the admission webhook
    Serve(Box<Serve>),
    /// Find drift that is already in the cluster
    Scan(Box<Scan>),
    /// Evaluate recorded admission reviews
    Check(Box<CheckArgs>),
    /// Manage break-glass: grants, tokens, and emergency changes
    BreakGlass(Box<BreakGlass>),
    /// Explain which release declares an object or a field
    Explain(Box<Explain>),
    /// Check policies, import rules, list presets
    Policy(Box<PolicyCommand>),
    /// Print the registration as a manifest, to apply it yourself
    Registration(Box<RegistrationCommand>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the version, and the commit that it was built from
    Version {
        /// Output format
        #[arg(short, long, value_name = "FORMAT", default_value = "table")]
        output: Format,
    },
}
