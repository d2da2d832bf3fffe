//! From requests and verdicts to what is reported of them.

use super::{Decision, FieldChange, Finding, ObjectRef, Request, UserInfo, Verdict};
use crate::{
    api::reported::{
        ReportedField, ReportedFinding, ReportedObject, ReportedRelease, ReportedUser,
        ReportedVerdict,
    },
    compare::redact::ShownValue,
    helm::record::ApplyMethod,
};

impl ReportedVerdict {
    /// The verdict in the words of audit lines, events and alerts.
    pub fn of(decision: Decision, verdict: &Verdict) -> Self {
        Self {
            verdict: decision.as_str(),
            reason: verdict.reason.as_str(),
            exemption: verdict.exemption.as_deref().map(str::to_owned),
        }
    }
}

impl ReportedUser {
    /// The user of a request, without the ID of the token.
    pub fn of(user: &UserInfo<'_>) -> Self {
        Self {
            user: user.username.to_string(),
            groups: user.groups.iter().map(ToString::to_string).collect(),
            credential_id: None,
        }
    }
}

impl ReportedObject {
    /// The object that a request is about, in the version of the request: `found` if it is known, which for a
    /// subresource is its parent.
    pub fn of(request: &Request<'_>, found: Option<&ObjectRef<'_>>) -> Self {
        let (group, version) = if request.sub_resource.is_empty() {
            (&request.kind.group, &request.kind.version)
        } else {
            (&request.resource.group, &request.resource.version)
        };
        let (kind, namespace, name) = match found {
            Some(object) => (object.kind, object.namespace, &*object.name),
            None => (&*request.kind.kind, &*request.namespace, &*request.name),
        };
        Self {
            api_version: match &**group {
                "" => version.to_string(),
                group => format!("{group}/{version}"),
            },
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: request.sub_resource.to_string(),
            uid: None,
            resource_version: None,
        }
    }
}

impl From<&Finding> for ReportedRelease {
    fn from(finding: &Finding) -> Self {
        Self {
            namespace: finding.release.namespace.clone(),
            name: finding.release.name.clone(),
            chart: finding.chart.to_string(),
            revision: finding.revisions.iter().copied().max().unwrap_or_default(),
            server_side_apply: finding.apply_method == ApplyMethod::ServerSide,
        }
    }
}

impl From<&FieldChange> for ReportedField {
    fn from(change: &FieldChange) -> Self {
        let texts = [&change.declared, &change.live, &change.requested].map(|shown| match shown {
            ShownValue::Absent => None,
            ShownValue::Text(text) => Some(&**text),
        });
        Self::of_texts(change.path.to_string(), texts)
    }
}

impl From<&Finding> for ReportedFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            release: finding.into(),
            revisions: finding.revisions.clone(),
            fields: finding.changes.iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{Mode, reported::VERDICTS},
        compare::path::FieldPath,
        guard::Reason,
        helm::ReleaseName,
    };

    #[test]
    fn every_decision_is_a_verdict_of_the_schema() {
        let decisions = [
            Decision::Allow,
            Decision::Indeterminate,
            Decision::FailClosed,
            Decision::Deny,
            Decision::Warn,
            Decision::Audit,
            Decision::BreakGlass,
        ];
        let verdict = Verdict::because(Reason::FieldsChanged);
        let words = decisions.map(|decision| ReportedVerdict::of(decision, &verdict).verdict);
        assert_eq!(words, VERDICTS);
    }

    #[rstest]
    #[case::object("", "Deployment", "apps/v1")]
    #[case::parent("scale", "Deployment", "apps/v1")]
    #[case::of_the_core_group("eviction", "Pod", "v1")]
    fn an_object_is_reported_in_the_version_of_the_request(
        #[case] subresource: &str,
        #[case] kind: &str,
        #[case] api_version: &str,
    ) {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let of_subresource = json!({"group": "policy", "version": "v1", "kind": "Other"});
        let of_object = json!({"group": group, "version": "v1", "kind": kind});
        let body = json!({
            "uid": "u", "operation": "UPDATE", "subResource": subresource, "namespace": "shop", "name": "web",
            "kind": if subresource.is_empty() { of_object } else { of_subresource },
            "resource": {"group": group, "version": "v1", "resource": "things"},
        })
        .to_string();
        let request: Request<'_> = serde_json::from_str(&body).unwrap();
        let found = ObjectRef {
            group,
            kind,
            namespace: "shop",
            name: "web".into(),
        };
        let mut expected = json!({
            "apiVersion": api_version, "kind": kind, "namespace": "shop", "name": "web",
        });
        if !subresource.is_empty() {
            expected["subresource"] = json!(subresource);
        }
        let reported = ReportedObject::of(&request, Some(&found));
        assert_eq!(serde_json::to_value(reported).unwrap(), expected);
    }

    #[rstest]
    #[case::by_the_client(ApplyMethod::ClientSide, json!({}))]
    #[case::by_the_server(ApplyMethod::ServerSide, json!({"serverSideApply": true}))]
    fn a_release_is_reported_with_its_newest_revision(
        #[case] apply_method: ApplyMethod,
        #[case] more: Value,
    ) {
        let finding = Finding {
            release: std::sync::Arc::new(ReleaseName {
                namespace: "shop".into(),
                name: "web".into(),
            }),
            chart: "web-1.0.0".into(),
            mode: Mode::Deny,
            revisions: vec![4, 3],
            apply_method,
            changes: Vec::new(),
            involved: Vec::new(),
        };
        let mut expected = json!({
            "namespace": "shop", "name": "web", "chart": "web-1.0.0", "revision": 4,
        });
        expected
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap());
        let reported = ReportedRelease::from(&finding);
        assert_eq!(serde_json::to_value(reported).unwrap(), expected);
    }

    #[rstest]
    #[case::number("3", json!(3), true)]
    #[case::text("\"3\"", json!("3"), true)]
    #[case::object("{\"a\":[true]}", json!({"a": [true]}), true)]
    #[case::redacted("<redacted 05d210d8>", json!("<redacted 05d210d8>"), false)]
    #[case::cut("\"aaa… (602 bytes)", json!("\"aaa… (602 bytes)"), false)]
    #[case::in_words("revision 3", json!("revision 3"), false)]
    fn a_shown_value_is_reported_as_json_and_others_are_described(
        #[case] text: &str,
        #[case] expected: Value,
        #[case] is_exact: bool,
    ) {
        let field = ReportedField::from(&FieldChange {
            path: FieldPath::of(["data", "a"]),
            declared: ShownValue::Absent,
            live: ShownValue::Text(text.to_owned()),
            requested: ShownValue::Text("1".to_owned()),
        });
        let mut reported = json!({"path": ".data.a", "live": expected, "requested": 1});
        if !is_exact {
            reported["described"] = json!(["live"]);
        }
        assert_eq!(serde_json::to_value(&field).unwrap(), reported);
    }
}
