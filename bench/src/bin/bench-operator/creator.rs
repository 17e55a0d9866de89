//! The raw creator: the floor that the operator is compared with. It knows what to write and only writes it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::core::{DynamicObject, Request, Resource};
use operator::child::Kind;
use operator::names::FIELD_MANAGER;
use serde_json::Value;
use tokio::task::JoinSet;

const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Does `work` on every item with a number of workers; gives the time until the last one ended.
pub async fn spread<T, F, W>(items: Vec<T>, workers: usize, work: F) -> Result<Duration>
where
    T: Send + Sync + 'static,
    F: Fn(Arc<T>) -> W + Clone + Send + 'static,
    W: Future<Output = Result<()>> + Send + 'static,
{
    let items: Arc<[Arc<T>]> = items.into_iter().map(Arc::new).collect();
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut set = JoinSet::new();
    for _ in 0..workers {
        let (items, next, work) = (items.clone(), next.clone(), work.clone());
        set.spawn(async move {
            while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                work(item.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = set.join_next().await {
        ended??;
    }
    Ok(begin.elapsed())
}

/// Applies a child.
pub async fn apply_child(client: &Client, body: &Value) -> Result<()> {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| body["kind"] == kind.as_str())
        .context("a child of a kind that the operator does not make")?;
    let path = DynamicObject::url_path(&kind.api_resource(), body["metadata"]["namespace"].as_str());
    let request = Request::new(path).patch(name(body), &apply(FIELD_MANAGER), &Patch::Apply(body))?;
    send(client, request).await
}

/// Applies the status of a Pool.
pub async fn apply_status(client: &Client, body: &Value) -> Result<()> {
    let path = crds::Pool::url_path(&(), body["metadata"]["namespace"].as_str());
    let params = apply(operator::names::STATUS_MANAGER);
    send(client, Request::new(path).patch_subresource("status", name(body), &params, &Patch::Apply(body))?).await
}

/// Changes a Pool as a user does.
pub async fn edit(client: &Client, namespace: &str, pool: &str, patch: &Value) -> Result<()> {
    let path = crds::Pool::url_path(&(), Some(namespace));
    send(client, Request::new(path).patch(pool, &PatchParams::default(), &Patch::Merge(patch))?).await
}

/// Makes a Pool as a user does.
pub async fn create(client: &Client, pool: &Value) -> Result<()> {
    let path = crds::Pool::url_path(&(), pool["metadata"]["namespace"].as_str());
    send(client, Request::new(path).create(&kube::api::PostParams::default(), serde_json::to_vec(pool)?)?).await
}

fn apply(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

fn name(body: &Value) -> &str {
    body["metadata"]["name"].as_str().unwrap_or_default()
}

async fn send(client: &Client, request: http::Request<Vec<u8>>) -> Result<()> {
    let target = format!("{} {}", request.method(), request.uri());
    let answer = tokio::time::timeout(CALL_TIMEOUT, client.request_text(request)).await;
    // The answer is read to its end and not parsed: the floor does no more than it has to.
    answer.with_context(|| format!("{target}: no answer in time"))?.with_context(|| target)?;
    Ok(())
}
