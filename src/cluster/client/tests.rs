use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use http::Request;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Barrier,
};

use super::*;
use crate::cluster::ApiFailure;

#[tokio::test]
async fn a_missing_kubeconfig_is_named() {
    let path = PathBuf::from("/nonexistent/kubeconfig");
    let target = KubeconfigSelection {
        kubeconfig: Some(path),
        ..KubeconfigSelection::default()
    };
    let error = connect(&target).await.err().unwrap();
    assert!(
        error.to_string().contains("/nonexistent/kubeconfig"),
        "{error}"
    );
}

#[tokio::test]
async fn a_context_missing_in_the_kubeconfig_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(
        &path,
        "apiVersion: v1\nkind: Config\nclusters: []\n\
         contexts: [{name: production, context: {cluster: a, user: a}}]\n",
    )
    .unwrap();
    let target = KubeconfigSelection {
        kubeconfig: Some(path),
        context: Some("prodution".into()),
        ..KubeconfigSelection::default()
    };
    let error = connect(&target).await.err().unwrap();
    let meant = "it has no context \"prodution\"; did you mean \"production\"?";
    assert!(error.to_string().ends_with(meant), "{error}");
}

#[tokio::test]
async fn a_broken_kubeconfig_is_not_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let text =
        "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user: {token: hunter2\n  broken: [\n";
    std::fs::write(&path, text).unwrap();
    let target = KubeconfigSelection {
        kubeconfig: Some(path),
        ..KubeconfigSelection::default()
    };
    let error = anyhow::Error::new(connect(&target).await.err().unwrap());
    let text = format!("{error:#} {error:?}");
    assert!(text.contains("not a kubeconfig, at line "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// Concurrent calls, and so the number of pooled connections.
const POOLED: usize = 4;

/// A server whose connections stop answering from a certain time on.
struct StallingServer {
    accepted: AtomicUsize,
    /// Its first connections wait for each other.
    barrier: Barrier,
    are_old_dead: AtomicBool,
}

impl StallingServer {
    async fn start() -> (Arc<Self>, Clients) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Self {
            accepted: AtomicUsize::new(0),
            barrier: Barrier::new(POOLED),
            are_old_dead: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = accepting.accepted.fetch_add(1, SeqCst);
                tokio::spawn(Arc::clone(&accepting).answer(number, stream));
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        let kubeconfig = json!({
            "clusters": [{"name": "a", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "a", "user": {}}],
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "current-context": "a",
        });
        std::fs::write(&path, kubeconfig.to_string()).unwrap();
        let target = KubeconfigSelection {
            kubeconfig: Some(path),
            ..KubeconfigSelection::default()
        };
        (server, connect_twice(&target).await.unwrap())
    }

    /// Answers like Go's server: it closes a connection if the client asks for that.
    async fn answer(self: Arc<Self>, number: usize, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut is_first = number < POOLED;
        loop {
            let mut bytes = [0; 1024];
            match stream.read(&mut bytes).await {
                Ok(read @ 1..) => head.extend_from_slice(&bytes[..read]),
                _ => return,
            }
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            if std::mem::take(&mut is_first) {
                self.barrier.wait().await;
            }
            if number < POOLED && self.are_old_dead.load(SeqCst) {
                pending::<()>().await;
            }
            let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
            let closes = text.to_ascii_lowercase().contains("connection: close");
            let connection = if closes { "close" } else { "keep-alive" };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: {connection}\r\ncontent-length: 2\r\n\r\n{{}}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            if closes {
                return;
            }
        }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }
}

async fn get(client: Client) -> Result<String, ApiFailure> {
    let request = Request::get("/version").body(Vec::new()).unwrap();
    Ok(client.request_text(request).await?)
}

#[tokio::test]
async fn a_second_attempt_uses_no_dead_connection() {
    let (server, clients) = StallingServer::start().await;
    for answer in join_all((0..POOLED).map(|_| get(clients.pooled().clone()))).await {
        answer.unwrap();
    }
    get(clients.pooled().clone()).await.unwrap();
    assert_eq!(server.accepted(), POOLED, "the pool is used");

    server.are_old_dead.store(true, SeqCst);
    let started = Instant::now();
    let attempts = clients.attempts();
    for made in 1..=3 {
        attempts.call(get).await.unwrap();
        assert_eq!(server.accepted(), POOLED + made, "none is pooled");
    }
    // One hanging attempt in three calls: without the second client there would be at least two.
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1400), "{took:?}");
}
