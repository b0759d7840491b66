//! Who may register, and what proves it.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::aor::Aor;
use super::digest::{Algorithm, Hex, ha1};

/// What is known of a user's password: never the password itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// By the order of [`Algorithm::ALL`]; none where only another one is known.
    hashes: [Option<Hex>; 3],
}

impl Secrets {
    /// From a password: every algorithm can be used.
    pub fn of_password(user: &[u8], realm: &[u8], password: &[u8]) -> Self {
        Secrets { hashes: Algorithm::ALL.map(|algorithm| Some(ha1(algorithm, user, realm, password))) }
    }

    /// From the hashes that are known, by the order of [`Algorithm::ALL`].
    pub fn of_hashes(hashes: [Option<Hex>; 3]) -> Self {
        Secrets { hashes }
    }

    /// What tells two users' secrets apart and cannot be turned back into either.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = Sha256::new().chain_update("cordboard fingerprint");
        for hash in self.hashes.iter().flatten() {
            digest.update([hash.digits().len() as u8]);
            digest.update(hash.digits());
        }
        digest.finalize().into()
    }

    /// The hash for an algorithm.
    pub fn get(&self, algorithm: Algorithm) -> Option<&Hex> {
        let at = Algorithm::ALL.iter().position(|known| *known == algorithm)?;
        self.hashes[at].as_ref()
    }
}

/// All users.
#[derive(Clone, Debug, Default)]
pub struct Users {
    list: HashMap<Aor, Secrets>,
}

impl Users {
    /// From a list; a later user of one name counts.
    pub fn new(list: impl IntoIterator<Item = (Aor, Secrets)>) -> Self {
        Users { list: list.into_iter().collect() }
    }

    /// Whether there is such a user.
    pub fn knows(&self, user: &[u8]) -> bool {
        self.list.contains_key(user)
    }

    /// What proves that it is this user.
    pub fn secrets(&self, user: &[u8]) -> Option<&Secrets> {
        self.list.get(user)
    }

    /// Number of users.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &Aor> {
        self.list.keys()
    }
}
