//! Sends one POST request to one address, over a verified connection of its own, which is closed after the
//! head of the answer.
//!
//! Alerts are rare, so connections are not pooled: no pool can hold a dead one. Nothing follows redirects or
//! reads proxy settings from the environment. The body of an answer is never read: it could contain anything
//! that was sent.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use helm_guard_core::policy::alerts::target::SinkAddress;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, fmt::rfc2822};
use rustls::{CertificateError, ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Maximum size of the head of an answer, in bytes; the default of hyper is 400 kB.
const HEAD_BYTES: usize = 16 * 1024;

/// Maximum number of headers of an answer.
const ANSWER_HEADERS: usize = 100;

/// The user agent.
const AGENT: &str = concat!("helm-guard/", env!("CARGO_PKG_VERSION"));

/// Opens connections.
pub(crate) trait Dial: Clone + Send + Sync + 'static {
    /// The connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Connects to the host and port of a target.
    fn dial(&self, target: &SinkAddress) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Connects to the addresses of a host name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tcp;

impl Dial for Tcp {
    type Stream = TcpStream;

    async fn dial(&self, target: &SinkAddress) -> io::Result<TcpStream> {
        TcpStream::connect((target.host(), target.port())).await
    }
}

/// The answer of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SinkResponse {
    /// The HTTP status; the body is not read.
    pub status: StatusCode,
    /// The time in `Retry-After`.
    pub(crate) retry_after: Option<Duration>,
}

/// Why there is no answer. Contains nothing about the address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// No connection.
    #[error("failed to connect: {0}")]
    Connect(io::ErrorKind),
    /// The certificate of the sink is not trusted.
    #[error("failed to trust the sink: its certificate {0}")]
    Certificate(&'static str),
    /// TLS failed for another reason.
    #[error("TLS handshake failed")]
    Tls,
    /// The connection broke, or the answer is not HTTP.
    #[error("failed to get an answer over HTTP")]
    Http,
    /// The request is not valid HTTP.
    #[error("failed to build the request")]
    Request,
}

/// Trusts the system's certificates and `extra`. Reads files: not for a thread that must not block.
pub(crate) fn trust(extra: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    if system.certs.is_empty() && extra.is_empty() {
        tracing::warn!(
            "the system has no CA certificates: alert sinks with publicly signed certificates cannot be verified"
        );
    }
    // Some systems contain unusable certificates; they do no harm.
    roots.add_parsable_certificates(system.certs);
    for certificate in extra {
        roots.add(certificate.clone())?;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Sends a body and waits for the head of the answer. The caller limits the time.
pub(crate) async fn post<D: Dial>(
    dial: &D,
    trust: &Arc<ClientConfig>,
    target: &SinkAddress,
    headers: HeaderMap,
    body: String,
) -> Result<SinkResponse, PostError> {
    let request = request(target, headers, body)?;
    let stream = dial
        .dial(target)
        .await
        .map_err(|error| PostError::Connect(error.kind()))?;
    if !target.is_tls() {
        return exchange(stream, request).await;
    }
    let name =
        ServerName::try_from(target.host().to_owned()).map_err(|_quotes| PostError::Request)?;
    let stream = TlsConnector::from(Arc::clone(trust))
        .connect(name, stream)
        .await
        .map_err(|error| tls_failure(&error))?;
    exchange(stream, request).await
}

fn request(
    target: &SinkAddress,
    headers: HeaderMap,
    body: String,
) -> Result<Request<Full<Bytes>>, PostError> {
    let host = HeaderValue::from_str(target.authority()).map_err(|_| PostError::Request)?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target.path_and_query())
        .body(Full::from(body))
        .map_err(|_| PostError::Request)?;
    // The sink's own headers may replace the first two, but never the last two.
    request.headers_mut().extend([
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::USER_AGENT, HeaderValue::from_static(AGENT)),
    ]);
    request.headers_mut().extend(headers);
    request.headers_mut().extend([
        (header::HOST, host),
        (header::CONNECTION, HeaderValue::from_static("close")),
    ]);
    Ok(request)
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<SinkResponse, PostError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(ANSWER_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| PostError::Http)?;
    let mut answering = pin!(sender.send_request(request));
    // The connection only makes progress while it is polled; after the head, both are dropped.
    let answer = tokio::select! {
        answer = &mut answering => answer,
        _ended = connection => answering.await,
    };
    let answer = answer.map_err(|_| PostError::Http)?;
    Ok(SinkResponse {
        status: answer.status(),
        retry_after: retry_after(answer.headers(), Timestamp::now()),
    })
}

/// In seconds, or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(at.duration_since(now)).ok()
}

/// Certificate errors help to set up a sink, but contain the host name: only their class is reported.
fn tls_failure(error: &io::Error) -> PostError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => PostError::Certificate(match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "is for another name"
            }
            // If a trusted CA has the name of the issuer, the error is about the signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "was issued by an unknown CA"
            }
            _ => "is not valid",
        }),
        _ => PostError::Tls,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::seconds("120", Some(120))]
    #[case::date("Wed, 21 Oct 2026 07:28:30 GMT", Some(30))]
    #[case::past("Wed, 21 Oct 2026 07:27:00 GMT", None)]
    #[case::negative("-5", None)]
    #[case::words("later", None)]
    fn retry_after_is_parsed(#[case] text: &str, #[case] seconds: Option<u64>) {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
        let now = "2026-10-21T07:28:00Z".parse().unwrap();
        assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs));
    }
}
