//! Baseline webhooks that do nothing: each echoes the uid and allows.
//!
//! They use the same axum, hyper and rustls as the guard, with the same allocator and the same TLS, and
//! nothing else: no limits, no metrics, no log. They differ in how they find the uid:
//!
//! - [`NULL`] reads the review into a struct with the fields that it needs; serde skips the rest. The
//!   guard is compared with this one.
//! - [`FLOOR`] looks for the first `"uid":"` and reads nothing after it, which no webhook may do.
//! - [`NAIVE`] parses the whole body into a `serde_json::Value`, as many webhooks do.

use std::{io::Write, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use axum::{Router, extract::DefaultBodyLimit, response::IntoResponse, routing::post};
use bytes::Bytes;
use http::{StatusCode, header::CONTENT_TYPE};
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// The path of the null webhook, which is also one of the guard.
pub const NULL: &str = "/validate";
/// The path of the one that does not read the review.
pub const FLOOR: &str = "/floor";
/// The path of the one that reads all of it.
pub const NAIVE: &str = "/naive";

/// The text before the uid in a review as API servers write it. Its first occurrence is in the request.
const UID: &[u8] = b"\"uid\":\"";

/// Serves until the process is ended.
pub async fn serve(address: SocketAddr, certificate: &Path, key: &Path) -> Result<()> {
    let tls = TlsAcceptor::from(tls(certificate, key)?);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))?;
    writeln!(std::io::stdout(), "listening on {address}")?;
    let router = Router::new()
        .route(NULL, post(async |body: Bytes| reply(typed(&body))))
        .route(FLOOR, post(async |body: Bytes| reply(found(&body))))
        .route(NAIVE, post(async |body: Bytes| reply(parsed(&body))))
        // The paths of a registration.
        .fallback(async |body: Bytes| reply(typed(&body)))
        .layer(DefaultBodyLimit::disable());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            serve_connection(stream, router).await;
        });
    }
}

/// Every connection ends when its caller disconnects, so errors of connections are not reported.
async fn serve_connection(stream: TlsStream<TcpStream>, router: Router) {
    let service = TowerToHyperService::new(router);
    // API servers force HTTP/1.1, but for a URL of the local host, as in the bench through a real one
    // (apiserver's util/webhook/client.go).
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        let builder = http2::Builder::new(TokioExecutor::new());
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    } else {
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

fn reply(answer: Option<Vec<u8>>) -> impl IntoResponse {
    match answer {
        Some(answer) => (StatusCode::OK, [(CONTENT_TYPE, "application/json")], answer),
        None => (
            StatusCode::BAD_REQUEST,
            [(CONTENT_TYPE, "text/plain")],
            Vec::new(),
        ),
    }
}

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
struct Request<'a> {
    uid: &'a str,
}

fn typed(body: &[u8]) -> Option<Vec<u8>> {
    let review: Review<'_> = serde_json::from_slice(body).ok()?;
    Some(allowed(review.request.uid.as_bytes()))
}

fn parsed(body: &[u8]) -> Option<Vec<u8>> {
    let review: Value = serde_json::from_slice(body).ok()?;
    Some(allowed(review["request"]["uid"].as_str()?.as_bytes()))
}

fn found(body: &[u8]) -> Option<Vec<u8>> {
    let at = body.windows(UID.len()).position(|window| window == UID)?;
    let rest = body.get(at + UID.len()..)?;
    let uid = rest.get(..rest.iter().position(|byte| *byte == b'"')?)?;
    Some(allowed(uid))
}

fn allowed(uid: &[u8]) -> Vec<u8> {
    let before =
        br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":""#;
    [before, uid, br#"","allowed":true}}"#].concat()
}

/// As the guard's own: TLS 1.2 and 1.3, no client certificates.
fn tls(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)?.collect();
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uid_comes_back() {
        let body = br#"{"kind":"AdmissionReview","request":{"uid":"a-b","object":{"metadata":{"uid":"c"}}}}"#;
        for way in [typed, found, parsed] {
            let answer = String::from_utf8(way(body).unwrap_or_default()).unwrap_or_default();
            assert!(answer.contains(r#""uid":"a-b","allowed":true"#), "{answer}");
        }
    }

    #[test]
    fn a_review_needs_a_uid() {
        for way in [typed, found, parsed] {
            assert_eq!(way(b"{}"), None);
            assert_eq!(way(b"\"uid\":\"not ended"), None);
        }
    }
}
