//! What a call is known by.

use crate::keys::Keys;

/// A keyed 128-bit hash of the Call-ID. Two calls that share one would be mixed up, so it is keyed: nobody outside
/// can look for a collision, and by chance there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub u128);

impl CallKey {
    /// The key of a Call-ID. It is compared octet by octet (RFC 3261 section 20.8).
    pub fn of(keys: &Keys, call_id: &[u8]) -> Self {
        CallKey(keys.call.quick_hash().piece(call_id).finish128())
    }

    /// The shard of so many that the call belongs to.
    pub fn shard(self, shards: usize) -> usize {
        (self.0 as usize) % shards
    }

    /// The bits that hash tables use.
    pub fn table_hash(self) -> u64 {
        (self.0 >> 64) as u64
    }
}
