//! The index of releases and the schemas of custom resources, fed by a real API server and both
//! Helms.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use helm_guard::{
    cluster::{
        Crds,
        client::{KubeconfigSelection, connect},
    },
    releases::{Config, ReadThrough, Releases, WantedRecords},
};
use helm_guard_core::{
    guard::{Claim, ObjectRef, RevisionObject},
    helm::storage::Driver,
};
use kube::Client;
use rstest::rstest;
use testbed::{Chart, ControlPlane, HelmVersion, shared};
use tokio::{
    runtime::Runtime,
    task::{JoinSet, block_in_place},
};

const CONFIG_MAP: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: {{ .Values.colour }}
";

async fn client(plane: &ControlPlane) -> Client {
    let kubeconfig = Some(plane.admin().to_owned());
    connect(&KubeconfigSelection {
        kubeconfig,
        ..KubeconfigSelection::default()
    })
    .await
    .unwrap()
}

/// Waits until `now` returns a value, and returns it.
async fn until<T>(what: &str, mut now: impl FnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = now() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), wait).await;
    found.unwrap_or_else(|_| panic!("{what} never came about"))
}

/// Revision and declared color, newest first.
fn colours(claims: &[Claim]) -> Vec<(u32, String)> {
    claims
        .iter()
        .flat_map(|claim| &claim.revisions)
        .map(|revision| {
            let colour = match &revision.held {
                RevisionObject::Declared(object) => {
                    let json: serde_json::Value = serde_json::from_str(&object.json).unwrap();
                    json.pointer("/data/colour")
                        .unwrap()
                        .as_str()
                        .unwrap()
                        .to_owned()
                }
                RevisionObject::Absent => "absent".to_owned(),
                RevisionObject::Unreadable => "unreadable".to_owned(),
            };
            (revision.revision, colour)
        })
        .collect()
}

fn multi_threaded<T>(test: impl Future<Output = T> + Send) -> T
where
    T: Send,
{
    Runtime::new().unwrap().block_on(test)
}

#[rstest]
#[case::helm_3(HelmVersion::V3, "secret")]
#[case::helm_4(HelmVersion::V4, "secret")]
#[case::helm_3_in_config_maps(HelmVersion::V3, "configmap")]
#[case::helm_4_in_config_maps(HelmVersion::V4, "configmap")]
fn a_release_is_followed_from_install_to_uninstall(
    #[case] version: HelmVersion,
    #[case] driver: &str,
) {
    let plane = shared();
    let namespace = plane.namespace("index");
    let space = namespace.name();
    let chart = plane.chart(
        &Chart::new("paint", "1.2.3")
            .template("settings.yaml", CONFIG_MAP)
            .values("colour: red\n"),
    );
    let helm = |args: &[&str]| {
        let command = plane
            .helm(version)
            .cmd(plane.alice())
            .env("HELM_DRIVER", driver);
        command.args(args).args(["-n", space]).ok();
    };
    let chart = chart.to_str().unwrap();

    multi_threaded(async {
        let config = Config {
            namespaces: vec![space.to_owned()],
            drivers: vec![Driver::Secret, Driver::ConfigMap],
            ..Config::default()
        };
        let (releases, worker) = Releases::new(client(plane).await, &config);
        let read_through = ReadThrough::new(&releases);
        let mut tasks = JoinSet::new();
        tasks.spawn(worker.run());
        until("readiness", || releases.readiness().ready.then_some(())).await;
        assert_eq!(releases.readiness().missing, Vec::<String>::new());

        let indexed = || colours(&releases.claims("", "ConfigMap", space, "settings"));
        let object = ObjectRef {
            group: "",
            kind: "ConfigMap",
            namespace: space,
            name: "settings".into(),
        };
        let says = |pairs: &[(u32, &str)]| -> Vec<(u32, String)> {
            pairs
                .iter()
                .map(|(revision, colour)| (*revision, (*colour).to_owned()))
                .collect()
        };

        block_in_place(|| helm(&["install", "paint", chart]));
        until("the first revision", || {
            (indexed() == says(&[(1, "red")])).then_some(())
        })
        .await;
        let claim = releases
            .claims("", "ConfigMap", space, "settings")
            .remove(0);
        assert_eq!(
            (claim.release.name.as_str(), &*claim.chart),
            ("paint", "paint-1.2.3")
        );
        assert_eq!(claim.release.namespace, space);

        block_in_place(|| helm(&["upgrade", "paint", chart, "--set", "colour=blue"]));
        // Whatever the watch has delivered so far.
        let deadline = Instant::now() + Duration::from_secs(10);
        let claims = releases.claims("", "ConfigMap", space, "settings");
        let wanted = WantedRecords {
            claims: &claims,
            named: &[],
        };
        let fresh = read_through.fresh_claims(&object, &wanted, deadline).await;
        assert_eq!(colours(&fresh.claims), says(&[(2, "blue")]));
        until("the second", || {
            (indexed() == says(&[(2, "blue")])).then_some(())
        })
        .await;

        let stats = releases.stats();
        assert_eq!((stats.releases, stats.revisions, stats.objects), (1, 2, 1));
        assert_eq!((stats.decode_errors, stats.watch_errors), (0, 0));

        block_in_place(|| helm(&["uninstall", "paint"]));
        let fresh = read_through.fresh_claims(&object, &wanted, deadline).await;
        assert_eq!(colours(&fresh.claims), []);
        until("its end", || (releases.stats().releases == 0).then_some(())).await;
        assert_eq!(releases.stats().bytes, 0);
    });
}

fn crd(list_type: &str) -> String {
    format!(
        r#"{{
  "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
  "metadata": {{ "name": "shelves.index.example.com" }},
  "spec": {{
    "group": "index.example.com", "scope": "Namespaced",
    "names": {{ "kind": "Shelf", "plural": "shelves", "singular": "shelf" }},
    "versions": [{{
      "name": "v1", "served": true, "storage": true,
      "schema": {{ "openAPIV3Schema": {{ "type": "object", "properties": {{ "spec": {{
        "type": "object", "properties": {{ "books": {{
          "type": "array", "x-kubernetes-list-type": "{list_type}", "items": {{ "type": "string" }}
        }} }}
      }} }} }} }}
    }}]
  }}
}}"#
    )
}

#[test]
fn the_schema_of_a_custom_resource_follows_its_crd() {
    let plane = shared();
    let apply = |list_type: &str| {
        let kubectl = plane.kubectl().cmd(plane.admin());
        kubectl
            .args(["apply", "-f", "-"])
            .stdin(crd(list_type))
            .ok();
    };
    multi_threaded(async {
        let crds = std::sync::Arc::new(Crds::new(client(plane).await));
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let crds = std::sync::Arc::clone(&crds);
            async move { crds.watch().await }
        });
        block_in_place(|| apply("atomic"));
        let known = crds
            .shape("index.example.com", "shelves")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (known.kind.as_str(), known.plural.as_str()),
            ("Shelf", "shelves")
        );
        assert!(crds.shape("apps", "deployments").await.unwrap().is_none());

        block_in_place(|| apply("set"));
        let deadline = Instant::now() + Duration::from_secs(60);
        while *crds
            .shape("index.example.com", "shelves")
            .await
            .unwrap()
            .unwrap()
            == *known
        {
            assert!(Instant::now() < deadline, "the change was never seen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        block_in_place(|| {
            let kubectl = plane.kubectl().cmd(plane.admin());
            kubectl
                .args(["delete", "crd", "shelves.index.example.com"])
                .ok();
        });
    });
}
