//! Story 3: a ServiceAccount that a release still needs.

use rstest::rstest;
use testbed::{HelmVersion, shared};

use crate::{
    scene::{Scene, Screen, eventually},
    world::world,
};

#[rstest]
fn a_declared_service_account_cannot_be_deleted_before_the_uninstall(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    world();
    let scene = Scene::new("account", version);
    let chart = shared().created_chart(version, "web");
    scene.helm(&format!("install web {}", chart.display())).ok();
    scene.settled("serviceaccount/web", 1);
    let ns = &scene.ns;
    scene.kubectl("delete serviceaccount web").denied(&[
        &format!(
            "ServiceAccount \"web\" is declared by Helm release \"web\" in namespace \"{ns}\""
        ),
        "(revision 1, chart web-0.1.0)",
        "Remove it from the chart and run: helm upgrade web <chart>",
        "helm uninstall web",
    ]);
    assert!(scene.holds("serviceaccount/web"));
    let output = scene.helm("uninstall web --wait --timeout=60s").ok();
    assert!(output.says("release \"web\" uninstalled"), "{output:?}");
    eventually("a release of which nothing is left", || {
        let left = "all,serviceaccount,configmap,secret -l app.kubernetes.io/instance=web";
        (!scene.holds(left)).then_some(())
    });
    assert!(!scene.holds("secret -l owner=helm"));
}
