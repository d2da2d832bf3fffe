//! The programs of the control plane and its clients: given by the environment, or built once.
//!
//! Searched in this order:
//! 1. `HELM_GUARD_TEST_<NAME>`, the program's name in capitals with `_` for `-`;
//! 2. `KUBEBUILDER_ASSETS`, a directory with kube-apiserver, etcd and kubectl;
//! 3. the cache: `HELM_GUARD_TEST_CACHE`, else `$XDG_CACHE_HOME/helm-guard-testbed`, else
//!    `~/.cache/helm-guard-testbed`. Missing programs are built into it with the Go toolchain from the
//!    pinned modules under `go/`.
//!
//! Programs from the environment are used as they are, whatever their version.

mod build;

use std::{env, ffi::OsString, path::PathBuf};

use crate::error::Error;

/// The paths of the programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The storage of the API server.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The controllers: deployments, garbage collection, namespaces and so on.
    pub kube_controller_manager: PathBuf,
    /// Binds pods to the simulated nodes.
    pub kube_scheduler: PathBuf,
    /// The client of everybody but Helm.
    pub kubectl: PathBuf,
    /// Simulates the kubelets.
    pub kwok: PathBuf,
    /// How KWOK moves nodes, pods and volumes from state to state: the `Stage` objects of its module.
    pub kwok_stages: PathBuf,
    /// Helm 3.
    pub helm3: PathBuf,
    /// Helm 4.
    pub helm4: PathBuf,
}

impl Binaries {
    /// Finds every program, and builds those that are not given. The first build takes several minutes
    /// and reports progress on standard error; two processes at the same time build once.
    ///
    /// # Errors
    /// When an environment variable names a missing file, when the cache cannot be written, or when
    /// the Go toolchain is missing or fails.
    pub fn locate_or_build() -> Result<Self, Error> {
        let [
            etcd,
            kubectl,
            kube_apiserver,
            kube_controller_manager,
            kube_scheduler,
            kwok,
            kwok_stages,
            helm3,
            helm4,
        ] = locate([
            "etcd",
            "kubectl",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kwok",
            "kwok-stages",
            "helm3",
            "helm4",
        ])?;
        Ok(Self {
            etcd,
            kube_apiserver,
            kube_controller_manager,
            kube_scheduler,
            kubectl,
            kwok,
            kwok_stages,
            helm3,
            helm4,
        })
    }
}

/// promtool, which checks rules and runs their unit tests. No control plane needs it, so it is not among the
/// [`Binaries`], and is built only for those who call this.
///
/// # Errors
/// As [`Binaries::locate_or_build`].
pub fn promtool() -> Result<PathBuf, Error> {
    let [promtool] = locate(["promtool"])?;
    Ok(promtool)
}

/// The paths of programs, after building those that are neither given nor in the cache.
fn locate<const N: usize>(names: [&'static str; N]) -> Result<[PathBuf; N], Error> {
    let mut paths = [const { None }; N];
    let mut missing = Vec::new();
    for (path, name) in paths.iter_mut().zip(names) {
        *path = given(name, |variable| env::var_os(variable))?;
        if path.is_none() {
            missing.push(name);
        }
    }
    let cache = if missing.is_empty() {
        PathBuf::new()
    } else {
        cache_dir(|variable| env::var_os(variable))?
    };
    build::ensure(&cache, &missing)?;
    let mut names = names.into_iter();
    Ok(paths.map(|path| {
        let name = names.next().unwrap_or_default();
        path.unwrap_or_else(|| build::path(&cache, name))
    }))
}

/// The environment variable for a program.
pub(crate) fn variable(name: &str) -> String {
    format!("HELM_GUARD_TEST_{}", name.to_uppercase().replace('-', "_"))
}

/// A path from the environment, absolute: programs run from different directories.
fn absolute(path: OsString) -> PathBuf {
    let path = PathBuf::from(path);
    std::path::absolute(&path).unwrap_or(path)
}

fn given(name: &str, env: impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>, Error> {
    let one = variable(name);
    if let Some(path) = env(&one).filter(|path| !path.is_empty()).map(absolute) {
        return if path.is_file() {
            Ok(Some(path))
        } else {
            Err(Error::MissingBinary {
                variable: one,
                path,
            })
        };
    }
    // An assets directory often contains only some of the three; the others are built.
    Ok(env("KUBEBUILDER_ASSETS")
        .filter(|_| ["kube-apiserver", "etcd", "kubectl"].contains(&name))
        .map(|dir| absolute(dir).join(name))
        .filter(|path| path.is_file()))
}

fn cache_dir(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, Error> {
    let dir = |variable| env(variable).filter(|dir| !dir.is_empty()).map(absolute);
    dir("HELM_GUARD_TEST_CACHE")
        .or_else(|| dir("XDG_CACHE_HOME").map(|dir| dir.join("helm-guard-testbed")))
        .or_else(|| dir("HOME").map(|dir| dir.join(".cache").join("helm-guard-testbed")))
        .ok_or(Error::NoCache)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn env_of<'a>(pairs: &'a [(&'a str, &'a Path)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.as_os_str().to_owned())
        }
    }

    #[test]
    fn the_variable_of_a_binary_takes_precedence_over_the_assets_directory() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("my-etcd");
        fs::write(&own, "").unwrap();
        fs::write(dir.path().join("etcd"), "").unwrap();
        let env = [
            ("HELM_GUARD_TEST_ETCD", own.as_path()),
            ("KUBEBUILDER_ASSETS", dir.path()),
        ];
        assert_eq!(given("etcd", env_of(&env)).unwrap(), Some(own.clone()));
        assert_eq!(
            given("etcd", env_of(&env[1..])).unwrap(),
            Some(dir.path().join("etcd"))
        );
    }

    #[test]
    fn an_assets_directory_provides_only_its_own_programs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kube-scheduler"), "").unwrap();
        let env = [("KUBEBUILDER_ASSETS", dir.path())];
        assert_eq!(given("etcd", env_of(&env)).unwrap(), None);
        assert_eq!(given("kube-scheduler", env_of(&env)).unwrap(), None);
    }

    #[test]
    fn a_variable_naming_a_missing_file_is_an_error() {
        let path = Path::new("/nonexistent/scheduler");
        let error = given(
            "kube-scheduler",
            env_of(&[("HELM_GUARD_TEST_KUBE_SCHEDULER", path)]),
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("HELM_GUARD_TEST_KUBE_SCHEDULER"),
            "{error}"
        );
    }

    #[test]
    fn a_relative_cache_path_is_relative_to_the_working_directory() {
        let cache = cache_dir(env_of(&[("HELM_GUARD_TEST_CACHE", Path::new("cache"))])).unwrap();
        assert_eq!(cache, env::current_dir().unwrap().join("cache"));
    }

    #[test]
    fn the_cache_is_at_the_path_of_the_variables() {
        let [own, xdg, home] = [Path::new("/own"), Path::new("/xdg"), Path::new("/home/me")];
        let env = [
            ("HELM_GUARD_TEST_CACHE", own),
            ("XDG_CACHE_HOME", xdg),
            ("HOME", home),
        ];
        assert_eq!(cache_dir(env_of(&env)).unwrap(), own);
        assert_eq!(
            cache_dir(env_of(&env[1..])).unwrap(),
            xdg.join("helm-guard-testbed")
        );
        assert_eq!(
            cache_dir(env_of(&env[2..])).unwrap(),
            home.join(".cache/helm-guard-testbed")
        );
        assert!(matches!(cache_dir(env_of(&[])), Err(Error::NoCache)));
    }
}
