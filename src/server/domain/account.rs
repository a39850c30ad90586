use std::fmt;

use jiff::Timestamp;

use super::Invalid;

/// A user's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub i64);

/// A person who may sign in.
#[derive(Debug, Clone)]
pub struct User {
    /// Its row.
    pub id: UserId,
    /// The confirmed address.
    pub email: Email,
    /// When the account was made.
    pub created_at: Timestamp,
    /// What it signed up for.
    pub tier: Tier,
}

/// What an account signed up for. It decides nothing here: each may do what the other may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Without a payment method.
    Free,
    /// With one, where use has a price.
    Standard,
}

impl Tier {
    /// Reads `FREE` or `STANDARD`, in any case.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_uppercase().as_str() {
            "FREE" => Ok(Self::Free),
            "STANDARD" => Ok(Self::Standard),
            _ => Err(Invalid::new("tier", "should be FREE or STANDARD")),
        }
    }

    /// As clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "FREE",
            Self::Standard => "STANDARD",
        }
    }
}

/// An e-mail address: one `@`, no blanks or control characters, at most 254 bytes (RFC 5321 4.5.3.1), lower-cased.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// Checks and lower-cases an address. Whether it exists is for the confirmation mail to find out.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        let invalid = || Invalid::new("email", "has invalid format");
        let (local, domain) = text.rsplit_once('@').ok_or_else(invalid)?;
        let clean = |part: &str| {
            !part.is_empty() && !part.contains('@') && part.chars().all(|c| !c.is_whitespace() && !c.is_control())
        };
        let bad_host = domain.starts_with('.') || domain.ends_with('.') || domain.contains("..");
        if text.len() > 254
            || local.len() > 64
            || !clean(local)
            || !clean(domain)
            || bad_host
            || local.contains(['<', '>', ',', ';', ':', '"'])
        {
            return Err(invalid());
        }
        Ok(Self(text.to_lowercase()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
