//! The address of the webhook: a URL, or a Service in the cluster. It determines the names in the
//! serving certificate and the `clientConfig` of the registration.

use std::net::IpAddr;

use helm_guard_core::names;
use http::Uri;
use thiserror::Error;

/// The address that the API server calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `clientConfig.url`: reached from the API server's own network, so also from outside any
    /// cluster. Made by [`Endpoint::from_url`].
    Url {
        /// The URL without the path of an entry and without a slash at its end.
        base: String,
        /// Host name or address (IPv6 without brackets), as the certificate must name it.
        host: String,
    },
    /// `clientConfig.service`, port 443. Made by [`Endpoint::from_service`].
    Service {
        /// The Service's namespace.
        namespace: String,
        /// The Service's name.
        name: String,
    },
}

/// Why a `--register-url` or `--register-service` cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// The API server accepts `https` URLs without user, query and fragment only.
    #[error("invalid webhook URL {url:?}: {why}")]
    Url {
        /// As given.
        url: String,
        /// The problem.
        why: &'static str,
    },
    /// It is not two DNS labels with a slash between them.
    #[error("invalid webhook Service {given:?}: expected NAMESPACE/NAME")]
    Service {
        /// The value of the flag.
        given: String,
    },
}

impl Endpoint {
    /// From `https://HOST[:PORT][/BASE]`. The reviews go to the paths of [`super::paths`] below it. The
    /// rules are those of the API server for `clientConfig.url`.
    pub fn from_url(url: &str) -> Result<Self, EndpointError> {
        let refuse = |why| EndpointError::Url {
            url: url.to_owned(),
            why,
        };
        if url.contains('#') {
            return Err(refuse("it must have no fragment"));
        }
        let uri: Uri = url.parse().map_err(|_| refuse("it is not a URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(refuse("it must start with https://"));
        }
        let authority = uri
            .authority()
            .ok_or_else(|| refuse("it must have a host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it must have no user"));
        }
        if uri.query().is_some() {
            return Err(refuse("it must have no query"));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(refuse("it must have a host"));
        }
        Ok(Self::Url {
            base: url.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
        })
    }

    /// From `NAMESPACE/NAME`.
    pub fn from_service(given: &str) -> Result<Self, EndpointError> {
        match given.split_once('/') {
            Some((namespace, name)) if names::is_label(namespace) && names::is_label(name) => {
                Ok(Self::Service {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            _ => Err(EndpointError::Service {
                given: given.to_owned(),
            }),
        }
    }

    /// Whether it is on the API server's own host, by the same rule as in the API server
    /// (`isLocalHost` in `k8s.io/apiserver/pkg/util/webhook/client.go`).
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Url { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host
                        .parse::<IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
            Self::Service { .. } => false,
        }
    }

    /// The names that the certificate must carry. The API server checks the first; the others are
    /// for people and probes inside the cluster.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Url { host, .. } => vec![host.clone()],
            Self::Service { namespace, name } => vec![
                format!("{name}.{namespace}.svc"),
                format!("{name}.{namespace}.svc.cluster.local"),
                format!("{name}.{namespace}"),
                name.clone(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::address("https://127.0.0.1:8443", "https://127.0.0.1:8443", "127.0.0.1")]
    #[case::slash("https://guard.example/", "https://guard.example", "guard.example")]
    #[case::base("https://guard.example/a", "https://guard.example/a", "guard.example")]
    #[case::ipv6("https://[::1]:8443", "https://[::1]:8443", "::1")]
    fn a_url_names_its_host(#[case] url: &str, #[case] base: &str, #[case] host: &str) {
        let expected = Endpoint::Url {
            base: base.to_owned(),
            host: host.to_owned(),
        };
        assert_eq!(Endpoint::from_url(url), Ok(expected));
    }

    #[rstest]
    #[case::plain("http://guard.example")]
    #[case::no_scheme("guard.example:8443")]
    #[case::user("https://me:secret@guard.example")]
    #[case::query("https://guard.example/?a=b")]
    #[case::fragment("https://guard.example/#a")]
    #[case::empty("")]
    fn a_url_that_the_api_server_would_reject_is_rejected(#[case] url: &str) {
        assert!(matches!(
            Endpoint::from_url(url),
            Err(EndpointError::Url { .. })
        ));
    }

    #[rstest]
    #[case::no_slash("guard")]
    #[case::two("a/b/c")]
    #[case::upper("Ops/guard")]
    #[case::empty("/guard")]
    #[case::dash("ops/-guard")]
    fn a_service_is_a_namespace_and_a_name(#[case] given: &str) {
        assert!(matches!(
            Endpoint::from_service(given),
            Err(EndpointError::Service { .. })
        ));
    }

    #[rstest]
    #[case::ipv4("https://127.0.0.1:8443", true)]
    #[case::another_loopback("https://127.3.2.1", true)]
    #[case::ipv6("https://[::1]:8443", true)]
    #[case::localhost("https://localhost:8443", true)]
    #[case::address("https://10.0.0.1", false)]
    #[case::name("https://guard.example", false)]
    #[case::looks_local("https://localhost.example", false)]
    fn an_endpoint_is_loopback_by_the_rule_of_the_api_server(
        #[case] url: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(Endpoint::from_url(url).unwrap().is_loopback(), expected);
        assert!(!Endpoint::from_service("ops/guard").unwrap().is_loopback());
    }

    #[test]
    fn the_first_name_is_the_one_that_the_api_server_checks() {
        let service = Endpoint::from_service("ops/guard").unwrap();
        assert_eq!(service.names()[0], "guard.ops.svc");
    }
}
