//! The cluster of a subcommand, and where Helm stores the release records in it.

use std::path::PathBuf;

use clap::{Arg, Args, ValueEnum};
use helm_guard_core::helm::storage::Driver;

use crate::cluster::client::KubeconfigSelection;

/// The cluster of a subcommand. The clap group `TargetArgs` has both flags, so that a subcommand that works
/// without a cluster can conflict with it.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetArgs {
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

impl From<&TargetArgs> for KubeconfigSelection {
    fn from(args: &TargetArgs) -> Self {
        Self {
            kubeconfig: args.kubeconfig.clone(),
            context: args.context.clone(),
        }
    }
}

/// Replaces the help of `--kubeconfig` for one subcommand.
pub(super) fn kubeconfig_help(text: &'static str) -> impl Fn(Arg) -> Arg {
    move |arg| match arg.get_id().as_str() {
        "kubeconfig" => arg.help(text),
        _ => arg,
    }
}

/// Storage drivers of Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StorageDriver {
    /// Secrets, Helm's default
    Secrets,
    /// `ConfigMaps`: anyone who may write one with the right name can write a release record
    #[value(name = "configmaps")]
    ConfigMaps,
}

impl StorageDriver {
    /// As drivers of the index.
    pub fn drivers(given: &[Self]) -> Vec<Driver> {
        let mut drivers: Vec<Driver> = given
            .iter()
            .map(|driver| match driver {
                Self::Secrets => Driver::Secret,
                Self::ConfigMaps => Driver::ConfigMap,
            })
            .collect();
        drivers.sort_unstable();
        drivers.dedup();
        drivers
    }
}
