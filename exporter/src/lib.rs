//! The exporter: reads a pool's audit stream and delivers it to every destination.

pub mod address;
pub mod answer;
pub mod api;
pub mod board;
pub mod cause;
pub mod cli;
pub mod config;
pub mod destination;
pub mod http;
pub mod link;
pub mod mapping;
pub mod metrics;
pub mod monitor;
pub mod platform;
pub mod privacy;
pub mod process;
pub mod registry;
mod reload;
pub mod routing;
pub mod setup;
pub mod slot;
pub mod status;
pub mod stream;
pub mod tally;
pub mod tls;
pub mod voice;
pub mod worker;
