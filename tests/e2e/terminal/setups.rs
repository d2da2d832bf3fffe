//! What has to be there before a command: named in a page or a transcript, because it is not shown there.

use std::{fs, path::Path};

use testbed::{Guard, GuardConfig};

use super::Terminal;
use crate::scene::eventually;

/// The chart of the examples: what `helm create` makes, with three replicas and a memory limit.
const CHART: [(&str, &str, &str); 4] = [
    ("values.yaml", "replicaCount: 1", "replicaCount: 3"),
    ("values.yaml", "tag: \"\"", "tag: \"2.0.0\""),
    (
        "values.yaml",
        "resources: {}",
        "resources: {limits: {memory: 128Mi}}",
    ),
    ("Chart.yaml", "version: 0.1.0", "version: 1.2.0"),
];

const HELM_RELEASE: &str = "\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: myapp, namespace: shop}
spec:
  driftDetection:
    mode: enabled
    ignore:
    - paths: [/spec/replicas]
      target: {kind: Deployment}
";

impl Terminal {
    /// Does what a name stands for, once.
    pub fn set_up(&mut self, name: &str) {
        let words: Vec<&str> = name.split_whitespace().collect();
        match words.as_slice() {
            ["installed"] => self.install(),
            ["guard", mode] => self.start_guard(mode),
            ["no", "guard"] => self.stop_guard(),
            ["dead", "guard"] => self.kill_guard(),
            ["certificates"] => self.certificates(),
            ["review"] => self.review(),
            ["policy", "in", "force"] => self.policy_in_force(),
            ["scaled"] => self.once(name, Self::scaled),
            ["forecast"] => self.once(name, Self::forecast),
            ["helmrelease"] => self.once(name, Self::helm_release),
            ["release", release] => self.once(name, |terminal| terminal.release(release)),
            ["shop"] => self.once(name, Self::shop),
            ["chart", chart] => self.once(name, |terminal| terminal.chart(chart)),
            ["break-glass"] => self.once(name, Self::break_glass),
            _ => panic!("there is no setup named {name:?}"),
        }
    }

    fn once(&mut self, name: &str, set_up: impl FnOnce(&mut Self)) {
        if !self.setups.iter().any(|done| done == name) {
            set_up(self);
            self.setups.push(name.to_owned());
        }
    }

    /// What deploy/README.md installs, unless the page has done so.
    fn install(&mut self) {
        self.must(
            "kubectl get crd/guardpolicies.helm-guard.dev >/dev/null 2>&1 \\
               && kubectl -n helm-guard get deployment/helm-guard >/dev/null 2>&1 && exit 0
             kubectl apply --server-side -f deploy/manifests/05-crds.yaml
             for kind in guardpolicies breakglassgrants emergencychanges; do
               await '\"Established\"' kubectl get crd/$kind.helm-guard.dev -o jsonpath='{.status.conditions}'
             done
             kubectl apply --server-side -k deploy",
        );
    }

    /// Starts the guard of the Deployment, which no kubelet runs here: with its account and its arguments, but called
    /// at a URL.
    fn start_guard(&mut self, mode: &str) {
        self.set_up("installed");
        if self.guard.is_some() {
            return;
        }
        mode.clone_into(&mut self.mode);
        let account = self
            .plane
            .service_account("helm-guard", "helm-guard")
            .unwrap();
        let binary = Path::new(env!("CARGO_BIN_EXE_helm-guard"));
        let config = GuardConfig::new(binary, &account, mode)
            .args(["--guard-namespace", "helm-guard"])
            .args(["--owner-cluster-role", "helm-guard"])
            .args(["--log-format", "json"])
            .args(["--drain-delay", "200ms"]);
        let guard = Guard::start(&self.plane, config).unwrap_or_else(|error| panic!("{error}"));
        self.guard = Some(guard);
    }

    /// Stops the guard, which takes its registration away.
    fn stop_guard(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.stop();
        }
    }

    /// Kills the guard, which leaves its registration behind.
    fn kill_guard(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            guard.signal("KILL");
        }
    }

    /// Certificates in the working copy, by the script of certs/README.md.
    fn certificates(&mut self) {
        self.must("certs/make-certs.sh --out . --service helm-guard --namespace helm-guard");
    }

    /// `review.json`, made as docs/explain.md shows.
    fn review(&mut self) {
        self.set_up("release myapp");
        let page = fs::read_to_string(self.dir().join("docs/explain.md")).unwrap();
        let (_, script) = page.split_once("```sh\nobject=").unwrap();
        let (script, _) = script.split_once("```").unwrap();
        self.must(&format!("object={script}"));
    }

    /// Somebody has scaled the release, which nobody prevented.
    fn scaled(&mut self) {
        self.must("kubectl -n shop scale --replicas=5 deployment/myapp");
    }

    /// The guard has warned Bob, and has stored its forecast, which it does at its end at the latest.
    fn forecast(&mut self) {
        let scale = "kubectl -n shop scale --replicas=5 deployment/myapp";
        let scaled = self.run_as(scale, Some("bob"));
        assert!(scaled.text.contains("Warning: helm-guard"), "{scaled:?}");
        let mode = self.mode.clone();
        self.stop_guard();
        self.start_guard(&mode);
    }

    /// `helmrelease.yaml` with a rule to import.
    fn helm_release(&mut self) {
        fs::write(self.dir().join("helmrelease.yaml"), HELM_RELEASE).unwrap();
    }

    /// Waits until the guard follows the policy.
    fn policy_in_force(&mut self) {
        self.must("kubectl wait --for=jsonpath='{.status.inForce}'=true guardpolicy/default");
    }

    /// The namespace `shop`.
    fn shop(&mut self) {
        self.must(
            "kubectl create namespace shop
             kubectl wait --for=create serviceaccount/default --timeout=60s -n shop",
        );
    }

    /// Installs a release in the namespace `shop` from the chart of the same name, and upgrades it to revision 3.
    fn release(&mut self, name: &str) {
        self.set_up("shop");
        self.set_up(&format!("chart {name}"));
        self.must(&format!(
            "helm -n shop install {name} ./{name}
             helm -n shop upgrade {name} ./{name}
             helm -n shop upgrade {name} ./{name}"
        ));
        if self.guard.is_some() && self.mode != "Audit" {
            self.settled(&format!("-n shop deployment/{name}"), 3);
        }
    }

    /// Writes a chart into the working copy.
    fn chart(&self, name: &str) {
        self.must(&format!("helm create {name}"));
        for (file, from, to) in CHART {
            let file = self.dir().join(name).join(file);
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(from), "`helm create` should write {from:?}");
            fs::write(&file, text.replace(from, to)).unwrap();
        }
    }

    /// Waits until the guard, in mode Deny or Warn, evaluates an object by this revision.
    fn settled(&self, object: &str, revision: u32) {
        let by = format!("revision {revision},");
        eventually(&format!("a guard that knows {object}, {by}"), || {
            let asked = self.run(&format!("kubectl delete --dry-run=server {object}"));
            asked.text.contains(&by).then_some(())
        });
    }

    /// The emergency account, and the policy of the example.
    fn break_glass(&mut self) {
        self.set_up("installed");
        self.set_up("shop");
        self.must(
            "kubectl apply --server-side -k deploy/break-glass
             kubectl apply --server-side -f deploy/examples/break-glass.yaml",
        );
        if self.guard.is_some() {
            self.policy_in_force();
        }
    }
}
