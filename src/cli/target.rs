//! The cluster of a subcommand, and where Helm stores the release records in it.

use std::{env, path::PathBuf};

use clap::{Arg, Args, ValueEnum};
use helm_guard_core::helm::storage::Driver;

use crate::cluster::client::KubeconfigSelection;

/// The cluster of a subcommand. The clap group `TargetArgs` has both flags, so that a subcommand that works
/// without a cluster can conflict with it.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TargetArgs {
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// User to impersonate
    #[arg(long = "as", value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// Group to impersonate (repeatable)
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    pub(crate) impersonate_groups: Vec<String>,
}

/// The flags count, then the variables of this program, then those that Helm sets for its plugins.
impl From<&TargetArgs> for KubeconfigSelection {
    fn from(args: &TargetArgs) -> Self {
        let kubeconfig = || variable(&from_environment, "HELM_GUARD_KUBECONFIG", None);
        let context = || {
            variable(
                &from_environment,
                "HELM_GUARD_CONTEXT",
                Some("HELM_KUBECONTEXT"),
            )
        };
        Self {
            kubeconfig: args
                .kubeconfig
                .clone()
                .or_else(|| kubeconfig().map(PathBuf::from)),
            context: args.context.clone().or_else(context),
            impersonate: args.impersonate.clone(),
            impersonate_groups: args.impersonate_groups.clone(),
        }
    }
}

/// The namespace of a command: the flag, or a variable. None for that of the kubeconfig's context.
pub(super) fn namespace(flag: Option<&str>) -> Option<String> {
    let given = || {
        variable(
            &from_environment,
            "HELM_GUARD_NAMESPACE",
            Some("HELM_NAMESPACE"),
        )
    };
    flag.map(str::to_owned).or_else(given)
}

fn from_environment(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// A variable of this program, or the one of Helm. Helm's counts only in a plugin: people export it for Helm itself, and
/// it must not choose another cluster for `serve`.
fn variable(
    environment: &impl Fn(&str) -> Option<String>,
    own: &str,
    of_helm: Option<&str>,
) -> Option<String> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let is_plugin = || set("HELM_PLUGIN_DIR").is_some();
    set(own).or_else(|| set(of_helm?).filter(|_| is_plugin()))
}

/// Says what the cluster of a subcommand is for, where the help of [`TargetArgs`] is too short.
pub(super) fn kubeconfig_help(text: &'static str) -> impl Fn(Arg) -> Arg {
    move |arg| match arg.get_id().as_str() {
        "kubeconfig" => arg.help(text),
        _ => arg,
    }
}

/// Where a subcommand looks for release records.
#[derive(Clone, Debug, Args)]
pub(crate) struct StorageArgs {
    /// Storage drivers of Helm (`HELM_DRIVER`), separated by commas
    #[arg(
        long,
        value_name = "DRIVER",
        value_delimiter = ',',
        default_value = "secrets"
    )]
    pub(crate) storage_drivers: Vec<StorageDriver>,
}

impl Default for StorageArgs {
    fn default() -> Self {
        Self {
            storage_drivers: vec![StorageDriver::Secrets],
        }
    }
}

/// Storage drivers of Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageDriver {
    /// Secrets, Helm's default
    Secrets,
    /// `ConfigMaps`
    #[value(
        name = "configmaps",
        help = "ConfigMaps: anyone who may write one with the right name can write a release record"
    )]
    ConfigMaps,
}

impl StorageDriver {
    /// As drivers of the index.
    pub(crate) fn drivers(given: &[Self]) -> Vec<Driver> {
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::own(&[("OWN", "a"), ("HELMS", "b"), ("HELM_PLUGIN_DIR", "/p")], Some("a"))]
    #[case::in_a_plugin(&[("HELMS", "b"), ("HELM_PLUGIN_DIR", "/p")], Some("b"))]
    #[case::exported_for_helm(&[("HELMS", "b")], None)]
    #[case::empty(&[("OWN", "")], None)]
    fn a_variable_of_helm_counts_only_in_its_plugin(
        #[case] variables: &[(&str, &str)],
        #[case] expected: Option<&str>,
    ) {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let found = variable(&environment, "OWN", Some("HELMS"));
        assert_eq!(found.as_deref(), expected);
    }
}
