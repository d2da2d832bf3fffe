//! Asks the API server what a user may do.
//!
//! Used in one case only: while a release is pending, to distinguish Helm's own request, rewritten
//! by a mutating webhook, from a foreign one. So answers are cached only briefly.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use helm_guard_core::helm::storage::Driver;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};
use parking_lot::Mutex;

use super::{ApiFailure, Clients};

/// An upgrade of many objects asks the same question for each of them; a revoked right is noticed
/// this much later.
const CACHE_FOR: Duration = Duration::from_secs(10);

/// If more users than this ask within [`CACHE_FOR`], their answers are not cached.
const MAX_CACHED: usize = 1024;

/// The question: may this user write the records of a release?
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecordWriter {
    /// User name, after impersonation.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// Extra attributes from the authenticator; token scopes use them to restrict rights.
    pub extra: BTreeMap<String, Vec<String>>,
    /// The kind of object that the records are stored in.
    pub driver: Driver,
    /// The namespace in which the release's records are stored.
    pub namespace: String,
    /// The name of the newest record.
    pub record: String,
}

/// Asks, and caches the answers briefly.
pub(crate) struct AccessReviews {
    clients: Clients,
    answers: Mutex<HashMap<RecordWriter, (Instant, bool)>>,
}

impl std::fmt::Debug for AccessReviews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessReviews")
    }
}

impl AccessReviews {
    /// Asks through `clients`, which need `create` on `subjectaccessreviews`.
    pub(crate) fn new(clients: impl Into<Clients>) -> Self {
        Self {
            clients: clients.into(),
            answers: Mutex::default(),
        }
    }

    /// Whether the user may update the record, which Helm does at the end of every operation.
    ///
    /// # Errors
    /// When the API server does not answer. Then nothing is allowed.
    pub(crate) async fn may_write(&self, question: RecordWriter) -> Result<bool, ApiFailure> {
        if let Some(answer) = self.remembered(&question) {
            return Ok(answer);
        }
        let review = review_of(&question);
        let asking = self.clients.call(|client| {
            let reviews: Api<SubjectAccessReview> = Api::all(client);
            let review = &review;
            async move { Ok(reviews.create(&PostParams::default(), review).await?) }
        });
        let allowed = asking
            .await?
            .status
            .is_some_and(|status| status.allowed && status.denied != Some(true));
        self.remember(question, allowed);
        Ok(allowed)
    }

    fn remembered(&self, question: &RecordWriter) -> Option<bool> {
        let answers = self.answers.lock();
        answers
            .get(question)
            .filter(|(asked, _)| asked.elapsed() < CACHE_FOR)
            .map(|(_, answer)| *answer)
    }

    fn remember(&self, question: RecordWriter, allowed: bool) {
        let mut answers = self.answers.lock();
        if answers.len() >= MAX_CACHED {
            answers.retain(|_, (asked, _)| asked.elapsed() < CACHE_FOR);
        }
        if answers.len() < MAX_CACHED {
            answers.insert(question, (Instant::now(), allowed));
        }
    }
}

fn review_of(question: &RecordWriter) -> SubjectAccessReview {
    let resource = ResourceAttributes {
        verb: Some("update".into()),
        resource: Some(match question.driver {
            Driver::Secret => "secrets".into(),
            Driver::ConfigMap => "configmaps".into(),
        }),
        namespace: Some(question.namespace.clone()),
        name: Some(question.record.clone()),
        ..ResourceAttributes::default()
    };
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(question.user.clone()),
            groups: Some(question.groups.clone()),
            extra: Some(question.extra.clone()),
            resource_attributes: Some(resource),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_about_one_record_and_this_user() {
        let review = review_of(&RecordWriter {
            user: "alice".into(),
            groups: vec!["dev".into()],
            extra: BTreeMap::from([("scopes".into(), vec!["user:info".into()])]),
            driver: Driver::Secret,
            namespace: "shop".into(),
            record: "sh.helm.release.v1.web.v2".into(),
        });
        let json = serde_json::to_value(&review.spec).unwrap();
        assert_eq!(
            json["resourceAttributes"]["name"],
            "sh.helm.release.v1.web.v2"
        );
        assert_eq!(json["resourceAttributes"]["resource"], "secrets");
        assert_eq!(json["resourceAttributes"]["verb"], "update");
        assert_eq!(json["extra"]["scopes"][0], "user:info");
        assert_eq!(
            (&json["user"], &json["groups"][0]),
            (&"alice".into(), &"dev".into())
        );
    }
}
