//! One sink: where its requests go, with which headers, and in which form.

use std::collections::BTreeSet;

use http::{HeaderName, HeaderValue};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{
    target::{SinkAddress, TargetError},
    template::{Template, TemplateError},
};
use crate::{
    api::policy::alerts::{self as api, AlertKind, SecretKey, SinkType},
    names,
};

/// The most headers of a sink, of both kinds.
pub(super) const HEADERS: usize = 32;

/// The longest value of a header in a policy, in bytes.
const HEADER_BYTES: usize = 4096;

/// The address of `PagerDuty`'s Events API, outside its EU region
/// (<https://developer.pagerduty.com/docs/send-alert-event>).
pub(super) const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// The path of alerts in Alertmanager, below its own URL (its `api/v2/openapi.yaml`).
pub(super) const ALERTMANAGER_PATH: &str = "/api/v2/alerts";

/// Headers that the HTTP client writes: set in a policy, they could make one request look like two.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A destination of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name in logs and metrics.
    pub name: String,
    /// The alerts that it receives; all if this is empty.
    pub events: BTreeSet<AlertKind>,
    /// The type of service at its address.
    pub format: AlertFormat,
    /// Where.
    pub address: Address,
    /// Headers of each request.
    pub headers: Vec<(HeaderName, HeaderSource)>,
    /// CA certificates to trust there, in addition to those of the system.
    pub ca_bundle: Vec<CertificateDer<'static>>,
}

/// The protocol of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertFormat {
    /// Slack's incoming webhooks.
    Slack,
    /// `PagerDuty`'s Events v2, with the place of the routing key.
    PagerDuty(SecretKey),
    /// Alertmanager's API v2.
    Alertmanager,
    /// A POST of the alert as JSON.
    Json,
    /// A POST of a custom body.
    Template(Template),
}

/// The address of a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// There.
    Known(SinkAddress),
    /// The address is the value of this key.
    Secret(SecretKey),
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// This.
    Known(HeaderValue),
    /// The value of this key.
    Secret(SecretKey),
}

/// An invalid sink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Names are used in metrics and logs.
    #[error("its name is not a DNS label of at most 63 characters")]
    Name,
    /// No address, or two of them.
    #[error("it must have either url or urlFrom")]
    Address,
    /// An invalid address.
    #[error("its url is invalid: {0}")]
    Url(#[from] TargetError),
    /// A Secret over plain HTTP.
    #[error("it would send the value of a Secret over plain http: its url must be https")]
    PlainSecret,
    /// `PagerDuty` without a key, or a key without `PagerDuty`.
    #[error("routingKeyFrom is for the type pagerduty, which needs it")]
    RoutingKey,
    /// A body for a type that has its own.
    #[error("a custom body needs the type http")]
    Body,
    /// An invalid template.
    #[error("its body is invalid: {0}")]
    Template(#[from] TemplateError),
    /// A header that HTTP does not allow, or that a policy must not set.
    #[error("its header {0:?} may not be set, or has a value that may not be sent")]
    Header(String),
    /// One name in both lists.
    #[error("its header {0:?} is set twice")]
    HeaderTwice(String),
    /// More headers than there may be.
    #[error("it has more than {HEADERS} headers")]
    TooManyHeaders,
    /// A bundle without certificates, or one without TLS.
    #[error("its caBundle holds no certificate in PEM, or its url is not https")]
    CaBundle,
}

impl Sink {
    pub(super) fn compile(sink: &api::Sink) -> Result<Self, SinkError> {
        if !names::is_label(&sink.name) {
            return Err(SinkError::Name);
        }
        let compiled = Self {
            name: sink.name.clone(),
            events: sink.events.iter().copied().collect(),
            format: format(sink)?,
            address: address(sink)?,
            headers: headers(sink)?,
            ca_bundle: ca_bundle(sink.ca_bundle.as_deref())?,
        };
        let plain = matches!(&compiled.address, Address::Known(target) if !target.is_tls());
        if plain && !sink.headers_from.is_empty() {
            return Err(SinkError::PlainSecret);
        }
        if plain && matches!(compiled.format, AlertFormat::PagerDuty(_)) {
            return Err(SinkError::PlainSecret);
        }
        if plain && !compiled.ca_bundle.is_empty() {
            return Err(SinkError::CaBundle);
        }
        Ok(compiled)
    }

    /// Whether it receives this kind of alert.
    pub fn wants(&self, kind: AlertKind) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }

    /// The keys of Secrets that a request needs.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretKey> {
        let address = match &self.address {
            Address::Secret(key) => Some(key),
            Address::Known(_) => None,
        };
        let routing = match &self.format {
            AlertFormat::PagerDuty(key) => Some(key),
            _ => None,
        };
        let headers = self.headers.iter().filter_map(|(_, value)| match value {
            HeaderSource::Secret(key) => Some(key),
            HeaderSource::Known(_) => None,
        });
        address.into_iter().chain(routing).chain(headers)
    }

    /// Parses an address from a Secret, as this sink's.
    pub fn target(&self, url: &str) -> Result<SinkAddress, SinkError> {
        let target = located(&self.format, url)?;
        if target.is_tls() {
            Ok(target)
        } else {
            Err(SinkError::PlainSecret)
        }
    }
}

fn format(sink: &api::Sink) -> Result<AlertFormat, SinkError> {
    if sink.body.is_some() && sink.sink_type != SinkType::Http {
        return Err(SinkError::Body);
    }
    match (sink.sink_type, &sink.routing_key_from) {
        (SinkType::PagerDuty, Some(key)) => Ok(AlertFormat::PagerDuty(key.clone())),
        (SinkType::PagerDuty, None) | (_, Some(_)) => Err(SinkError::RoutingKey),
        (SinkType::Slack, None) => Ok(AlertFormat::Slack),
        (SinkType::Alertmanager, None) => Ok(AlertFormat::Alertmanager),
        (SinkType::Http, None) => match &sink.body {
            Some(body) => Ok(AlertFormat::Template(Template::compile(body)?)),
            None => Ok(AlertFormat::Json),
        },
    }
}

fn address(sink: &api::Sink) -> Result<Address, SinkError> {
    let url = match (&sink.url, &sink.url_from, sink.sink_type) {
        (None, Some(key), _) => return Ok(Address::Secret(key.clone())),
        (Some(url), None, _) => url,
        (None, None, SinkType::PagerDuty) => PAGERDUTY,
        _ => return Err(SinkError::Address),
    };
    Ok(Address::Known(match sink.sink_type {
        SinkType::Alertmanager => located(&AlertFormat::Alertmanager, url)?,
        _ => SinkAddress::parse(url)?,
    }))
}

fn located(format: &AlertFormat, url: &str) -> Result<SinkAddress, TargetError> {
    let target = SinkAddress::parse(url)?;
    match format {
        AlertFormat::Alertmanager => target.ending_in(ALERTMANAGER_PATH),
        _ => Ok(target),
    }
}

fn headers(sink: &api::Sink) -> Result<Vec<(HeaderName, HeaderSource)>, SinkError> {
    if sink.headers.len() + sink.headers_from.len() > HEADERS {
        return Err(SinkError::TooManyHeaders);
    }
    let mut headers: Vec<(HeaderName, HeaderSource)> = Vec::new();
    let known = sink
        .headers
        .iter()
        .map(|(name, text)| (name, header_value(text).map(HeaderSource::Known)));
    let secret = sink
        .headers_from
        .iter()
        .map(|(name, key)| (name, Some(HeaderSource::Secret(key.clone()))));
    for (text, value) in known.chain(secret) {
        let name = HeaderName::from_bytes(text.as_bytes())
            .ok()
            .filter(|name| !RESERVED.contains(&name.as_str()));
        let (Some(name), Some(value)) = (name, value) else {
            return Err(SinkError::Header(shortened(text)));
        };
        if headers.iter().any(|(other, _)| *other == name) {
            return Err(SinkError::HeaderTwice(shortened(text)));
        }
        headers.push((name, value));
    }
    Ok(headers)
}

fn header_value(text: &str) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(text).ok()?;
    (value.len() <= HEADER_BYTES).then_some(value)
}

fn ca_bundle(pem: Option<&str>) -> Result<Vec<CertificateDer<'static>>, SinkError> {
    let Some(pem) = pem else {
        return Ok(Vec::new());
    };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(SinkError::CaBundle),
    }
}

/// For messages: a rejected name may have any length.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
