//! What apps run in where they run in images, by stack.

use std::collections::BTreeMap;

use super::RuntimeError;
use crate::server::domain::Stack;

/// The images.
pub(super) struct Images(pub(super) BTreeMap<Stack, String>);

impl Images {
    /// What a stack's apps run in.
    pub(super) fn of(&self, stack: &Stack) -> Result<&str, RuntimeError> {
        self.0.get(stack).map(String::as_str).ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(Stack::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            RuntimeError::Unavailable(format!(
                "there is no image for the stack `{stack}` (there are: {known}): describe one in a file `{stack}.toml` \
                 of `docker.stacks_dir`, or choose another stack with `gigalixir stack:set` and push again"
            ))
        })
    }
}
