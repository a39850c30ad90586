//! The platform. In reading order: what there is ([`domain`]), what is remembered ([`store`]), what becomes of a push
//! ([`receiver`] → [`builder`] → [`slugs`] → [`releases`] → [`deployer`] → [`runtime`], conducted by [`pipeline`]),
//! what visitors meet ([`tls`], [`router`]), and what people may ask for ([`actions`], through [`http`]).

pub mod announced;
pub mod clock;
pub mod domain;
pub mod progress;
pub mod signing;
pub mod steps;

pub mod config;
pub mod mail;
pub mod seal;
pub mod store;

pub mod beam;
pub mod builder;
pub mod cluster;
pub mod confine;
pub mod deployer;
pub mod docker;
pub mod drains;
pub mod hot;
pub mod jobs;
pub mod logs;
pub mod metering;
pub mod nodes;
pub mod parcels;
pub mod receiver;
pub mod releases;
pub mod router;
pub mod runtime;
pub mod slugs;
pub mod stacks;
pub mod tls;

pub mod pipeline;

pub mod actions;
pub mod http;
pub mod ssh;

pub mod daemon;
mod farewell;
mod gauges;
mod ingress;
mod joints;
mod listen;
mod platform;
mod runtimes;
mod settings;
pub mod stack_image;
mod succession;
mod telemetry;
