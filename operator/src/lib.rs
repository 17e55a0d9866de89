//! The AI Gateway Operator: reconciles Pools, McpServers and SiemExports into gateways, Redis and their status.
//!
//! Each kind has its folder with the five steps as files. `child` holds the one writer of children, `status` the
//! one writer of status, `world` what the watches know, `admin` how Pods are asked, `armor` and `exporter` what they
//! say, and `audit` what the trail is told.

pub mod admin;
pub mod armor;
pub mod audit;
pub mod certificates;
pub mod child;
pub mod conditions;
pub mod controller;
pub mod exporter;
pub mod health;
pub mod mcp_server;
pub mod metrics;
pub mod names;
pub mod notices;
pub mod pool;
pub mod quantity;
pub mod references;
pub mod retry;
pub mod room;
pub mod settings;
pub mod siem_export;
pub mod start;
pub mod status;
pub mod workload;
pub mod world;
