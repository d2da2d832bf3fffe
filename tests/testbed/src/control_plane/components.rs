//! The command line of each component. Everything listens on loopback, or not at all.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::Apis;
use crate::{
    Binaries,
    certificates::Files,
    error::{Error, on_file},
    process::{Process, ProcessConfig},
};

/// A component to start.
pub(super) struct Component {
    name: &'static str,
    program: PathBuf,
    args: Vec<OsString>,
}

impl Component {
    pub(super) fn start(self, dir: &Path) -> Result<Process, Error> {
        let logs = dir.join("logs");
        on_file(fs::create_dir_all(&logs), "create", &logs)?;
        let Self {
            name,
            program,
            args,
        } = self;
        Process::start(ProcessConfig {
            name,
            program: &program,
            args,
            env: Vec::new(),
            dir: &logs,
        })
    }
}

pub(super) fn etcd(binaries: &Binaries, dir: &Path, port: u16, peer_port: u16) -> Component {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    Component {
        name: "etcd",
        program: binaries.etcd.clone(),
        args: vec![
            flag("data-dir", dir.join("etcd")),
            flag("listen-client-urls", &client),
            flag("advertise-client-urls", &client),
            flag("listen-peer-urls", &peer),
            flag("initial-advertise-peer-urls", &peer),
            flag("initial-cluster", format!("default={peer}")),
            // A crash of the machine may lose the data, which is worthless then.
            "--unsafe-no-fsync".into(),
        ],
    }
}

pub(super) struct ApiServer {
    pub(super) etcd_port: u16,
    pub(super) port: u16,
    pub(super) apis: Apis,
}

pub(super) fn apiserver(
    binaries: &Binaries,
    dir: &Path,
    files: &Files,
    config: &ApiServer,
) -> Result<Component, Error> {
    let ApiServer {
        etcd_port,
        port,
        apis,
    } = *config;
    let policy = dir.join("audit-policy.json");
    on_file(fs::write(&policy, AUDIT_POLICY), "write", &policy)?;
    let admission = webhook_client(dir, files)?;
    Ok(Component {
        name: "kube-apiserver",
        program: binaries.kube_apiserver.clone(),
        args: vec![
            flag("etcd-servers", format!("http://127.0.0.1:{etcd_port}")),
            flag("bind-address", "127.0.0.1"),
            flag("secure-port", port.to_string()),
            flag("tls-cert-file", &files.server_certificate),
            flag("tls-private-key-file", &files.server_key),
            flag("client-ca-file", &files.authority),
            flag(
                "service-account-key-file",
                &files.service_account_public_key,
            ),
            flag(
                "service-account-signing-key-file",
                &files.service_account_key,
            ),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("service-cluster-ip-range", "10.0.0.0/16"),
            flag("allow-privileged", "true"),
            // The API server connects to a Service's endpoints directly: no kube-proxy runs here to
            // forward its cluster IP.
            flag("enable-aggregator-routing", "true"),
            // What kubeadm sets in addition to the API server's defaults.
            flag("authorization-mode", "Node,RBAC"),
            flag("enable-admission-plugins", "NodeRestriction"),
            flag("admission-control-config-file", &admission),
            flag("audit-policy-file", &policy),
            flag("audit-log-path", audit_log(dir)),
        ]
        .into_iter()
        .chain(match apis {
            Apis::Default => Vec::new(),
            Apis::All => vec![
                flag("runtime-config", "api/all=true"),
                flag("feature-gates", "AllAlpha=true,AllBeta=true"),
            ],
        })
        .collect(),
    })
}

/// Kubernetes documentation, "Dynamic Admission Control", "Authenticate API servers". A webhook that
/// requests no certificate never sees it.
fn webhook_client(dir: &Path, files: &Files) -> Result<PathBuf, Error> {
    let write = |name: &str, content: String| {
        let path = dir.join(name);
        on_file(fs::write(&path, content), "write", &path).map(|()| path)
    };
    let identity = &files.webhook_client;
    let certificate = write("webhook-client.crt", identity.certificate.clone())?;
    let key = write("webhook-client.key", identity.key.clone())?;
    let user = serde_json::json!({
        "name": "*",
        "user": {"client-certificate": certificate, "client-key": key},
    });
    let kubeconfig = serde_json::json!({"apiVersion": "v1", "kind": "Config", "users": [user]});
    let kubeconfig = write("webhook-client.json", kubeconfig.to_string())?;
    let configuration = serde_json::json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{
            "name": "ValidatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": kubeconfig,
            },
        }],
    });
    write("admission.json", configuration.to_string())
}

/// Every request once, when it is answered, without bodies, which may contain Secrets.
const AUDIT_POLICY: &str = r#"{
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{ "level": "Metadata" }]
}"#;

pub(super) fn audit_log(dir: &Path) -> PathBuf {
    dir.join("logs").join("audit.jsonl")
}

pub(super) fn controller_manager(
    binaries: &Binaries,
    files: &Files,
    kubeconfig: &Path,
) -> Component {
    Component {
        name: "kube-controller-manager",
        program: binaries.kube_controller_manager.clone(),
        args: vec![
            flag("kubeconfig", kubeconfig),
            flag("authentication-kubeconfig", kubeconfig),
            flag("authorization-kubeconfig", kubeconfig),
            flag(
                "service-account-private-key-file",
                &files.service_account_key,
            ),
            flag("root-ca-file", &files.authority),
            // Each controller then acts as its own user, as on real clusters.
            flag("use-service-account-credentials", "true"),
            flag("controllers", "*"),
            // Under the default limit it takes 5 s to fetch the credentials of all controllers.
            flag("kube-api-qps", "500"),
            flag("kube-api-burst", "1000"),
            flag("leader-elect", "false"),
            flag("secure-port", "0"),
        ],
    }
}

pub(super) fn scheduler(binaries: &Binaries, kubeconfig: &Path) -> Component {
    Component {
        name: "kube-scheduler",
        program: binaries.kube_scheduler.clone(),
        args: vec![
            flag("kubeconfig", kubeconfig),
            flag("authentication-kubeconfig", kubeconfig),
            flag("authorization-kubeconfig", kubeconfig),
            flag("leader-elect", "false"),
            flag("secure-port", "0"),
        ],
    }
}

pub(super) fn kwok(binaries: &Binaries, stages: &Path, kubeconfig: &Path) -> Component {
    Component {
        name: "kwok",
        program: binaries.kwok.clone(),
        args: vec![
            flag("kubeconfig", kubeconfig),
            flag("config", stages),
            flag("manage-all-nodes", "true"),
            flag("cidr", "10.244.0.0/16"),
            flag("node-ip", "127.0.0.1"),
            flag("node-lease-duration-seconds", "40"),
            // Otherwise it would serve the kubelets' API on all addresses.
            flag("node-port", "0"),
        ],
    }
}

fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}
