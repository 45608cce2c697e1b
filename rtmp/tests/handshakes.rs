//! The handshake as publishers see it: simple and digest.

mod common;

use common::digest::hmac_sha256;
use common::wire::Peer;
use roomscribe_rtmp::Limits;

const PLAYER: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";
const TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Where a digest lies: the four bytes at `base` say.
fn offset(packet: &[u8], base: usize) -> usize {
    base + 4 + packet[base..base + 4].iter().map(|b| usize::from(*b)).sum::<usize>() % 728
}

fn digest(packet: &[u8], at: usize, key: &[u8]) -> [u8; 32] {
    hmac_sha256(key, &[&packet[..at], &packet[at + 32..]].concat())
}

/// C1 with a right digest by the schema of `base` (8 or 772).
fn signed_c1(base: usize, filler: u8) -> Vec<u8> {
    let mut c1: Vec<u8> = (0..1536).map(|i| (i as u8).wrapping_mul(filler)).collect();
    c1[..8].copy_from_slice(&[0, 0, 0, 0, 9, 0, 124, 2]);
    let at = offset(&c1, base);
    let signature = digest(&c1, at, PLAYER);
    c1[at..at + 32].copy_from_slice(&signature);
    c1
}

fn answer_to(c1: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut peer = Peer::new(Limits::default());
    peer.send(&[&[3], c1].concat()).expect("a C1");
    let answer = peer.answers();
    assert_eq!((answer.len(), answer[0]), (3073, 3));
    (answer[1..1537].to_vec(), answer[1537..].to_vec())
}

#[test]
fn a_simple_handshake_is_answered_with_zero_version_and_an_echo() {
    let c1: Vec<u8> = [vec![0, 0, 0, 7, 0, 0, 0, 0], (8..1536).map(|i| i as u8).collect()].concat();
    let (s1, s2) = answer_to(&c1);
    assert_eq!(s1[4..8], [0; 4]);
    assert_eq!(s2, c1);
    let distinct: std::collections::HashSet<&[u8]> = s1[8..].chunks(4).collect();
    assert!(distinct.len() > 370, "the rest is random: {}", distinct.len());
}

#[test]
fn a_digest_handshake_by_either_schema_is_signed_by_the_same_schema() {
    for (base, filler) in [(8, 1), (772, 1), (8, 255), (772, 255), (8, 91), (772, 91)] {
        let c1 = signed_c1(base, filler);
        let (s1, s2) = answer_to(&c1);
        assert_ne!(s1[4..8], [0; 4], "a zero version would say: no digest");
        let at = offset(&s1, base);
        assert_eq!(s1[at..at + 32], digest(&s1, at, SERVER), "S1, schema {base}");
        let c1_digest = &c1[offset(&c1, base)..][..32];
        let key = hmac_sha256(&[SERVER, &TAIL].concat(), c1_digest);
        assert_eq!(s2[1504..], hmac_sha256(&key, &s2[..1504]), "S2, schema {base}");
    }
}

#[test]
fn a_wrong_digest_is_answered_simply() {
    let mut c1 = signed_c1(8, 1);
    c1[1000] ^= 1;
    let (s1, s2) = answer_to(&c1);
    assert_eq!(s1[4..8], [0; 4]);
    assert_eq!(s2, c1);
}

#[test]
fn nothing_is_answered_before_c1_is_whole() {
    let mut peer = Peer::new(Limits::default());
    peer.send(&[3]).unwrap();
    peer.send(&[0; 1535]).unwrap();
    assert!(peer.answers().is_empty());
    peer.send(&[0]).unwrap();
    assert_eq!(peer.answers().len(), 3073);
}

#[test]
fn the_random_bytes_are_those_of_the_caller() {
    let s1 = |entropy| {
        let now = std::time::Duration::ZERO;
        let mut session = roomscribe_rtmp::ServerSession::new(Limits::default(), entropy, now);
        session.receive(&[&[3][..], &[0; 1536]].concat(), now).unwrap();
        session.outbound()[9..1537].to_vec()
    };
    assert_eq!(s1([1; 32]), s1([1; 32]));
    assert_ne!(s1([1; 32]), s1([2; 32]));
}
