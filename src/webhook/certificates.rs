//! Self-signed certificates: a CA that signs one leaf, and whose key is then dropped.
//!
//! [`issue`] creates both. The CA's key never leaves the function, so it cannot be used to sign anything
//! later. A renewal creates a new CA, and its bundle includes the previous CA, so that clients
//! accept the old leaf while a replica serves it. If replicas must share a leaf, it is stored in a
//! Secret: [`secret`].

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use thiserror::Error;

use super::{
    endpoint::Endpoint,
    tls::{self, Checked, Pair, pem::to_pem},
};

pub mod secret;

/// Far longer than any leaf, so that an expired CA never causes an outage.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Renewed when a third of it remains.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Clocks of nodes differ, so a certificate is valid slightly before its creation.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// A certificate could not be created.
#[derive(Debug, Error)]
#[error("failed to create a certificate for {name}: {source}")]
pub struct IssueError {
    /// The first name of the certificate.
    pub name: String,
    /// Why.
    pub source: rcgen::Error,
}

/// Creates a CA and a leaf for `endpoint` (ECDSA P-256). The bundle contains the new CA first, then
/// the newest valid CA of each bundle in `previous`.
pub fn issue<'b>(
    endpoint: &Endpoint,
    previous: impl IntoIterator<Item = &'b str>,
    now: SystemTime,
) -> Result<Pair, IssueError> {
    let names = endpoint.names();
    let failed = |source| IssueError {
        name: names.first().cloned().unwrap_or_default(),
        source,
    };
    let begin = now - CLOCK_SKEW;

    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Two CAs of one name would make clients guess which of them signed a leaf.
    let millis = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    ca.distinguished_name
        .push(DnType::CommonName, format!("helm-guard CA {millis}"));
    ca.not_before = begin.into();
    ca.not_after = (begin + CA_LIFE).into();
    let ca_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let ca = CertifiedIssuer::self_signed(ca, ca_key).map_err(failed)?;

    let mut leaf = CertificateParams::new(names.clone()).map_err(failed)?;
    leaf.distinguished_name
        .push(DnType::CommonName, "helm-guard");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    leaf.not_before = begin.into();
    leaf.not_after = (begin + LEAF_LIFE).into();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let leaf = leaf.signed_by(&key, &ca).map_err(failed)?;

    let mut bundle = ca.pem();
    let mut older: Vec<_> = previous
        .into_iter()
        .flat_map(|text| tls::still_valid(text, 1, now))
        .collect();
    older.dedup();
    for old in &older {
        bundle.push_str(&to_pem(old));
    }
    Ok(Pair {
        chain: leaf.pem(),
        key: key.serialize_pem(),
        ca_bundle: Some(bundle),
    })
}

/// Whether `pair` is usable for `endpoint` for some time to come: it verifies as the API server
/// verifies it, and neither leaf nor CA is in the last third of its lifetime.
pub(crate) fn will_do(pair: &Pair, endpoint: &Endpoint, now: SystemTime) -> bool {
    let lasts = |checked: &Checked| {
        !checked.leaf.is_ending(now) && checked.ca.is_some_and(|ca| !ca.is_ending(now))
    };
    tls::check(pair, now)
        .is_ok_and(|checked| lasts(&checked) && checked.verify(&endpoint.names(), now).is_ok())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    #[rstest]
    #[case::service(Endpoint::from_service("ops/guard"))]
    #[case::address(Endpoint::from_url("https://127.0.0.1:8443"))]
    #[case::ipv6(Endpoint::from_url("https://[::1]"))]
    #[case::name(Endpoint::from_url("https://guard.example"))]
    fn an_issued_certificate_verifies_for_every_name_of_its_endpoint(
        #[case] endpoint: Result<Endpoint, super::super::endpoint::EndpointError>,
    ) {
        let endpoint = endpoint.unwrap();
        let pair = issue(&endpoint, None, now()).unwrap();
        assert!(will_do(&pair, &endpoint, now()));
        let checked = tls::check(&pair, now()).unwrap();
        let elsewhere = ["other.example".to_owned()];
        assert!(checked.verify(&elsewhere, now()).is_err());
    }

    #[rstest]
    #[case::young(240, true)]
    #[case::last_third(244, false)]
    #[case::expired(366, false)]
    fn a_leaf_is_renewed_in_the_last_third_of_its_lifetime(#[case] age: u32, #[case] good: bool) {
        let endpoint = Endpoint::from_service("ops/guard").unwrap();
        let pair = issue(&endpoint, None, now()).unwrap();
        assert_eq!(will_do(&pair, &endpoint, now() + age * DAY), good);
    }

    #[test]
    fn a_renewed_bundle_trusts_the_previous_leaf_and_no_older_one() {
        let endpoint = Endpoint::from_service("ops/guard").unwrap();
        let first = issue(&endpoint, None, now()).unwrap();
        let second = issue(&endpoint, first.ca_bundle.as_deref(), now() + DAY).unwrap();
        let third = issue(&endpoint, second.ca_bundle.as_deref(), now() + 2 * DAY).unwrap();
        let trusted = |leaf: &Pair| {
            let pair = Pair {
                ca_bundle: third.ca_bundle.clone(),
                ..leaf.clone()
            };
            let checked = tls::check(&pair, now() + 2 * DAY).unwrap();
            checked.verify(&endpoint.names(), now() + 2 * DAY).is_ok()
        };
        assert_eq!(
            [trusted(&first), trusted(&second), trusted(&third)],
            [false, true, true]
        );
    }

    #[test]
    fn no_debug_output_contains_the_key() {
        let endpoint = Endpoint::from_service("ops/guard").unwrap();
        let pair = issue(&endpoint, None, now()).unwrap();
        let secret_line = pair.key.lines().nth(1).unwrap();
        assert!(!format!("{pair:?}").contains(secret_line));
    }
}
