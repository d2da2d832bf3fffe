//! Builds the programs from the Go modules under `go/`.
//!
//! Each of those modules contains only a `go.mod` with `tool` lines and a `go.sum`: what to build,
//! which versions, and their checksums. They are part of this library, so that a build needs no source
//! checkout. Helm and KWOK have modules of their own because Go selects one version of each dependency
//! per module, and theirs differ from those of the control plane.
//!
//! A cache entry's name contains a hash of everything that determines its content. Programs are built
//! under a temporary name and renamed, so an existing entry is complete.

use std::{
    fs::{self, File, TryLockError},
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use super::variable;
use crate::error::{Error, on_file};

/// One file of the cache.
pub(super) struct Artifact {
    pub(super) name: &'static str,
    module: &'static Module,
    source: Source,
    /// How long it takes on two processors with an empty Go cache, to tell the user.
    usual: &'static str,
}

enum Source {
    Package {
        import_path: &'static str,
        ldflags: &'static str,
        tags: &'static str,
    },
    /// The `Stage` objects that lie in the sources of KWOK's module.
    KwokStages,
}

/// A pinned Go module.
#[derive(Hash)]
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
}

macro_rules! module {
    ($name:literal) => {
        Module {
            name: $name,
            go_mod: include_str!(concat!("../../go/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../go/", $name, "/go.sum")),
        }
    };
}

static KUBERNETES: Module = module!("kubernetes");
static HELM3: Module = module!("helm3");
static HELM4: Module = module!("helm4");
static KWOK: Module = module!("kwok");
static PROMETHEUS: Module = module!("prometheus");

/// Without these the programs report v0.0.0, and clients believe them.
const KUBERNETES_VERSION: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36";
/// The Kubernetes version that `helm template` assumes without a cluster is a link flag, too.
const HELM3_VERSION: &str = "-s -w \
    -X helm.sh/helm/v3/internal/version.version=v3.22.0 \
    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 \
    -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37 \
    -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor=1 \
    -X helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor=37";
const HELM4_VERSION: &str = "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1";
const STRIPPED: &str = "-s -w";

const fn package(
    name: &'static str,
    module: &'static Module,
    import_path: &'static str,
    ldflags: &'static str,
    usual: &'static str,
) -> Artifact {
    Artifact {
        name,
        module,
        source: Source::Package {
            import_path,
            ldflags,
            tags: "",
        },
        usual,
    }
}

/// Everything that can be built, in build order.
pub(super) static ARTIFACTS: [Artifact; 10] = [
    package(
        "etcd",
        &KUBERNETES,
        "go.etcd.io/etcd/server/v3",
        STRIPPED,
        "1 min",
    ),
    package(
        "kubectl",
        &KUBERNETES,
        "k8s.io/kubernetes/cmd/kubectl",
        KUBERNETES_VERSION,
        "1 min",
    ),
    package(
        "kube-apiserver",
        &KUBERNETES,
        "k8s.io/kubernetes/cmd/kube-apiserver",
        KUBERNETES_VERSION,
        "2 min",
    ),
    package(
        "kube-controller-manager",
        &KUBERNETES,
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        KUBERNETES_VERSION,
        "1 min",
    ),
    package(
        "kube-scheduler",
        &KUBERNETES,
        "k8s.io/kubernetes/cmd/kube-scheduler",
        KUBERNETES_VERSION,
        "1 min",
    ),
    package(
        "kwok",
        &KWOK,
        "sigs.k8s.io/kwok/cmd/kwok",
        STRIPPED,
        "2 min",
    ),
    Artifact {
        name: "kwok-stages",
        module: &KWOK,
        source: Source::KwokStages,
        usual: "1 s",
    },
    package(
        "helm3",
        &HELM3,
        "helm.sh/helm/v3/cmd/helm",
        HELM3_VERSION,
        "1 min",
    ),
    package(
        "helm4",
        &HELM4,
        "helm.sh/helm/v4/cmd/helm",
        HELM4_VERSION,
        "1 min",
    ),
    Artifact {
        name: "promtool",
        module: &PROMETHEUS,
        source: Source::Package {
            import_path: "github.com/prometheus/prometheus/cmd/promtool",
            ldflags: STRIPPED,
            // Rules need no service discovery, and the clients of two dozen clouds double the build.
            tags: "remove_all_sd",
        },
        usual: "2 min",
    },
];

impl Artifact {
    fn dir(&self, cache: &Path) -> PathBuf {
        // The hash may differ between compilers: another hash only means another build.
        let mut hasher = DefaultHasher::new();
        self.module.hash(&mut hasher);
        for artifact in ARTIFACTS
            .iter()
            .filter(|artifact| artifact.module.name == self.module.name)
        {
            if let Source::Package {
                import_path,
                ldflags,
                tags,
            } = artifact.source
            {
                (artifact.name, import_path, ldflags).hash(&mut hasher);
                if !tags.is_empty() {
                    tags.hash(&mut hasher);
                }
            }
        }
        (std::env::consts::OS, std::env::consts::ARCH).hash(&mut hasher);
        cache.join(format!("{}-{:016x}", self.module.name, hasher.finish()))
    }

    fn path(&self, cache: &Path) -> PathBuf {
        self.dir(cache).join(self.name)
    }

    fn build(&self, cache: &Path) -> Result<(), Error> {
        let dir = self.dir(cache);
        let source_dir = dir.join("src");
        on_file(fs::create_dir_all(&source_dir), "create", &source_dir)?;
        for (name, content) in [
            ("go.mod", self.module.go_mod),
            ("go.sum", self.module.go_sum),
        ] {
            let path = source_dir.join(name);
            on_file(fs::write(&path, content), "write", &path)?;
        }
        let unfinished = dir.join(format!(".{}.unfinished", self.name));
        match self.source {
            Source::Package {
                import_path,
                ldflags,
                tags,
            } => {
                let mut go = go(&source_dir);
                go.args([
                    "build",
                    "-mod=readonly",
                    "-buildvcs=false",
                    "-trimpath",
                    "-ldflags",
                    ldflags,
                    "-tags",
                    tags,
                    "-o",
                ]);
                go.arg(&unfinished).arg(import_path);
                run(go, self.name)?;
            }
            Source::KwokStages => {
                let mut go = go(&source_dir);
                go.args(["mod", "download", "sigs.k8s.io/kwok"]);
                run(go, self.name)?;
                let mut go = self::go(&source_dir);
                go.args([
                    "list",
                    "-mod=readonly",
                    "-m",
                    "-f",
                    "{{.Dir}}",
                    "sigs.k8s.io/kwok",
                ]);
                let module_dir = run(go, self.name)?;
                let stages = stages(&Path::new(module_dir.trim()).join("kustomize").join("stage"))?;
                on_file(fs::write(&unfinished, stages), "write", &unfinished)?;
            }
        }
        on_file(
            fs::rename(&unfinished, self.path(cache)),
            "rename",
            &unfinished,
        )
    }
}

/// The path of a built artifact.
pub(super) fn path(cache: &Path, name: &str) -> PathBuf {
    ARTIFACTS
        .iter()
        .find(|artifact| artifact.name == name)
        .map_or_else(|| cache.join(name), |artifact| artifact.path(cache))
}

/// Builds the named artifacts that are missing in the cache.
pub(super) fn ensure(cache: &Path, names: &[&str]) -> Result<(), Error> {
    let lacking = || {
        ARTIFACTS
            .iter()
            .filter(|artifact| names.contains(&artifact.name) && !artifact.path(cache).is_file())
    };
    if lacking().next().is_none() {
        return Ok(());
    }
    on_file(fs::create_dir_all(cache), "create", cache)?;
    let _lock = lock(&cache.join("lock"))?;
    // Another process may have built them while this one waited for the lock.
    let lacking: Vec<&Artifact> = lacking().collect();
    for (index, artifact) in lacking.iter().enumerate() {
        let (number, count) = (index + 1, lacking.len());
        eprintln!(
            "testbed: [{number}/{count}] building {}, once; usually {}",
            artifact.name, artifact.usual
        );
        let start = Instant::now();
        artifact.build(cache)?;
        eprintln!(
            "testbed: [{number}/{count}] built {} in {} s",
            artifact.name,
            start.elapsed().as_secs()
        );
    }
    Ok(())
}

/// The system releases the lock when the file is closed, even if this process is killed.
fn lock(path: &Path) -> Result<File, Error> {
    let file = on_file(File::create(path), "create", path)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            eprintln!("testbed: waiting for another process that builds the same programs");
        }
        Err(TryLockError::Error(source)) => return on_file(Err(source), "lock", path),
    }
    on_file(file.lock(), "lock", path)?;
    Ok(file)
}

/// A go command in one of the modules: outside of any workspace, without a C compiler, and independent
/// of the user's settings.
fn go(module_dir: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module_dir)
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0")
        .env_remove("GOOS")
        .env_remove("GOARCH");
    command
}

fn run(mut go: Command, binary: &'static str) -> Result<String, Error> {
    let output = go.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoGo {
            binary,
            variable: variable(binary),
        },
        _ => Error::Spawn {
            program: "go".into(),
            source,
        },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Build {
        binary,
        status: output.status,
        output: output_text,
    })
}

/// The `fast` stages: a node, pod or volume becomes ready as soon as KWOK sees it. The other files there
/// are of other kinds, for other tools.
fn stages(dir: &Path) -> Result<String, Error> {
    let mut documents = Vec::new();
    for subject in ["node", "pod", "volume"] {
        let dir = dir.join(subject).join("fast");
        let mut paths = on_file(fs::read_dir(&dir), "read", &dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
            .map_err(|source| Error::File {
                action: "read",
                path: dir.clone(),
                source,
            })?;
        paths.sort();
        for path in paths.iter().filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        }) {
            let document = on_file(fs::read_to_string(path), "read", path)?;
            if document.lines().any(|line| line == "kind: Stage") {
                documents.push(document);
            }
        }
    }
    Ok(documents.join("\n---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_pins_what_the_link_flags_say() {
        for (module, pin) in [
            (&KUBERNETES, "k8s.io/kubernetes v1.36.3"),
            (&KUBERNETES, "go.etcd.io/etcd/server/v3 v3.6.8"),
            (&HELM3, "helm.sh/helm/v3 v3.22.0"),
            (&HELM4, "helm.sh/helm/v4 v4.3.1"),
            (&KWOK, "sigs.k8s.io/kwok v0.8.0"),
            (&PROMETHEUS, "github.com/prometheus/prometheus v0.316.0"),
        ] {
            assert!(
                module.go_mod.contains(pin),
                "{} should pin {pin}",
                module.name
            );
        }
        for (flags, version) in [
            (KUBERNETES_VERSION, "=v1.36.3 "),
            (HELM3_VERSION, "=v3.22.0 "),
            (HELM4_VERSION, "=v4.3.1"),
        ] {
            assert!(flags.contains(version), "{flags} should hold {version}");
        }
    }

    #[test]
    fn every_built_package_is_a_tool_of_its_module() {
        for artifact in &ARTIFACTS {
            if let Source::Package { import_path, .. } = artifact.source {
                let go_mod = artifact.module.go_mod;
                let listed = go_mod
                    .lines()
                    .any(|line| line.trim().trim_start_matches("tool ") == import_path);
                assert!(
                    listed,
                    "{import_path} should be a tool of {}",
                    artifact.module.name
                );
            }
        }
    }

    #[test]
    fn a_cache_that_holds_everything_needs_no_lock_and_no_go() {
        let cache = tempfile::tempdir().unwrap();
        for artifact in &ARTIFACTS {
            fs::create_dir_all(artifact.dir(cache.path())).unwrap();
            fs::write(artifact.path(cache.path()), "").unwrap();
        }
        let names: Vec<&str> = ARTIFACTS.iter().map(|artifact| artifact.name).collect();
        ensure(cache.path(), &names).unwrap();
        assert!(!cache.path().join("lock").exists());
    }

    #[test]
    fn only_stage_documents_are_read_from_the_module() {
        let dir = tempfile::tempdir().unwrap();
        for subject in ["node", "pod", "volume"] {
            let fast = dir.path().join(subject).join("fast");
            fs::create_dir_all(&fast).unwrap();
            fs::write(
                fast.join("a.yaml"),
                format!("kind: Stage\nmetadata:\n  name: {subject}\n"),
            )
            .unwrap();
            fs::write(fast.join("kustomization.yaml"), "kind: Kustomization\n").unwrap();
        }
        let text = stages(dir.path()).unwrap();
        assert_eq!(text.matches("kind: Stage").count(), 3);
        assert!(!text.contains("Kustomization"));
    }
}
