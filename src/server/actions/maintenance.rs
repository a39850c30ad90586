//! Maintenance mode: visitors read a page instead of the app, which runs on behind it.

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::server::domain::User;

impl Apps {
    /// Switches it on or off; at once, and for as long as nobody switches it back.
    pub async fn set_maintenance(&self, user: &User, name: &str, on: bool) -> Result<(), ActionError> {
        let app = self.may(user, name, Action::Maintain).await?;
        self.rooms.deployer.set_maintenance(&app, on, user.email.to_string()).await?;
        let switched = if on { "on" } else { "off" };
        self.rooms.logs.platform(&app.name, format!("Maintenance mode switched {switched} by {}", user.email));
        Ok(())
    }
}
