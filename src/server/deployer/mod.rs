//! deployer: being written.
