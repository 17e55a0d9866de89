//! What fits into the objects that the operator writes for a pool: Kubernetes takes objects of 1 MiB.

/// What a Secret or ConfigMap may take, with some room for what else is in it.
pub const ROOM_BYTES: usize = 900 << 10;

/// The room of a Secret with credentials and of a ConfigMap with a configuration, which many objects share.
#[derive(Debug)]
pub struct Room {
    credentials: usize,
    credentials_most: usize,
    document: usize,
}

/// Why there is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The credentials would have `kib` of at most `most` KiB.
    Credentials { kib: usize, most: usize },
    /// The configuration would have `kib` of at most `most` KiB.
    Document { kib: usize, most: usize },
}

impl Room {
    /// Room of which some is taken: of the Secret's so many bytes.
    pub fn with_credentials(taken: usize) -> Self {
        Room { credentials: taken, credentials_most: ROOM_BYTES, document: 0 }
    }

    /// Room of which so many bytes of the Secret stay free.
    pub fn without_credentials(reserved: usize) -> Self {
        Room { credentials: 0, credentials_most: ROOM_BYTES - reserved, document: 0 }
    }

    /// Takes room for one more; takes none where there is not enough.
    ///
    /// # Errors
    /// What is full.
    pub fn take(&mut self, credentials: usize, document: usize) -> Result<(), Full> {
        let (credentials, document) = (self.credentials + credentials, self.document + document);
        if credentials > self.credentials_most {
            return Err(Full::Credentials { kib: credentials >> 10, most: self.credentials_most >> 10 });
        }
        if document > ROOM_BYTES {
            return Err(Full::Document { kib: document >> 10, most: ROOM_BYTES >> 10 });
        }
        (self.credentials, self.document) = (credentials, document);
        Ok(())
    }
}
