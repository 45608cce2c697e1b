//! One HTTP/1.1 request over loopback: enough to start sessions and to read a status.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// `POST` of JSON; the answer's JSON.
pub fn post(port: u16, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    exchange(port, "POST", path, &head, &body)
}

/// `GET` of JSON.
pub fn get(port: u16, path: &str) -> Result<Value> {
    exchange(port, "GET", path, "", "")
}

fn exchange(port: u16, method: &str, path: &str, head: &str, body: &str) -> Result<Value> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n{head}\r\n{body}"
    );
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    ensure!(status.starts_with('2'), "{method} {path}: {status} {body}");
    serde_json::from_str(body).with_context(|| format!("{method} {path}: the answer is not JSON"))
}
