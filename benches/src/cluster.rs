//! Latency for users and pipelines: a PATCH and a `helm upgrade` through a real API server.
//!
//! There are four namespaces with the same releases: one without admission, one with a null webhook, one with
//! the guard, and one with a `ValidatingAdmissionPolicy` that checks a label. Both webhooks have the guard's own
//! registration, including rules and match conditions, limited to their namespace. Writes alternate between the
//! namespaces, so that other load on the machine affects all four.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use helm_guard::{
    cluster::client::{self, KubeconfigSelection},
    webhook::{
        endpoint::Endpoint,
        paths::PathKey,
        registration::{self, Registration},
    },
};
use kube::Client;
use serde_json::{Value, json};
use testbed::{Chart, ControlPlane, Helm, HelmVersion};
use tokio::task::block_in_place;

use crate::{
    guard::Server,
    load::{self, Expected, median, quantile},
    plan::Plan,
    report::{Goal, Report},
    review::{Review, edited},
    tls::Identity,
};

const GROUP: &str = "through the API server";

/// The admission of a namespace.
const NONE: &str = "no webhook";
const NULL: &str = "null webhook";
const GUARD: &str = "guard";
const POLICY: &str = "admission policy";
const ALL: [&str; 4] = [NONE, NULL, GUARD, POLICY];

/// Objects of the release that is upgraded.
const OBJECTS: usize = 50;

/// Time limit for a registration to reach the API server.
const PATIENCE: Duration = Duration::from_secs(60);

fn namespace(of: &str) -> String {
    format!("bench-{}", of.replace(' ', "-"))
}

/// Runs the measurement.
pub async fn measure(
    plan: &Plan,
    folder: &Path,
    plane: &ControlPlane,
    report: &mut Report,
) -> Result<()> {
    let identity = Identity::issue(folder)?;
    let lab = Lab {
        client: client::connect(&KubeconfigSelection {
            kubeconfig: Some(plane.alice().to_owned()),
            ..KubeconfigSelection::default()
        })
        .await?,
        helm: plane.helm(HelmVersion::V4),
        plane,
        chart: plane.chart(&many_objects()),
    };
    block_in_place(|| lab.install())?;
    let (guard, null) = block_in_place(|| {
        anyhow::Ok((
            Server::guard(folder, &identity, plane.alice())?,
            Server::null(folder, &identity)?,
        ))
    })?;
    lab.register(&identity, &guard, &null)?;
    lab.await_all(&guard).await?;
    lab.patches(plan, report).await?;
    block_in_place(|| lab.upgrades(plan, report))?;
    lab.denials(plan, &identity, &guard, report).await?;
    report.note(format!(
        "through the API server: etcd, API server, controllers, webhooks and the caller share the cores; \
         the four namespaces in turn, one request at a time; upgrade: Helm 4, server-side apply, {OBJECTS} \
         ConfigMaps that all change; a webhook at a URL of the local host is called by HTTP/2, others by \
         HTTP/1.1, as in the server bench"
    ));
    Ok(())
}

struct Lab<'a> {
    plane: &'a ControlPlane,
    client: Client,
    helm: Helm,
    chart: std::path::PathBuf,
}

impl Lab<'_> {
    fn install(&self) -> Result<()> {
        let web = self.plane.chart(&one_deployment());
        for of in ALL {
            let name = namespace(of);
            self.apply(&json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": {"bench": name}},
            }))?;
            self.helm(of, &["install", "web"], &web)?;
            self.helm(of, &["install", "many"], &self.chart)?;
        }
        Ok(())
    }

    fn apply(&self, object: &Value) -> Result<()> {
        let kubectl = self.plane.kubectl().cmd(self.plane.alice());
        let output = kubectl.args(["apply", "-f", "-"]).stdin(object.to_string());
        let output = output.run();
        if output.status.success() {
            return Ok(());
        }
        bail!("failed to apply {}: {}", object["kind"], output.stderr)
    }

    /// Runs Helm, and returns the time in seconds.
    fn helm(&self, of: &str, words: &[&str], chart: &Path) -> Result<f64> {
        let command = self.helm.cmd(self.plane.alice()).args(words).arg(chart);
        let begin = Instant::now();
        let output = command.args(["-n", &namespace(of)]).run();
        let seconds = begin.elapsed().as_secs_f64();
        if output.status.success() {
            return Ok(seconds);
        }
        bail!("{}: {}", output.line, output.stderr)
    }

    fn register(&self, identity: &Identity, guard: &Server, null: &Server) -> Result<()> {
        self.apply(&policy())?;
        self.apply(&json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": "bench"},
            "spec": {
                "policyName": "bench", "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"bench": namespace(POLICY)}}},
            },
        }))?;
        // The guard's is the last one: once it is in force, the others are too.
        self.apply(&webhook(NULL, null, identity)?)?;
        self.apply(&webhook(GUARD, guard, identity)?)
    }

    async fn await_all(&self, guard: &Server) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.patch(GUARD, "await").await?;
            let is_called = guard.metrics()?.sum("helm_guard_decisions_total") > 0.0;
            if is_called && self.is_policy_in_force().await? {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("the registrations should be in force");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The policy checks the label.
    async fn is_policy_in_force(&self) -> Result<bool> {
        let patch = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        match self.send(POLICY, "?dryRun=All", &patch).await {
            Ok(()) => Ok(false),
            Err(kube::Error::Api(status))
                if status.message.contains("ValidatingAdmissionPolicy") =>
            {
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn send(&self, of: &str, query: &str, patch: &Value) -> kube::Result<()> {
        let request = http::Request::patch(deployment_path(of) + query)
            .header("content-type", "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await.map(drop)
    }

    /// Patches an undeclared field, so that the guard allows it.
    async fn patch(&self, of: &str, note: &str) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {"example.com/note": note}}});
        let sent = self.send(of, "", &patch).await;
        sent.with_context(|| format!("failed to patch with {of}"))
    }

    async fn patches(&self, plan: &Plan, report: &mut Report) -> Result<()> {
        let end = Instant::now() + plan.leg * plan.rounds as u32;
        let mut times: [Vec<f64>; 4] = Default::default();
        let mut round = 0;
        while Instant::now() < end {
            for turn in 0..ALL.len() {
                let at = (turn + round) % ALL.len();
                let (Some(of), Some(times)) = (ALL.get(at), times.get_mut(at)) else {
                    continue;
                };
                let begin = Instant::now();
                self.patch(of, &round.to_string()).await?;
                times.push(begin.elapsed().as_secs_f64() * 1e3);
            }
            round += 1;
        }
        let mut medians = Vec::new();
        for (of, times) in ALL.iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            medians.push(quantile(times, 0.5));
            report.add(
                GROUP,
                format!("PATCH, {of}: p50"),
                quantile(times, 0.5),
                "ms",
            );
            report.add(
                GROUP,
                format!("PATCH, {of}: p99"),
                quantile(times, 0.99),
                "ms",
            );
        }
        if let [_, null, guard, _] = medians[..] {
            let row = "PATCH: guard more than null webhook, p50";
            report.aim(GROUP, row, guard - null, "ms", Goal::AtMost(0.2));
        }
        Ok(())
    }

    fn upgrades(&self, plan: &Plan, report: &mut Report) -> Result<()> {
        let mut times: [Vec<f64>; 4] = Default::default();
        for round in 0..plan.rounds {
            let tag = format!("tag={round}");
            for turn in 0..ALL.len() {
                let at = (turn + round) % ALL.len();
                let (Some(of), Some(times)) = (ALL.get(at), times.get_mut(at)) else {
                    continue;
                };
                times.push(self.helm(
                    of,
                    &["upgrade", "many", "--set-string", &tag],
                    &self.chart,
                )?);
            }
        }
        for (of, times) in ALL.iter().zip(times) {
            let row = format!("helm upgrade of {OBJECTS} objects, {of}: median");
            report.add(GROUP, row, median(times), "s");
        }
        Ok(())
    }

    /// A denial reads the records of its release again: here from the real API server.
    async fn denials(
        &self,
        plan: &Plan,
        identity: &Identity,
        guard: &Server,
        report: &mut Report,
    ) -> Result<()> {
        let path = deployment_path(GUARD);
        let live = self
            .client
            .request_text(http::Request::get(path).body(Vec::new())?);
        let live: Value = serde_json::from_str(&live.await?)?;
        let image = ("/spec/template/spec/containers/0/image", json!("evil:1"));
        let review = Review {
            number: 1,
            operation: "UPDATE",
            of: ["apps", "v1", "Deployment", "deployments"],
            sub_resource: "",
            user: "bob@example.com",
            manager: "kubectl-set",
            object: &edited(&live, &[image]),
            old_object: &live,
        };
        let bodies: Arc<[Bytes]> = Arc::from([Bytes::from(review.body())]);
        let target = guard.target(identity)?;
        let run = load::run(&target, &bodies, 1, plan.leg, Expected::Denied).await?;
        let row = |what: &str| format!("denial with read-through, one after the other: {what}");
        report.add(GROUP, row("p50"), run.milliseconds(0.5), "ms");
        report.aim(
            GROUP,
            row("p99"),
            run.milliseconds(0.99),
            "ms",
            Goal::AtMost(10.0),
        );
        Ok(())
    }
}

fn deployment_path(of: &str) -> String {
    format!("/apis/apps/v1/namespaces/{}/deployments/web", namespace(of))
}

/// The guard's own registration, for one namespace and one address.
fn webhook(of: &str, server: &Server, identity: &Identity) -> Result<Value> {
    let endpoint = Endpoint::from_url(&format!("https://{}", server.address()))?;
    let registration = Registration {
        ca_bundle: Some(identity.ca().to_owned()),
        ..Registration::new(endpoint, PathKey::of(&identity.pair))
    };
    let wanted = registration::configuration(&registration, &BTreeSet::new());
    let mut wanted = serde_json::to_value(wanted)?;
    wanted["metadata"]["name"] = namespace(of).into();
    let webhooks = wanted["webhooks"].as_array_mut();
    let webhooks = webhooks.context("a registration has entries")?;
    // The guard's own kinds are not installed here.
    webhooks.retain(|webhook| {
        let name = webhook["name"].as_str().unwrap_or_default();
        matches!(
            name,
            registration::OBJECTS_WEBHOOK
                | registration::SCALE_WEBHOOK
                | registration::UNLABELED_WEBHOOK
                | registration::SUBRESOURCES_WEBHOOK
        )
    });
    for webhook in webhooks {
        webhook["namespaceSelector"] = json!({"matchLabels": {"bench": namespace(of)}});
        // An error must be visible, and not make a PATCH fast.
        webhook["failurePolicy"] = "Fail".into();
    }
    Ok(wanted)
}

fn policy() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "bench"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["*"],
            }]},
            "validations": [{
                "expression": "has(object.metadata.labels) && \
                    'app.kubernetes.io/managed-by' in object.metadata.labels && \
                    object.metadata.labels['app.kubernetes.io/managed-by'] == 'Helm' || \
                    !has(oldObject.metadata.labels) || \
                    !('app.kubernetes.io/managed-by' in oldObject.metadata.labels)",
            }],
        },
    })
}

/// Paused and without pods, so that a PATCH triggers as little work of controllers as possible.
fn one_deployment() -> Chart {
    let deployment = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web, app.kubernetes.io/managed-by: Helm}
spec:
  replicas: 0
  paused: true
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - name: web
          image: registry.example.com/web:1
          args: ["--listen", ":8080"]
          env: [{name: LEVEL, value: info}, {name: REGION, value: north}]
          ports: [{name: http, containerPort: 8080}]
          resources: {limits: {cpu: "1", memory: 512Mi}, requests: {cpu: 100m, memory: 128Mi}}
"#;
    Chart::new("web", "1.0.0").template("deployment.yaml", deployment)
}

fn many_objects() -> Chart {
    let template = "{{- range until 50 }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $.Release.Name }}-{{ . }}
  labels: {app.kubernetes.io/managed-by: {{ $.Release.Service }}}
data:
  tag: {{ $.Values.tag | quote }}
  more: {{ repeat 40 \"some text that does not change \" | quote }}
{{- end }}
";
    Chart::new("many", "1.0.0")
        .template("config-maps.yaml", template)
        .values("tag: first\n")
}
