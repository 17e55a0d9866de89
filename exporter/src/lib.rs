//! The exporter: reads a pool's audit stream and delivers it to every destination.

pub mod address;
pub mod answer;
pub mod api;
pub mod cause;
pub mod config;
pub mod destination;
pub mod http;
pub mod mapping;
pub mod platform;
pub mod routing;
pub mod status;
pub mod stream;
pub mod tls;
pub mod worker;
