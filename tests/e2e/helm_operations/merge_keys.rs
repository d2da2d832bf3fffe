//! Charts that repeat a merge key, so that Helm's own patches lose or confuse items.

use std::path::PathBuf;

use rstest::rstest;
use serde_json::{Value, json};
use testbed::{HelmVersion, shared};

use super::steps::assert_unhindered;
use crate::{
    charts::single,
    scene::{Scene, Screen},
    world::world,
};

/// A release of a Deployment of the same name with a container `server`, from its installation to its end.
struct Lifecycle<'a> {
    scene: &'a Scene,
    release: &'a str,
    chart: PathBuf,
    flags: &'a str,
}

impl Lifecycle<'_> {
    fn install(&self) {
        let line = format!("install {} {}", self.release, self.chart.display());
        self.scene.helm(&line).args(self.flags()).ok();
        self.is_guarded(1);
    }

    /// Upgrades to each of these values. The API server may reject what results from Helm's patch.
    fn upgrade(&self, values: &[&str]) {
        for (revision, set) in (2..).zip(values) {
            let (release, chart) = (self.release, self.chart.display());
            self.unhindered(&format!("upgrade {release} {chart} --set {set}"));
            self.is_guarded(revision);
        }
    }

    fn end(&self) {
        self.unhindered(&format!("rollback {} 1", self.release));
        let line = format!("uninstall {}", self.release);
        self.scene.helm(&line).ok();
        assert_unhindered(self.scene);
    }

    fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.split_whitespace()
    }

    fn unhindered(&self, line: &str) {
        let output = self.scene.helm(line).args(self.flags()).run();
        assert!(!output.says("helm-guard"), "{output:?}");
    }

    /// An image that no revision declares is denied.
    fn is_guarded(&self, revision: u32) {
        let deployment = format!("deployment/{}", self.release);
        self.scene.settled(&deployment, revision);
        let set = format!("set image {deployment} server=foreign:1");
        let denied = "containers[name=server].image";
        self.scene.kubectl(&set).denied(&[denied]);
    }
}

/// The ports of a name server: one number with two protocols; values: `tcp`, the name of the second one.
const PORTS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: dns}
spec:
  selector: {matchLabels: {app: dns}}
  template:
    metadata: {labels: {app: dns}}
    spec:
      containers:
        - name: server
          image: '{{ .Values.image }}'
          ports:
            - {name: udp, containerPort: 53, protocol: UDP}
            - {name: '{{ .Values.tcp }}', containerPort: 53, protocol: TCP}
            {{- if .Values.metrics }}
            - {name: metrics, containerPort: 9153, protocol: TCP}
            {{- end }}
---
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  selector: {app: dns}
  ports:
    - {name: udp, port: 53, protocol: UDP, targetPort: udp}
    - {name: '{{ .Values.tcp }}', port: 53, protocol: TCP, targetPort: '{{ .Values.tcp }}'}
";

/// A strategic merge patch identifies ports by their number only (kubernetes#39188).
#[rstest]
#[case::helm3(HelmVersion::V3, "")]
#[case::helm4_on_the_client(HelmVersion::V4, "--server-side=false")]
#[case::helm4_on_the_server(HelmVersion::V4, "--server-side=true")]
fn a_port_number_with_two_protocols_survives_every_upgrade(
    #[case] version: HelmVersion,
    #[case] flags: &str,
) {
    world();
    let scene = Scene::new("ports", version);
    let chart = single(PORTS).values("image: dns:1\ntcp: tcp\nmetrics: false\n");
    let lifecycle = Lifecycle {
        scene: &scene,
        release: "dns",
        chart: shared().chart(&chart),
        flags,
    };
    lifecycle.install();
    lifecycle.upgrade(&[
        "image=dns:2",
        "image=dns:2,metrics=true",
        "image=dns:3,tcp=tcp-53,metrics=true",
        "image=dns:3,tcp=tcp-53",
    ]);
    lifecycle.end();
}

/// Values: `first`, `second` of an env variable that occurs twice; `twice`.
const ENV: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: server
          image: nginx:1.0.0
          env:
            - {name: A, value: '{{ .Values.first }}'}
            - {name: B, value: 'b'}
            {{- if .Values.twice }}
            - {name: A, value: '{{ .Values.second }}'}
            {{- end }}
";

/// Scenario 79, through the patches that Helm creates for it (helm#12438).
#[rstest]
#[case::helm3(HelmVersion::V3, "")]
#[case::helm4(HelmVersion::V4, "--server-side=false")]
fn a_repeated_env_variable_survives_every_upgrade(
    #[case] version: HelmVersion,
    #[case] flags: &str,
) {
    world();
    let scene = Scene::new("env-twice", version);
    let chart = single(ENV).values("first: one\nsecond: two\ntwice: true\n");
    let lifecycle = Lifecycle {
        scene: &scene,
        release: "web",
        chart: shared().chart(&chart),
        flags,
    };
    lifecycle.install();
    lifecycle.upgrade(&[
        "first=uno",
        "first=uno,second=due",
        "twice=false",
        "first=uno,twice=false",
        "second=due",
    ]);
    lifecycle.end();
}

/// Two names of one port, two aliases of one address; values: `image`, `second`, `alias`.
const TWINS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      hostAliases:
        - {ip: 10.9.8.7, hostnames: [ledger.example.com]}
        - {ip: 10.9.8.7, hostnames: ['{{ .Values.alias }}']}
      containers:
        - name: server
          image: '{{ .Values.image }}'
          ports:
            - {name: http, containerPort: 8080}
            - {name: '{{ .Values.second }}', containerPort: 8080}
";

fn duplicates() -> testbed::Chart {
    single(TWINS).values("image: api:1\nsecond: metrics\nalias: audit.example.com\n")
}

#[rstest]
#[case::helm3(HelmVersion::V3, "")]
#[case::helm4(HelmVersion::V4, "--server-side=false")]
fn items_with_a_shared_merge_key_survive_helm_and_others_cannot_remove_one(
    #[case] version: HelmVersion,
    #[case] flags: &str,
) {
    world();
    let scene = Scene::new("duplicates", version);
    let lifecycle = Lifecycle {
        scene: &scene,
        release: "api",
        chart: shared().chart(&duplicates()),
        flags,
    };
    lifecycle.install();
    let pod = "/spec/template/spec";
    let ports = format!("{pod}/containers/0/ports");
    let patch = |op: &str, path: &str, value: Value| {
        let change = json!([{"op": op, "path": path, "value": value}]);
        scene.patch("deployment/api", "json", &change)
    };
    let port = "ports[containerPort=8080,protocol=TCP]";
    patch("remove", &format!("{ports}/1"), Value::Null).denied(&[port]);
    patch("replace", &format!("{ports}/1/name"), json!("stats")).denied(&[port, ".name"]);
    patch("remove", &format!("{pod}/hostAliases/1"), Value::Null)
        .denied(&["hostAliases[ip=10.9.8.7]"]);
    let mut swapped = scene.at("deployment/api", &ports);
    swapped.as_array_mut().unwrap().reverse();
    patch("replace", &ports, swapped).quiet();
    let debug = json!({"name": "debug", "containerPort": 9090});
    patch("add", &format!("{ports}/-"), debug).quiet();
    lifecycle.upgrade(&[
        "image=api:2",
        "image=api:2,second=stats",
        "image=api:3,second=stats,alias=trail.example.com",
    ]);
    lifecycle.end();
}

/// Server-side apply accepts a key only once, so it creates no release with repeated keys.
#[test]
fn the_api_server_rejects_applying_items_with_a_shared_merge_key() {
    world();
    let scene = Scene::new("duplicates-applied", HelmVersion::V4);
    let chart = shared().chart(&duplicates());
    let install = format!("install api {} --server-side=true", chart.display());
    let output = scene.helm(&install).refused();
    assert!(
        output.says("duplicate entries") && !output.says("helm-guard"),
        "{output:?}"
    );
}
