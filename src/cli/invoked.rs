//! The name that this program was called by, as help texts and hints show it. As a plugin it has another one.

use std::{env, ffi::OsStr, path::Path, sync::LazyLock};

/// `helm-guard`, `helm guard` as a plugin of Helm, or `kubectl helm-guard` as a plugin of kubectl.
pub(super) fn name() -> &'static str {
    static NAME: LazyLock<&str> = LazyLock::new(|| {
        let plugin_of_helm = env::var_os("HELM_PLUGIN_NAME");
        name_of(env::args_os().next().as_deref(), plugin_of_helm.as_deref())
    });
    &NAME
}

/// kubectl finds plugins by the names of files; a dash in a command is an underscore there. Helm names its plugin.
fn name_of(program: Option<&OsStr>, plugin_of_helm: Option<&OsStr>) -> &'static str {
    let file = program.and_then(|program| Path::new(program).file_stem());
    if file.is_some_and(|name| name == "kubectl-helm_guard") {
        "kubectl helm-guard"
    } else if plugin_of_helm.is_some_and(|name| name == "guard") {
        "helm guard"
    } else {
        "helm-guard"
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("helm-guard", None, "helm-guard")]
    #[case::path("/usr/bin/helm-guard", None, "helm-guard")]
    #[case::renamed("/usr/bin/guard", None, "helm-guard")]
    #[case::of_kubectl("/home/a/.krew/bin/kubectl-helm_guard", None, "kubectl helm-guard")]
    #[case::of_helm("/plugins/guard/bin/helm-guard", Some("guard"), "helm guard")]
    #[case::called_by_another_plugin("helm-guard", Some("diff"), "helm-guard")]
    fn the_name_is_what_was_typed(
        #[case] program: &str,
        #[case] plugin: Option<&str>,
        #[case] expected: &str,
    ) {
        let name = name_of(Some(program.as_ref()), plugin.map(OsStr::new));
        assert_eq!(name, expected);
    }
}
