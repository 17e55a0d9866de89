//! What the benchmarks of this project share: the form of their results.
//!
//! A benchmark measures and reports. It never fails because a figure is bad: a machine that is busy would make it
//! fail for nothing.

pub mod report;
