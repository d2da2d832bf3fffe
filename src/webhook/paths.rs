//! The secret paths of the registration: they distinguish the API server from everyone else on the network.
//!
//! The path of each entry contains a token of 160 bits, `/validate/objects.helm-guard.dev/TOKEN`. Only
//! cluster administrators can read webhook configurations, so anyone who knows a token has read the
//! registration. Tokens are an HMAC under a key that is derived from the private key of the serving
//! certificate: replicas that share the certificate share them, nothing else is stored, and a new
//! certificate has new tokens.
//!
//! Invariants
//! - A token gives access to one entry only. A token that an error message shows to a user gives access to no
//!   other entry.
//! - Tokens are compared in constant time, and a wrong one is answered like a path that does not exist.
//! - Every path of the registration in the cluster is accepted, and for [`GRACE`] after its removal:
//!   two replicas need not notice a new certificate at the same time.
//!
//! Start at [`Paths::route`].

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingWebhook, ValidatingWebhookConfiguration,
};
use parking_lot::Mutex;

use super::tls::Pair;

/// How long a path is accepted after its removal from the registration. API servers notice a change
/// within seconds, through their own watches.
pub const GRACE: Duration = Duration::from_secs(300);

const TOKEN_BYTES: usize = 20;

/// The maximum length of a path: a route, a name of an entry (253 characters) and a token.
const LONGEST_PATH: usize = 512;

/// The number of remembered registrations of the last [`GRACE`]. More changes than that in five
/// minutes are not the guard's own, and then the oldest paths are dropped earlier.
const REMEMBERED: usize = 8;

/// The subject of a review: the first part of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Objects, in the version they were requested in.
    Validate,
    /// Objects, converted to the version of a manifest.
    Version,
    /// Release records, namespaces, CRDs. Its old name in paths is kept because replicas of two versions
    /// share the registration.
    ReleaseInfrastructure,
    /// Break-glass grants.
    Grants,
    /// Writes to `GuardPolicy` objects.
    Policies,
    /// Any action of an emergency identity.
    Emergencies,
    /// As [`Route::Validate`], by an entry that fails closed.
    ClosedValidate,
    /// As [`Route::Version`], by an entry that fails closed.
    ClosedVersion,
    /// As [`Route::ReleaseInfrastructure`], by an entry that fails closed.
    ClosedReleaseInfrastructure,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 9] = [
        Self::Validate,
        Self::Version,
        Self::ReleaseInfrastructure,
        Self::Grants,
        Self::Policies,
        Self::Emergencies,
        Self::ClosedValidate,
        Self::ClosedVersion,
        Self::ClosedReleaseInfrastructure,
    ];

    /// The name in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Version => "version",
            Self::ReleaseInfrastructure => "foundations",
            Self::Grants => "grants",
            Self::Policies => "policies",
            Self::Emergencies => "emergencies",
            Self::ClosedValidate => "closed-validate",
            Self::ClosedVersion => "closed-version",
            Self::ClosedReleaseInfrastructure => "closed-foundations",
        }
    }

    /// The route of the same reviews by an entry that fails closed.
    #[must_use]
    pub fn closed(self) -> Self {
        match self {
            Self::Validate => Self::ClosedValidate,
            Self::Version => Self::ClosedVersion,
            Self::ReleaseInfrastructure => Self::ClosedReleaseInfrastructure,
            other => other,
        }
    }

    fn of(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.as_str() == text)
    }
}

/// Derives the tokens of one certificate.
#[derive(Clone)]
pub struct PathKey(Arc<hmac::Key>);

/// Without the key.
impl std::fmt::Debug for PathKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PathKey")
    }
}

impl PathKey {
    /// The key of a certificate. The private key has at least 128 random bits, and HMAC reveals nothing
    /// about it.
    pub fn of(pair: &Pair) -> Self {
        let private = hmac::Key::new(hmac::HMAC_SHA256, pair.key.trim().as_bytes());
        let derived = hmac::sign(&private, b"helm-guard registration paths v1");
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        Self(Arc::new(key))
    }

    /// The secret path for an entry: without the key, nobody can name it.
    pub fn path(&self, route: Route, entry: &str) -> String {
        let route = route.as_str();
        let tag = hmac::sign(&self.0, format!("{route}/{entry}").as_bytes());
        let mut path = format!("/{route}/{entry}/");
        for byte in tag.as_ref().iter().take(TOKEN_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(path, "{byte:02x}");
        }
        path
    }
}

/// The accepted paths.
#[derive(Debug)]
pub struct Paths {
    keys: ArcSwap<Vec<PathKey>>,
    registered: ArcSwap<Vec<Registered>>,
    writing: Mutex<()>,
}

/// The paths of a registration.
#[derive(Clone, Debug)]
struct Registered {
    paths: Vec<Box<str>>,
    /// When another one replaced it; `None` for the newest.
    gone: Option<Instant>,
}

impl Paths {
    /// Accepts no path yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            keys: ArcSwap::default(),
            registered: ArcSwap::default(),
            writing: Mutex::new(()),
        })
    }

    /// Accepts the paths of these certificates, and registered ones.
    pub fn accept(&self, keys: impl IntoIterator<Item = PathKey>) {
        self.keys.store(Arc::new(keys.into_iter().collect()));
    }

    /// The key of the newest certificate; without a certificate, one that matches nothing.
    pub fn newest(&self) -> PathKey {
        let keys = self.keys.load();
        keys.last().cloned().unwrap_or_else(|| {
            let nothing = hmac::Key::new(hmac::HMAC_SHA256, &[]);
            PathKey(Arc::new(nothing))
        })
    }

    /// Accepts the paths of the registration in the cluster.
    pub(crate) fn observe(
        &self,
        configuration: Option<&ValidatingWebhookConfiguration>,
        now: Instant,
    ) {
        let webhooks = configuration.and_then(|live| live.webhooks.as_deref());
        let mut paths: Vec<Box<str>> = webhooks
            .unwrap_or_default()
            .iter()
            .filter_map(path_of)
            .collect();
        paths.sort_unstable();
        let _turn = self.writing.lock();
        let known = self.registered.load();
        if known.last().is_some_and(|last| last.paths == paths) {
            return;
        }
        let mut next: Vec<Registered> = known
            .iter()
            .filter(|seen| !seen.is_over(now))
            .cloned()
            .collect();
        if let Some(last) = next.last_mut() {
            last.gone.get_or_insert(now);
        }
        next.push(Registered { paths, gone: None });
        let surplus = next.len().saturating_sub(REMEMBERED);
        next.drain(..surplus);
        self.registered.store(Arc::new(next));
    }

    /// The route of a path; `None` if the path is not accepted.
    pub fn route(&self, path: &str, now: Instant) -> Option<Route> {
        if path.len() > LONGEST_PATH {
            return None;
        }
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (route, entry, token) = (Route::of(parts.next()?)?, parts.next()?, parts.next()?);
        let is_equal =
            |expected: &str| verify_slices_are_equal(expected.as_bytes(), path.as_bytes()).is_ok();
        // All are compared, so that the timing does not reveal which one was nearly right.
        let mut is_known = false;
        for key in self.keys.load().iter() {
            is_known |= is_equal(&key.path(route, entry));
        }
        if token.len() == 2 * TOKEN_BYTES {
            for seen in self.registered.load().iter() {
                for known in &seen.paths {
                    is_known |= is_equal(known) && !seen.is_over(now);
                }
            }
        }
        is_known.then_some(route)
    }
}

impl Registered {
    fn is_over(&self, now: Instant) -> bool {
        self.gone
            .is_some_and(|gone| now.saturating_duration_since(gone) > GRACE)
    }
}

/// The path of an entry, without the base path of the URL, which a proxy in front of the guard removes.
/// `None` if the entry has no secret path.
fn path_of(webhook: &ValidatingWebhook) -> Option<Box<str>> {
    let config = &webhook.client_config;
    let path = match (&config.service, &config.url) {
        (Some(service), _) => service.path.clone()?,
        (None, Some(url)) => url.parse::<http::Uri>().ok()?.path().to_owned(),
        (None, None) => return None,
    };
    let mut parts = path.rsplitn(4, '/');
    let (token, entry, route) = (parts.next()?, parts.next()?, parts.next()?);
    let is_token = token.len() == 2 * TOKEN_BYTES && token.bytes().all(|b| b.is_ascii_hexdigit());
    (is_token && entry == webhook.name && Route::of(route).is_some())
        .then(|| format!("/{route}/{entry}/{token}").into())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::{ServiceReference, WebhookClientConfig};
    use rstest::rstest;

    use super::*;

    const OBJECTS: &str = "objects.helm-guard.dev";

    fn pair(key: &str) -> Pair {
        Pair {
            chain: String::new(),
            key: key.to_owned(),
            ca_bundle: None,
        }
    }

    fn key(text: &str) -> PathKey {
        PathKey::of(&pair(text))
    }

    fn accepting(keys: &[&str]) -> Arc<Paths> {
        let paths = Paths::new();
        paths.accept(keys.iter().map(|text| key(text)));
        paths
    }

    fn configuration(urls: &[(&str, String)]) -> ValidatingWebhookConfiguration {
        let webhook = |(name, url): &(&str, String)| ValidatingWebhook {
            name: (*name).to_owned(),
            client_config: WebhookClientConfig {
                url: Some(url.clone()),
                ..WebhookClientConfig::default()
            },
            ..ValidatingWebhook::default()
        };
        ValidatingWebhookConfiguration {
            webhooks: Some(urls.iter().map(webhook).collect()),
            ..ValidatingWebhookConfiguration::default()
        }
    }

    #[test]
    fn a_token_has_160_bits_and_differs_by_entry_route_and_certificate() {
        let mut paths: Vec<String> = ["a", "b"]
            .into_iter()
            .flat_map(|name| Route::ALL.map(|route| (name, route)))
            .flat_map(|(name, route)| {
                [OBJECTS, "scale.helm-guard.dev"].map(|entry| key(name).path(route, entry))
            })
            .collect();
        let mut tokens: Vec<String> = paths
            .iter()
            .map(|path| path.rsplit('/').next().unwrap().to_owned())
            .collect();
        assert!(tokens.iter().all(|token| token.len() == 40), "{tokens:?}");
        for list in [&mut paths, &mut tokens] {
            list.sort();
            list.dedup();
            assert_eq!(list.len(), 4 * Route::ALL.len());
        }
    }

    #[test]
    fn the_token_of_a_certificate_is_the_same_in_every_process() {
        let path = key("a").path(Route::Validate, OBJECTS);
        assert_eq!(path, key(" a\n").path(Route::Validate, OBJECTS));
    }

    #[rstest]
    #[case::right(|path: &str| path.to_owned(), true)]
    #[case::of_another_entry(|path: &str| path.replace(OBJECTS, "scale.helm-guard.dev"), false)]
    #[case::of_another_route(|path: &str| path.replace("/validate/", "/grants/"), false)]
    #[case::a_digit_less(|path: &str| path[..path.len() - 1].to_owned(), false)]
    #[case::a_digit_more(|path: &str| format!("{path}0"), false)]
    #[case::a_slash_more(|path: &str| format!("{path}/"), false)]
    #[case::upper_case(|path: &str| path.to_uppercase(), false)]
    #[case::no_token(|_: &str| format!("/validate/{OBJECTS}"), false)]
    #[case::an_empty_token(|_: &str| format!("/validate/{OBJECTS}/"), false)]
    #[case::the_path_of_old(|_: &str| "/validate".to_owned(), false)]
    #[case::nothing(|_: &str| String::new(), false)]
    #[case::long(|_: &str| format!("/validate/{}/x", "a".repeat(600)), false)]
    fn only_the_complete_path_is_accepted(
        #[case] change: fn(&str) -> String,
        #[case] expected: bool,
    ) {
        let paths = accepting(&["a"]);
        let path = change(&key("a").path(Route::Validate, OBJECTS));
        let found = paths.route(&path, Instant::now());
        assert_eq!(found, expected.then_some(Route::Validate), "{path}");
    }

    #[test]
    fn each_route_is_found_under_its_path() {
        let paths = accepting(&["old", "new"]);
        for route in Route::ALL {
            for name in ["old", "new"] {
                let path = key(name).path(route, OBJECTS);
                assert_eq!(paths.route(&path, Instant::now()), Some(route));
            }
            let other = key("other").path(route, OBJECTS);
            assert_eq!(paths.route(&other, Instant::now()), None);
        }
    }

    #[test]
    fn a_registered_path_is_accepted_for_a_while_after_its_removal() {
        let paths = accepting(&["mine"]);
        let start = Instant::now();
        let theirs = key("theirs").path(Route::Validate, OBJECTS);
        let mine = key("mine").path(Route::Validate, OBJECTS);
        let is_answered = |at| paths.route(&theirs, at).is_some();
        assert!(!is_answered(start));
        let of = |path: &str| configuration(&[(OBJECTS, format!("https://guard:8443/base{path}"))]);
        paths.observe(Some(&of(&theirs)), start);
        assert!(is_answered(start + 10 * GRACE), "while it is registered");
        paths.observe(Some(&of(&mine)), start);
        assert!(is_answered(start + GRACE));
        assert!(!is_answered(start + GRACE + Duration::from_secs(1)));
    }

    #[test]
    fn a_registration_by_service_is_also_read() {
        let paths = Paths::new();
        let path = key("a").path(Route::Grants, "grants.helm-guard.dev");
        let mut live = configuration(&[("grants.helm-guard.dev", String::new())]);
        live.webhooks.as_mut().unwrap()[0].client_config = WebhookClientConfig {
            service: Some(ServiceReference {
                path: Some(path.clone()),
                ..ServiceReference::default()
            }),
            ..WebhookClientConfig::default()
        };
        paths.observe(Some(&live), Instant::now());
        assert_eq!(paths.route(&path, Instant::now()), Some(Route::Grants));
    }

    #[rstest]
    #[case::without_a_token(format!("https://guard/validate/{OBJECTS}"))]
    #[case::of_old("https://guard/validate".to_owned())]
    #[case::short(format!("https://guard/validate/{OBJECTS}/aa"))]
    #[case::of_another_entry(format!("https://guard/validate/other/{}", "a".repeat(40)))]
    #[case::no_url("::".to_owned())]
    fn a_registration_accepts_no_guessable_path(#[case] url: String) {
        let paths = Paths::new();
        paths.observe(
            Some(&configuration(&[(OBJECTS, url.clone())])),
            Instant::now(),
        );
        let path = url.trim_start_matches("https://guard");
        assert_eq!(paths.route(path, Instant::now()), None);
    }

    #[test]
    fn the_number_of_remembered_registrations_is_limited() {
        let paths = Paths::new();
        let now = Instant::now();
        for n in 0..100 {
            let path = key(&n.to_string()).path(Route::Validate, OBJECTS);
            paths.observe(
                Some(&configuration(&[(OBJECTS, format!("https://g{path}"))])),
                now,
            );
        }
        assert_eq!(paths.registered.load().len(), REMEMBERED);
    }

    #[test]
    fn no_debug_output_contains_a_key() {
        assert_eq!(format!("{:?}", key("secret")), "PathKey");
    }
}
