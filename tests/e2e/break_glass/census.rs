//! A new replica counts existing records through the API server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use helm_guard::{
    cluster::client::{KubeconfigSelection, connect},
    record::changes::{Changes, LimitScope, PersistError, census::Census},
};
use helm_guard_core::{api::EmergencyChangeSpec, breakglass::recorded::ChangeLimits};
use serde_json::json;
use testbed::shared;
use tokio::runtime::Runtime;

use super::night::people;
use crate::{scene::eventually, turn::Turn};

#[test]
fn another_replica_counts_the_records_of_each_user() {
    let _turn = Turn::take();
    people();
    let namespace = shared().namespace("census");
    let spec = |user: &str, patch: &str| -> EmergencyChangeSpec {
        let spec = json!({
            "user": user, "at": "2026-01-01T00:00:00Z", "requestUid": patch, "operation": "Update",
            "object": {"apiVersion": "v1", "kind": "Service", "name": "a"},
            "release": {"name": "a", "namespace": namespace.name(), "chart": "a-1", "revision": 1},
            "patch": patch, "reconcileBy": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(spec).unwrap()
    };
    let limits = ChangeLimits {
        of_identity: 1,
        ..ChangeLimits::default()
    };
    let runtime = Runtime::new().unwrap();
    let client = runtime.block_on(connect(&KubeconfigSelection {
        kubeconfig: Some(people().guard.clone()),
        ..KubeconfigSelection::default()
    }));
    let client = client.unwrap();
    let keep = |changes: &Changes, spec: EmergencyChangeSpec| {
        let deadline = Instant::now() + Duration::from_secs(10);
        runtime.block_on(changes.store(&spec, deadline))
    };
    let first = Changes::new(client.clone(), Arc::default()).within(limits);
    keep(&first, spec("census-ada", "[]")).unwrap();

    let census = Arc::<Census>::default();
    let (followed, by) = (Arc::clone(&census), client.clone());
    runtime.spawn(async move { followed.follow(by).await });
    let second = Changes::new(client, census).within(limits);
    let full = eventually("a count of the records", || {
        // Until then the API server counts all records, and no user's limit is reached.
        let patch = jiff::Timestamp::now().to_string();
        keep(&second, spec("census-ada", &patch)).err()
    });
    let (scope, limit) = (LimitScope::Identity, 1);
    assert_eq!(full, PersistError::Full { scope, limit });
    keep(&second, spec("census-bob", "[]")).unwrap();
}
