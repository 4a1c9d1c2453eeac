//! Sends the macros of the crate `log`, and messages of panics, to the host's log.

use crate::abi;
use log::{Level, LevelFilter, Log, Metadata, Record};
use proxy_wasm::types::LogLevel;
use std::panic;

struct HostLogger;

/// Starts to log at `info` and above. A later call changes nothing.
pub(crate) fn start() {
    if log::set_logger(&HostLogger).is_ok() {
        log::set_max_level(LevelFilter::Info);
        panic::set_hook(Box::new(|panic| abi::log(LogLevel::Critical, &panic.to_string())));
    }
}

impl Log for HostLogger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        };
        abi::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
