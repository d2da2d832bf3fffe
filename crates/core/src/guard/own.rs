//! The guard's own release. The guard never blocks changes of it, so that it can always be scaled
//! down, repaired and removed.
//!
//! Only objects in the guard's own namespace that its own release declares are exempt. Other
//! releases in that namespace are guarded.

use crate::helm::ReleaseName;

/// The name of the chart, if nothing else identifies the release.
const CHART: &str = "helm-guard-";

/// Which release installed the guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The guard's namespace.
    pub namespace: String,
    /// How its release is identified.
    pub known_by: KnownBy,
}

/// How the guard's own release is identified. Each way needs a record in the guard's own namespace,
/// and anyone who may write one there can also read the guard's key pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// By its name (`--own-release`).
    Name(String),
    /// By the Service that it declares and that the API server calls (`--register-service`).
    Service(String),
    /// By the name of its chart.
    Chart,
}

impl Own {
    /// Whether this release, of this chart, is the guard's own. `declares` says whether it declares the
    /// Service of this name in the guard's namespace.
    pub fn is(&self, release: &ReleaseName, chart: &str, declares: impl Fn(&str) -> bool) -> bool {
        release.namespace == self.namespace
            && match &self.known_by {
                KnownBy::Name(name) => release.name == *name,
                KnownBy::Service(service) => declares(service),
                KnownBy::Chart => chart
                    .strip_prefix(CHART)
                    .is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit())),
            }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::by_name(KnownBy::Name("guard".into()), "ops", "guard", "platform-1.0.0", true)]
    #[case::another_name(KnownBy::Name("guard".into()), "ops", "web", "helm-guard-1.0.0", false)]
    #[case::the_name_elsewhere(KnownBy::Name("guard".into()), "shop", "guard", "x-1", false)]
    #[case::by_service(KnownBy::Service("svc".into()), "ops", "guard", "platform-1.0.0", true)]
    #[case::without_the_service(KnownBy::Service("other".into()), "ops", "web", "x-1", false)]
    #[case::by_chart(KnownBy::Chart, "ops", "guard", "helm-guard-1.0.0", true)]
    #[case::chart_elsewhere(KnownBy::Chart, "shop", "guard", "helm-guard-1.0.0", false)]
    #[case::another_chart(KnownBy::Chart, "ops", "web", "helm-guard-ui-1.0.0", false)]
    fn the_guards_own_release_is_identified_in_its_own_namespace(
        #[case] known_by: KnownBy,
        #[case] namespace: &str,
        #[case] name: &str,
        #[case] chart: &str,
        #[case] expected: bool,
    ) {
        let own = Own {
            namespace: "ops".to_owned(),
            known_by,
        };
        let release = ReleaseName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(
            own.is(&release, chart, |service| service == "svc"),
            expected
        );
    }
}
