//! `/livez`, `/readyz` and `/metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What the process still waits for, by scope.
#[derive(Clone, Default)]
pub struct Health {
    pending: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Health {
    /// Says what a scope waits for; nothing: it is ready.
    pub fn waiting_for(&self, scope: &str, pending: Vec<String>) {
        let mut all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() {
            all.remove(scope);
        } else {
            all.insert(scope.to_owned(), pending);
        }
    }

    fn pending(&self) -> Vec<String> {
        let all = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(scope, kinds)| format!("{scope}: {}", kinds.join(", "))).collect()
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state((health, metrics));
    axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readyz(State((health, _)): State<(Health, Metrics)>) -> Response {
    let pending = health.pending();
    if pending.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {}\n", pending.join("; "))).into_response()
}

async fn exposition(State((_, metrics)): State<(Health, Metrics)>) -> Response {
    match metrics.render() {
        Ok(text) => {
            let type_ = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, type_)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
