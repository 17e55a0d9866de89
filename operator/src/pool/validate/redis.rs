//! The Redis of a pool: one of the user's own, or one that the operator runs with room for the audit stream.

use crds::Pool;
use crds::common::CaRef;
use crds::pool::ManagedRedis;
use kube::ResourceExt;
use secrecy::ExposeSecret;

use super::{Redis, copied};
use crate::certificates::check_ca;
use crate::child::Claim;
use crate::conditions::Problem;
use crate::mcp_server::{Credential, Fault};
use crate::names::child_name;
use crate::pool::dereference::{Dereferenced, LiveRedis};
use crate::quantity;
use crate::world::{Lookup, Source};

/// What Redis needs of memory beside its data.
const REDIS_OVERHEAD_BYTES: i64 = 32 << 20;

pub(super) fn redis(
    pool: &Pool,
    found: &Dereferenced,
    stream: i64,
    credentials: &mut Vec<Credential>,
) -> Result<Redis, Fault> {
    let spec = pool.spec.redis.clone();
    let Some(external) = spec.as_ref().and_then(|redis| redis.external.as_ref()) else {
        let managed = spec.and_then(|redis| redis.managed).unwrap_or_default();
        if let LiveRedis::ForeignClaim(claim) = &found.redis {
            let message = format!(
                "PersistentVolumeClaim {claim} exists and does not belong to this Pool, whose Redis would use it: delete \
                 or rename it, or rename this Pool"
            );
            return Err(Fault::NotAccepted(Problem::new("NameConflict", message)));
        }
        room_for_stream(&managed, stream)?;
        if let LiveRedis::Runs(live) = &found.redis
            && let Some(volume) = volume_of(live.as_ref(), &managed, stream, &pool.name_any())?
        {
            return Ok(Redis::Managed { spec: Box::new(managed), volume });
        }
        let needed = stream.saturating_mul(4).max(1 << 30);
        let volume = match &managed.persistence.size {
            None => {
                quantity::canonical(&format!("{}Mi", needed.div_euclid(1 << 20) + i64::from(needed % (1 << 20) > 0)))
            }
            Some(size) => {
                if managed.persistence.enabled
                    && quantity::units(&size.0).is_none_or(|bytes| bytes < stream.saturating_mul(4))
                {
                    let message = format!(
                        "spec.redis.managed.persistence.size: {} is less than four times the audit stream's {} bytes, \
                         which its append-only file needs while it is rewritten: raise the size, or lower \
                         spec.audit.streamMaxBytes",
                        size.0, stream
                    );
                    return Err(Fault::NotAccepted(Problem::new("VolumeTooSmall", message)));
                }
                quantity::canonical(&size.0)
            }
        };
        return Ok(Redis::Managed { spec: Box::new(managed), volume });
    };
    let field = "spec.redis.external.urlSecretRef";
    let reference = &external.url_secret_ref;
    let lookup = found.redis_url.as_ref().unwrap_or(&None);
    let url = copied(lookup, Source::Secret, &reference.name, &reference.key, field, "redis-url")
        .map_err(Fault::Unresolved)?;
    let text = String::from_utf8_lossy(url.value.expose_secret()).trim().to_owned();
    // The URL may hold a password, so no part of it goes into the message.
    if !url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss") && url.has_host()) {
        let message = format!(
            "Secret {}: the value under {}, which {field} names, is no redis:// or rediss:// URL: correct the Secret",
            reference.name, reference.key
        );
        return Err(Fault::Unresolved(Problem::new("SecretInvalid", message)));
    }
    credentials.push(url);
    if let (Some(ca_ref), Some(lookup)) = (&external.ca_ref, &found.redis_ca) {
        credentials.push(redis_ca(ca_ref, lookup).map_err(Fault::Unresolved)?);
    }
    Ok(Redis::External { with_ca: external.ca_ref.is_some() })
}

/// The volume of a Redis that runs: the one that it has, because a StatefulSet's can not be changed. `None`: it has none.
fn volume_of(live: Option<&Claim>, managed: &ManagedRedis, stream: i64, pool: &str) -> Result<Option<String>, Fault> {
    let wanted = &managed.persistence;
    let name = child_name(pool, "redis");
    let immutable = |field: &str, has: &str, back: &str| {
        let message = format!(
            "spec.redis.managed.persistence.{field}: the Redis of this pool runs {has}, which Kubernetes lets nobody change \
             in place: {back}, or delete StatefulSet {name} and with it the events that wait there, and it is made anew"
        );
        Err(Fault::NotAccepted(Problem::new("ImmutableField", message)))
    };
    let Some(live) = live else {
        return match wanted.enabled {
            true => immutable("enabled", "without a volume", "set it to false"),
            false => Ok(None),
        };
    };
    if !wanted.enabled {
        return immutable("enabled", "with a volume", "set it back to true");
    }
    let (size, bytes) = (live.size.as_ref(), quantity::units(&live.size));
    if wanted.size.as_ref().is_some_and(|size| quantity::units(&size.0) != bytes) {
        return immutable("size", &format!("with a volume of {size}"), &format!("set it back to {size}"));
    }
    let class = live.class.as_deref();
    if wanted.storage_class_name.as_deref().is_some_and(|wanted| class != Some(wanted)) {
        let class = class.unwrap_or("the default one");
        return immutable("storageClassName", &format!("with a volume of class {class}"), "set it back");
    }
    if bytes.is_none_or(|bytes| bytes < stream.saturating_mul(4)) {
        let message = format!(
            "spec.audit.streamMaxBytes: the volume of Redis has {size}, and an append-only file needs four times the \
             stream's {stream} bytes while it is rewritten: lower it, or delete StatefulSet {name} and with it the \
             events that wait there, and it is made anew with a larger volume"
        );
        return Err(Fault::NotAccepted(Problem::new("VolumeTooSmall", message)));
    }
    Ok(Some(size.to_owned()))
}

/// That a memory limit of the user's lets Redis hold what it may.
fn room_for_stream(managed: &ManagedRedis, stream: i64) -> Result<(), Fault> {
    let limit = managed.resources.as_ref().and_then(|resources| resources.limits.get("memory"));
    let Some((limit, bytes)) = limit.and_then(|limit| Some((limit, quantity::units(&limit.0)?))) else { return Ok(()) };
    let needed = stream.saturating_mul(2).saturating_add(REDIS_OVERHEAD_BYTES);
    if bytes >= needed {
        return Ok(());
    }
    let message = format!(
        "spec.redis.managed.resources.limits.memory: {} is less than the {}Mi that Redis needs to hold twice the audit \
         stream's {stream} bytes: raise it, or lower spec.audit.streamMaxBytes",
        limit.0,
        needed >> 20
    );
    Err(Fault::NotAccepted(Problem::new("MemoryTooSmall", message)))
}

fn redis_ca(ca_ref: &CaRef, lookup: &Lookup) -> Result<Credential, Problem> {
    let field = "spec.redis.external.caRef";
    let copied = copied(lookup, Source::ConfigMap, &ca_ref.name, ca_ref.key(), field, "redis-ca.crt")?;
    check_ca(ca_ref, field, copied.value.expose_secret())?;
    Ok(copied)
}
