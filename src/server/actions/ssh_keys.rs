//! The ssh keys of an account: they open what ssh serves, for all its apps.

use super::ActionError;
use super::account::Accounts;
use crate::server::domain::{Invalid, SshKey, User};
use crate::server::store::{StoreError, StoredSshKey};

impl Accounts {
    /// All keys, oldest first.
    pub async fn ssh_keys(&self, user: &User) -> Result<Vec<StoredSshKey>, ActionError> {
        Ok(self.store.ssh_keys(user.id).await?)
    }

    /// Everybody who has the key of this SHA-256 fingerprint: more than one person may have added it.
    pub async fn ssh_key_owners(&self, fingerprint: [u8; 32]) -> Result<Vec<User>, ActionError> {
        Ok(self.store.ssh_key_owners(fingerprint).await?)
    }

    /// Adds a key.
    pub async fn add_ssh_key(&self, user: &User, text: &str) -> Result<StoredSshKey, ActionError> {
        let key = SshKey::parse(text)?;
        let fingerprint = key.to_string();
        let most = self.rules.ssh_keys;
        match self.store.add_ssh_key(user.id, key, most).await {
            Ok(Some(stored)) => {
                tracing::info!(account.email = %user.email, key.fingerprint = fingerprint, "an ssh key was added");
                Ok(stored)
            }
            Ok(None) => {
                let text = format!("is one too many: an account has at most {most}, remove one first");
                Err(ActionError::invalid("ssh_key", text))
            }
            Err(StoreError::Taken) => Err(ActionError::invalid("ssh_key", "has already been added")),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a key by its number.
    pub async fn remove_ssh_key(&self, user: &User, id: &str) -> Result<(), ActionError> {
        let missing = || ActionError::NotFound(format!("no ssh key `{}`", id.chars().take(40).collect::<String>()));
        let number = id.trim().parse().map_err(|_| match id.trim() {
            "" => ActionError::Invalid(Invalid::new("id", "can't be blank")),
            _ => missing(),
        })?;
        match self.store.remove_ssh_key(user.id, number).await {
            Err(StoreError::NotFound) => Err(missing()),
            done => Ok(done?),
        }
    }
}
