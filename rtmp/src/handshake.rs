//! The server's side of the handshake, in its simple and its digest form.
//!
//! Simple: RTMP 1.0 §5.2. Digest: undocumented by Adobe; described with measurements in FFmpeg's `rtmpproto.c` and
//! `rtmpdigest.c`. It is not security, only what some publishers ask for: a C1 whose digest is not ours is answered
//! simply. C2 is counted, not checked, as all servers do.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::SessionError;

const PACKET: usize = 1536;
const DIGEST: usize = 32;
const VERSION: u8 = 3;

const CLIENT_KEY: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// Follows either text where S2 and C2 are signed.
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Counts C0, C1 and C2 and says what to answer.
#[derive(Debug)]
pub(crate) struct Handshake {
    entropy: [u8; 32],
    c1: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    C0,
    C1,
    C2 { missing: usize },
    Done,
}

impl Handshake {
    pub(crate) fn new(entropy: [u8; 32]) -> Self {
        Self { entropy, c1: Vec::new(), state: State::C0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what it needs from the front of `input`; returns S0, S1 and S2 when C1 is complete.
    pub(crate) fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, SessionError> {
        let mut answer = None;
        while !input.is_empty() {
            match self.state {
                State::C0 => {
                    let byte = take(input, 1).first().copied().unwrap_or_default();
                    if byte != VERSION {
                        return Err(SessionError::WrongVersion { byte });
                    }
                    self.state = State::C1;
                }
                State::C1 => {
                    self.c1.extend_from_slice(take(input, PACKET - self.c1.len()));
                    if self.c1.len() == PACKET {
                        answer = Some(self.answer());
                        self.c1 = Vec::new();
                        self.state = State::C2 { missing: PACKET };
                    }
                }
                State::C2 { missing } => {
                    let left = missing - take(input, missing).len();
                    self.state = if left == 0 { State::Done } else { State::C2 { missing: left } };
                }
                State::Done => break,
            }
        }
        Ok(answer)
    }

    fn answer(&self) -> Vec<u8> {
        let random = self.random();
        let mut s1 = random.clone();
        let s2 = match self.client_digest() {
            Some((schema, client_digest)) => {
                // Time 0, then a server version: a zero version would tell the client that there is no digest.
                fill(&mut s1, &[0, 0, 0, 0, 3, 5, 1, 1]);
                sign(&mut s1, schema);
                signed_answer(random, &client_digest)
            }
            None => {
                fill(&mut s1, &[0; 8]);
                self.c1.clone()
            }
        };
        [&[VERSION][..], &s1, &s2].concat()
    }

    /// The digest that C1 carries, and where, when it carries a right one.
    fn client_digest(&self) -> Option<(Schema, [u8; DIGEST])> {
        if self.c1.get(4..8)? == [0; 4] {
            return None;
        }
        [Schema::First, Schema::Second].into_iter().find_map(|schema| {
            let at = schema.digest_offset(&self.c1);
            let expected = digest_around(&self.c1, at, CLIENT_KEY);
            (self.c1.get(at..at + DIGEST)? == expected).then_some((schema, expected))
        })
    }

    /// As many bytes as a packet has, all from the caller's entropy.
    fn random(&self) -> Vec<u8> {
        let mut packet = vec![0; PACKET];
        for (n, block) in (0u32..).zip(packet.chunks_mut(DIGEST)) {
            fill(block, &Sha256::new().chain_update(self.entropy).chain_update(n.to_be_bytes()).finalize());
        }
        packet
    }
}

/// Which four bytes say where the digest lies.
#[derive(Debug, Clone, Copy)]
enum Schema {
    First,
    Second,
}

impl Schema {
    fn digest_offset(self, packet: &[u8]) -> usize {
        let base = match self {
            Self::First => 8,
            Self::Second => 772,
        };
        let sum: usize = packet.iter().skip(base).take(4).copied().map(usize::from).sum();
        base + 4 + sum % 728
    }
}

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    // HMAC takes keys of any length, so this cannot fail; an empty digest would only fall back to the simple form.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Over all of the packet but the digest's own place.
fn digest_around(packet: &[u8], at: usize, key: &[u8]) -> [u8; DIGEST] {
    let before = packet.get(..at).unwrap_or_default();
    let after = packet.get(at + DIGEST..).unwrap_or_default();
    hmac_sha256(key, &[before, after])
}

fn sign(s1: &mut [u8], schema: Schema) {
    let at = schema.digest_offset(s1);
    let digest = digest_around(s1, at, SERVER_KEY);
    if let Some(place) = s1.get_mut(at..) {
        fill(place, &digest);
    }
}

/// S2 of the digest form: random bytes, then a signature over them keyed by the client's digest.
fn signed_answer(mut s2: Vec<u8>, client_digest: &[u8]) -> Vec<u8> {
    let key = hmac_sha256(&[SERVER_KEY, &KEY_TAIL].concat(), &[client_digest]);
    s2.truncate(PACKET - DIGEST);
    let signature = hmac_sha256(&key, &[&s2]);
    s2.extend_from_slice(&signature);
    s2
}

fn fill(place: &mut [u8], bytes: &[u8]) {
    for (to, from) in place.iter_mut().zip(bytes) {
        *to = *from;
    }
}

fn take<'a>(input: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (head, tail) = input.split_at(at_most.min(input.len()));
    *input = tail;
    head
}
