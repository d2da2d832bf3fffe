//! The verdict on an ordinary object: its schema, the claims of the index, and the claims of the current
//! records before a denial.

use helm_guard_core::{
    guard::{
        Claim, Confidence, ConversionTargets, NamedOwner, Question, Reason, Request, Verdict,
        VerdictOutcome, flight::service_account, judge, owner, settle,
    },
    helm::lifecycle::Phase,
    policy::{Labels, license::Facts},
};

use super::{
    cluster_facts::ClusterFacts,
    fresh_claims::{CurrentClaims, as_of_now},
    object_review::ObjectReview,
    schema::KindSchema,
    sources::Sources,
    undecided::Undecided,
};

impl<S: Sources> ObjectReview<'_, S> {
    /// Evaluates from the index, and again from the current records unless the request is allowed.
    ///
    /// Unreadable records do not block a break-glass change. A violation found by the index alone is
    /// therefore a verdict, too, with [`Confidence::IndexOnly`].
    pub(super) async fn verdict(&self) -> Verdict {
        let (request, sources) = (self.request, &self.reviewer.sources);
        let object = self.located.object();
        let owner = NamedOwner::of(request);
        let trusts = |namespace: &str| self.policy.records().trusts(namespace);
        let claims = settle(sources.claims(&object), &owner, trusts).counting;
        if claims.is_empty() {
            return Verdict::because(self.unclaimed());
        }
        let claims = as_of_now(self.policy, claims);
        let Some(claims) = self.reviewer.without_own(&object, claims) else {
            return Verdict::because(Reason::OwnRelease);
        };
        let schema = match KindSchema::of(sources, request, &object, self.deadline).await {
            Ok(schema) => schema,
            Err(undecided) => return undecided.into(),
        };
        let replicas_path = self.located.replicas_path.iter().map(String::as_str);
        let replicas_path: Vec<&str> = replicas_path.collect();
        let labels = sources.namespace_labels(object.namespace);
        let judge = |claims: &[Claim], facts: Facts<'_>| {
            judge(&Question {
                request,
                object: &object,
                claims,
                knowledge: schema.knowledge(request),
                conversions: self.conversions,
                replicas_path: &replicas_path,
                policy: self.policy,
                labels: labels.as_deref().map_or(Labels::Unknown, Labels::Known),
                facts,
                redactor: &self.reviewer.redactor,
            })
        };
        let known = ClusterFacts::known(self);
        let verdict = judge(&claims, known.facts());
        // A release elsewhere may declare the autoscaler that would be reported.
        let is_in_question =
            verdict.reason == Reason::UndeclaredAutoscaler && known.is_autoscaler_in_question;
        if verdict.reason.outcome() == VerdictOutcome::Pass && !is_in_question {
            return verdict;
        }
        self.confirmed(claims, owner, &judge).await
    }

    /// The verdict by the current records.
    async fn confirmed(
        &self,
        indexed: Vec<Claim>,
        owner: NamedOwner,
        judge: &impl Fn(&[Claim], Facts<'_>) -> Verdict,
    ) -> Verdict {
        let mut current = CurrentClaims::read(self, indexed, owner).await;
        let object = self.located.object();
        let counting = std::mem::take(&mut current.counting);
        current.counting = match self.reviewer.without_own(&object, counting) {
            Some(claims) => claims,
            None if current.doubtful.is_empty() => return Verdict::because(Reason::OwnRelease),
            None => Vec::new(),
        };
        let facts = ClusterFacts::now(self, &current.counting, current.until).await;
        let judge = |claims: &[Claim]| judge(claims, facts.facts());
        let verdict = self.not_left_to_each_other(judge(&current.counting));
        if verdict.reason.outcome() == VerdictOutcome::Violation {
            if facts.failed {
                return Undecided::because(Reason::ReadThroughFailed).into();
            }
            let written = self.written_by_helm(&current, &verdict, &judge).await;
            return written.unwrap_or_else(|| hinted(verdict, self.request, &current.counting));
        }
        if current.doubtful.is_empty() {
            return verdict;
        }
        // Claims that could not be read excuse nothing, and may be violated.
        let verdict = judge(&[current.counting, current.doubtful].concat());
        match verdict.reason.outcome() {
            VerdictOutcome::Violation => Verdict {
                confidence: Confidence::IndexOnly,
                ..verdict
            },
            VerdictOutcome::Pass | VerdictOutcome::Indeterminate => verdict,
        }
    }

    /// If, by the current records, another call should evaluate the request, that call may already
    /// have deferred to this one: then the verdict is indeterminate.
    fn not_left_to_each_other(&self, verdict: Verdict) -> Verdict {
        match (verdict.reason, self.conversions) {
            (Reason::JudgedInDeclaredVersion, ConversionTargets::AllOthers) => {
                Undecided::because(Reason::VersionDiffers).into()
            }
            _ => verdict,
        }
    }

    /// No release claims the object. Until all records have been read, one still may. If the object
    /// names a release whose record cannot be read, it may be declared. An object's own annotations are
    /// enough for a warning, but never for a denial.
    fn unclaimed(&self) -> Reason {
        let sources = &self.reviewer.sources;
        if !sources.is_complete() {
            return Reason::IndexIncomplete;
        }
        // Nearly always true; then the object need not be parsed.
        if !sources.any_unreadable() {
            return Reason::NotDeclared;
        }
        match self
            .request
            .old_object
            .or(self.request.object)
            .and_then(owner)
        {
            Some(release) if sources.is_unreadable(&release.namespace, &release.name) => {
                Reason::RecordUnreadable
            }
            _ => Reason::NotDeclared,
        }
    }
}

/// A ServiceAccount that violates a pending release may belong to a hook: the message says what it
/// would need.
fn hinted(mut verdict: Verdict, request: &Request<'_>, claims: &[Claim]) -> Verdict {
    let account = match verdict.reason {
        Reason::FieldsChanged | Reason::ObjectDeleted | Reason::UndeclaredChanged => {
            service_account(&request.user_info.username)
        }
        _ => None,
    };
    for finding in &mut verdict.findings {
        let mut of = claims
            .iter()
            .filter(|claim| claim.release == finding.release);
        if let Some((namespace, name)) = account
            && namespace == finding.release.namespace
            && of.any(|claim| claim.phase == Phase::Pending)
        {
            finding.involved.push(format!("{namespace}/{name}"));
        }
    }
    verdict
}
