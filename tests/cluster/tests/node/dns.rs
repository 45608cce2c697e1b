//! One question to a name server, by hand: what asks it is this test, not a library that would look elsewhere too.

use anyhow::{Context, ensure};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::UdpSocket;

const ID: [u8; 2] = [0x52, 0x73];

/// The first IPv4 address of a name (RFC 1035 §4).
pub(crate) async fn ask(server: Ipv4Addr, name: &str) -> anyhow::Result<Ipv4Addr> {
    let mut question = ID.to_vec();
    question.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        question.push(u8::try_from(label.len())?);
        question.extend(label.bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect((server, 53)).await?;
    socket.send(&question).await?;
    let mut answer = [0; 512];
    let length = tokio::time::timeout(Duration::from_secs(3), socket.recv(&mut answer)).await??;
    address(&answer[..length], question.len())
}

/// A record: name (a pointer, or the labels again), type, class, ttl, length; the name's length is told by the first byte.
fn address(answer: &[u8], question: usize) -> anyhow::Result<Ipv4Addr> {
    ensure!(answer.len() > question && answer[..2] == ID, "no answer to this question");
    ensure!(answer[6..8] != [0, 0], "no such name");
    let record = &answer[question..];
    let name = if record[0] & 0xc0 == 0xc0 { 2 } else { question - 16 };
    let data = record.get(name + 10..name + 14).context("a cut record")?;
    Ok(Ipv4Addr::new(data[0], data[1], data[2], data[3]))
}
