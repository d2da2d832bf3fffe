//! A mutating webhook rewrites what Helm sends: the in-flight rule.

use std::path::PathBuf;

use rstest::rstest;
use serde_json::Value;
use testbed::{HelmVersion, shared};

use super::{
    mutator::{MIRROR, mutates},
    steps::{
        HELM_USER, WEB_IMAGE, assert_unhindered, await_image, foreign_image_is_denied, release, web,
    },
};
use crate::{
    scene::{BOB, Scene, Screen, Verdict, verdict},
    world::world,
};

fn mirrored(image: &str) -> String {
    format!("{MIRROR}{image}")
}

#[rstest]
fn helm_requests_rewritten_by_a_mutating_webhook_are_allowed(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
    #[values("secret", "configmap")] driver: &str,
) {
    world();
    let scene = Scene::new("in-flight", version);
    let chart = shared().chart(&web());
    let chart = chart.display();
    let helm = |line: &str| scene.helm(line).env("HELM_DRIVER", driver);
    helm(&format!("install web {chart}")).ok();
    scene.settled("deployment/web", 1);
    mutates(&scene);

    helm(&format!("upgrade web {chart} --set image=nginx:2.0.0")).ok();
    assert_eq!(
        scene.at("deployment/web", WEB_IMAGE),
        mirrored("nginx:2.0.0")
    );
    let tolerations = scene.at("deployment/web", "/spec/template/spec/tolerations");
    assert_eq!(tolerations.as_array().map(Vec::len), Some(2));
    let object = ("deployments", scene.ns.name(), "web");
    assert_eq!(
        verdict(HELM_USER, "patch", object),
        Verdict::allowed("in-flight")
    );

    // After the operation: writes that keep the rewritten values are allowed, and other values are denied.
    scene.settled("deployment/web", 2);
    scene.kubectl("annotate deployment/web seen=yes").quiet();
    scene.kubectl("rollout restart deployment/web").quiet();
    foreign_image_is_denied(&scene);

    helm(&format!("upgrade web {chart} --set image=nginx:3.0.0")).ok();
    helm("rollback web 1").ok();
    assert_eq!(
        scene.at("deployment/web", WEB_IMAGE),
        mirrored("nginx:1.0.0")
    );
    helm("uninstall web").ok();
    assert_unhindered(&scene);
}

/// A user who may change the Deployments of the namespace, and has these additional rights.
fn developer(scene: &Scene, rights: &[(&str, &str)]) -> PathBuf {
    let user = format!("developer-{}", scene.ns);
    let admin = |line: String| scene.kubectl_as(shared().admin(), &line).ok();
    let deployments = ("deployments", "get,list,patch,update");
    for (resources, verbs) in rights.iter().chain([&deployments]) {
        admin(format!(
            "create role {resources} --resource={resources} --verb={verbs}"
        ));
        admin(format!(
            "create rolebinding {resources} --role={resources} --user={user}"
        ));
    }
    shared().user(&user, &[]).unwrap()
}

/// Scenario 56 while the release is pending.
#[rstest]
fn a_rewritten_value_is_denied_if_the_user_only_claims_to_be_helm(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("claims", version);
    let chart = scene.install("web", &web());
    let developer = developer(&scene, &[("secrets", "get,list")]);
    mutates(&scene);
    let line = format!(
        "upgrade web {} --wait --timeout=180s --set image=nginx:2.0.0,hold=true",
        chart.display()
    );
    let mut helm = scene.helm(&line).spawn();
    await_image(&scene, &mirrored("nginx:2.0.0"));

    let set = |who: &PathBuf, image: &str, manager: &str| {
        let line = format!("set image deployment/web server={image} --field-manager={manager}");
        scene.kubectl_as(who, &line)
    };
    let elsewhere = mirrored("nginx:9");
    set(&developer, &elsewhere, "helm").denied(&["(revisions 2, 1, "]);
    set(&developer, &elsewhere, "helm-controller").denied(&[]);
    // The right to write records is not enough: the request must look like Helm's.
    scene
        .kubectl(&format!("set image deployment/web server={elsewhere}"))
        .denied(&[]);
    // Both together are what Helm itself has; more is not required.
    scene
        .kubectl(&format!(
            "set image deployment/web server={elsewhere} --field-manager=helm"
        ))
        .quiet();
    let object = ("deployments", scene.ns.name(), "web");
    assert_eq!(verdict(BOB, "patch", object), Verdict::allowed("in-flight"));

    release(&scene);
    assert!(helm.wait().unwrap().success());
    scene.settled("deployment/web", 2);
    scene
        .kubectl("set image deployment/web server=nginx:8 --field-manager=helm")
        .denied(&[]);
    let developers: Vec<Value> = super::steps::remarks(&scene);
    assert_eq!(developers.len(), 2, "{developers:?}");
}

/// Records in another namespace than the release, as Flux stores them: the right to write Secrets
/// next to the release is then not a right to write its records.
#[test]
fn writing_secrets_outside_the_namespace_of_the_records_proves_nothing() {
    world();
    let scene = Scene::new("flux-rights", HelmVersion::V4);
    let records = shared().namespace("flux-records");
    let chart = scene.install("web", &web());
    let developer = developer(&scene, &[("secrets", "*")]);
    scene
        .helm(&format!(
            "upgrade web {} --set image=nginx:2.0.0",
            chart.display()
        ))
        .ok();
    scene.set_status("web", 2, "pending-upgrade");
    let image = mirrored("nginx:2.0.0");
    let line = format!("set image deployment/web server={image} --field-manager=helm");
    super::places::move_records(&scene, "web", "deployment/web", records.name());
    scene.settled("deployment/web", 2);
    scene
        .kubectl_as(&developer, &line)
        .denied(&["(revisions 2, 1, "]);
    scene.kubectl(&line).quiet();
}
