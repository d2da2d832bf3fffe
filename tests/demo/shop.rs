//! The set-up: a control plane, a guard, the people, and a release.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use testbed::{ControlPlane, Guard, GuardConfig, HelmVersion, Invocation, Output};

use crate::screen::{Screen, say};

pub const NAMESPACE: &str = "shop";
pub const RELEASE: &str = "myapp";
pub const EMERGENCY_OPS: &str = "system:serviceaccount:ops:emergency-ops";

/// What an application of one's own usually is: what `helm create` makes, with a few values set.
const VALUES: [(&str, &str); 3] = [
    ("replicaCount: 1", "replicaCount: 3"),
    ("tag: \"\"", "tag: \"2.0.0\""),
    ("resources: {}", "resources: {limits: {memory: 128Mi}}"),
];

/// The manifests of `deploy/` but for the Deployment: here the guard runs outside the cluster.
const MANIFESTS: [&str; 4] = [
    "00-namespace.yaml",
    "10-service-account.yaml",
    "20-rbac.yaml",
    "60-break-glass.yaml",
];

/// Somebody with a kubeconfig.
pub struct Person {
    pub name: &'static str,
    pub kubeconfig: PathBuf,
}

/// All that is running. Fields go in this order: the guard before the cluster it guards.
pub struct Shop {
    pub guard: Guard,
    /// Runs Helm.
    pub alice: Person,
    /// Is as much of a cluster-admin as Alice.
    pub bob: Person,
    /// Has a token of the break-glass ServiceAccount.
    pub oncall: Person,
    pub chart: PathBuf,
    pub plane: ControlPlane,
}

impl Shop {
    /// Starts everything and installs the release.
    pub fn open(screen: Screen, binary: &Path) -> Result<Self, Box<dyn Error>> {
        let started = Instant::now();
        screen.title("Setting up");
        say("etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK, on loopback");
        let plane = ControlPlane::start()?;
        let admin = |args: &[&str]| {
            let kubectl = plane.kubectl().cmd(plane.admin());
            succeeded(&kubectl.args(args).run())
        };
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/manifests");
        for file in MANIFESTS {
            let file = manifests.join(file);
            admin(&["apply", "-f", &file.to_string_lossy()])?;
        }
        admin(&["create", "namespace", NAMESPACE])?;
        plane.grant_cluster_admin("bob@example.com")?;
        let person = |name, kubeconfig| Person { name, kubeconfig };
        let alice = person("alice", plane.alice().to_owned());
        let bob = person("bob", plane.user("bob@example.com", &[])?);
        let oncall = person("oncall", plane.service_account("ops", "emergency-ops")?);

        say("helm-guard serve --mode Deny, with the rights of deploy/");
        let account = plane.service_account("helm-guard", "helm-guard")?;
        let config = GuardConfig::new(binary, &account, "Deny")
            .args(["--break-glass-user", EMERGENCY_OPS])
            .args(["--log-format", "json", "--drain-delay", "0s"]);
        let guard = Guard::start(&plane, config)?;
        let chart = adapt(plane.created_chart(HelmVersion::V4, RELEASE))?;
        say(&format!("ready after {} s", started.elapsed().as_secs()));
        Ok(Self {
            guard,
            alice,
            bob,
            oncall,
            chart,
            plane,
        })
    }

    /// A command line as somebody types it: `helm` is Helm 4, `./myapp` is the chart, and everybody's
    /// namespace is the shop's.
    pub fn invocation(&self, who: &Person, line: &str) -> Invocation {
        let mut words = split(line).into_iter();
        let program = words.next().unwrap_or_default();
        let invocation = if program == "helm" {
            self.plane.helm(HelmVersion::V4).cmd(&who.kubeconfig)
        } else {
            self.plane.kubectl().cmd(&who.kubeconfig)
        };
        let chart = format!("./{RELEASE}");
        words.fold(
            invocation.args(["--namespace", NAMESPACE]),
            |invocation, word| {
                if word == chart {
                    invocation.arg(&self.chart)
                } else {
                    invocation.arg(word)
                }
            },
        )
    }
}

/// A command of ours that has to succeed.
fn succeeded(output: &Output) -> Result<(), Box<dyn Error>> {
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{}: {}", output.line, output.stderr).into())
    }
}

fn adapt(chart: PathBuf) -> Result<PathBuf, Box<dyn Error>> {
    let values = chart.join("values.yaml");
    let mut text = fs::read_to_string(&values)?;
    for (from, to) in VALUES {
        if !text.contains(from) {
            return Err(format!("`helm create` no longer writes {from:?}").into());
        }
        text = text.replace(from, to);
    }
    fs::write(&values, text)?;
    Ok(chart)
}

/// Words of a command line; single quotes hold blanks together.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words
                .iter_mut()
                .next_back()
                .into_iter()
                .for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
