//! Public keys of whoever signs viewers' tokens (RFC 7517). Pure: a key set goes in, the key of a token comes out.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Notify;

/// Keys of a set at most.
const MAX_KEYS: usize = 100;

/// The newest key set, shared with whoever fetches it (`ROOMSCRIBE_JWKS_URL`). Cheap to clone.
#[derive(Clone, Default)]
pub struct KeySet(Arc<Held>);

#[derive(Default)]
struct Held {
    keys: RwLock<Vec<Key>>,
    unknown: Notify,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Takes a fetched key set in place of the one before; answers how many of its keys can check a token.
    ///
    /// # Errors
    /// What is wrong with it; the keys before stay.
    pub fn replace(&self, json: &[u8]) -> Result<usize, String> {
        let set: JwkSet = serde_json::from_slice(json).map_err(|error| format!("no JWK Set: {error}"))?;
        let keys: Vec<Key> = set.keys.iter().take(MAX_KEYS).filter_map(key).collect();
        if keys.is_empty() {
            return Err("has no public key for signatures (RSA, P-256, P-384 or Ed25519)".into());
        }
        let count = keys.len();
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(count)
    }

    /// Returns when a token came whose key is not here: the signer may have a new one.
    pub async fn unknown(&self) {
        self.0.unknown.notified().await;
    }

    /// The key that a token names; without a name, the only one of its algorithm.
    pub(crate) fn find(&self, header: &Header) -> Option<DecodingKey> {
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut fitting = keys.iter().filter(|key| key.algorithm == header.alg);
        let found = match &header.kid {
            Some(id) => fitting.find(|key| key.id.as_ref() == Some(id)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        };
        if found.is_none() {
            self.0.unknown.notify_one();
        }
        found.map(|key| key.key.clone())
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySet(…)")
    }
}

/// Never a symmetric one: a key set is public.
fn key(jwk: &Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|what| *what != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS384)) => Algorithm::RS384,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS512)) => Algorithm::RS512,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::PS256)) => Algorithm::PS256,
        (AlgorithmParameters::EllipticCurve(key), _) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        (AlgorithmParameters::EllipticCurve(key), _) if key.curve == EllipticCurve::P384 => Algorithm::ES384,
        (AlgorithmParameters::OctetKeyPair(_), _) => Algorithm::EdDSA,
        _ => return None,
    };
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key: DecodingKey::from_jwk(jwk).ok()? })
}
