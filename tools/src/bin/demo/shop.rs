//! The setup: a control plane, a guard, the people, and a release.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use testbed::{ControlPlane, Guard, GuardConfig, HelmVersion, Invocation, Output};

use crate::{
    channel::Channel,
    screen::{Screen, say},
};

pub const NAMESPACE: &str = "shop";
pub const RELEASE: &str = "myapp";
pub const EMERGENCY_OPS: &str = "system:serviceaccount:helm-guard-break-glass:emergency-ops";

/// A typical application: the chart of `helm create`, with a few values set.
const VALUES: [(&str, &str); 3] = [
    ("replicaCount: 1", "replicaCount: 3"),
    ("tag: \"\"", "tag: \"2.0.0\""),
    ("resources: {}", "resources: {limits: {memory: 128Mi}}"),
];

/// The manifests of `deploy/` except for the Deployment: here the guard runs outside the cluster.
const MANIFESTS: [&str; 9] = [
    "manifests/00-namespace.yaml",
    "manifests/05-crds.yaml",
    "manifests/10-service-account.yaml",
    "manifests/20-rbac.yaml",
    "manifests/21-live-objects.yaml",
    "manifests/25-personas.yaml",
    "manifests/60-admission-policies.yaml",
    "break-glass/account.yaml",
    "break-glass/rights.yaml",
];

/// The break-glass policy, for the namespace of the demo.
const POLICY: &str = "examples/break-glass.yaml";

/// Somebody with a kubeconfig.
pub struct Person {
    pub name: &'static str,
    pub kubeconfig: PathBuf,
}

/// Everything that runs. Fields are dropped in this order: the guard before its cluster.
pub struct Shop {
    /// From [`Shop::start_guard`] on.
    pub guard: Option<Guard>,
    /// Runs Helm.
    pub alice: Person,
    /// A cluster-admin like Alice.
    pub bob: Person,
    /// Is on call: may request grants and tokens of the emergency account.
    pub oscar: Person,
    /// The kubeconfig of the emergency account: the file that `break-glass open` writes.
    pub emergency: Person,
    /// The incident channel.
    pub channel: Channel,
    binary: PathBuf,
    pub chart: PathBuf,
    pub plane: ControlPlane,
}

impl Shop {
    /// Starts everything but the guard.
    pub fn open(screen: Screen, binary: &Path) -> Result<Self, Box<dyn Error>> {
        let started = Instant::now();
        screen.title("Setting up");
        say("etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK, on loopback");
        let plane = ControlPlane::start()?;
        let admin = |args: &[&str]| {
            let kubectl = plane.kubectl().cmd(plane.admin());
            succeeded(&kubectl.args(args).run())
        };
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        let apply = |file: &str| {
            let file = deploy.join(file);
            admin(&["apply", "-f", &file.to_string_lossy()])
        };
        for file in MANIFESTS {
            apply(file)?;
        }
        admin(&["create", "namespace", NAMESPACE])?;
        admin(&[
            "wait",
            "--for=condition=Established",
            "crd",
            "guardpolicies.helm-guard.dev",
        ])?;
        apply(POLICY)?;
        let channel = Channel::open()?;
        let sink = format!(
            r#"{{"spec":{{"alerts":{{"sinks":[{{"name":"channel","type":"http","url":"{}"}}]}}}}}}"#,
            channel.url
        );
        admin(&[
            "patch",
            "guardpolicy",
            "default",
            "--type=merge",
            "-p",
            &sink,
        ])?;
        plane.grant_cluster_admin("bob@example.com")?;
        let person = |name, kubeconfig| Person { name, kubeconfig };
        let alice = person("alice", plane.alice().to_owned());
        let bob = person("bob", plane.user("bob@example.com", &[])?);
        let oscar = person("oscar", plane.user("oscar@example.com", &["oncall"])?);
        let emergency = person("emergency", plane.scratch().join("emergency.yaml"));

        let chart = adapt(plane.created_chart(HelmVersion::V4, RELEASE))?;
        say(&format!("ready after {} s", started.elapsed().as_secs()));
        Ok(Self {
            guard: None,
            alice,
            bob,
            oscar,
            emergency,
            channel,
            binary: binary.to_owned(),
            chart,
            plane,
        })
    }

    /// Starts the guard, with the rights of `deploy/` and the policy of `deploy/examples`.
    pub fn start_guard(&mut self) -> Result<(), Box<dyn Error>> {
        let account = self.plane.service_account("helm-guard", "helm-guard")?;
        let config = GuardConfig::new(&self.binary, &account, "Deny")
            .args(["--guard-namespace", "helm-guard"])
            .args(["--log-format", "json", "--drain-delay", "0s"]);
        self.guard = Some(Guard::start(&self.plane, config)?);
        Ok(())
    }

    /// Runs a command line as typed: `helm` is Helm 4, `./myapp` is the chart, and the namespace is
    /// always that of the shop.
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

impl Shop {
    /// Runs a command of the guard itself, which must exit with this code; returns its output, and the part for
    /// programs.
    pub fn guard_says(
        &self,
        who: &Person,
        line: &str,
        code: i32,
    ) -> Result<(String, String), Box<dyn Error>> {
        let output = Command::new(&self.binary)
            .args(split(line).iter().skip(1))
            .arg("--kubeconfig")
            .arg(&who.kubeconfig)
            .current_dir(self.plane.scratch())
            .output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stderr, stdout) = (text(&output.stderr), text(&output.stdout));
        if output.status.code() == Some(code) {
            Ok((format!("{stderr}{stdout}"), stdout.trim().to_owned()))
        } else {
            Err(format!("`{line}`: {}: {stderr}{stdout}", output.status).into())
        }
    }
}

/// Runs a command of the demo that must succeed.
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

/// The words of a command line; single quotes group words.
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
