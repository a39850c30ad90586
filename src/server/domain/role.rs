use super::Invalid;

/// What a person is to an app; a greater one may all that a lesser one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks on.
    Viewer,
    /// Works on it.
    Collaborator,
    /// Whose it is.
    Owner,
}

impl Role {
    /// As on the wire and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "VIEWER",
            Self::Collaborator => "COLLABORATOR",
            Self::Owner => "OWNER",
        }
    }

    /// A role that can be given; `OWNER` cannot.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let role = [Self::Viewer, Self::Collaborator].into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text));
        role.ok_or_else(|| Invalid::new("role", "should be COLLABORATOR or VIEWER"))
    }
}
