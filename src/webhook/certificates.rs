//! Certificates of the guard's own making: a CA that signs one leaf and is then forgotten.
//!
//! [`issue`] makes both. The CA's key never leaves the function, so nobody can sign with it later;
//! a renewal makes a new CA, and its bundle carries the CA before it too, so that clients accept
//! the old leaf for as long as some replica serves it. Where replicas must share a leaf, it lives
//! in a Secret: [`secret`].

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

/// Far longer than any leaf: the CA's end is never the reason of an outage.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Renewed when a third of it is left.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Clocks of nodes differ: a certificate is valid a little before it is made.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// A certificate could not be made.
#[derive(Debug, Error)]
#[error("failed to make a certificate for {name}: {source}")]
pub struct IssueError {
    /// The first name of the certificate.
    pub name: String,
    /// Why.
    pub source: rcgen::Error,
}

/// Makes a CA and a leaf for `endpoint` (ECDSA P-256). The bundle holds the new CA first, then of each
/// bundle in `previous` the newest CA that is still valid.
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

/// Whether `pair` will do for `endpoint`, and for some time to come: it verifies as the API server
/// will verify it, and neither leaf nor CA is in the last third of its life.
pub fn will_do(pair: &Pair, endpoint: &Endpoint, now: SystemTime) -> bool {
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
    fn what_is_issued_verifies_for_every_name_of_its_endpoint(
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
    fn a_leaf_is_renewed_when_a_third_of_its_life_is_left(#[case] age: u32, #[case] good: bool) {
        let endpoint = Endpoint::from_service("ops/guard").unwrap();
        let pair = issue(&endpoint, None, now()).unwrap();
        assert_eq!(will_do(&pair, &endpoint, now() + age * DAY), good);
    }

    #[test]
    fn a_renewed_bundle_trusts_the_leaf_before_it_and_no_older_one() {
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
    fn the_key_is_in_no_debug_output() {
        let endpoint = Endpoint::from_service("ops/guard").unwrap();
        let pair = issue(&endpoint, None, now()).unwrap();
        let secret_line = pair.key.lines().nth(1).unwrap();
        assert!(!format!("{pair:?}").contains(secret_line));
    }
}
