//! Charts that repeat a merge key, so that Helm's own patches lose items or mix them up.

use rstest::rstest;
use testbed::HelmVersion;

use crate::{
    charts::single,
    scene::{Scene, Screen},
    steps::assert_unhindered,
    world::world,
};

/// A name server's ports, one number in two protocols; values: `tcp`, the name of the second one.
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

/// A strategic merge patch knows ports by their number alone (kubernetes#39188).
#[rstest]
#[case::helm3(HelmVersion::V3, "")]
#[case::helm4_on_the_client(HelmVersion::V4, "--server-side=false")]
#[case::helm4_on_the_server(HelmVersion::V4, "--server-side=true")]
fn one_port_number_in_two_protocols_survives_every_upgrade(
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
        // What its patch makes of the ports is for the API server to judge.
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

/// Values: `first`, `second` of an env variable that stands twice; `twice`.
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

/// Scenario 79, through the patches that Helm makes of it (helm#12438).
#[rstest]
#[case::helm3(HelmVersion::V3, "")]
#[case::helm4(HelmVersion::V4, "--server-side=false")]
fn an_env_variable_that_stands_twice_survives_every_upgrade(
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
