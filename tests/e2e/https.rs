//! HTTPS servers in this process, for what the API server and the guards call: webhooks, and the sinks of alerts.

use std::{sync::Arc, time::SystemTime};

use axum::Router;
use helm_guard::webhook::{
    accept::{self, ConnectionLimits, Options, Protocol},
    certificates,
    endpoint::Endpoint,
    tls::{self, ServingCertificate},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

/// A server on loopback, until it is dropped.
pub struct HttpsServer {
    /// `https://HOST:PORT`
    pub url: String,
    /// The CA of its certificate, PEM.
    pub ca: String,
    _runtime: Runtime,
}

impl HttpsServer {
    pub fn start(router: Router) -> Self {
        // The process may have one already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let endpoint = Endpoint::from_url(&url).unwrap();
        let now = SystemTime::now();
        let pair = certificates::issue(&endpoint, None, now).unwrap();
        let serving = ServingCertificate::new();
        serving.install(&pair, &endpoint.names(), now).unwrap();
        let versions = tls::HttpVersions::Http1And2.into();
        let options = Options {
            protocol: Protocol::Tls(tls::server_config(&serving, versions).unwrap()),
            limits: ConnectionLimits::default(),
            stats: Arc::default(),
        };
        let never = CancellationToken::new();
        runtime.spawn(accept::serve(listener, router, options, never));
        Self {
            url,
            ca: pair.ca_bundle.unwrap(),
            _runtime: runtime,
        }
    }
}
