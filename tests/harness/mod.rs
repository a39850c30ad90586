//! A platform of one's own per test: own data folder, own ports, own home; nothing survives the test.

pub mod bind;
pub mod cluster;
mod curl;
pub mod docker;
mod http;
mod official;
mod passage;
pub mod pebble;
mod person;
mod place;
mod processes;
mod project;
pub mod registry;
mod server;
mod ssh;
mod tools;
mod visitors;
pub mod weather;
mod websocket;
mod wire;

pub use curl::{Curl, serial};
pub use http::{Answer, get};
pub use official::Official;
pub use passage::Passage;
pub use person::{PASSWORD, Person, Ran, newest_code, newest_mail};
pub use place::Place;
pub use processes::{children_of_data, emulators, is_stopped, kill, wait_until};
pub use project::Project;
pub use server::Server;
pub use ssh::Ssh;
pub use tools::Tools;
pub use visitors::{Crowd, Visitors};
pub use websocket::WebSocket;
pub use wire::{Reply, Wire, secret_mailed};
