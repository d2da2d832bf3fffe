//! Failed calls, without the content of objects.

use kube::{core::Status, runtime::watcher};

/// The text of an answer to a request for a kind that the API server does not know.
const UNSERVED: &str = "the API server does not serve this kind";

/// A failed call to the API server, described without any content of an object.
///
/// Parse errors of the client library quote the unparsable text, which may be a Secret's value; so
/// only the fact of the failure is stored here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ApiFailure {
    /// The HTTP status, if the API server answered.
    pub code: Option<u16>,
    text: String,
}

impl ApiFailure {
    /// A call without an answer in time.
    pub fn timeout() -> Self {
        Self {
            code: None,
            text: "the API server did not answer in time".to_owned(),
        }
    }

    /// The API server's answer is invalid.
    pub fn unreadable() -> Self {
        Self {
            code: None,
            text: "the API server's answer does not parse".to_owned(),
        }
    }

    /// There are more of these than the guard reads.
    pub(crate) fn too_many(what: &str) -> Self {
        Self {
            code: None,
            text: format!("there are too many {what}"),
        }
    }

    /// Whether the API server reported that there is no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Some(404)
    }

    /// Whether the API server does not serve the kind at all. It answers that with plain text.
    pub fn is_unserved(&self) -> bool {
        self.is_not_found() && self.text.contains(UNSERVED)
    }

    /// Whether a retry would get the same answer: the API server rejected the request.
    pub(crate) fn is_final(&self) -> bool {
        self.code
            .is_some_and(|code| (400..500).contains(&code) && code != 429)
    }

    /// Whether the guard lacks the RBAC right.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self.code, Some(401 | 403))
    }
}

impl From<&kube::Error> for ApiFailure {
    fn from(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(&**status),
            kube::Error::Service(cause) => Self::unreached(&**cause),
            kube::Error::HyperError(cause) => Self::unreached(cause),
            kube::Error::ReadEvents(cause) => Self::unreached(cause),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self {
                code: None,
                text: "the API server's answer does not parse".to_owned(),
            },
            kube::Error::Auth(_) => Self {
                code: None,
                text: "failed to get credentials for the API server".to_owned(),
            },
            _ => Self {
                code: None,
                text: "failed to call the API server".to_owned(),
            },
        }
    }
}

impl From<kube::Error> for ApiFailure {
    fn from(error: kube::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Status> for ApiFailure {
    fn from(status: &Status) -> Self {
        let Status {
            code,
            reason,
            message,
            ..
        } = status;
        let text = if *code == 404 && message.trim() == "404 page not found" {
            UNSERVED.to_owned()
        } else {
            format!("{code} {reason}: {message}")
        };
        Self {
            code: Some(*code),
            text,
        }
    }
}

impl From<&watcher::Error> for ApiFailure {
    fn from(error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(error) => Self::from(error).during("list"),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Self::from(error).during("watch")
            }
            watcher::Error::WatchError(status) => Self::from(&**status).during("watch"),
            watcher::Error::NoResourceVersion => Self {
                code: None,
                text: "failed to watch: the list has no resource version".to_owned(),
            },
        }
    }
}

impl ApiFailure {
    fn during(self, verb: &str) -> Self {
        Self {
            code: self.code,
            text: format!("failed to {verb}: {}", self.text),
        }
    }

    fn unreached(cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = format!("failed to reach the API server: {cause}");
        let mut next = cause.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        Self { code: None, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parse_error_does_not_quote_its_input() {
        let error = serde_json::from_str::<u32>("\"hunter2\"").unwrap_err();
        assert!(
            error.to_string().contains("hunter2"),
            "the library does quote"
        );
        let failure = ApiFailure::from(kube::Error::SerdeError(error));
        assert!(!failure.to_string().contains("hunter2"));
        assert!(!format!("{failure:?}").contains("hunter2"));
    }

    #[test]
    fn the_message_of_the_api_server_is_kept() {
        let status = Status {
            code: 403,
            reason: "Forbidden".into(),
            message: "secrets is forbidden".into(),
            ..Default::default()
        };
        let failure = ApiFailure::from(kube::Error::Api(Box::new(status)));
        assert!(failure.is_forbidden());
        assert_eq!(failure.to_string(), "403 Forbidden: secrets is forbidden");
    }
}
