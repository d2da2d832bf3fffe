//! The floor: a webhook that reads the body, finds the uid, and allows.
//!
//! Made of the same axum, hyper and rustls as the guard, with the same allocator and the same TLS, and
//! of nothing else: no limits, no metrics, no log, no parsing.

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
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Before the uid in a review as API servers write it. Its first place is the request's.
const UID: &[u8] = b"\"uid\":\"";

/// Serves until the process is ended.
pub async fn serve(address: SocketAddr, certificate: &Path, key: &Path) -> Result<()> {
    let tls = TlsAcceptor::from(tls(certificate, key)?);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {address}"))?;
    writeln!(std::io::stdout(), "listening on {address}")?;
    let router = Router::new()
        .route("/validate", post(echo))
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

/// A caller that goes away is how every connection ends: no error of one is worth a word.
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

async fn echo(body: Bytes) -> impl IntoResponse {
    match answer(&body) {
        Some(answer) => (StatusCode::OK, [(CONTENT_TYPE, "application/json")], answer),
        None => (
            StatusCode::BAD_REQUEST,
            [(CONTENT_TYPE, "text/plain")],
            Vec::new(),
        ),
    }
}

fn answer(body: &[u8]) -> Option<Vec<u8>> {
    let at = body.windows(UID.len()).position(|window| window == UID)?;
    let rest = body.get(at + UID.len()..)?;
    let uid = rest.get(..rest.iter().position(|byte| *byte == b'"')?)?;
    let before =
        br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":""#;
    Some([before, uid, br#"","allowed":true}}"#].concat())
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
        let answer = String::from_utf8(answer(body).unwrap_or_default()).unwrap_or_default();
        assert!(answer.contains(r#""uid":"a-b","allowed":true"#), "{answer}");
    }

    #[test]
    fn what_has_no_uid_is_no_review() {
        assert_eq!(answer(b"{}"), None);
        assert_eq!(answer(b"\"uid\":\"not ended"), None);
    }
}
