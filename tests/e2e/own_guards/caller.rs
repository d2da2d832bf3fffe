//! A client of the guard's port other than the API server.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use testbed::Guard;

use crate::scene::Scene;

pub const REGISTRATION: &str = "validatingwebhookconfiguration/helm-guard";

pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A client that can reach the port.
pub struct Caller {
    tls: Arc<ClientConfig>,
    address: String,
}

impl Caller {
    /// A client that trusts the CA of the registration.
    pub fn new(guard: &Guard, scene: &Scene) -> Self {
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

    /// A connection on which a request of `size` bytes is announced.
    pub fn announce(&self, path: &str, headers: &str, size: usize) -> io::Result<Connection> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).unwrap();
        let stream = TcpStream::connect(&self.address)?;
        // The guard's behavior must not hang a test.
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.set_write_timeout(Some(Duration::from_secs(60)))?;
        let mut connection = StreamOwned::new(tls, stream);
        write!(
            connection,
            "POST {path} HTTP/1.1\r\nhost: guard\r\n{headers}\
             content-type: application/json\r\ncontent-length: {size}\r\n\r\n"
        )?;
        Ok(connection)
    }

    /// Sends `body` and returns the answer up to the end of the connection.
    pub fn post(&self, path: &str, body: &str) -> io::Result<String> {
        let mut connection = self.announce(path, "connection: close\r\n", body.len())?;
        // The answer may arrive before the body is sent.
        let _ = connection.write_all(body.as_bytes());
        let mut answer = String::new();
        // The server may close without a TLS close_notify.
        let _ = connection.read_to_string(&mut answer);
        Ok(answer)
    }
}

/// The path of the entry for objects, which only the API server and its administrators know.
pub fn secret_path(guard: &Guard, scene: &Scene) -> String {
    let configuration = scene.get(REGISTRATION);
    let url = configuration["webhooks"][0]["clientConfig"]["url"].as_str();
    let path = url.unwrap().split_once(guard.listen_addr()).unwrap().1;
    path.to_owned()
}
