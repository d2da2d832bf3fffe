//! The control plane: etcd, the API server, the controllers, the scheduler, and KWOK for the kubelets.

mod components;
mod fail_open;
mod nodes;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

pub(crate) use fail_open::FailOpen;

use crate::{
    Binaries, Chart, Helm, HelmVersion, Invocation, Kubectl, Namespace,
    certificates::{Authority, Files},
    error::Error,
    http::http_post,
    kubeconfig::{self, Cluster, Credential},
    process::Process,
    scratch::Scratch,
};

/// The ordinary user that every environment has: cluster-admin by a binding, as people are on most
/// clusters, and not a member of `system:masters`.
pub const ALICE: &str = "alice@example.com";

/// Several times the normal duration on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The home directory of Helm and kubectl, in the scratch directory.
const HOME: &str = "home";

/// Which of Kubernetes' APIs a control plane serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Apis {
    /// The default ones, as on most clusters.
    #[default]
    Default,
    /// Every version, alpha and beta too, with every feature that an API needs.
    All,
}

/// A running control plane. Dropping it stops everything, in the reverse order of the start, and
/// removes its directory.
#[derive(Debug)]
pub struct ControlPlane {
    /// Last started first, which is the drop order.
    components: Vec<Process>,
    binaries: Binaries,
    authority: Authority,
    server: String,
    /// The address of etcd.
    etcd: String,
    admin: PathBuf,
    alice: PathBuf,
    fail_open: Arc<FailOpen>,
    // After the components: the directory is removed after them.
    scratch: Scratch,
}

/// The control plane of this process, started when first asked for. The tests of one binary share it,
/// each in a [`Namespace`] of its own. It ends with the process. Panics when it cannot start; later
/// tests get the same reason at once.
pub fn shared() -> &'static ControlPlane {
    static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    match SHARED.get_or_init(|| ControlPlane::start().map_err(|error| error.to_string())) {
        Ok(plane) => plane,
        Err(error) => panic!("{error}"),
    }
}

/// What is at the end of a log, which may become large. The first line may be cut.
fn end_of(log: &Path) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};
    const MAX_BYTES: u64 = 64 << 20;
    let mut file = std::fs::File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(MAX_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl ControlPlane {
    /// Starts everything and waits until a pod can run: the API server and the nodes are ready, and the
    /// default ServiceAccount exists. About 10 s.
    ///
    /// # Errors
    /// When a binary is missing and cannot be built, a component exits (with the end of its log),
    /// or something is not ready within two minutes.
    pub fn start() -> Result<Self, Error> {
        Self::start_serving(Apis::Default)
    }

    /// As [`ControlPlane::start`], with these APIs.
    ///
    /// # Errors
    /// As [`ControlPlane::start`].
    pub fn start_serving(apis: Apis) -> Result<Self, Error> {
        let binaries = Binaries::locate_or_build()?;
        // Between choosing a free port and listening on it, another process can take it.
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once(&binaries, apis) {
                Err(error) if error.port_was_taken() && tries < 3 => {}
                result => return result,
            }
        }
    }

    fn start_once(binaries: &Binaries, apis: Apis) -> Result<Self, Error> {
        let scratch = Scratch::new()?;
        let authority = Authority::new()?;
        let files = Files::write(&scratch.path().join("pki"), &authority)?;
        let [etcd, etcd_peer, apiserver] = free_ports()?;
        let server = format!("https://127.0.0.1:{apiserver}");

        let kubeconfigs = scratch.path().join("kubeconfigs");
        let cluster = Cluster {
            server: &server,
            authority: authority.certificate(),
        };
        let user = |file: &str, name: &str, groups: &[&str]| {
            let credential = Credential::Certificate(authority.client(name, groups)?);
            kubeconfig::write(&kubeconfigs, file, &cluster, &credential)
        };
        let admin = user("admin", "testbed-admin", &["system:masters"])?;
        let alice = user("alice", ALICE, &[])?;
        // The names that the API server's own role bindings know.
        let controllers = user("controller-manager", "system:kube-controller-manager", &[])?;
        let scheduler = user("scheduler", "system:kube-scheduler", &[])?;
        let kubelets = user("kwok", "kwok", &["system:masters"])?;

        let kubectl = Kubectl {
            program: binaries.kubectl.clone(),
            home: scratch.path().join(HOME),
        };
        let mut plane = Self {
            fail_open: Arc::new(FailOpen::new(kubectl, admin.clone())),
            components: Vec::new(),
            binaries: binaries.clone(),
            authority,
            server,
            etcd: format!("http://127.0.0.1:{etcd}"),
            admin,
            alice,
            scratch,
        };
        plane.run(components::etcd(binaries, plane.scratch(), etcd, etcd_peer))?;
        plane.run(components::apiserver(
            binaries,
            plane.scratch(),
            &files,
            &components::ApiServer {
                etcd_port: etcd,
                port: apiserver,
                apis,
            },
        )?)?;
        plane.await_command("a ready API server", &["get", "--raw=/readyz"])?;
        plane.run(components::controller_manager(
            binaries,
            &files,
            &controllers,
        ))?;
        plane.run(components::scheduler(binaries, &scheduler))?;
        plane.run(components::kwok(
            binaries,
            &nodes::stages(binaries, plane.scratch())?,
            &kubelets,
        ))?;
        plane.apply(&nodes::objects())?;
        plane.grant_cluster_admin(ALICE)?;
        plane.await_command(
            "ready nodes",
            &["wait", "--for=condition=Ready", "nodes", "--all"],
        )?;
        plane.await_command(
            "the default ServiceAccount",
            &[
                "wait",
                "--for=create",
                "serviceaccount/default",
                "-n",
                "default",
            ],
        )?;
        Ok(plane)
    }

    fn run(&mut self, component: components::Component) -> Result<(), Error> {
        let process = component.start(self.scratch.path())?;
        self.components.insert(0, process);
        Ok(())
    }

    /// Repeats a kubectl command until it succeeds, while every component runs.
    fn await_command(&mut self, what: &str, args: &[&str]) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.check()?;
            let output = self.set_up(args, None);
            match output {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => {
                    let tail = error.to_string();
                    return Err(Error::NotReady {
                        what: what.to_owned(),
                        waited: PATIENCE,
                        tail,
                    });
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Fails if a component has exited, with the end of its log.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn check(&mut self) -> Result<(), Error> {
        self.components.iter_mut().try_for_each(Process::check)
    }

    /// The address of the API server.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// PEM of the CA that signs the certificates of all clients.
    pub fn authority(&self) -> &str {
        self.authority.certificate()
    }

    /// The kubeconfig of a member of `system:masters`, who bypasses authorization.
    pub fn admin(&self) -> &Path {
        &self.admin
    }

    /// The kubeconfig of [`ALICE`], an ordinary user bound to cluster-admin.
    pub fn alice(&self) -> &Path {
        &self.alice
    }

    /// The programs it runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Its directory: logs, kubeconfigs, charts. It is removed with the control plane.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The process ids of all components and their watchdogs.
    pub fn pids(&self) -> Vec<u32> {
        self.components.iter().flat_map(Process::pids).collect()
    }

    /// The Helm of this version, with a home of its own: no plugins, no settings.
    pub fn helm(&self, version: HelmVersion) -> Helm {
        let program = match version {
            HelmVersion::V3 => &self.binaries.helm3,
            HelmVersion::V4 => &self.binaries.helm4,
        };
        Helm {
            version,
            program: program.clone(),
            home: self.home(),
        }
    }

    /// The kubectl of the API server's version.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl {
            program: self.binaries.kubectl.clone(),
            home: self.home(),
        }
    }

    /// A script for bash, with the home of these commands.
    pub fn bash(&self, script: &str) -> Invocation {
        Invocation::new(Path::new("bash"), &self.home()).args(["-c", script])
    }

    fn home(&self) -> PathBuf {
        self.scratch().join(HOME)
    }

    /// How often the API server allowed a request because a guard did not answer
    /// (`apiserver_admission_webhook_fail_open_count`). Panics if it is unknown.
    pub fn failed_open(&self) -> u64 {
        self.fail_open.count()
    }

    pub(crate) fn fail_open(&self) -> &Arc<FailOpen> {
        &self.fail_open
    }

    /// A new namespace, named after the stem. Panics if it cannot be created.
    pub fn namespace(&self, stem: &str) -> Namespace<'_> {
        Namespace::create(self, stem)
    }

    /// Writes a chart to a directory of its own. Panics when it cannot.
    pub fn chart(&self, chart: &Chart) -> PathBuf {
        chart
            .write(&self.chart_dir())
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The chart that `helm create NAME` makes. Panics when Helm fails.
    pub fn created_chart(&self, version: HelmVersion, name: &str) -> PathBuf {
        let dir = self.chart_dir();
        std::fs::create_dir_all(&dir)
            .unwrap_or_else(|error| panic!("failed to create {}: {error}", dir.display()));
        let chart = dir.join(name);
        self.helm(version)
            .cmd(&self.alice)
            .arg("create")
            .arg(&chart)
            .ok();
        chart
    }

    fn chart_dir(&self) -> PathBuf {
        self.scratch().join("charts").join(number())
    }

    /// The kubeconfig of a user by client certificate, with only the rights of its groups.
    ///
    /// # Errors
    /// When the certificate or the file cannot be made.
    pub fn user(&self, name: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let credential = Credential::Certificate(self.authority.client(name, groups)?);
        self.kubeconfig(
            &format!("user-{}-{}", file_name(name), number()),
            &credential,
        )
    }

    /// The kubeconfig of a ServiceAccount, created if missing, with a token that is valid for a
    /// day. It has no rights until some are bound to it.
    ///
    /// # Errors
    /// When the API server denies it.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "namespace": namespace, "name": name },
        }))?;
        let token = self.set_up(
            &["create", "token", name, "-n", namespace, "--duration=24h"],
            None,
        )?;
        let credential = Credential::Token(token.trim().to_owned());
        self.kubeconfig(&format!("sa-{}-{}", file_name(name), number()), &credential)
    }

    /// Stores an object of the core group in etcd, past the API server. Some of its metadata cannot be written otherwise,
    /// such as the time of its creation.
    ///
    /// # Errors
    /// When the object has no name and namespace, or etcd does not take it.
    pub fn store(&self, resource: &str, object: &Value) -> Result<(), Error> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let [namespace, name] = ["/metadata/namespace", "/metadata/name"].map(text);
        let (Some(namespace), Some(name)) = (namespace, name) else {
            return Err(Error::SetUp("an object without a name".to_owned()));
        };
        let key = format!("/registry/{resource}/{namespace}/{name}");
        let encoded = |text: &str| BASE64_STANDARD.encode(text);
        let put = json!({"key": encoded(&key), "value": encoded(&object.to_string())});
        let failed = |why: String| Error::SetUp(format!("failed to store {key}: {why}"));
        // etcd's gRPC gateway.
        let answer = http_post(&format!("{}/v3/kv/put", self.etcd), &put.to_string());
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(failed(format!("{} {}", answer.status, answer.body)))
        }
    }

    /// Binds cluster-admin to a user.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn grant_cluster_admin(&self, user: &str) -> Result<(), Error> {
        self.apply(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("testbed-{}", file_name(user)) },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
            },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        }))
    }

    /// The API server's audit log, a JSON event a line, all at level Metadata: who did what, with the
    /// annotations of the admission webhooks.
    pub fn audit_log_path(&self) -> PathBuf {
        components::audit_log(self.scratch())
    }

    /// Waits for an event of the audit log that the predicate accepts, because the log is written
    /// concurrently with the answer. Panics when none comes in a minute.
    pub fn await_audit_event(&self, what: &str, accepts: impl Fn(&Value) -> bool) -> Value {
        let path = self.audit_log_path();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // A line that is being written does not parse yet.
            let log = end_of(&path).unwrap_or_default();
            let events = log
                .lines()
                .rev()
                .filter_map(|line| serde_json::from_str(line).ok());
            if let Some(event) = events.into_iter().find(&accepts) {
                return event;
            }
            assert!(
                Instant::now() < deadline,
                "the audit log should hold {what}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn kubeconfig(&self, name: &str, credential: &Credential) -> Result<PathBuf, Error> {
        let cluster = Cluster {
            server: &self.server,
            authority: self.authority.certificate(),
        };
        kubeconfig::write(
            &self.scratch().join("kubeconfigs"),
            name,
            &cluster,
            credential,
        )
    }

    fn apply(&self, object: &Value) -> Result<(), Error> {
        self.set_up(&["apply", "-f", "-"], Some(object.to_string()))
            .map(drop)
    }

    /// A kubectl command of the testbed itself: as admin, and a failure is an error.
    fn set_up(&self, args: &[&str], stdin: Option<String>) -> Result<String, Error> {
        let command = self.kubectl().cmd(&self.admin).args(args);
        let command = match stdin {
            Some(stdin) => command.stdin(stdin),
            None => command,
        };
        let spawn = |source| Error::Spawn {
            program: self.binaries.kubectl.clone(),
            source,
        };
        let output = command.try_run().map_err(spawn)?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(Error::SetUp(format!(
                "{}: {}",
                output.line,
                output.stderr.trim()
            )))
        }
    }
}

/// A number that is unique in this process.
pub(crate) fn number() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// User names may contain characters that file and object names may not.
fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect()
}

/// An address of this machine other than loopback, as an `EndpointSlice` requires. Finding it sends nothing.
pub(crate) fn host_address() -> Result<IpAddr, Error> {
    let failed = |source| Error::File {
        action: "find an address other than loopback for",
        path: "a Service".into(),
        source,
    };
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(failed)?;
    // TEST-NET-1 of RFC 5737: the address of the route to it.
    socket.connect("192.0.2.1:9").map_err(failed)?;
    Ok(socket.local_addr().map_err(failed)?.ip())
}

/// Ports of loopback that were free a moment ago, all different.
///
/// They are below those that systems choose for outgoing connections, and for a listener on port 0. So nothing
/// takes them before they are used, except another process that draws the same ones from the ten thousand.
pub(crate) fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = drawn_listener().map_err(|source| Error::File {
            action: "find a free port of",
            path: "127.0.0.1".into(),
            source,
        })?;
        *port = listener.1;
        // Held until all are chosen, so that they are distinct.
        listeners.push(listener);
    }
    Ok(ports)
}

fn drawn_listener() -> std::io::Result<(TcpListener, u16)> {
    const FIRST: u16 = 20_000;
    const PORTS: u64 = 10_000;
    let mut last = None;
    for _ in 0..1000 {
        // The standard library has no other source of random numbers.
        let random = RandomState::new().hash_one(number()) % PORTS;
        let port = FIRST + u16::try_from(random).unwrap_or_default();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok((listener, port)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into()))
}

/// Addresses of loopback, as [`Guard`](crate::Guard) uses them.
///
/// # Errors
/// When no port is free.
pub fn free_addresses<const N: usize>() -> Result<[String; N], Error> {
    Ok(free_ports::<N>()?.map(|port| format!("127.0.0.1:{port}")))
}
