//! Shared by the tests of this module: servers on free loopback ports, and clients that show every
//! byte.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{
    Router,
    routing::{get, post},
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{
    accept::{self, ConnectionLimits, Drained, Options, Protocol, Stats},
    certificates,
    endpoint::Endpoint,
    tls::{self, Pair, ServingCertificate},
};

pub(crate) mod api;

/// A running accept loop with routes that tests need.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) drain: CancellationToken,
    pub(crate) ended: JoinHandle<Drained>,
    pub(crate) stats: Arc<Stats>,
    /// Each permit lets one request to `/slow` end.
    pub(crate) gate: Arc<Semaphore>,
    /// One permit for each started request to `/slow`.
    pub(crate) begun: Arc<Semaphore>,
}

/// Starts a server. `/ok` answers, `/slow` waits for the gate, `/length` reads its body, `/panic` panics.
pub(crate) async fn start(protocol: Protocol, limits: ConnectionLimits) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = {
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        move || async move {
            begun.add_permits(1);
            gate.acquire().await.unwrap().forget();
            "slow"
        }
    };
    let router = Router::new()
        .route("/ok", get(|| async { "ok" }))
        .route("/slow", get(slow))
        .route(
            "/length",
            post(|body: axum::body::Bytes| async move { body.len().to_string() }),
        )
        .route(
            "/panic",
            get(|| async { panic!("a handler's bug") as &'static str }),
        );
    let (drain, stats) = (CancellationToken::new(), Arc::new(Stats::default()));
    let options = Options {
        protocol,
        limits,
        stats: Arc::clone(&stats),
    };
    let ended = tokio::spawn(accept::serve(listener, router, options, drain.clone()));
    TestServer {
        address,
        drain,
        ended,
        stats,
        gate,
        begun,
    }
}

impl TestServer {
    /// Waits until a request to `/slow` is being answered.
    pub(crate) async fn slow_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }

    /// A plain connection.
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A certificate for 127.0.0.1, ready to be served.
pub(crate) fn issued() -> (Pair, Arc<ServingCertificate>) {
    let endpoint = Endpoint::from_url("https://127.0.0.1").unwrap();
    let pair = certificates::issue(&endpoint, None, SystemTime::now()).unwrap();
    let serving = ServingCertificate::new();
    serving
        .install(&pair, &endpoint.names(), SystemTime::now())
        .unwrap();
    (pair, serving)
}

pub(crate) fn tls_protocol(serving: &Arc<ServingCertificate>) -> Protocol {
    Protocol::Tls(tls::server_config(serving, tls::HttpVersions::Http1And2.into()).unwrap())
}

/// Connects as a client that only trusts the pair's CA and speaks `alpn`.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    pair: &Pair,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(pair.ca_bundle.as_ref().unwrap().as_bytes()) {
        roots.add(ca.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Sends a GET on a connection that stays open.
pub(crate) async fn ask(stream: &mut (impl AsyncWrite + Unpin), path: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: guard\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
}

/// Reads one response with a content length; or everything until the end of the connection.
pub(crate) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    while !is_complete(&text) {
        let Ok(byte @ 1..) = stream.read_u8().await else {
            break;
        };
        text.push(char::from(byte));
    }
    text.to_ascii_lowercase()
}

fn is_complete(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let lengths = head.lines().filter_map(|line| line.split_once(": "));
    let length = lengths
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

/// Sends a request and receives the response.
pub(crate) async fn exchange<S>(stream: &mut S, path: &str) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    ask(stream, path).await;
    answer(stream).await
}

/// Waits for the end of the connection, and drops the data before it.
pub(crate) async fn end_of(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut rest).await;
}
