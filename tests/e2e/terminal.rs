//! A terminal on a control plane of its own: bash in a working copy of this repository, with kubectl, both Helms and
//! `helm-guard` in the PATH. The tests of the documentation ([`crate::documents`]) and of what users read
//! ([`crate::transcripts`]) type into it.
//!
//! Exported variables last from one command to the next, as in a real terminal.

pub mod compare;
mod copy;
mod people;
pub mod placeholders;
mod processes;
mod setups;

use std::{
    cell::Cell,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use testbed::{ControlPlane, Guard, free_addresses};

use self::processes::Server;

/// Other terminals wait: each has a control plane, and a machine has only so many cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs the script `$1` with the variables that earlier ones exported. `$2` is the file with those variables, `$3` the
/// kubeconfig of another user, or empty.
const TYPED: &str = r#"
exec 2>&1 </dev/null
. "$2"
[ -z "$3" ] || KUBECONFIG=$3
trap 'status=$?; [ -n "$3" ] || export -p >"$2"; exit $status' EXIT
set -euo pipefail
eval "$1"
"#;

/// `await TEXT COMMAND…`: repeats a command until it prints a text. For what the guard or a controller does on its own.
const AWAIT: &str = r#"#!/bin/bash
text=$1
shift
for _ in {1..600}; do
  printed=$("$@" 2>&1)
  [[ $printed == *"$text"* ]] && exit 0
  sleep 0.1
done
echo "$* should print $text, and prints: $printed" >&2
exit 1
"#;

/// The width of the terminal.
const COLUMNS: &str = "80";

/// Everything that runs. Fields are dropped in this order: what talks to the API server before it.
pub struct Terminal {
    servers: Vec<Server>,
    guard: Option<Guard>,
    /// Its mode without a policy.
    mode: String,
    setups: Vec<String>,
    /// Free addresses of this machine, which stand for those that a page names.
    addresses: [String; 2],
    number: Cell<usize>,
    plane: ControlPlane,
    #[allow(dead_code, reason = "held, not read")]
    turn: MutexGuard<'static, ()>,
}

/// What a command printed, both streams as they came.
#[derive(Debug)]
pub struct Screen {
    pub text: String,
    /// The exit status.
    pub status: i32,
}

impl Terminal {
    /// Starts a control plane, and copies the repository.
    pub fn open() -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let plane = ControlPlane::start().unwrap_or_else(|error| panic!("{error}"));
        let terminal = Self {
            servers: Vec::new(),
            guard: None,
            mode: String::new(),
            setups: Vec::new(),
            addresses: free_addresses().unwrap(),
            number: Cell::new(0),
            plane,
            turn,
        };
        copy::repository(&terminal.dir());
        terminal.link_programs();
        fs::write(terminal.variables(), "").unwrap();
        fs::copy(terminal.plane.alice(), terminal.kubeconfig("alice")).unwrap();
        terminal
    }

    /// The working copy.
    pub fn dir(&self) -> PathBuf {
        self.plane.scratch().join("helm-guard")
    }

    fn bin(&self) -> PathBuf {
        self.plane.scratch().join("bin")
    }

    /// The file of the exported variables.
    fn variables(&self) -> PathBuf {
        self.plane.scratch().join("variables")
    }

    /// The kubeconfig of a person, outside the working copy.
    pub fn kubeconfig(&self, person: &str) -> PathBuf {
        self.plane.scratch().join(format!("{person}.kubeconfig"))
    }

    fn link_programs(&self) {
        let bin = self.bin();
        fs::create_dir_all(&bin).unwrap();
        let guard = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
        let programs = self.plane.binaries();
        for (name, program) in [
            ("helm", programs.helm4.as_path()),
            ("kubectl", &programs.kubectl),
            ("helm-guard", guard),
        ] {
            symlink(program, bin.join(name)).unwrap();
        }
        // The two Helms share no cache and no plugins.
        let helm3 = format!(
            "#!/bin/bash\nexport HELM_CACHE_HOME=~/helm3/cache HELM_CONFIG_HOME=~/helm3/config \\\n  \
             HELM_DATA_HOME=~/helm3/data\nexec '{}' \"$@\"\n",
            programs.helm3.display()
        );
        for (name, script) in [("helm3", helm3.as_str()), ("await", AWAIT)] {
            let file = bin.join(name);
            fs::write(&file, script).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The address that a server of this terminal listens on, and its admin address.
    pub fn addresses(&self) -> [&str; 2] {
        let [webhook, admin] = &self.addresses;
        [webhook, admin]
    }

    /// Runs a script as the user of the terminal, a cluster-admin.
    pub fn run(&self, script: &str) -> Screen {
        self.run_as(script, None)
    }

    /// Runs a script with the kubeconfig of a person.
    pub fn run_as(&self, script: &str, person: Option<&str>) -> Screen {
        let kubeconfig = person.map_or_else(PathBuf::new, |person| self.person(person));
        let output = self
            .plane
            .bash(TYPED)
            .args(["bash", script])
            .arg(self.variables())
            .arg(kubeconfig)
            .dir(&self.dir())
            .envs(self.environment())
            .run();
        Screen {
            text: output.stdout,
            status: output.status.code().unwrap_or(-1),
        }
    }

    /// Runs a script that must succeed, and returns what it printed.
    pub fn must(&self, script: &str) -> String {
        let Screen { text, status } = self.run(script);
        assert_eq!(status, 0, "{script}\n{text}");
        text
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = std::env::var("PATH").unwrap_or_default();
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let local = text(self.plane.scratch().join("home/.local/bin"));
        vec![
            ("PATH", format!("{}:{local}:{path}", text(self.bin()))),
            ("KUBECONFIG", text(self.kubeconfig("alice"))),
            ("COLUMNS", COLUMNS.to_owned()),
            ("TZ", "UTC".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
        ]
    }

    /// A number that this terminal has not used yet.
    fn next(&self) -> usize {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }
}
