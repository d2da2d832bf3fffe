//! The CAs in the registration: this guard's own, and those of other replicas.
//!
//! Replicas do not always serve the same certificate: kubelets update a mounted Secret at different times, and a
//! rollout may change the source. With the CA of one replica only, the API server would distrust the others, and
//! a failed call is an unguarded write.
//!
//! Invariants
//! - The own bundle always comes first, unchanged.
//! - Any other CA stays for [`KEPT_FOR`] after it was first seen or last announced, while it is valid. So a CA
//!   that somebody else wrote into the registration is not trusted forever.
//! - At most [`MAX_CAS`] certificates: a configuration must not grow with each restart.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::{
    ByteString, api::admissionregistration::v1::ValidatingWebhookConfiguration as Configuration,
};
use rustls_pki_types::CertificateDer;

use super::entries;
use crate::webhook::tls::{self, pem::to_pem};

/// The annotation with the last announcement of each CA that is not the writer's: pairs of a fingerprint
/// and a Unix time in seconds.
pub(crate) const OTHER_CAS: &str = "helm-guard.dev/other-cas";
/// How long a CA stays trusted after its last announcement.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
/// How often a replica announces its CA again.
const ANNOUNCED_EVERY: Duration = Duration::from_secs(20 * 60);
/// The most certificates of a bundle.
const MAX_CAS: usize = 8;

/// The wanted trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    /// The bundle to register.
    pub bundle: Option<String>,
    /// The value of [`OTHER_CAS`]; `None` if every CA is this guard's own.
    pub others: Option<String>,
    /// Whether a CA is removed because no replica has announced it for [`KEPT_FOR`].
    pub(crate) has_expired: bool,
}

impl Trust {
    /// The trust of the live configuration.
    pub(super) fn as_it_is(live: &Configuration) -> Self {
        let annotations = live.metadata.annotations.as_ref();
        Self {
            bundle: live_bundle(live),
            others: annotations.and_then(|annotations| annotations.get(OTHER_CAS).cloned()),
            has_expired: false,
        }
    }
}

/// The own bundle, with the CAs of the live one that other replicas may serve.
pub(crate) fn united(own: Option<&str>, live: &Configuration, now: SystemTime) -> Trust {
    let Some(own) = own else {
        return Trust::default();
    };
    let seen = announced(live);
    let ours = certificates(own);
    let mut trust = Trust {
        bundle: Some(own.to_owned()),
        ..Trust::default()
    };
    let mut others = BTreeMap::new();
    for der in certificates_of(live, now) {
        let print = fingerprint(&der);
        let at = seen.get(&print).copied().unwrap_or_else(|| seconds(now));
        if ours.contains(&der) {
            continue;
        }
        // A time in the future is not an announcement either: clocks differ by less.
        if seconds(now).abs_diff(at) > KEPT_FOR.as_secs() {
            trust.has_expired = true;
        } else if ours.len() + others.len() < MAX_CAS {
            append(trust.bundle.get_or_insert_default(), &der);
            others.insert(print, at);
        }
    }
    trust.others = text(&others);
    trust
}

/// What a replica that is not the leader must add so that its certificate is trusted; `None` if it is trusted
/// and was announced recently.
pub(crate) fn announcement(
    own: Option<&str>,
    live: &Configuration,
    now: SystemTime,
) -> Option<Trust> {
    let own = own?;
    let mut seen = announced(live);
    let all = certificates_of(live, now);
    let mut bundle = live_bundle(live).unwrap_or_default();
    let mut is_due = false;
    for der in certificates(own) {
        let print = fingerprint(&der);
        let is_there = all.contains(&der);
        let is_recent = |at: &u64| seconds(now).saturating_sub(*at) < ANNOUNCED_EVERY.as_secs();
        // A CA without an announcement is the leader's own.
        if is_there && seen.get(&print).is_none_or(is_recent) {
            continue;
        }
        is_due = true;
        if !is_there {
            append(&mut bundle, &der);
        }
        seen.insert(print, seconds(now));
    }
    is_due.then(|| Trust {
        bundle: Some(bundle),
        others: text(&seen),
        has_expired: false,
    })
}

/// Whether the API server accepts certificates that this bundle's CAs have signed.
pub fn holds(live: Option<&ByteString>, own: Option<&str>) -> bool {
    let live = live.map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned());
    match (live, own) {
        (Some(live), Some(own)) => {
            let (all, ours) = (certificates(&live), certificates(own));
            live == own || (!ours.is_empty() && ours.iter().all(|der| all.contains(der)))
        }
        (live, own) => live.is_none() && own.is_none(),
    }
}

/// The bundle of the first entry: all have the same.
fn live_bundle(live: &Configuration) -> Option<String> {
    let bundle = entries(live).first()?.client_config.ca_bundle.as_ref()?;
    String::from_utf8(bundle.0.clone()).ok()
}

fn certificates_of(live: &Configuration, now: SystemTime) -> Vec<CertificateDer<'static>> {
    let bundle = live_bundle(live).unwrap_or_default();
    let mut valid = tls::still_valid(&bundle, usize::MAX, now);
    let mut unique = Vec::new();
    valid.retain(|der| {
        let is_new = !unique.contains(der);
        unique.push(der.clone());
        is_new
    });
    valid.truncate(2 * MAX_CAS);
    valid
}

fn certificates(bundle: &str) -> Vec<CertificateDer<'static>> {
    tls::certificates(bundle).unwrap_or_default()
}

fn announced(live: &Configuration) -> BTreeMap<String, u64> {
    let annotations = live.metadata.annotations.as_ref();
    let text = annotations.and_then(|annotations| annotations.get(OTHER_CAS));
    let pairs = text.into_iter().flat_map(|text| text.split(' '));
    pairs
        .filter_map(|pair| {
            let (print, at) = pair.split_once('=')?;
            Some((print.to_owned(), at.parse().ok()?))
        })
        .take(2 * MAX_CAS)
        .collect()
}

/// In a fixed order, so that the leader does not rewrite what another replica announced.
fn text(others: &BTreeMap<String, u64>) -> Option<String> {
    let words: Vec<_> = others
        .iter()
        .map(|(print, at)| format!("{print}={at}"))
        .collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// The first eight bytes: they distinguish the CAs of a cluster, and a collision gives no advantage.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let bytes = hash.as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:016x}", u64::from_be_bytes(bytes))
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

fn append(bundle: &mut String, der: &CertificateDer<'_>) {
    if !bundle.is_empty() && !bundle.ends_with('\n') {
        bundle.push('\n');
    }
    bundle.push_str(&to_pem(der));
}

#[cfg(test)]
mod tests;
