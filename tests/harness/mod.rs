//! A platform of one's own per test: own data folder, own ports, own home; nothing survives the test.

pub mod bind;
pub mod cluster;
mod curl;
pub mod docker;
pub mod dockerd;
pub mod guests;
mod http;
mod official;
pub mod parts;
mod passage;
pub mod pebble;
mod person;
mod place;
mod processes;
mod project;
pub mod registry;
pub mod second_node;
mod server;
mod ssh;
mod visitors;
mod websocket;
mod wire;

pub use curl::Curl;
pub use http::{Answer, get};
pub use official::Official;
pub use passage::Passage;
pub use person::{PASSWORD, Person, Ran, newest_code, newest_mail};
pub use place::Place;
pub use processes::{children_of_data, kill, wait_until};
pub use project::Project;
pub use server::Server;
pub use ssh::Ssh;
pub use visitors::{Crowd, Visitors};
pub use websocket::WebSocket;
pub use wire::{Reply, Wire, secret_mailed};
