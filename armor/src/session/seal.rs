//! Sealed session ids: AES-256-GCM over what a replica must know, keyed by a secret of the pool.
//!
//! Promises: nobody but the pool can make or read one; one of another pool, or changed in one bit, does not
//! open. Must never be used for anything but session ids: the key is derived for them alone.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::mcp::LEGACY;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
/// After this a client must begin anew.
pub const MAX_AGE_SECONDS: u64 = 7 * 24 * 3600;
/// What a client says of itself is carried along up to this size, so that the id fits into a header.
pub const MAX_CLIENT_BYTES: usize = 2048;
/// Longest session id of a server that is carried along.
const MAX_UPSTREAM_BYTES: usize = 512;

/// What a session id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Random.
    pub id: [u8; 16],
    /// Seconds since 1970.
    pub created: u64,
    /// Whose it is.
    pub principal: [u8; 16],
    /// The revision that was agreed on.
    pub revision: &'static str,
    /// `params` for `initialize` of servers, as JSON.
    pub client: String,
    /// In a pool with one unprefixed server: its session.
    pub upstream: Option<UpstreamTicket>,
}

/// The session with the one server of an unprefixed pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTicket {
    /// Beginning of the server's fingerprint: another server does not know the session.
    pub server: [u8; 8],
    /// The server's session id; empty if it keeps none.
    pub session: Vec<u8>,
}

/// A server's request, as its response must name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Beginning of the server's fingerprint.
    pub server: [u8; 8],
    /// The server's session; empty if it keeps none.
    pub session: Vec<u8>,
    /// Raw JSON of the server's id.
    pub id: Vec<u8>,
}

/// Seals and opens.
pub struct Sealer {
    key: LessSafeKey,
    /// Opens what was sealed before the key changed.
    previous: Option<LessSafeKey>,
    pool: String,
}

/// The key could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the key for session ids can not be derived")]
pub struct SealerError;

impl Sealer {
    /// A sealer for a pool, with the secret that its replicas share.
    ///
    /// # Errors
    /// [`SealerError`]
    pub fn new(pool: &str, secret: &[u8], previous: Option<&[u8]>) -> Result<Self, SealerError> {
        Ok(Self {
            key: derive(pool, secret)?,
            previous: previous.map(|secret| derive(pool, secret)).transpose()?,
            pool: pool.to_owned(),
        })
    }

    /// Seals. `None` if there is no randomness to be had.
    #[must_use]
    pub fn seal(&self, ticket: &Ticket) -> Option<String> {
        self.seal_bytes("session", encode(ticket))
    }

    /// Opens; `None` if it is not one of ours.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<Ticket> {
        decode(&self.open_bytes("session", sealed)?)
    }

    /// Seals the id of a server's request, so that the response finds its way back. It is good for one
    /// session only.
    #[must_use]
    pub fn seal_asked(&self, session: &[u8; 16], asked: &Asked) -> Option<String> {
        let mut data = asked.server.to_vec();
        let upstream = u16::try_from(asked.session.len()).ok()?;
        data.extend_from_slice(&upstream.to_be_bytes());
        data.extend_from_slice(&asked.session);
        data.extend_from_slice(&asked.id);
        self.seal_bytes(&format!("asked {}", hex::encode(session)), data)
    }

    /// Opens the id of a server's request.
    #[must_use]
    pub fn open_asked(&self, session: &[u8; 16], sealed: &[u8]) -> Option<Asked> {
        let plain = self.open_bytes(&format!("asked {}", hex::encode(session)), sealed)?;
        let (server, rest) = plain.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (session, id) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        Some(Asked { server: *server, session: session.to_vec(), id: id.to_vec() })
    }

    fn seal_bytes(&self, purpose: &str, mut data: Vec<u8>) -> Option<String> {
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(purpose), &mut data).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&nonce[..], &data].concat()))
    }

    fn open_bytes(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let raw = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (nonce, data) = raw.split_first_chunk::<NONCE_BYTES>()?;
        [Some(&self.key), self.previous.as_ref()].into_iter().flatten().find_map(|key| {
            let mut data = data.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let plain = key.open_in_place(nonce, self.aad(purpose), &mut data).ok()?;
            Some(plain.to_vec())
        })
    }

    /// What is sealed for one pool and purpose opens for no other.
    fn aad(&self, purpose: &str) -> Aad<Vec<u8>> {
        Aad::from([self.pool.as_bytes(), b"\0", purpose.as_bytes()].concat())
    }
}

struct KeyBytes;

impl hkdf::KeyType for KeyBytes {
    fn len(&self) -> usize {
        32
    }
}

fn derive(pool: &str, secret: &[u8]) -> Result<LessSafeKey, SealerError> {
    let mut bytes = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"ai-gateway armor session id v1")
        .extract(secret)
        .expand(&[pool.as_bytes()], KeyBytes)
        .and_then(|okm| okm.fill(&mut bytes))
        .map_err(|_| SealerError)?;
    let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| SealerError)?;
    Ok(LessSafeKey::new(key))
}

fn encode(ticket: &Ticket) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend_from_slice(&ticket.id);
    out.extend_from_slice(&ticket.created.to_be_bytes());
    out.extend_from_slice(&ticket.principal);
    let revision = LEGACY.iter().position(|r| *r == ticket.revision);
    out.push(u8::try_from(revision.unwrap_or(0)).unwrap_or(0));
    let mut part = |bytes: &[u8]| {
        out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(bytes);
    };
    part(ticket.client.as_bytes());
    if let Some(upstream) = &ticket.upstream
        && upstream.session.len() <= MAX_UPSTREAM_BYTES
    {
        part(&upstream.server);
        part(&upstream.session);
    }
    out
}

fn decode(plain: &[u8]) -> Option<Ticket> {
    let (&format, rest) = plain.split_first()?;
    if format != FORMAT {
        return None;
    }
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (created, rest) = rest.split_first_chunk::<8>()?;
    let (principal, rest) = rest.split_first_chunk::<16>()?;
    let (&revision, mut rest) = rest.split_first()?;
    let mut part = || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (bytes, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = tail;
        Some(bytes.to_vec())
    };
    let client = String::from_utf8(part()?).ok()?;
    let upstream = match part() {
        None => None,
        Some(server) => Some(UpstreamTicket { server: server.try_into().ok()?, session: part()? }),
    };
    Some(Ticket {
        id: *id,
        created: u64::from_be_bytes(*created),
        principal: *principal,
        revision: LEGACY.get(usize::from(revision)).copied()?,
        client,
        upstream,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticket() -> Ticket {
        Ticket {
            id: [7; 16],
            created: 1_700_000_000,
            principal: [9; 16],
            revision: LEGACY[2],
            client: r#"{"capabilities":{}}"#.to_owned(),
            upstream: Some(UpstreamTicket { server: [1; 8], session: b"s-1".to_vec() }),
        }
    }

    #[test]
    fn another_pool_or_key_does_not_open_it() {
        let sealed = Sealer::new("pool-a", b"secret", None).unwrap().seal(&ticket()).unwrap();
        let open = |pool: &str, secret: &[u8], previous: Option<&[u8]>| {
            Sealer::new(pool, secret, previous).unwrap().open(sealed.as_bytes())
        };
        assert_eq!(open("pool-a", b"secret", None), Some(ticket()));
        assert_eq!(open("pool-b", b"secret", None), None);
        assert_eq!(open("pool-a", b"other", None), None);
        assert_eq!(open("pool-a", b"other", Some(b"secret")), Some(ticket()));
    }

    #[test]
    fn a_changed_byte_does_not_open() {
        let sealer = Sealer::new("p", b"secret", None).unwrap();
        let sealed = sealer.seal(&ticket()).unwrap().into_bytes();
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            // The last character holds bits that are not used.
            if changed != sealed && i + 1 < sealed.len() {
                assert_eq!(sealer.open(&changed), None, "byte {i}");
            }
        }
        assert!(sealer.open(b"").is_none());
        assert!(sealer.open(&sealed[..20]).is_none());
    }

    #[test]
    fn a_question_belongs_to_one_session() {
        let sealer = Sealer::new("p", b"secret", None).unwrap();
        let asked = Asked { server: [3; 8], session: b"up".to_vec(), id: b"\"q1\"".to_vec() };
        let sealed = sealer.seal_asked(&[1; 16], &asked).unwrap();
        assert_eq!(sealer.open_asked(&[1; 16], sealed.as_bytes()), Some(asked));
        assert_eq!(sealer.open_asked(&[2; 16], sealed.as_bytes()), None);
        assert_eq!(sealer.open(sealed.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn every_ticket_comes_back(
            id in any::<[u8; 16]>(), created in any::<u64>(), principal in any::<[u8; 16]>(),
            revision in 0..LEGACY.len(), client in ".{0,300}",
            upstream in prop::option::of((any::<[u8; 8]>(), prop::collection::vec(any::<u8>(), 0..64)))
        ) {
            let ticket = Ticket {
                id, created, principal, revision: LEGACY[revision], client,
                upstream: upstream.map(|(server, session)| UpstreamTicket { server, session }),
            };
            let sealer = Sealer::new("p", b"secret", None).unwrap();
            let sealed = sealer.seal(&ticket).unwrap();
            prop_assert!(sealed.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(sealer.open(sealed.as_bytes()), Some(ticket));
        }
    }
}
