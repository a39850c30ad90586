use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// An app's configuration: environment variables. Values are secrets, so `Debug` shows only the names.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigVars(BTreeMap<String, String>);

impl ConfigVars {
    /// Checks every name (`[A-Za-z_][A-Za-z0-9_]*`) and every value (no NUL).
    pub fn new(vars: BTreeMap<String, String>) -> Result<Self, Invalid> {
        for (name, value) in &vars {
            let ok = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
            if !ok {
                return Err(Invalid::new(
                    "configs",
                    format!(
                        "name `{}` has invalid format: use A-Z, a-z, 0-9 and _, do not begin with a digit",
                        name.escape_debug()
                    ),
                ));
            }
            if value.contains('\0') {
                return Err(Invalid::new("configs", format!("value of `{name}` contains a NUL character")));
            }
        }
        Ok(Self(vars))
    }

    /// Name → value.
    pub fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// These with `changes` laid over them: names and values together have at most `most` bytes.
    pub fn with(&self, changes: BTreeMap<String, String>, most: usize) -> Result<Self, Invalid> {
        let mut vars = self.0.clone();
        vars.extend(changes);
        let bytes: usize = vars.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > most {
            let text = format!("would be {bytes} bytes in all; at most {most} are allowed");
            return Err(Invalid::new("configs", text));
        }
        Self::new(vars)
    }

    /// These without `names`.
    pub fn without(&self, names: &[String]) -> Self {
        Self(self.0.iter().filter(|(name, _)| !names.contains(name)).map(|(n, v)| (n.clone(), v.clone())).collect())
    }
}

impl fmt::Debug for ConfigVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
