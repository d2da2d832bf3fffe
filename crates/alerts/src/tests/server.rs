//! A sink on a port of its own, with or without TLS.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode, header},
    response::IntoResponse,
};
use http_body_util::BodyExt;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc::{self, UnboundedSender},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::ReceivedRequest;

/// A running sink, which stops when this is dropped.
pub(super) struct TestSink {
    pub(super) url: String,
    pub(super) got: mpsc::UnboundedReceiver<ReceivedRequest>,
    _stop: DropGuard,
}

/// A certificate for 127.0.0.1, and its CA.
pub(super) struct Issued {
    /// PEM.
    pub(super) ca: String,
    tls: Arc<ServerConfig>,
}

/// Issued by a CA with this name.
pub(super) fn issued() -> Issued {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let name = ca_key.public_key_pem();
    ca.distinguished_name
        .push(DnType::CommonName, &name[40..80]);
    let ca = CertifiedIssuer::self_signed(ca, ca_key).unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    Issued {
        ca: ca.pem(),
        tls: Arc::new(tls),
    }
}

/// Answers with `status`, `Location` and, like some debugging pages, the entire request.
pub(super) async fn start(status: u16) -> TestSink {
    serve(None, status).await
}

/// The same over TLS.
pub(super) async fn start_tls(pair: &Issued, status: u16) -> TestSink {
    serve(Some(TlsAcceptor::from(Arc::clone(&pair.tls))), status).await
}

async fn serve(tls: Option<TlsAcceptor>, status: u16) -> TestSink {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", listener.local_addr().unwrap());
    let (sender, got) = mpsc::unbounded_channel();
    let router = Router::new()
        .fallback(
            move |State(sender): State<UnboundedSender<ReceivedRequest>>,
                  request: Request<Body>| { echo(sender, request, status) },
        )
        .with_state(sender);
    let stop = CancellationToken::new();
    let accepting = async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (tls, router) = (tls.clone(), router.clone());
            tokio::spawn(async move {
                // A client that does not trust the certificate disconnects.
                match tls {
                    None => exchange(stream, router).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            exchange(stream, router).await;
                        }
                    }
                }
            });
        }
    };
    tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
    TestSink {
        url,
        got,
        _stop: stop.drop_guard(),
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let server = hyper::server::conn::http1::Builder::new();
    // The guard disconnects after the head.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

async fn echo(
    sender: UnboundedSender<ReceivedRequest>,
    request: Request<Body>,
    status: u16,
) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let said = format!("{} {:?} {body:?}", parts.uri, parts.headers);
    let got = ReceivedRequest {
        at: Instant::now(),
        host: String::new(),
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let _ = sender.send(got);
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::LOCATION, "/elsewhere")], said)
}
