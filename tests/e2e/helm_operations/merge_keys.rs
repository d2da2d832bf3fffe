//! Charts that repeat a merge key, so that Helm's own patches lose or confuse items.

use rstest::rstest;
use serde_json::{Value, json};
use testbed::HelmVersion;

use super::steps::assert_unhindered;
use crate::{
    charts::single,
    scene::{Scene, Screen},
    world::world,
};

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
    let chart = testbed::shared().chart(&chart);
    let chart = chart.display();
    scene.helm(&format!("install dns {chart} {flags}")).ok();
    scene.settled("deployment/dns", 1);
    let mut revision = 1;
    for set in [
        "image=dns:2",
        "image=dns:2,metrics=true",
        "image=dns:3,tcp=tcp-53,metrics=true",
        "image=dns:3,tcp=tcp-53",
    ] {
        // The API server may reject the ports that result from the patch.
        let output = scene
            .helm(&format!("upgrade dns {chart} {flags} --set {set}"))
            .run();
        assert!(!output.says("helm-guard"), "{output:?}");
        revision += 1;
        scene.settled("deployment/dns", revision);
        scene
            .kubectl("set image deployment/dns server=foreign:1")
            .denied(&["containers[name=server].image"]);
    }
    let output = scene.helm(&format!("rollback dns 1 {flags}")).run();
    assert!(!output.says("helm-guard"), "{output:?}");
    scene.helm("uninstall dns").ok();
    assert_unhindered(&scene);
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
    let chart = testbed::shared().chart(&chart);
    let chart = chart.display();
    scene.helm(&format!("install web {chart} {flags}")).ok();
    let mut revision = 1;
    for set in [
        "first=uno",
        "first=uno,second=due",
        "twice=false",
        "first=uno,twice=false",
        "second=due",
    ] {
        let output = scene
            .helm(&format!("upgrade web {chart} {flags} --set {set}"))
            .run();
        assert!(!output.says("helm-guard"), "{output:?}");
        revision += 1;
        scene.settled("deployment/web", revision);
        scene
            .kubectl("set image deployment/web server=foreign:1")
            .denied(&["containers[name=server].image"]);
    }
    let output = scene.helm(&format!("rollback web 1 {flags}")).run();
    assert!(!output.says("helm-guard"), "{output:?}");
    scene.helm("uninstall web").ok();
    assert_unhindered(&scene);
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
    let chart = testbed::shared().chart(&duplicates());
    let chart = chart.display();
    scene.helm(&format!("install api {chart} {flags}")).ok();
    scene.settled("deployment/api", 1);
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
    let mut revision = 1;
    for set in [
        "image=api:2",
        "image=api:2,second=stats",
        "image=api:3,second=stats,alias=trail.example.com",
    ] {
        // The API server may reject the items that its patch keeps.
        let output = scene
            .helm(&format!("upgrade api {chart} {flags} --set {set}"))
            .run();
        assert!(!output.says("helm-guard"), "{output:?}");
        revision += 1;
        scene.settled("deployment/api", revision);
        scene
            .kubectl("set image deployment/api server=foreign:1")
            .denied(&["containers[name=server].image"]);
    }
    let output = scene.helm(&format!("rollback api 1 {flags}")).run();
    assert!(!output.says("helm-guard"), "{output:?}");
    scene.helm("uninstall api").ok();
    assert_unhindered(&scene);
}

/// Server-side apply accepts a key only once, so it creates no release with repeated keys.
#[test]
fn the_api_server_rejects_applying_items_with_a_shared_merge_key() {
    world();
    let scene = Scene::new("duplicates-applied", HelmVersion::V4);
    let chart = testbed::shared().chart(&duplicates());
    let install = format!("install api {} --server-side=true", chart.display());
    let output = scene.helm(&install).refused();
    assert!(
        output.says("duplicate entries") && !output.says("helm-guard"),
        "{output:?}"
    );
}
