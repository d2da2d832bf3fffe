//! The environment itself, before anything is tested in it.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;
use testbed::{ALICE, Chart, Guard, GuardConfig, HelmVersion, Namespace, shared};

fn whoami(kubeconfig: &std::path::Path) -> String {
    let output = shared()
        .kubectl()
        .cmd(kubeconfig)
        .args(["auth", "whoami", "-o", "json"])
        .ok();
    output.json()["status"]["userInfo"]["username"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn in_namespace(verb: &str, namespace: &Namespace<'_>, rest: &[&str]) -> Vec<String> {
    let args = [&[verb, "-n", namespace.name()], rest].concat();
    args.into_iter().map(str::to_owned).collect()
}

#[test]
fn both_helms_install_a_created_chart_and_wait_until_it_is_ready() {
    let plane = shared();
    for version in HelmVersion::ALL {
        let namespace = plane.namespace(&version.to_string());
        let helm = plane.helm(version);
        let chart = plane.created_chart(version, "web");
        let install = in_namespace("install", &namespace, &["web", "--wait", "--timeout=60s"]);
        helm.cmd(plane.alice()).args(install).arg(&chart).ok();
        let deployment = in_namespace("get", &namespace, &["deployment", "-o", "json"]);
        let deployment = plane
            .kubectl()
            .cmd(plane.alice())
            .args(deployment)
            .ok()
            .json();
        assert_eq!(
            deployment["items"][0]["status"]["readyReplicas"], 1,
            "{version}"
        );
        let test = in_namespace("test", &namespace, &["web", "--timeout=60s"]);
        assert!(
            helm.cmd(plane.alice()).args(test).ok().says("Succeeded"),
            "{version}"
        );
        helm.cmd(plane.alice())
            .args(in_namespace("uninstall", &namespace, &["web"]))
            .ok();
    }
}

#[test]
fn each_kubeconfig_authenticates_as_its_user() {
    let plane = shared();
    let namespace = plane.namespace("users");
    assert_eq!(whoami(plane.alice()), ALICE);
    assert_eq!(whoami(&plane.user("bob", &["developers"]).unwrap()), "bob");
    let robot = plane.service_account(namespace.name(), "robot").unwrap();
    assert_eq!(
        whoami(&robot),
        format!("system:serviceaccount:{namespace}:robot")
    );
}

#[test]
fn a_new_user_and_a_new_service_account_may_do_nothing_until_bound() {
    let plane = shared();
    let namespace = plane.namespace("rights");
    let get = in_namespace("get", &namespace, &["configmaps"]);
    let robot = plane.service_account(namespace.name(), "robot").unwrap();
    let carol = plane.user("carol", &[]).unwrap();
    for kubeconfig in [&robot, &carol] {
        assert!(
            plane
                .kubectl()
                .cmd(kubeconfig)
                .args(&get)
                .refused()
                .says("Forbidden")
        );
    }
    plane.grant_cluster_admin("carol").unwrap();
    plane.kubectl().cmd(&carol).args(&get).ok();
}

#[test]
fn the_audit_log_records_who_did_what() {
    let plane = shared();
    let namespace = plane.namespace("audit");
    let create = in_namespace("create", &namespace, &["configmap", "audited"]);
    plane.kubectl().cmd(plane.alice()).args(create).ok();
    let event = plane.await_audit_event("the creation of a ConfigMap", |event| {
        event["verb"] == "create"
            && event["objectRef"]["namespace"] == namespace.name()
            && event["objectRef"]["name"] == "audited"
    });
    assert_eq!(event["user"]["username"], ALICE);
    assert_eq!(
        event["requestObject"],
        json!(null),
        "bodies stay out of the log"
    );
}

#[test]
fn a_written_chart_with_a_job_hook_and_a_volume_becomes_ready() {
    const CLAIM: &str = "apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: data }
spec:
  accessModes: [ReadWriteOnce]
  resources: { requests: { storage: 1Gi } }
";
    const JOB: &str = "apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: { helm.sh/hook: post-install }
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{ name: migrate, image: migrate }]
";
    let plane = shared();
    let chart = Chart::new("hooked", "1.0.0")
        .template("claim.yaml", CLAIM)
        .template("job.yaml", JOB);
    let chart = plane.chart(&chart);
    for version in HelmVersion::ALL {
        let namespace = plane.namespace(&format!("hooked-{version}"));
        let install = in_namespace(
            "install",
            &namespace,
            &["hooked", "--wait", "--timeout=60s"],
        );
        plane
            .helm(version)
            .cmd(plane.alice())
            .args(install)
            .arg(&chart)
            .ok();
        let claim = in_namespace("get", &namespace, &["pvc", "data", "-o", "json"]);
        let claim = plane.kubectl().cmd(plane.alice()).args(claim).ok().json();
        assert_eq!(claim["status"]["phase"], "Bound", "{version}");
    }
}

#[test]
fn controllers_act_under_their_own_service_accounts() {
    let plane = shared();
    let namespace = plane.namespace("controllers");
    let create = in_namespace("create", &namespace, &["deployment", "web", "--image=web"]);
    plane.kubectl().cmd(plane.alice()).args(create).ok();
    let event = plane.await_audit_event("the creation of a ReplicaSet", |event| {
        event["verb"] == "create"
            && event["objectRef"]["namespace"] == namespace.name()
            && event["objectRef"]["resource"] == "replicasets"
    });
    let user = "system:serviceaccount:kube-system:deployment-controller";
    assert_eq!(event["user"]["username"], user);
}

#[test]
fn a_namespace_is_deleted_with_its_value() {
    let plane = shared();
    let name = plane.namespace("fleeting").name().to_owned();
    let gone = ["wait", "--for=delete", "--timeout=60s", "namespace", &name];
    plane.kubectl().cmd(plane.admin()).args(gone).ok();
}

#[test]
fn a_guard_that_exits_before_it_is_ready_shows_why() {
    let plane = shared();
    let binary = plane.scratch().join("not-a-guard");
    fs::write(
        &binary,
        "#!/bin/sh\necho no such flag: \"$@\" >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let config =
        GuardConfig::new(&binary, plane.admin(), "Deny").args(["--break-glass-user", "eve"]);
    let error = Guard::start(plane, config).unwrap_err().to_string();
    assert!(
        error.contains("no such flag: serve --listen 127.0.0.1:"),
        "{error}"
    );
    assert!(
        error.contains("--mode Deny") && error.contains("--break-glass-user eve"),
        "{error}"
    );
}
