//! The exporter: reads a pool's audit stream and delivers it to every destination.

pub mod answer;
pub mod destination;
