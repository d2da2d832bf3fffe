//! Certificates from files, and their rotation.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair};
use testbed::{Guard, HelmVersion, shared};

use crate::{
    charts::{CONFIG_MAP, single},
    scene::{Scene, Screen, eventually},
    turn::Turn,
};

pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub certificate: Certificate,
}

pub fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "a company's own authority");
    let certificate = params.self_signed(&key).unwrap();
    Authority {
        params,
        key,
        certificate,
    }
}

/// A new certificate and key for loopback, valid until the end of a year.
pub fn write_leaf(dir: &Path, authority: &Authority, year: i32) {
    write_leaf_for(
        &["127.0.0.1"],
        dir,
        (authority, &KeyPair::generate().unwrap()),
        year,
    );
}

/// A new certificate for these names and this key, valid until the end of a year.
pub fn write_leaf_for(
    names: &[&str],
    dir: &Path,
    (authority, key): (&Authority, &KeyPair),
    year: i32,
) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 12, 31);
    let issuer = rcgen::Issuer::from_params(&authority.params, &authority.key);
    let leaf = params.signed_by(key, &issuer).unwrap();
    // The key first: for a moment the pair does not match, which must be harmless.
    fs::write(dir.join("tls.key"), key.serialize_pem()).unwrap();
    fs::write(dir.join("tls.crt"), leaf.pem()).unwrap();
}

fn not_after(metrics: &str) -> String {
    let line = metrics
        .lines()
        .find(|line| line.starts_with("helm_guard_certificate_not_after") && line.contains("leaf"));
    line.unwrap_or_else(|| panic!("{metrics}")).to_owned()
}

fn reloads(guard: &Guard, result: &str) -> u64 {
    let metrics = guard.admin_get("/metrics").body;
    let series = format!("helm_guard_certificate_reloads_total{{result=\"{result}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value
        .unwrap_or_else(|| panic!("{metrics}"))
        .parse()
        .unwrap()
}

#[test]
fn a_replaced_certificate_file_is_served_without_a_restart() {
    let turn = Turn::take();
    let scene = Scene::new("rotation", HelmVersion::V3);
    scene.install("settings", &single(CONFIG_MAP));
    let dir = shared().scratch().join("rotation");
    fs::create_dir_all(&dir).unwrap();
    let authority = authority();
    fs::write(dir.join("ca.crt"), authority.certificate.pem()).unwrap();
    write_leaf(&dir, &authority, 2040);
    let mut config = Turn::config("Deny");
    for (flag, file) in [("--tls-cert", "tls.crt"), ("--tls-key", "tls.key")] {
        config.args.extend([flag.into(), dir.join(file).into()]);
    }
    let guard = turn.start(config);
    let delete = || scene.kubectl("delete configmap settings --dry-run=server");
    delete().denied(&[]);

    let first = not_after(&guard.admin_get("/metrics").body);
    write_leaf(&dir, &authority, 2041);
    eventually("the new certificate", || {
        (not_after(&guard.admin_get("/metrics").body) != first).then_some(())
    });
    delete().denied(&[]);

    let second = not_after(&guard.admin_get("/metrics").body);
    let (ok, failed) = (reloads(&guard, "ok"), reloads(&guard, "error"));
    fs::write(dir.join("tls.crt"), "no certificate").unwrap();
    eventually("a reload that failed", || {
        (reloads(&guard, "error") > failed).then_some(())
    });
    assert_eq!(reloads(&guard, "ok"), ok);
    assert_eq!(not_after(&guard.admin_get("/metrics").body), second);
    delete().denied(&[]);
}
