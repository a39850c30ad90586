//! A platform of one's own per test: own data folder, own ports, own home; nothing survives the test.

mod http;
mod person;
mod processes;
mod project;
mod server;

pub use http::{Answer, get};
pub use person::{Person, newest_mail};
pub use processes::{children_of_data, kill, wait_until};
pub use project::Project;
pub use server::Server;
