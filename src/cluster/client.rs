//! The connection to the API server.

use std::{error::Error, path::PathBuf, time::Duration};

use helm_guard_core::text::suggest::did_you_mean;
use http::{
    HeaderValue, Uri,
    header::{CONNECTION, USER_AGENT},
};
use hyper_util::client::proxy::matcher::Matcher;
use kube::{
    Client, Config,
    config::{
        InClusterError, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError,
        NamedContext,
    },
};

use super::Clients;

/// The guard's user agent, which audit logs show.
const AGENT: &str = concat!("helm-guard/", env!("CARGO_PKG_VERSION"));

/// A connection that takes longer is a dead address: read-throughs must notice well within the
/// webhook's deadline of 3 seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The API server and the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubeconfigSelection {
    /// A kubeconfig file. Without one: `$KUBECONFIG`, `~/.kube/config`, then the Pod's own
    /// ServiceAccount, as kubectl does.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig other than its current one.
    pub context: Option<String>,
    /// The user to act as.
    pub impersonate: Option<String>,
    /// The groups to act as, with the user.
    pub impersonate_groups: Vec<String>,
}

/// Why a client could not be created. A kubeconfig holds credentials, so no message quotes its text, and no cause is
/// kept that does.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The named file or its context is invalid.
    #[error("failed to use kubeconfig {}: {why}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The context in the default kubeconfig is invalid.
    #[error("failed to use context {context:?}: {why}")]
    Context {
        /// Its name.
        context: String,
        /// Why.
        why: String,
    },
    /// The default kubeconfig has no such context.
    #[error("failed to find context {context:?} in the kubeconfig{meant}")]
    NoContext {
        /// Its name.
        context: String,
        /// A suggestion, or nothing.
        meant: String,
    },
    /// There is neither a kubeconfig nor a Pod's ServiceAccount.
    #[error("failed to find a cluster: not in a Pod, and {0}; use --kubeconfig FILE")]
    NoCluster(String),
    /// The Pod's ServiceAccount cannot be used.
    #[error("failed to use the Pod's ServiceAccount: {0}")]
    InCluster(Box<InClusterError>),
    /// The credentials or certificates of the configuration are invalid.
    #[error("failed to set up the client: {0}")]
    Client(Box<kube::Error>),
}

/// Why a kubeconfig cannot be used, without its text.
fn why(error: &KubeconfigError, contexts: &[NamedContext]) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => format!(
                "not a kubeconfig, at line {}, column {}",
                at.line(),
                at.column()
            ),
            None => "not a kubeconfig".to_owned(),
        },
        KubeconfigError::CurrentContextNotSet => {
            "it has no current context; use --context NAME".to_owned()
        }
        KubeconfigError::LoadContext(name) => {
            let known = contexts.iter().map(|context| &*context.name);
            format!("it has no context {name:?}{}", did_you_mean(name, known))
        }
        KubeconfigError::LoadClusterOfContext(name) => format!("it has no cluster {name:?}"),
        KubeconfigError::MissingClusterUrl => "its cluster has no server".to_owned(),
        error => error.to_string(),
    }
}

/// The same for the kubeconfig that is looked for.
fn why_none(error: &InferConfigError) -> String {
    let cause = error.source();
    let kubeconfig = cause.and_then(|cause| cause.downcast_ref::<KubeconfigError>());
    let (path, why) = match kubeconfig {
        Some(KubeconfigError::ReadConfig(error, path)) => (Some(path), error.to_string()),
        Some(error) => (None, why(error, &[])),
        None => (None, "none was found".to_owned()),
    };
    match path {
        Some(path) => format!("kubeconfig {}: {why}", path.display()),
        None => format!("the kubeconfig cannot be used: {why}"),
    }
}

/// A client for `target`. Does not call the API server yet.
pub async fn connect(target: &KubeconfigSelection) -> Result<Client, ConnectError> {
    client(configuration(target).await?)
}

/// The same with a second client that shares no connection with it and does not pool connections.
pub(crate) async fn connect_twice(target: &KubeconfigSelection) -> Result<Clients, ConnectError> {
    let config = configuration(target).await?;
    let mut unpooled = config.clone();
    unpooled
        .headers
        .push((CONNECTION, HeaderValue::from_static("close")));
    Ok(Clients::new(client(config)?, client(unpooled)?))
}

fn client(mut config: Config) -> Result<Client, ConnectError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config
        .headers
        .push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

async fn configuration(target: &KubeconfigSelection) -> Result<Config, ConnectError> {
    let mut config = kubeconfig(target).await?;
    respect_no_proxy(&mut config);
    if let Some(user) = &target.impersonate {
        config.auth_info.impersonate = Some(user.clone());
        config.auth_info.impersonate_groups = Some(target.impersonate_groups.clone());
    }
    Ok(config)
}

/// Takes back the proxy of the environment if `NO_PROXY` exempts the API server. The client library compares `NO_PROXY`
/// with the address of the proxy instead (kube-client 5.0, `config/file_loader.rs`). A `proxy-url` of the kubeconfig stays.
fn respect_no_proxy(config: &mut Config) {
    let of_environment = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"]
        .iter()
        .filter_map(|name| std::env::var(name).ok()?.parse::<Uri>().ok());
    let is_of_environment = of_environment
        .into_iter()
        .any(|proxy| config.proxy_url.as_ref() == Some(&proxy));
    if is_of_environment && Matcher::from_env().intercept(&config.cluster_url).is_none() {
        config.proxy_url = None;
    }
}

async fn kubeconfig(target: &KubeconfigSelection) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    match (&target.kubeconfig, &target.context) {
        (Some(path), _) => {
            let failed = |source: KubeconfigError, contexts: &[NamedContext]| {
                let why = why(&source, contexts);
                let path = path.clone();
                ConnectError::Kubeconfig { path, why }
            };
            let kubeconfig = Kubeconfig::read_from(path).map_err(|source| failed(source, &[]))?;
            let contexts = kubeconfig.contexts.clone();
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|source| failed(source, &contexts))
        }
        (None, Some(context)) => {
            let failed = |source: KubeconfigError, contexts: &[NamedContext]| {
                let context = context.clone();
                match source {
                    KubeconfigError::LoadContext(_) => {
                        let known = contexts.iter().map(|context| &*context.name);
                        let meant = did_you_mean(&context, known);
                        ConnectError::NoContext { context, meant }
                    }
                    source => {
                        let why = why(&source, contexts);
                        ConnectError::Context { context, why }
                    }
                }
            };
            let kubeconfig = Kubeconfig::read().map_err(|source| failed(source, &[]))?;
            let contexts = kubeconfig.contexts.clone();
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|source| failed(source, &contexts))
        }
        // In a Pod, the ServiceAccount is used, even if the image contains a kubeconfig file; only
        // a variable that names a kubeconfig overrides it.
        (None, None)
            if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
                && std::env::var_os("KUBECONFIG").is_none() =>
        {
            Config::incluster().map_err(|error| ConnectError::InCluster(Box::new(error)))
        }
        (None, None) => Config::infer()
            .await
            .map_err(|error| ConnectError::NoCluster(why_none(&error))),
    }
}

#[cfg(test)]
mod tests;
