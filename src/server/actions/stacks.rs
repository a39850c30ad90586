//! Stacks: which there are, and which one an app is built on next.

use async_trait::async_trait;

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api;
use crate::api::stack::StackImage;
use crate::server::domain::{Stack, User};

/// Who knows the images that stacks stand for.
#[async_trait]
pub trait StackImages: Send + Sync + 'static {
    /// The images of a stack as they are now, and what an operator types to get them.
    async fn look(&self, stack: &Stack) -> (Vec<StackImage>, Option<String>);
}

impl Apps {
    /// The stacks that can be built on, with those of the person's apps that are.
    pub async fn stacks(&self, user: &User) -> Result<Vec<api::stack::Stack>, ActionError> {
        let apps = self.rooms.store.glances_open_to(user.id).await?;
        let (default, all) = &self.settings.stacks;
        let mut stacks = Vec::new();
        for stack in all {
            let (images, command) = self.rooms.images.look(stack).await;
            let on_it = apps.iter().filter(|glance| glance.app.stack == *stack);
            stacks.push(api::stack::Stack {
                name: stack.to_string(),
                default: stack == default,
                images,
                command,
                apps: on_it.map(|glance| glance.app.name.to_string()).collect(),
            });
        }
        Ok(stacks)
    }

    /// Changes what the next build is built on.
    pub async fn set_stack(&self, user: &User, name: &str, stack: &str) -> Result<api::app::App, ActionError> {
        let app = self.may(user, name, Action::SetStack).await?;
        let stack = self.stack(stack)?;
        self.rooms.store.set_stack(app.id, stack.clone(), user.email.to_string()).await?;
        self.rooms
            .logs
            .platform(&app.name, format!("Stack set to {stack} by {}; the next push builds on it", user.email));
        self.info(user, name).await
    }

    pub(super) fn stack(&self, text: &str) -> Result<Stack, ActionError> {
        let (_, all) = &self.settings.stacks;
        all.iter().find(|stack| stack.as_str() == text).cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(Stack::as_str).collect();
            ActionError::invalid("stack", format!("is not known here; there is {}", names.join(", ")))
        })
    }
}
