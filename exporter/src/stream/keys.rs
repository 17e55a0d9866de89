//! Names of the keys of one pool.

/// All begin with `audit:{<pool id>}`: one slot of a Redis Cluster, and one prefix for a user's access list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    base: String,
    stream: String,
}

impl Keys {
    /// The keys of the pool with this id: the uid of the Pool.
    #[must_use]
    pub fn new(pool_id: &str) -> Self {
        let base = format!("audit:{{{pool_id}}}");
        Self { stream: format!("{base}:events"), base }
    }

    /// The same keys, of which another one is read.
    #[must_use]
    pub fn with_stream(&self, stream: &str) -> Self {
        Self { base: self.base.clone(), stream: stream.to_owned() }
    }

    /// The stream itself.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// Says that a consumer lives.
    #[must_use]
    pub fn lease(&self, destination: &str, consumer: &str) -> String {
        self.leases(destination) + consumer
    }

    /// What the leases of a group's consumers begin with.
    #[must_use]
    pub fn leases(&self, destination: &str) -> String {
        format!("{}:lease:{destination}:", self.base)
    }

    /// Figures of a group.
    #[must_use]
    pub fn state(&self, destination: &str) -> String {
        format!("{}:state:{destination}", self.base)
    }

    /// Dead letters of a group.
    #[must_use]
    pub fn dead(&self, destination: &str) -> String {
        format!("{}:dead:{destination}", self.base)
    }

    /// Figures of an export.
    #[must_use]
    pub fn export(&self, export: &str) -> String {
        format!("{}:export:{export}", self.base)
    }

    /// How far the replay of a destination is.
    #[must_use]
    pub fn replay(&self, destination: &str) -> String {
        format!("{}:replay:{destination}", self.base)
    }

    /// When each group was last named by the configuration of a replica.
    #[must_use]
    pub fn named(&self) -> String {
        format!("{}:named", self.base)
    }

    /// Says that an event was added.
    #[must_use]
    pub fn emitted(&self, event_id: &str) -> String {
        format!("{}:emitted:{event_id}", self.base)
    }
}
