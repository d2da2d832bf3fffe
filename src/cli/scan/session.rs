//! What is scanned, and how: read once, for one scan or for many.

use anyhow::bail;
use helm_guard_core::{compare::redact::Redactor, helm::storage::Driver, scan::ScanReport};
use kube::{Api, Client, config::Kubeconfig};

use super::{Scan, progress::ShownProgress};
use crate::{
    cli::{
        in_force::InForce,
        process,
        target::{self, StorageDriver},
    },
    cluster::client::{self, KubeconfigSelection},
    scanner::{self, ForbiddenKinds, ListCost, ScanProgress, ScanRequest},
};

/// A cluster, and what to scan in it.
pub(super) struct ScanSession<'a> {
    pub(super) args: &'a Scan,
    client: Client,
    cluster: String,
    /// By namespace (empty: any) and name.
    only: Vec<(String, String)>,
    /// One namespace, or all.
    namespace: Option<String>,
    drivers: Vec<Driver>,
    /// One for all scans: equal values of Secrets have equal hashes.
    redactor: Redactor,
}

impl<'a> ScanSession<'a> {
    pub(super) async fn open(args: &'a Scan) -> anyhow::Result<Self> {
        let client = client::connect(&KubeconfigSelection::from(&args.target)).await?;
        let only = releases(&args.releases)?;
        let namespace = match target::namespace(args.namespace.as_deref()) {
            _ if args.all_namespaces => None,
            Some(namespace) => Some(namespace),
            // A release that names its namespace needs no other.
            None if !only.is_empty() && only.iter().all(|(namespace, _)| !namespace.is_empty()) => {
                None
            }
            None => Some(client.default_namespace().to_owned()),
        };
        let mut redactor = Redactor::new(&process::key()?);
        if args.output.needs_values() {
            redactor = redactor.keeping_values();
        }
        Ok(Self {
            args,
            client,
            cluster: cluster(args),
            only,
            namespace,
            drivers: StorageDriver::drivers(&args.storage.storage_drivers),
            redactor,
        })
    }

    /// Scans, with the policy that is in force now.
    pub(super) async fn scan(&self) -> anyhow::Result<(ScanReport, ListCost)> {
        let policy = InForce::read(&self.client, &self.args.policy).await?;
        let progress = ScanProgress::default();
        let namespace = self.namespace.as_deref();
        let request = ScanRequest {
            cluster: self.cluster.clone(),
            namespace,
            records_in: namespace,
            only: &self.only,
            chart: self.args.chart.as_deref(),
            drivers: &self.drivers,
            policy: &policy.policy,
            redactor: &self.redactor,
            forbidden_kinds: ForbiddenKinds::Reported,
            with_coverage: self.args.coverage,
            progress: &progress,
        };
        let shown = ShownProgress::of(&progress);
        let scan = scanner::scan(&self.client, &request);
        let (report, cost) = shown.during(scan).await?;
        found_all(&self.only, &report, namespace)?;
        if report.releases.is_empty() && report.orphans.is_empty() && report.complete {
            check_namespace(&self.client, namespace).await?;
        }
        Ok((report, cost))
    }
}

/// `NAME` or `NAMESPACE/NAME`.
fn releases(given: &[String]) -> anyhow::Result<Vec<(String, String)>> {
    let read = |text: &String| match text.split_once('/') {
        None if !text.is_empty() => Ok((String::new(), text.clone())),
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => bail!("{text:?} is not a release: expected NAME or NAMESPACE/NAME"),
    };
    given.iter().map(read).collect()
}

/// A release without a record is a mistake, not a clean release.
fn found_all(
    only: &[(String, String)],
    report: &ScanReport,
    namespace: Option<&str>,
) -> anyhow::Result<()> {
    for (of, name) in only {
        let is_it =
            |(namespace, found): (&str, &str)| *name == found && (of.is_empty() || of == namespace);
        let releases = report.releases.iter();
        let mut names = releases.map(|release| (&*release.namespace, &*release.name));
        if names.any(is_it) {
            continue;
        }
        let place = match (&**of, namespace) {
            ("", None) => "in any namespace".to_owned(),
            ("", Some(namespace)) => format!("in namespace {namespace}"),
            (of, _) => format!("in namespace {of}"),
        };
        bail!("there is no release {name:?} {place}");
    }
    Ok(())
}

/// That nothing was found in a namespace that does not exist says nothing. Who may not read namespaces gets no error.
async fn check_namespace(client: &Client, namespace: Option<&str>) -> anyhow::Result<()> {
    let Some(namespace) = namespace else {
        return Ok(());
    };
    let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    match api.get_metadata_opt(namespace).await {
        Ok(None) => bail!("namespace {namespace:?} does not exist"),
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}

/// The name of the cluster in the report: the context.
fn cluster(args: &Scan) -> String {
    let selection = KubeconfigSelection::from(&args.target);
    if let Some(context) = selection.context {
        return context;
    }
    let kubeconfig = match &selection.kubeconfig {
        Some(file) => Kubeconfig::read_from(file),
        None => Kubeconfig::read(),
    };
    let current = kubeconfig.ok().and_then(|config| config.current_context);
    current.unwrap_or_else(|| "in-cluster".to_owned())
}
