//! The CA of a control plane, and its certificates.
//!
//! Keys are ECDSA P-256. Validity is rcgen's default, far in both directions: an environment lives for
//! minutes, and a wrong clock should not fail a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::error::{Error, on_file};

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Signs the certificates of the API server and of the users.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    pub(crate) fn new() -> Result<Self, Error> {
        let failed = failed("the authority");
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.self_signed(&key).map_err(&failed)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            certificate,
        })
    }

    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server certificate for the given host names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Identity, Error> {
        let names = names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>();
        let params = CertificateParams::new(names).map_err(failed("the API server"))?;
        self.sign(
            params,
            "kube-apiserver",
            &[],
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// A client certificate: Kubernetes reads the common name as the user and each organization as a
    /// group.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity, Error> {
        self.sign(
            CertificateParams::default(),
            user,
            groups,
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        name: &str,
        groups: &[&str],
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, Error> {
        let failed = failed(name);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().map_err(&failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(&failed)?.pem();
        Ok(Identity {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

/// The files that the components read.
pub(crate) struct Files {
    pub(crate) authority: PathBuf,
    pub(crate) server_certificate: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) service_account_key: PathBuf,
    pub(crate) service_account_public_key: PathBuf,
    /// The certificate that the API server presents to webhooks that request one.
    pub(crate) webhook_client: Identity,
}

/// The common name of the certificate that the API server presents to webhooks.
pub const WEBHOOK_CLIENT: &str = "kube-apiserver-webhook-client";

impl Files {
    pub(crate) fn write(dir: &Path, authority: &Authority) -> Result<Self, Error> {
        on_file(fs::create_dir_all(dir), "create", dir)?;
        let server = authority.server(&[
            "127.0.0.1",
            "localhost",
            "10.0.0.1",
            "kubernetes.default.svc",
        ])?;
        let service_accounts = KeyPair::generate().map_err(failed("service accounts"))?;
        let write = |name: &str, content: &str| {
            let path = dir.join(name);
            on_file(fs::write(&path, content), "write", &path).map(|()| path)
        };
        Ok(Self {
            authority: write("ca.crt", authority.certificate())?,
            server_certificate: write("apiserver.crt", &server.certificate)?,
            server_key: write("apiserver.key", &server.key)?,
            service_account_key: write("sa.key", &service_accounts.serialize_pem())?,
            service_account_public_key: write("sa.pub", &service_accounts.public_key_pem())?,
            webhook_client: authority.client(WEBHOOK_CLIENT, &[])?,
        })
    }
}

fn failed(name: &str) -> impl Fn(rcgen::Error) -> Error {
    move |source| Error::Certificate {
        name: name.to_owned(),
        source,
    }
}
