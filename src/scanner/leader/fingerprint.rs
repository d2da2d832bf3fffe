//! What of the metadata of an object says that a scan may find something else now.
//!
//! A change of the status changes the resource version, and is of no interest: controllers write it all the time.
//! `metadata.generation` does not count for kinds without a status, but the field managers say when each of them
//! wrote last, and through which subresource.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

use kube::api::ObjectMeta;

/// 64 bits of everything that counts: two versions of an object collide once in 10¹⁹.
pub(super) fn fingerprint(metadata: &ObjectMeta) -> u64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
    metadata.uid.hash(&mut hasher);
    metadata.generation.hash(&mut hasher);
    metadata.labels.hash(&mut hasher);
    metadata.annotations.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    let writers = metadata.managed_fields.iter().flatten();
    let writers = writers.filter(|entry| entry.subresource.as_deref() != Some("status"));
    for entry in writers {
        entry.manager.hash(&mut hasher);
        entry.operation.hash(&mut hasher);
        entry.time.as_ref().map(|time| time.0).hash(&mut hasher);
        // Two writes within a second may differ in their fields only.
        let fields = entry.fields_v1.as_ref().map(|fields| fields.0.to_string());
        fields.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn metadata() -> Value {
        json!({
            "name": "web", "uid": "1", "resourceVersion": "7", "generation": 3,
            "labels": {"app": "web"},
            "managedFields": [
                {"manager": "helm", "operation": "Update", "time": "2026-11-21T03:12:09Z",
                 "fieldsV1": {"f:spec": {"f:replicas": {}}}},
                {"manager": "controller", "operation": "Update", "subresource": "status",
                 "time": "2026-11-21T03:12:10Z", "fieldsV1": {"f:status": {}}},
            ],
        })
    }

    #[rstest]
    #[case::resource_version("/resourceVersion", json!("8"), false)]
    #[case::status("/managedFields/1/time", json!("2026-11-21T04:00:00Z"), false)]
    #[case::generation("/generation", json!(4), true)]
    #[case::label("/labels/app", json!("shop"), true)]
    #[case::time_of_a_write("/managedFields/0/time", json!("2026-11-21T04:00:00Z"), true)]
    #[case::writer("/managedFields/0/manager", json!("kubectl"), true)]
    #[case::fields("/managedFields/0/fieldsV1", json!({"f:spec": {}}), true)]
    #[case::recreated("/uid", json!("2"), true)]
    fn only_what_a_scan_looks_at_counts(
        #[case] at: &str,
        #[case] value: Value,
        #[case] counts: bool,
    ) {
        let read = |value: Value| serde_json::from_value::<ObjectMeta>(value).unwrap();
        let mut other = metadata();
        *other.pointer_mut(at).unwrap() = value;
        let differs = fingerprint(&read(metadata())) != fingerprint(&read(other));
        assert_eq!(differs, counts);
    }
}
