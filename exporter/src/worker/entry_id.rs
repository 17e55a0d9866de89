//! Ids of entries of the stream, in their order.

/// The id of an entry of the stream, as Redis orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(u64, u64);

impl EntryId {
    /// What is no id comes last.
    pub fn parse(text: &str) -> Self {
        let (ms, number) = text.split_once('-').unwrap_or((text, "0"));
        Self(ms.parse().unwrap_or(u64::MAX), number.parse().unwrap_or(u64::MAX))
    }
}
