/// Why a constructor refused its input. `message` reads as a suffix of `field` ("has invalid format").
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct Invalid {
    /// The field as it stands on the wire; `""` for general refusals.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Invalid {
    /// A refusal of `field`.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}
