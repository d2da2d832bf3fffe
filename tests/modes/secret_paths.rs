//! Whoever reaches the port and knows no path of the registration learns nothing.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use testbed::{Guard, HelmVersion};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

const REGISTRATION: &str = "validatingwebhookconfiguration/helm-guard";

/// A pod on the network of the guard: it can read the certificate from the handshake, and nothing else.
struct Stranger {
    tls: Arc<ClientConfig>,
    address: String,
}

impl Stranger {
    fn new(guard: &Guard, scene: &Scene) -> Self {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let configuration = scene.get(REGISTRATION);
        let bundle = &configuration["webhooks"][0]["clientConfig"]["caBundle"];
        let pem = BASE64_STANDARD.decode(bundle.as_str().unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        for ca in CertificateDer::pem_slice_iter(&pem) {
            roots.add(ca.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: Arc::new(tls),
            address: guard.listen_addr().to_owned(),
        }
    }

    fn post(&self, path: &str, body: &str) -> String {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).unwrap();
        let mut connection = StreamOwned::new(tls, TcpStream::connect(&self.address).unwrap());
        let size = body.len();
        write!(
            connection,
            "POST {path} HTTP/1.1\r\nhost: guard\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {size}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        // The server may close without a goodbye of TLS.
        let _ = connection.read_to_string(&mut answer);
        let lines = answer.lines().filter(|line| !line.starts_with("date:"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A review that nobody asked for: it would tell whether `guess` is what the release declares.
fn forged(namespace: &str, guess: &str) -> Value {
    let object = |colour: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": namespace}, "data": {"colour": colour}})
    };
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": kind,
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "settings", "namespace": namespace, "operation": "UPDATE", "dryRun": true,
        "userInfo": {"username": "system:serviceaccount:ops:emergency-ops"},
        "oldObject": object("neither"), "object": object(guess),
    }})
}

fn secret_path(scene: &Scene, guard: &Guard) -> String {
    let configuration = scene.get(REGISTRATION);
    let url = configuration["webhooks"][0]["clientConfig"]["url"].as_str();
    url.unwrap()
        .split_once(guard.listen_addr())
        .unwrap()
        .1
        .to_owned()
}

#[test]
fn forged_dry_runs_do_not_tell_a_declared_value_from_another() {
    let turn = Turn::take();
    let scene = Scene::new("oracle", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let stranger = Stranger::new(&guard, &scene);
    let declared = scene.at("configmap/settings", "/data/colour");
    let path = secret_path(&scene, &guard);
    let almost = format!(
        "{}{}",
        &path[..path.len() - 1],
        if path.ends_with('0') { '1' } else { '0' }
    );
    let namespace = scene.ns.name();
    let mut answers = Vec::new();
    for path in [
        "/validate",
        "/foundations",
        "/grants",
        "/policies",
        almost.as_str(),
    ] {
        for guess in [declared.as_str().unwrap(), "red"] {
            answers.push(stranger.post(path, &forged(namespace, guess).to_string()));
        }
    }
    assert!(answers[0].starts_with("HTTP/1.1 404"), "{}", answers[0]);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:#?}"
    );
    guard.await_log("the address of the stranger", |line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.contains("path that is not registered"))
            && line["address"] == "127.0.0.1"
    });
    // The API server knows the path.
    scene
        .kubectl("delete configmap settings --dry-run=server")
        .denied(&[]);
    let told = format!("{}{}", guard.stdout(), guard.stderr());
    let token = path.rsplit('/').next().unwrap();
    assert!(!told.contains(token), "the token is in the log");
}

#[test]
fn a_registration_that_somebody_edits_or_deletes_is_put_right_at_once() {
    let turn = Turn::take();
    let scene = Scene::new("put-right", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let _guard = turn.guard("Deny");
    scene.settled("configmap/settings", 1);
    let patch = r#"[{"op":"remove","path":"/webhooks/0"}]"#;
    for spoil in [
        format!("patch {REGISTRATION} --type=json -p {patch}"),
        format!("delete {REGISTRATION}"),
    ] {
        scene.kubectl(&spoil).ok();
        eventually("the registration is right again", || {
            let entries = scene.holds(REGISTRATION).then(|| scene.get(REGISTRATION))?;
            (entries["webhooks"][0]["name"] == "objects.helm-guard.dev").then_some(())
        });
        scene.settled("configmap/settings", 1);
        scene
            .kubectl("delete configmap settings --dry-run=server")
            .denied(&[]);
    }
}
