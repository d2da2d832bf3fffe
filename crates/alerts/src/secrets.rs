//! Reads keys of Secrets in the guard's own namespace.

use std::{collections::BTreeMap, error::Error, future::Future};

use helm_guard_core::api::policy::alerts::SecretKey;
use k8s_openapi::ByteString;
use serde::Deserialize;

/// Maximum length of the value of a header or an address, in bytes.
const VALUE_BYTES: usize = 4096;

/// The only type that is read: the others (`kubernetes.io/tls`, tokens, release records) have a purpose of
/// their own, and a policy must not be a way to send them elsewhere.
const OPAQUE: &str = "Opaque";

/// Access to Secrets. An implementation keeps their contents out of logs and errors.
pub trait SecretSource: Clone + Send + Sync + 'static {
    /// The Secret of this name in the guard's own namespace, as JSON.
    fn get(&self, name: &str) -> impl Future<Output = Result<String, SourceFailure>> + Send;
}

/// A call that failed; a retry may succeed. Contains nothing of a Secret.
pub type SourceFailure = Box<dyn Error + Send + Sync>;

/// Why a value is unknown. Names the key, and contains nothing of its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The call failed; a retry may succeed.
    #[error("failed to get the Secret {name}: {source}")]
    Get {
        /// The Secret.
        name: String,
        /// Why.
        #[source]
        source: SourceFailure,
    },
    /// The answer does not parse.
    #[error("failed to read the Secret {0}: it does not parse")]
    Object(String),
    /// A Secret with another purpose.
    #[error("failed to use the Secret {0}: it is not of the type {OPAQUE}")]
    Type(String),
    /// The key is missing, or its value cannot be sent.
    #[error(
        "failed to use the key {key:?} of the Secret {name}: it is missing, or not a single line of text"
    )]
    Key {
        /// The Secret.
        name: String,
        /// The missing key of its data.
        key: String,
    },
}

/// The values that a request takes from Secrets.
#[derive(Default)]
pub(crate) struct SecretValues(BTreeMap<(String, String), String>);

impl SecretValues {
    /// The value of a key that was read; an error names the Secret and the key.
    pub(crate) fn value(&self, key: &SecretKey) -> Result<&str, SecretError> {
        let value = self.0.get(&(key.name.clone(), key.key.clone()));
        value.map(String::as_str).ok_or_else(|| missing(key))
    }
}

/// Parsed here: for a typed object that does not parse, the client library may log the whole text.
#[derive(Deserialize)]
struct SecretContent {
    #[serde(rename = "type")]
    secret_type: Option<String>,
    #[serde(default)]
    data: BTreeMap<String, ByteString>,
}

/// Reads these keys, each Secret once.
pub(super) async fn read<'k>(
    source: &impl SecretSource,
    keys: impl Iterator<Item = &'k SecretKey>,
) -> Result<SecretValues, SecretError> {
    let mut values = SecretValues::default();
    let mut objects: BTreeMap<&str, SecretContent> = BTreeMap::new();
    for key in keys {
        if !objects.contains_key(key.name.as_str()) {
            objects.insert(&key.name, object(source, &key.name).await?);
        }
        let data = objects.get(key.name.as_str()).map(|object| &object.data);
        let value = data.and_then(|data| data.get(&key.key));
        let text = value.and_then(line).ok_or_else(|| missing(key))?;
        values.0.insert((key.name.clone(), key.key.clone()), text);
    }
    Ok(values)
}

async fn object(source: &impl SecretSource, name: &str) -> Result<SecretContent, SecretError> {
    let text = source.get(name).await.map_err(|source| SecretError::Get {
        name: name.to_owned(),
        source,
    })?;
    let object: SecretContent =
        serde_json::from_str(&text).map_err(|_quotes| SecretError::Object(name.to_owned()))?;
    match object.secret_type.as_deref() {
        None | Some(OPAQUE) => Ok(object),
        Some(_) => Err(SecretError::Type(name.to_owned())),
    }
}

fn missing(key: &SecretKey) -> SecretError {
    SecretError::Key {
        name: key.name.clone(),
        key: key.key.clone(),
    }
}

/// One line of text; a Secret made from a file often ends in a line break.
fn line(value: &ByteString) -> Option<String> {
    let text = std::str::from_utf8(&value.0)
        .ok()?
        .trim_end_matches(['\r', '\n']);
    let fits = !text.is_empty() && text.len() <= VALUE_BYTES && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}
