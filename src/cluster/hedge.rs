//! Calls that a decision waits for: made once more, on a new connection, if no answer comes.
//!
//! Connections die silently: a control plane node or a NAT goes away, and a request on them never gets
//! an answer. Pools keep such connections for minutes, so a second attempt from the same pool may get
//! another dead one.
//!
//! Invariants
//! - The second attempt never uses an existing connection.
//! - A call with a definite answer of the API server is never repeated ([`ApiFailure::is_final`]).
//!
//! Start at [`Clients::call`]; [`Attempts`] for several calls in a row.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures_util::future::{Either, select};
use kube::Client;
use tokio::time::timeout;

use super::ApiFailure;

/// How long the first attempt may take before the second starts. Within the webhook's deadline there is
/// time for one dead connection, and for the answers.
const PATIENCE: Duration = Duration::from_millis(700);

/// Two clients that share no connection. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    pooled: Client,
    unpooled: Client,
}

impl Clients {
    /// `unpooled` opens a connection for each call.
    pub fn new(pooled: Client, unpooled: Client) -> Self {
        Self { pooled, unpooled }
    }

    /// The client for everything else.
    pub(crate) fn pooled(&self) -> &Client {
        &self.pooled
    }

    /// One call that may be made twice: it must be idempotent.
    pub async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, ApiFailure>
    where
        F: Future<Output = Result<T, ApiFailure>>,
    {
        self.attempts().call(call).await
    }

    /// For consecutive calls: after a connection that did not answer, the others do not use the
    /// pool.
    pub fn attempts(&self) -> Attempts<'_> {
        Attempts {
            clients: self,
            has_second: true,
            pool_is_slow: AtomicBool::new(false),
        }
    }

    /// Calls that are made once: for background work, which would add to the load of an API server
    /// that is slow already.
    pub fn once(&self) -> Attempts<'_> {
        Attempts {
            has_second: false,
            ..self.attempts()
        }
    }
}

/// A client whose second attempts come from the same pool.
impl From<Client> for Clients {
    fn from(client: Client) -> Self {
        Self::new(client.clone(), client)
    }
}

/// The attempts of one task.
pub struct Attempts<'c> {
    clients: &'c Clients,
    has_second: bool,
    pool_is_slow: AtomicBool,
}

impl Attempts<'_> {
    /// The first answer of two calls; the second one starts if the first fails or is slow.
    pub async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, ApiFailure>
    where
        F: Future<Output = Result<T, ApiFailure>>,
    {
        let Clients { pooled, unpooled } = self.clients;
        // On the heap: two calls make a future large.
        let attempt = |client: &Client| Box::pin(call(client.clone()));
        let mut first = if self.pool_is_slow.load(Relaxed) {
            attempt(unpooled)
        } else {
            attempt(pooled)
        };
        if !self.has_second {
            return first.await;
        }
        match timeout(PATIENCE, &mut first).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) if failure.is_final() => return Err(failure),
            Ok(Err(_)) => return attempt(unpooled).await,
            Err(_slow) => self.pool_is_slow.store(true, Relaxed),
        }
        let second = attempt(unpooled);
        match select(first, second).await {
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
            Either::Left((answer, _)) | Either::Right((answer, _)) => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::pending};

    use http::{Request, Response};
    use kube::client::Body;
    use rstest::rstest;
    use tokio::time::Instant;

    use super::*;

    /// A client that answers each call with this status, or never.
    fn client(status: Option<u16>) -> Client {
        let service = tower::service_fn(move |_: Request<Body>| async move {
            let Some(status) = status else {
                return pending().await;
            };
            let body = match status {
                200 => "{}".to_owned(),
                code => format!(r#"{{"kind":"Status","status":"Failure","code":{code}}}"#),
            };
            let body = Body::from(body.into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        });
        Client::new(service, "default")
    }

    async fn get(client: Client) -> Result<String, ApiFailure> {
        let request = Request::get("/version").body(Vec::new()).unwrap();
        Ok(client.request_text(request).await?)
    }

    #[rstest]
    #[case::the_first_answers(Some(200), None, Ok(()), 0)]
    #[case::the_first_hangs(None, Some(200), Ok(()), 700)]
    #[case::the_first_fails(Some(500), Some(200), Ok(()), 0)]
    #[case::both_fail(Some(500), Some(502), Err(Some(502)), 0)]
    #[case::the_first_is_denied(Some(403), Some(200), Err(Some(403)), 0)]
    #[case::there_is_no_such_object(Some(404), Some(200), Err(Some(404)), 0)]
    #[case::too_many_requests(Some(429), Some(200), Ok(()), 0)]
    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_repeated_on_a_new_connection(
        #[case] pooled: Option<u16>,
        #[case] unpooled: Option<u16>,
        #[case] expected: Result<(), Option<u16>>,
        #[case] millis: u64,
    ) {
        let clients = Clients::new(client(pooled), client(unpooled));
        let started = Instant::now();
        let answer = clients.call(get).await;
        let answer = answer.map(|_| ()).map_err(|failure| failure.code);
        assert_eq!(answer, expected);
        // The resolution of the timer.
        let took = started.elapsed();
        let expected = Duration::from_millis(millis);
        assert!(
            took >= expected && took < expected + Duration::from_millis(5),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_hanging_connection_the_pool_is_not_used() {
        let clients = Clients::new(client(None), client(Some(200)));
        let attempts = clients.attempts();
        let started = Instant::now();
        for _ in 0..5 {
            attempts.call(get).await.unwrap();
        }
        assert!(started.elapsed() < 2 * PATIENCE, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn background_calls_are_made_once() {
        let clients = Clients::new(client(None), client(Some(200)));
        let attempts = clients.once();
        let asking = timeout(Duration::from_secs(60), attempts.call(get));
        assert!(asking.await.is_err());
    }
}
