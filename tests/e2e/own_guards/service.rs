//! Replicas of the guard behind one Service. The test adds and removes their endpoints, as readiness probes would.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testbed::{Address, Guard, shared};

use crate::{scene::Scene, turn::Turn};

/// A Service in the namespace of a test, which is the namespace of its guards too.
pub struct Service<'s> {
    scene: &'s Scene,
    name: String,
    mode: &'static str,
}

impl<'s> Service<'s> {
    /// Creates it, for replicas in this enforcement mode.
    pub fn new(scene: &'s Scene, mode: &'static str) -> Self {
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "helm-guard"},
            "spec": {"ports": [{"name": "https", "port": 443}]}});
        let this = Self {
            scene,
            name: format!("{}/helm-guard", scene.ns.name()),
            mode,
        };
        this.apply(&service);
        this
    }

    fn apply(&self, object: &Value) {
        let apply = self.scene.kubectl("apply -f -");
        apply.stdin(object.to_string()).ok();
    }

    /// Starts a replica, and adds it to the Service once it is ready.
    pub fn start(&self, turn: &Turn, replica: &str) -> Guard {
        let mut config = Turn::config(self.mode);
        config.address = Address::Service(&self.name);
        let guard = turn.start(config);
        let (address, port) = guard.listen_addr().rsplit_once(':').unwrap();
        let port: u16 = port.parse().unwrap();
        self.apply(
            &json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": replica, "labels": {"kubernetes.io/service-name": "helm-guard"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": port}]}),
        );
        guard
    }

    /// Removes a replica from the Service, then stops it. Requests in flight are answered while it drains.
    pub fn stop(&self, guard: Guard, replica: &str) {
        let line = format!("delete endpointslice {replica}");
        self.scene.kubectl(&line).ok();
        assert!(guard.stop().is_some_and(|status| status.success()));
    }
}

/// The `ConfigMaps` of a namespace, for many writes at a time: the API server opens as many connections to the
/// replicas. Writes one after the other would all use the connection that is open.
pub async fn config_maps(scene: &Scene) -> Api<ConfigMap> {
    let kubeconfig = Kubeconfig::read_from(shared().admin()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options);
    let client = Client::try_from(config.await.unwrap()).unwrap();
    Api::namespaced(client, scene.ns.name())
}
