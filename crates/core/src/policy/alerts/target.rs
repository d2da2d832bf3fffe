//! The address of an alert sink.

use std::fmt;

use http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};

/// The longest URL, in bytes.
const URL_BYTES: usize = 2048;

/// An `http` or `https` URL with a host, without user or password.
///
/// `Debug` and errors show no part of it: the URL of an incoming webhook is its password.
#[derive(Clone, PartialEq, Eq)]
pub struct SinkAddress {
    uri: Uri,
    host: String,
    port: u16,
}

/// An invalid address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It does not parse, or is too long.
    #[error("it is not a URL of at most {URL_BYTES} characters")]
    Url,
    /// Another scheme, or none.
    #[error("it must begin with https:// or http://")]
    Scheme,
    /// No host, or one with a user name before it.
    #[error("it must name a host, and no user or password")]
    Host,
}

impl SinkAddress {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.len() > URL_BYTES || text.contains('#') {
            return Err(TargetError::Url);
        }
        let uri: Uri = text.parse().map_err(|_quotes| TargetError::Url)?;
        let port = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            _ => return Err(TargetError::Scheme),
        };
        let authority = uri.authority().ok_or(TargetError::Host)?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(TargetError::Host);
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => port,
            // An invalid port.
            None => return Err(TargetError::Host),
        };
        // A host in brackets is an IPv6 address; sockets and certificates use it without them.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        Ok(Self { uri, host, port })
    }

    /// The same with `suffix` at the end of its path, unless it is already there.
    pub(crate) fn ending_in(self, suffix: &str) -> Result<Self, TargetError> {
        let path = self.uri.path().trim_end_matches('/');
        if path.ends_with(suffix) {
            return Ok(self);
        }
        let path_and_query = match self.uri.query() {
            Some(query) => format!("{path}{suffix}?{query}"),
            None => format!("{path}{suffix}"),
        };
        let mut parts: Parts = self.uri.into_parts();
        let path_and_query = PathAndQuery::try_from(path_and_query);
        parts.path_and_query = Some(path_and_query.map_err(|_quotes| TargetError::Url)?);
        let uri = Uri::from_parts(parts).map_err(|_quotes| TargetError::Url)?;
        Ok(Self { uri, ..self })
    }

    /// Whether the scheme is `https`.
    pub fn is_tls(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// The host to connect to, and to verify in its certificate.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", Authority::as_str)
    }

    /// The path and query of the request line.
    pub fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", PathAndQuery::as_str)
    }
}

impl fmt::Debug for SinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("http://alerts", ("alerts", 80, "alerts", "/"))]
    #[case::tls("https://hooks.example/a/b?c=d", ("hooks.example", 443, "hooks.example", "/a/b?c=d"))]
    #[case::port("https://hooks.example:8443/x", ("hooks.example", 8443, "hooks.example:8443", "/x"))]
    #[case::address("http://[::1]:9093/", ("::1", 9093, "[::1]:9093", "/"))]
    fn an_address_is_parsed(#[case] url: &str, #[case] parts: (&str, u16, &str, &str)) {
        let target = SinkAddress::parse(url).unwrap();
        let host = target.host();
        let found = (
            host,
            target.port(),
            target.authority(),
            target.path_and_query(),
        );
        assert_eq!(found, parts);
        assert_eq!(target.is_tls(), url.starts_with("https"));
    }

    #[rstest]
    #[case::empty("", TargetError::Url)]
    #[case::blank("https://a b/", TargetError::Url)]
    #[case::fragment("https://a/#b", TargetError::Url)]
    #[case::relative("/hooks", TargetError::Scheme)]
    #[case::scheme("ftp://a/", TargetError::Scheme)]
    #[case::file("file:///etc/passwd", TargetError::Url)]
    #[case::password("https://me:hunter2@a/", TargetError::Host)]
    #[case::port("https://a:99999/", TargetError::Host)]
    #[case::no_port("https://a:/", TargetError::Host)]
    fn anything_else_is_rejected(#[case] url: &str, #[case] error: TargetError) {
        assert_eq!(SinkAddress::parse(url), Err(error));
    }

    #[rstest]
    #[case("http://am:9093", "/api/v2/alerts")]
    #[case("http://am:9093/", "/api/v2/alerts")]
    #[case("http://am/sub/path", "/sub/path/api/v2/alerts")]
    #[case("http://am/api/v2/alerts", "/api/v2/alerts")]
    #[case("http://am/?tenant=a", "/api/v2/alerts?tenant=a")]
    fn a_path_is_added_once(#[case] url: &str, #[case] path: &str) {
        let target = SinkAddress::parse(url).unwrap().ending_in("/api/v2/alerts");
        assert_eq!(target.unwrap().path_and_query(), path);
    }

    #[test]
    fn debug_output_hides_the_address() {
        let target = SinkAddress::parse("https://hooks.example/T0/hunter2").unwrap();
        assert_eq!(format!("{target:?}"), "Target { .. }");
    }
}
