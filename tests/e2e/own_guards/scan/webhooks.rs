//! Webhook configurations: the API server asks no webhook about them, so only a scan sees their drift.

use rstest::rstest;
use serde_json::json;
use testbed::HelmVersion;

use super::unguarded::Unguarded;
use crate::charts::single;

/// No object has the label that it selects.
const WEBHOOK: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: '{{ .Release.Namespace }}'}
webhooks:
- name: checks.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  clientConfig: {url: 'https://127.0.0.1:1/'}
  objectSelector: {matchLabels: {example.com/checked: never}}
  rules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
";

/// Scenario 88.
#[rstest]
fn drift_of_a_webhook_configuration_is_found(
    #[values(HelmVersion::V3, HelmVersion::V4)] version: HelmVersion,
) {
    let unguarded = Unguarded::of("scan-webhooks", version, &single(WEBHOOK));
    let scene = &unguarded.scene;
    let name = scene.ns.name();
    let object = format!("validatingwebhookconfiguration/{name}");
    assert_eq!(unguarded.found(), [""; 0]);

    let fails = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}]);
    scene.patch(&object, "json", &fails).ok();
    unguarded.confirm(&[format!(
        "Changed ValidatingWebhookConfiguration/{name} .webhooks[name=checks.example.com].failurePolicy \
         by kubectl-patch: {}",
        unguarded.either("Reverted", "Blocks")
    )]);
    unguarded.repair();

    scene.kubectl(&format!("delete {object}")).ok();
    unguarded.confirm(&[format!(
        "Missing ValidatingWebhookConfiguration/{name}: Recreated"
    )]);
    scene.kubectl(&format!("delete {object}")).ok();
}
