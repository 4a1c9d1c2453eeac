//! Support for tests that run the controller against a mock API server, in virtual time.

mod api_server;
mod controller;
mod logs;
pub(crate) mod objects;
pub(crate) mod scripted_api_server;

pub(crate) use api_server::MockApiServer;
pub(crate) use controller::{Replica, settle};
pub(crate) use logs::Logs;
