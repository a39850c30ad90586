//! Passwords: argon2id, off the async threads, few at a time.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use super::ActionError;
use crate::server::domain::Invalid;

/// Bytes a new password may have.
const LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;
/// Each takes 19 MiB and a core for a moment.
const AT_ONCE: usize = 2;
/// More than these waiting and one is turned away.
const WAITING: usize = 64;

/// Makes and checks password hashes (PHC strings).
#[derive(Clone)]
pub(super) struct Passwords {
    argon: Argon2<'static>,
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    /// A hash no password has: checked in place of an unknown person's, so that both take equally long.
    nobody: Arc<str>,
}

impl Passwords {
    /// argon2id, m = 19 MiB, t = 2, p = 1 (OWASP's first choice).
    pub(super) fn new() -> Result<Self, ActionError> {
        let params = Params::new(19 * 1024, 2, 1, None).map_err(ActionError::internal)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody =
            argon.hash_password(&rand::random::<[u8; 32]>()).map_err(ActionError::internal)?.to_string().into();
        let (places, queue) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(WAITING)));
        Ok(Self { argon, places, queue, nobody })
    }

    /// Checks a password somebody wants to have.
    pub(super) fn check_new(password: &str) -> Result<(), Invalid> {
        if password.len() < *LENGTH.start() {
            return Err(Invalid::new("password", format!("should be at least {} character(s)", LENGTH.start())));
        }
        if password.len() > *LENGTH.end() {
            return Err(Invalid::new("password", format!("should be at most {} byte(s)", LENGTH.end())));
        }
        Ok(())
    }

    /// Hashes a password with a fresh salt.
    pub(super) async fn hash(&self, password: &str) -> Result<String, ActionError> {
        let (argon, password) = (self.argon.clone(), password.to_owned());
        self.run(move || argon.hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(ActionError::internal)
    }

    /// Whether a password is the one of `hash`. Without a hash: no, after the same time.
    pub(super) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, ActionError> {
        let stored: Arc<str> = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        let (argon, password) = (self.argon.clone(), password.to_owned());
        let right = self.run(move || argon.verify_password(password.as_bytes(), &*stored).is_ok()).await?;
        Ok(right && hash.is_some())
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, ActionError> {
        let busy = || ActionError::Unavailable("too many people sign in right now; try again in a moment".into());
        let _waiting = self.queue.try_acquire().map_err(|_| busy())?;
        let place = self.places.clone().acquire_owned().await.map_err(|_| busy())?;
        tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(place);
            outcome
        })
        .await
        .map_err(ActionError::internal)
    }
}
