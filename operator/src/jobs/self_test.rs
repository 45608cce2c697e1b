//! What an installation needs, checked from where the operator runs: each check is one line that names the mend.

use super::rights;
use crate::api;
use crate::settings::Args;
use kube::api::ListParams;
use kube::{Api, Client};
use roomscribe_crds::TranscriptionSession;
use std::fmt;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// Longest wait for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of NATS' first line at most.
const INFO_BYTES: u64 = 64 << 10;

/// One check: its name, and what was found or what to mend.
type Check = (&'static str, Result<String, String>);

/// What was found.
#[derive(Debug)]
pub struct SelfTest(Vec<Check>);

impl SelfTest {
    /// Every check passed.
    pub fn passed(&self) -> bool {
        self.0.iter().all(|(_, outcome)| outcome.is_ok())
    }
}

impl fmt::Display for SelfTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.0 {
            match outcome {
                Ok(found) => writeln!(f, "ok    {name}: {found}")?,
                Err(mend) => writeln!(f, "FAIL  {name}: {mend}")?,
            }
        }
        Ok(())
    }
}

/// Asks everything that the installation depends on. `namespaces`: one `None` for all.
pub async fn self_test(
    client: &Client,
    namespaces: &[Option<String>],
    args: &Args,
    gateway: &str,
) -> SelfTest {
    let mut checks = Vec::new();
    for namespace in namespaces {
        checks.push(("Kubernetes API", served(client, namespace.as_deref()).await));
        checks.push(("rights", allowed(client, namespace.as_deref()).await));
    }
    if args.has_livekit() {
        checks.push(("LiveKit", livekit(args).await));
    }
    checks.push(("speech service", speech(args).await));
    if args.transcripts.is_nats() {
        checks.push(("NATS", nats(&args.transcripts.nats_url).await));
    }
    if !gateway.trim().is_empty() {
        checks.push(("gateway", ready(gateway).await));
    }
    SelfTest(checks)
}

async fn served(client: &Client, namespace: Option<&str>) -> Result<String, String> {
    let api: Api<TranscriptionSession> = match namespace {
        None => Api::all(client.clone()),
        Some(namespace) => Api::namespaced(client.clone(), namespace),
    };
    let call = async { api.list(&ListParams::default().limit(1)).await };
    match api::bounded("list the sessions", call).await {
        Ok(_) => Ok(format!("TranscriptionSession is served{}", within(namespace))),
        Err(error) if error.is_not_found() => Err(format!(
            "{error}; is the CRD applied? `roomscribe crd | kubectl apply -f -`, or crds.install of the chart"
        )),
        Err(error) => Err(error.to_string()),
    }
}

async fn allowed(client: &Client, namespace: Option<&str>) -> Result<String, String> {
    match rights::missing(client, namespace).await {
        Ok(missing) if missing.is_empty() => {
            Ok(format!("the operator may do all that it does{}", within(namespace)))
        }
        Ok(missing) => Err(format!(
            "not allowed{}: {}; give the operator's ServiceAccount the rules of operator/rbac.yaml",
            within(namespace),
            missing.join(", ")
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn within(namespace: Option<&str>) -> String {
    namespace.map(|name| format!(" in namespace {name}")).unwrap_or_default()
}

async fn livekit(args: &Args) -> Result<String, String> {
    let credentials = roomscribe_livekit::Credentials {
        url: args.livekit_http_url.clone(),
        api_key: args.livekit_api_key.clone(),
        api_secret: args.livekit_api_secret.clone(),
    };
    let client = roomscribe_livekit::Client::new(credentials).map_err(|error| error.to_string())?;
    match client.list_egress(None).await {
        Ok(list) => Ok(format!("{} accepts the API key, {} egresses", args.livekit_http_url, list.len())),
        Err(error) => Err(format!(
            "{error}; check LIVEKIT_HTTP_URL ({}), LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
            args.livekit_http_url
        )),
    }
}

/// Gladia's list of live sessions (facts: `GET /v2/live`) tells a refused key; a server without that list only that it is there.
async fn speech(args: &Args) -> Result<String, String> {
    let url = args.gladia_api_url.trim_end_matches('/');
    let request = http()?.get(format!("{url}/v2/live?limit=1")).header("x-gladia-key", &args.gladia_api_key);
    let status = match request.send().await {
        Ok(answer) => answer.status(),
        Err(error) => return Err(format!("{url} does not answer: {}; check GLADIA_API_URL", root(&error))),
    };
    match status.as_u16() {
        401 | 403 => Err(format!("{url} answered {status}: check GLADIA_API_KEY")),
        500..=599 => Err(format!("{url} answered {status}: it is not well, or GLADIA_API_URL is wrong")),
        _ => Ok(format!("{url} answers")),
    }
}

async fn ready(gateway: &str) -> Result<String, String> {
    let url = format!("{}/readyz", gateway.trim_end_matches('/'));
    match http()?.get(&url).send().await {
        Ok(answer) if answer.status().is_success() => Ok(format!("{url} says it is ready")),
        Ok(answer) => {
            let status = answer.status();
            let said: String = answer.text().await.unwrap_or_default().chars().take(300).collect();
            Err(format!("{url} answered {status}: {}", said.trim()))
        }
        Err(error) => Err(format!("{url} does not answer: {}; check GATEWAY_URL", root(&error))),
    }
}

fn http() -> Result<reqwest::Client, String> {
    let builder = reqwest::Client::builder().connect_timeout(DEADLINE).timeout(DEADLINE);
    builder.build().map_err(|error| error.to_string())
}

/// reqwest's innermost cause: "Connection refused" and the like, without the URL.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The first of the servers that answers. NATS speaks first, also with TLS: one line `INFO {…}`.
async fn nats(urls: &str) -> Result<String, String> {
    let mut failed = Vec::new();
    for url in urls.split(',').map(str::trim).filter(|url| !url.is_empty()) {
        let address = nats_address(url);
        match tokio::time::timeout(DEADLINE, greeting(&address)).await {
            Ok(Ok(line)) => return jetstream(&address, &line),
            Ok(Err(error)) => failed.push(format!("{address}: {error}")),
            Err(_) => failed.push(format!("{address}: no answer in {} s", DEADLINE.as_secs())),
        }
    }
    Err(format!("{}; check NATS_URL", failed.join(", ")))
}

fn nats_address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host.to_owned() } else { format!("{host}:4222") }
}

async fn greeting(address: &str) -> std::io::Result<String> {
    let mut line = String::new();
    let stream = TcpStream::connect(address).await?;
    BufReader::new(stream.take(INFO_BYTES)).read_line(&mut line).await?;
    Ok(line)
}

fn jetstream(address: &str, line: &str) -> Result<String, String> {
    let info =
        line.strip_prefix("INFO ").and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
    match info {
        None => Err(format!("{address} is not NATS; check NATS_URL")),
        Some(info) if info["jetstream"] != true => {
            Err(format!("{address} runs without JetStream: start nats-server with -js"))
        }
        Some(info) => {
            Ok(format!("{address} answers, version {}, JetStream", info["version"].as_str().unwrap_or("?")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nats_server_is_found_by_its_first_line() {
        let said = |line| jetstream("nats:4222", line);
        assert_eq!(
            said("INFO {\"version\":\"2.15.1\",\"jetstream\":true}\r\n"),
            Ok("nats:4222 answers, version 2.15.1, JetStream".into())
        );
        assert!(said("INFO {\"version\":\"2.15.1\"}\r\n").is_err_and(|mend| mend.contains("-js")));
        assert!(said("HTTP/1.1 400 Bad Request\r\n").is_err_and(|mend| mend.contains("NATS_URL")));
    }

    #[test]
    fn a_nats_url_without_port_means_4222() {
        assert_eq!(nats_address("nats://nats.roomscribe"), "nats.roomscribe:4222");
        assert_eq!(nats_address("tls://nats:4443/"), "nats:4443");
        assert_eq!(nats_address("nats"), "nats:4222");
        assert_eq!(nats_address("nats://[::1]:4222"), "[::1]:4222");
    }

    #[test]
    fn one_failed_check_fails_all_and_says_so_first() {
        let tests =
            SelfTest(vec![("gateway", Ok("is ready".into())), ("NATS", Err("check NATS_URL".into()))]);
        assert!(!tests.passed());
        assert_eq!(tests.to_string(), "ok    gateway: is ready\nFAIL  NATS: check NATS_URL\n");
    }
}
