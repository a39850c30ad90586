//! `/api/ssh_keys`.

use serde::{Deserialize, Deserializer, Serialize};

/// A key of the account.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddSshKey {
    /// `TYPE BASE64 [COMMENT]`.
    pub ssh_key: String,
}

/// `DELETE /api/ssh_keys`.
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveSshKey {
    /// Text, or a number as scripts may have it.
    #[cfg_attr(feature = "server", schema(value_type = TextOrNumber))]
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match TextOrNumber::deserialize(deserializer)? {
        TextOrNumber::Text(text) => text,
        TextOrNumber::Number(number) => number.to_string(),
    })
}

#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[derive(Deserialize)]
#[serde(untagged)]
enum TextOrNumber {
    Text(String),
    Number(i64),
}
