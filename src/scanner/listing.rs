//! Lists of live objects: page by page, as text, with a bound on bytes and on calls at a time.
//!
//! Invariants
//! - A list is complete or an error. A page that fails is read again; a list that expires is started again once, and
//!   objects that were seen already are given again then.
//! - No object is parsed here, and no error quotes one: it may be a Secret.

use std::{borrow::Cow, time::Duration};

use backon::{ExponentialBuilder, Retryable};
use kube::{
    Client,
    api::{ListParams, Request},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::catalog::CatalogEntry;
use crate::cluster::ApiFailure;

/// The wanted size of a page. From the watch cache, the API server counts a list by its bytes, and takes at most ten
/// seats for one (`k8s.io/apiserver/pkg/util/flowcontrol/request/list_work_estimator.go`): larger pages gain nothing.
const PAGE_BYTES: usize = 1 << 20;

/// Objects on the first page of a kind, when their size is unknown.
const FIRST_PAGE: usize = 250;

/// The smallest and largest page.
const PAGE_LIMITS: (usize, usize) = (20, 5_000);

/// Time limit for one page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Attempts for one page, with pauses that double from this one.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// Which objects of a kind are listed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListQuery<'a> {
    pub(crate) kind: &'a CatalogEntry,
    /// One namespace, or all.
    pub(crate) namespace: Option<&'a str>,
    /// Label selector; empty for all objects.
    pub(crate) labels: &'a str,
    /// Field selector; empty for all objects.
    pub(crate) fields: &'a str,
    pub(crate) part: ListedPart,
}

/// What is read of each object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListedPart {
    /// All of it.
    Whole,
    /// Only `metadata`.
    Metadata,
}

/// Why a list is not complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    /// A page could not be read.
    #[error("{0}")]
    Failed(#[from] ApiFailure),
    /// It expired twice.
    #[error("the list expired before it was read to its end, twice")]
    Expired,
}

impl ListError {
    /// Whether the right to list is missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.is_forbidden())
    }

    /// Whether there is nothing to list.
    pub(crate) fn is_unserved(&self) -> bool {
        matches!(self, Self::Failed(failure) if matches!(failure.code, Some(404 | 405)))
    }
}

/// What a list cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListCost {
    pub(crate) calls: usize,
    pub(crate) bytes: usize,
    pub(crate) objects: usize,
}

impl ListCost {
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
        self.objects += other.objects;
    }
}

#[derive(Deserialize)]
struct Page<'t> {
    #[serde(borrow, default)]
    metadata: PageMetadata<'t>,
    /// `null` in an empty list of metadata.
    #[serde(borrow, default)]
    items: Option<Vec<&'t RawValue>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata<'t> {
    #[serde(borrow, default, rename = "continue")]
    next: Cow<'t, str>,
}

/// Reads a list, and gives the text of each object to `take`.
///
/// # Errors
/// When a page cannot be read. What was given until then is not all.
pub(crate) async fn each_object(
    client: &Client,
    query: &ListQuery<'_>,
    mut take: impl FnMut(&str),
) -> Result<ListCost, ListError> {
    let mut cost = ListCost::default();
    let mut limit = FIRST_PAGE;
    let mut next = String::new();
    let mut has_expired = false;
    loop {
        let text = match page(client, query, limit, &next).await {
            Ok(text) => text,
            // A continuation is valid for as long as etcd keeps its revision, five minutes by default.
            Err(failure) if failure.code == Some(410) && !next.is_empty() => {
                if has_expired {
                    return Err(ListError::Expired);
                }
                has_expired = true;
                next.clear();
                continue;
            }
            Err(failure) => return Err(failure.into()),
        };
        let page: Page<'_> =
            serde_json::from_str(&text).map_err(|_quotes| ApiFailure::unreadable())?;
        let items = page.items.unwrap_or_default();
        cost.calls += 1;
        cost.bytes += text.len();
        cost.objects += items.len();
        for item in &items {
            take(item.get());
        }
        if page.metadata.next.is_empty() {
            return Ok(cost);
        }
        limit = fitting(text.len(), items.len());
        next = page.metadata.next.into_owned();
    }
}

/// How many objects of the size of these fit a page.
fn fitting(bytes: usize, objects: usize) -> usize {
    let (least, most) = PAGE_LIMITS;
    let each = bytes.checked_div(objects).unwrap_or_default().max(1);
    (PAGE_BYTES / each).clamp(least, most)
}

async fn page(
    client: &Client,
    query: &ListQuery<'_>,
    limit: usize,
    next: &str,
) -> Result<String, ApiFailure> {
    let params = ListParams {
        label_selector: some(query.labels),
        field_selector: some(query.fields),
        limit: u32::try_from(limit).ok(),
        continue_token: some(next),
        ..ListParams::default()
    };
    let path = Request::new(query.kind.path(query.namespace));
    let read = || async {
        let request = match query.part {
            ListedPart::Whole => path.list(&params),
            ListedPart::Metadata => path.list_metadata(&params),
        };
        let request = request.map_err(|_| ApiFailure::unreadable())?;
        match timeout(PAGE_TIMEOUT, client.request_text(request)).await {
            Ok(text) => text.map_err(ApiFailure::from),
            Err(_elapsed) => Err(ApiFailure::timeout()),
        }
    };
    let pauses = ExponentialBuilder::default()
        .with_min_delay(PAUSE)
        .with_max_times(ATTEMPTS - 1)
        .with_jitter();
    read.retry(pauses)
        .when(|failure: &ApiFailure| !failure.is_final())
        .await
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use http::Response;
    use kube::client::Body;
    use parking_lot::Mutex;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// Answers in turn, and records what was asked.
    fn client(answers: &[(u16, &str, &str)]) -> (Client, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let mut answers: Vec<(u16, String)> = answers
            .iter()
            .rev()
            .map(|(code, next, names)| {
                let items: Vec<_> = names
                    .split_whitespace()
                    .map(|name| json!({"name": name}))
                    .collect();
                let body = match code {
                    200 => json!({"metadata": {"continue": next}, "items": items}),
                    code => json!({"kind": "Status", "status": "Failure", "code": code}),
                };
                (*code, body.to_string())
            })
            .collect();
        let recorded = Arc::clone(&asked);
        let answers = Arc::new(Mutex::new(std::mem::take(&mut answers)));
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let query = request.uri().query().unwrap_or_default().to_owned();
            recorded.lock().push(query);
            let (code, body) = answers.lock().pop().unwrap();
            let response = Response::builder().status(code);
            let response = response.body(Body::from(body.into_bytes())).unwrap();
            async { Ok::<_, Infallible>(response) }
        });
        (Client::new(service, "default"), asked)
    }

    fn config_maps() -> CatalogEntry {
        CatalogEntry {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            plural: "configmaps".to_owned(),
            is_namespaced: true,
            is_listable: true,
        }
    }

    async fn listed(client: &Client) -> (Result<ListCost, ListError>, Vec<String>) {
        let kind = config_maps();
        let query = ListQuery {
            kind: &kind,
            namespace: Some("shop"),
            labels: "app.kubernetes.io/managed-by=Helm",
            fields: "",
            part: ListedPart::Whole,
        };
        let mut names = Vec::new();
        let cost = each_object(client, &query, |object| names.push(object.to_owned())).await;
        (cost, names)
    }

    const GONE: (u16, &str, &str) = (410, "", "");
    const DOWN: (u16, &str, &str) = (503, "", "");

    #[rstest]
    #[case::one_page(&[(200, "", "a")], Ok(1), 1)]
    #[case::pages(&[(200, "x", "a b"), (200, "", "c")], Ok(2), 3)]
    #[case::a_page_fails_for_a_moment(&[(200, "x", "a"), DOWN, DOWN, (200, "", "b")], Ok(2), 2)]
    #[case::too_many_requests(&[(429, "", ""), (200, "", "a")], Ok(1), 1)]
    #[case::it_expires(&[(200, "x", "a"), GONE, (200, "y", "a"), (200, "", "b")], Ok(3), 3)]
    #[case::it_expires_twice(&[(200, "x", "a"), GONE, (200, "x", "a"), GONE], Err("expired"), 2)]
    #[case::forbidden(&[(403, "", "")], Err("403"), 0)]
    #[case::down_in_the_middle(&[(200, "x", "a"), DOWN, DOWN, DOWN, DOWN, DOWN], Err("503"), 1)]
    #[tokio::test(start_paused = true)]
    async fn a_list_is_complete_or_an_error(
        #[case] answers: &[(u16, &str, &str)],
        #[case] expected: Result<usize, &str>,
        #[case] given: usize,
    ) {
        let (client, _) = client(answers);
        let (cost, names) = listed(&client).await;
        assert_eq!(names.len(), given);
        match expected {
            Ok(calls) => assert_eq!(cost.unwrap().calls, calls),
            Err(text) => {
                let error = cost.unwrap_err().to_string();
                assert!(error.contains(text), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn the_next_page_is_as_large_as_fits() {
        let (client, asked) = client(&[(200, "x y", "a"), (200, "", "b")]);
        listed(&client).await.0.unwrap();
        let asked = asked.lock();
        assert!(asked[0].contains("limit=250"), "{asked:?}");
        assert!(
            asked[0].contains("labelSelector=app.kubernetes.io%2Fmanaged-by%3DHelm"),
            "{asked:?}"
        );
        assert!(asked[1].contains("limit=5000&continue=x+y"), "{asked:?}");
    }

    #[rstest]
    #[case::small(1_000, 100, 5_000)]
    #[case::usual(400_000, 100, 262)]
    #[case::large(100_000_000, 100, 20)]
    #[case::none(60, 0, 5_000)]
    fn a_page_has_about_a_megabyte(
        #[case] bytes: usize,
        #[case] objects: usize,
        #[case] expected: usize,
    ) {
        assert_eq!(fitting(bytes, objects), expected);
    }

    #[tokio::test]
    async fn an_empty_list_of_metadata_has_no_items() {
        let service = tower::service_fn(|_: http::Request<Body>| {
            let body = json!({"metadata": {"resourceVersion": "7"}, "items": null}).to_string();
            let response = Response::new(Body::from(body.into_bytes()));
            async { Ok::<_, Infallible>(response) }
        });
        let (cost, names) = listed(&Client::new(service, "default")).await;
        assert_eq!(cost.unwrap().objects, 0);
        assert_eq!(names, [""; 0]);
    }

    #[tokio::test]
    async fn an_unreadable_answer_is_not_quoted() {
        let service = tower::service_fn(|_: http::Request<Body>| {
            let response = Response::new(Body::from(b"{\"items\": [hunter2".to_vec()));
            async { Ok::<_, Infallible>(response) }
        });
        let client = Client::new(service, "default");
        let error = listed(&client).await.0.unwrap_err().to_string();
        assert_eq!(error, "the API server's answer does not parse");
    }
}
