//! `/api/ssh_keys`.

use serde::{Deserialize, Deserializer, Serialize};

/// A key of the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SshKey {
    /// What it is removed by.
    pub id: String,
    /// `TYPE BASE64 [COMMENT]`.
    pub key: String,
    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// `POST /api/ssh_keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddSshKey {
    /// `TYPE BASE64 [COMMENT]`.
    pub ssh_key: String,
}

/// `DELETE /api/ssh_keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveSshKey {
    /// Text, or a number as scripts may have it.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(i64),
    }
    Ok(match Id::deserialize(deserializer)? {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}
