//! The sizes that every event keeps to. Readers may rely on them.

/// The most bytes of one event as JSON.
pub const EVENT_BYTES: usize = 16 * 1024;
/// The most bytes of an identity string: a name, an id, an address, a user agent.
pub const TEXT_BYTES: usize = 256;
/// The most characters of a message.
pub const MESSAGE_CHARS: usize = 1024;
/// The most entries of `user.groups`.
pub const GROUPS: usize = 32;
/// The most entries of `tool.parameter_fields`.
pub const PARAMETER_FIELDS: usize = 64;
/// The most entries of `repeat.request_ids`.
pub const REPEAT_REQUEST_IDS: usize = 20;
