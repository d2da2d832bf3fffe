use std::path::Path;

use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

use super::{certificate::current, *};
use crate::webhook::{
    certificates::issue,
    registration::version_entries::{UnclaimedEntries, VersionEntry},
    testing::api::{FakeApiStore, api},
    tls::files::Files,
    versions::Needed,
};

/// A directory as a kubelet mounts a Secret: files are links through `..data` to a directory that
/// is replaced as a whole.
struct Mounted {
    directory: TempDir,
    generation: u32,
}

impl Mounted {
    fn new(pair: &Pair) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            let link = Path::new("..data").join(name);
            std::os::unix::fs::symlink(link, directory.path().join(name)).unwrap();
        }
        let mut mounted = Self {
            directory,
            generation: 0,
        };
        mounted.swap(pair);
        mounted
    }

    fn swap(&mut self, pair: &Pair) {
        self.generation += 1;
        let root = self.directory.path();
        let name = format!("..generation-{}", self.generation);
        std::fs::create_dir(root.join(&name)).unwrap();
        let ca = pair.ca_bundle.as_ref().unwrap();
        for (file, text) in [
            ("tls.crt", &pair.chain),
            ("tls.key", &pair.key),
            ("ca.crt", ca),
        ] {
            std::fs::write(root.join(&name).join(file), text).unwrap();
        }
        std::os::unix::fs::symlink(&name, root.join("..data_tmp")).unwrap();
        std::fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }

    fn files(&self) -> Files {
        let root = self.directory.path();
        Files {
            certificate: root.join("tls.crt"),
            key: root.join("tls.key"),
        }
    }
}

fn endpoint() -> Endpoint {
    Endpoint::from_url("https://127.0.0.1").unwrap()
}

fn made() -> Pair {
    issue(&endpoint(), None, SystemTime::now()).unwrap()
}

fn registrar(source: CertificateSource, client: Option<Client>) -> Registrar {
    Registrar {
        endpoint: Some(endpoint()),
        client,
        intervals: Intervals {
            certificate: Duration::from_millis(5),
            registration: Duration::from_millis(5),
            ca_propagation: Duration::ZERO,
            propagation: Duration::ZERO,
            after_a_change: Duration::ZERO,
            ..Intervals::default()
        },
        ..Registrar::new(source)
    }
}

/// Waits for what another task brings about; a minute without it is a failure.
async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .expect("it never came about");
}

fn registered_ca(store: &Mutex<FakeApiStore>) -> Option<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let object = store.lock().object.clone()?;
    let Some(Value::String(encoded)) = object.pointer("/webhooks/0/clientConfig/caBundle") else {
        return None;
    };
    Some(String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap())
}

#[tokio::test]
async fn a_swapped_link_is_noticed_and_a_bad_pair_is_counted_once() {
    let (first, second) = (made(), made());
    let mut mounted = Mounted::new(&first);
    let registrar = registrar(CertificateSource::Files(mounted.files()), None);
    let serving = Arc::clone(&registrar.serving);
    let begun = start(&registrar).await.unwrap();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(registrar, begun, stop.clone()));

    mounted.swap(&Pair {
        key: first.key.clone(),
        ..second.clone()
    });
    until(|| serving.failures() == 1).await;
    assert_eq!(
        (serving.reloads(), serving.ca_bundle()),
        (1, first.ca_bundle)
    );

    mounted.swap(&second);
    until(|| serving.reloads() == 2).await;
    assert_eq!(
        (serving.failures(), serving.ca_bundle()),
        (1, second.ca_bundle)
    );
    stop.cancel();
    kept.await.unwrap();
}

#[tokio::test]
async fn a_missing_file_ends_the_start_with_its_name() {
    let files = Files {
        certificate: "/nowhere/tls.crt".into(),
        key: "/nowhere/tls.key".into(),
    };
    let error = start(&registrar(CertificateSource::Files(files), None))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("failed to read /nowhere/tls.crt"),
        "{error}"
    );
}

#[tokio::test]
async fn the_api_server_trusts_a_new_ca_before_its_leaf_is_served() {
    let (client, store) = api();
    let first = made();
    let mut mounted = Mounted::new(&first);
    let registrar = registrar(CertificateSource::Files(mounted.files()), Some(client));
    let serving = Arc::clone(&registrar.serving);
    let registered = Arc::clone(&registrar.state);
    let begun = start(&registrar).await.unwrap();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(registrar, begun, stop.clone()));
    until(|| registered.is_registered()).await;
    assert_eq!(registered_ca(&store), first.ca_bundle);

    // While the registration cannot be written, the leaf that is trusted stays.
    store.lock().refuse = Some(503);
    let second = made();
    mounted.swap(&second);
    let failures = registered.failures();
    until(|| registered.failures() > failures + 2).await;
    assert_eq!(serving.ca_bundle(), first.ca_bundle);
    assert!(!registered.is_registered() && registered.error().is_some());

    store.lock().refuse = None;
    until(|| serving.ca_bundle() == second.ca_bundle).await;
    let both = second.ca_bundle.unwrap() + &first.ca_bundle.unwrap();
    assert_eq!(
        registered_ca(&store),
        Some(both),
        "others may serve the first one still"
    );
    stop.cancel();
    kept.await.unwrap();
}

#[tokio::test]
async fn what_the_leader_before_wrote_is_no_disturbance_once_this_replica_leads() {
    let (client, store) = api();
    let mounted = Mounted::new(&made());
    let mut registrar = registrar(CertificateSource::Files(mounted.files()), Some(client));
    let leader = start(&registrar).await.unwrap();
    let needed = registrar.conversions.needed();
    register(&registrar, &leader, &needed).await;
    let written_by = "/metadata/annotations/helm-guard.dev~1written-by-version";
    let age = |store: &Mutex<FakeApiStore>| {
        let mut object = store.lock().object.clone().unwrap();
        *object.pointer_mut(written_by).unwrap() = "0.0.1".into();
        store.lock().put(object);
    };
    let (role, election) = watch::channel(Role::Follower);
    registrar.role = election;
    registrar.state = Arc::default();
    age(&store);
    let outcome = register(&registrar, &leader, &needed).await;
    assert_eq!(outcome, ReconcileOutcome::Behind);
    role.send_replace(Role::Leader);
    let outcome = register(&registrar, &leader, &needed).await;
    assert_eq!(
        (outcome, registrar.state.writes()),
        (ReconcileOutcome::Current, 1)
    );
    assert!(registrar.state.take_disturbances(Duration::ZERO).is_empty());

    age(&store);
    register(&registrar, &leader, &needed).await;
    let found = registrar.state.take_disturbances(Duration::ZERO);
    assert_eq!(found, ["changed: labels and annotations; it was corrected"]);
}

#[tokio::test]
async fn a_deleted_registration_comes_back_until_it_is_ended() {
    let (client, store) = api();
    let mut mounted = Mounted::new(&made());
    let registrar = registrar(CertificateSource::Files(mounted.files()), Some(client));
    let begun = start(&registrar).await.unwrap();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(registrar.clone(), begun, stop.clone()));
    until(|| registrar.state.writes() == 1).await;
    store.lock().object = None;
    until(|| registrar.state.writes() == 2).await;

    assert_eq!(unregister(&registrar).await.unwrap(), Unregistered::Deleted);
    // A new certificate shows that registrar goes on.
    mounted.swap(&made());
    until(|| registrar.serving.reloads() == 2).await;
    stop.cancel();
    kept.await.unwrap();
    assert!(store.lock().object.is_none() && !registrar.state.is_registered());
}

#[tokio::test]
async fn a_certificate_in_memory_is_kept_until_it_ends() {
    let registrar = registrar(CertificateSource::Memory, None);
    let first = start(&registrar).await.unwrap();
    let now = SystemTime::now();
    let late = now + Duration::from_secs(300 * 24 * 60 * 60);
    assert_eq!(current(&registrar, Some(&first), now).await.unwrap(), first);
    let next = current(&registrar, Some(&first), late).await.unwrap();
    assert!(next.ca_bundle.unwrap().contains(&first.ca_bundle.unwrap()));
}

#[tokio::test]
async fn a_version_is_registered_when_it_is_needed_and_waited_for_from_then_on() {
    let (client, store) = api();
    let mut registrar = registrar(CertificateSource::Memory, Some(client));
    // Only the need itself can be the reason to write.
    registrar.intervals.certificate = Duration::from_secs(3600);
    registrar.intervals.registration = Duration::from_secs(3600);
    let conversions = Arc::clone(&registrar.conversions);
    let begun = start(&registrar).await.unwrap();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(registrar, begun, stop.clone()));
    // Of the one version; none while nothing is registered.
    let entries = || -> Option<usize> {
        let live = store.lock().object.clone()?;
        let entries = live["webhooks"].as_array()?.iter();
        let name = |entry: &&Value| entry["name"].as_str().unwrap().contains(".versions.");
        Some(entries.filter(name).count())
    };
    until(|| entries() == Some(0)).await;
    let version_entry = VersionEntry {
        group: "autoscaling".to_owned(),
        version: "v1".to_owned(),
        plural: "horizontalpodautoscalers".to_owned(),
    };
    let hpa = "HorizontalPodAutoscaler";
    conversions.need(Needed {
        version_entries: [(version_entry, hpa.into())].into(),
        unclaimed: UnclaimedEntries::Remove,
    });
    until(|| {
        conversions
            .active()
            .load()
            .versions("autoscaling", hpa)
            .len()
            == 1
    })
    .await;
    assert_eq!(entries(), Some(1));
    conversions.need(Needed {
        unclaimed: UnclaimedEntries::Remove,
        ..Needed::default()
    });
    assert!(
        conversions
            .active()
            .load()
            .versions("autoscaling", hpa)
            .is_empty(),
        "not waited for from here on"
    );
    until(|| entries() == Some(0)).await;
    stop.cancel();
    kept.await.unwrap();
}

#[tokio::test]
async fn a_suspended_guard_removes_its_registration_and_brings_it_back_when_it_is_on_again() {
    let (client, store) = api();
    let registrar = registrar(CertificateSource::Memory, Some(client));
    let registered = Arc::clone(&registrar.state);
    let first = start(&registrar).await.unwrap();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(registrar, first, stop.clone()));
    until(|| registered.is_registered()).await;

    registered.suspend(true);
    until(|| store.lock().object.is_none()).await;
    let looks = |store: &FakeApiStore| store.requests.len();
    let seen = looks(&store.lock());
    until(|| looks(&store.lock()) > seen + 3).await;
    assert!(store.lock().object.is_none() && !registered.is_registered());

    registered.suspend(false);
    until(|| registered.is_registered()).await;
    assert!(store.lock().object.is_some());
    assert_eq!(
        registered.take_disturbances(Duration::ZERO),
        Vec::<String>::new()
    );

    store.lock().object = None;
    until(|| store.lock().object.is_some()).await;
    until(|| registered.take_disturbances(Duration::ZERO) == ["deleted; it was created again"])
        .await;
    stop.cancel();
    kept.await.unwrap();
}

#[tokio::test]
async fn a_guard_that_starts_suspended_never_registers() {
    let (client, store) = api();
    let registrar = registrar(CertificateSource::Memory, Some(client));
    registrar.state.suspend(true);
    let first = start(&registrar).await.unwrap();
    let stop = CancellationToken::new();
    let kept = tokio::spawn(run(registrar, first, stop.clone()));
    until(|| store.lock().requests.len() > 3).await;
    assert!(store.lock().object.is_none());
    assert!(
        store
            .lock()
            .requests
            .iter()
            .all(|line| line.starts_with("GET"))
    );
    stop.cancel();
    kept.await.unwrap();
}

/// A control plane that comes back finds the guard waiting, and not in the pauses of a crash loop.
#[tokio::test(start_paused = true)]
async fn the_start_waits_for_an_api_server_that_cannot_answer_yet() {
    let (client, store) = api();
    store.lock().refuse = Some(503);
    let registrar = registrar(
        CertificateSource::Secret {
            client,
            namespace: "ops".to_owned(),
        },
        None,
    );
    let recovering = async {
        until(|| store.lock().requests.len() > 3).await;
        store.lock().refuse = None;
    };
    let (begun, ()) = tokio::join!(start(&registrar), recovering);
    assert_eq!(Some(begun.unwrap().chain), shared_chain(&store));
}

fn shared_chain(store: &Mutex<FakeApiStore>) -> Option<String> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let object = store.lock().object.clone()?;
    let encoded = object["data"]["tls.crt"].as_str()?;
    Some(String::from_utf8(BASE64_STANDARD.decode(encoded).unwrap()).unwrap())
}

#[tokio::test]
async fn the_start_ends_where_the_api_server_refuses() {
    let (client, store) = api();
    store.lock().refuse = Some(403);
    let source = CertificateSource::Secret {
        client,
        namespace: "ops".to_owned(),
    };
    let error = start(&registrar(source, None)).await.unwrap_err();
    assert!(error.to_string().contains("Forbidden"), "{error}");
    assert_eq!(store.lock().requests.len(), 1);
}
