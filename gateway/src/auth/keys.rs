//! API keys, compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::Secret;

/// Digests of the configured keys: equal lengths, whatever the keys' are.
pub(crate) struct ApiKeys(Vec<[u8; 32]>);

impl ApiKeys {
    pub(crate) fn new(keys: &[Secret]) -> Self {
        let keys = keys.iter().map(Secret::expose).filter(|key| !key.is_empty());
        Self(keys.map(|key| Sha256::digest(key).into()).collect())
    }

    /// A name for the key that is not the key; `None` when it is none of ours. Looks at every key, always.
    pub(crate) fn find(&self, token: &str) -> Option<String> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let any = self.0.iter().fold(Choice::from(0), |found, key| found | key.ct_eq(&digest));
        bool::from(any).then(|| format!("key:{}", URL_SAFE_NO_PAD.encode(&digest[..6])))
    }
}
