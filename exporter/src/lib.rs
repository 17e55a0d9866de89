//! The exporter: reads a pool's audit stream and delivers it to every destination.

pub mod address;
pub mod answer;
pub mod api;
pub mod cause;
pub mod config;
pub mod connect;
pub mod destination;
pub mod grpc;
pub mod http;
pub mod mapping;
pub mod platform;
pub mod registry;
pub mod routing;
pub mod status;
pub mod stream;
pub mod tls;
pub mod worker;
