//! Where connections come in: TCP, TLS, HTTP/1.1 and HTTP/2.

pub mod serve;
pub mod tls;
