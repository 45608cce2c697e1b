//! A real livekit-server on loopback, its redis, and people of LiveKit's own client SDK.

use super::both::{LiveKit, PATIENCE, ticket};
use super::packages::{cache, python, scripts};
use super::{KEY, SECRET};
use roomscribe_livekit::{Client, Credentials};
use roomscribe_sims::livekit::{Microphone, Person};
use serde_json::{Value, json};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// As `tests/tools/need.sh` builds it.
const VERSION: &str = "v1.13.5";

/// Ends its processes when dropped, and when the test's thread is killed.
pub(crate) struct Real {
    url: String,
    people: People,
    _server: Child,
    _redis: Child,
    folder: tempfile::TempDir,
}

impl Real {
    /// Starts everything, without an egress worker. Webhooks go to `hook`.
    pub(crate) async fn start(hook: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [http, redis, udp] = [free_port(), free_port(), free_port()];
        let file = folder.path().join("livekit.yaml");
        std::fs::write(&file, settings(http, redis, udp, hook).to_string()).unwrap();
        let redis_port = redis.to_string();
        let redis = ["--port", &redis_port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let redis = spawn(Path::new("redis-server"), &redis, folder.path());
        until_listening(redis_port.parse().unwrap(), folder.path()).await;
        let server = spawn(&binary(), &["--config", file.to_str().unwrap()], folder.path());
        until_listening(http, folder.path()).await;
        let people = People::start(&format!("ws://127.0.0.1:{http}"), folder.path());
        Self { url: format!("http://127.0.0.1:{http}"), people, _server: server, _redis: redis, folder }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", log(self.folder.path()));
        }
    }
}

impl LiveKit for Real {
    fn url(&self) -> String {
        self.url.clone()
    }

    /// With its own deadlines.
    fn client(&self) -> Client {
        let (api_key, api_secret) = (KEY.into(), SECRET.into());
        Client::new(Credentials { url: self.url.clone(), api_key, api_secret }).unwrap()
    }

    async fn join(&mut self, room: &str, person: &Person) {
        let token = ticket(room, person);
        let order = json!({"do": "join", "room": room, "identity": person.identity, "token": token});
        self.people.order(order).await;
        if person.microphone != Microphone::None {
            self.microphone(room, &person.identity, person.microphone).await;
        }
    }

    async fn microphone(&mut self, room: &str, identity: &str, to: Microphone) {
        self.people.order(json!({"do": "microphone", "room": room, "identity": identity, "to": to})).await;
    }

    async fn leave(&mut self, room: &str, identity: &str) {
        self.people.order(json!({"do": "leave", "room": room, "identity": identity})).await;
    }
}

/// JSON is YAML. Everything on loopback; rooms end soon after their people.
fn settings(http: u16, redis: u16, udp: u16, hook: Option<&str>) -> Value {
    let webhook = hook.map(|url| json!({"api_key": KEY, "urls": [url]}));
    json!({
        "port": http,
        "bind_addresses": ["127.0.0.1"],
        "rtc": {
            "tcp_port": 0,
            "udp_port": udp,
            "node_ip": "127.0.0.1",
            "use_external_ip": false,
            "enable_loopback_candidate": true,
            "interfaces": {"includes": ["lo"]},
            "ips": {"includes": ["127.0.0.1/32"]},
        },
        "redis": {"address": format!("127.0.0.1:{redis}")},
        "keys": {KEY: SECRET},
        "room": {"empty_timeout": 5, "departure_timeout": 1},
        "webhook": webhook.unwrap_or_else(|| json!({})),
        "logging": {"level": "info"},
    })
}

fn binary() -> PathBuf {
    let path = cache().join(format!("livekit-server-{VERSION}")).join("livekit-server");
    assert!(path.is_file(), "no livekit-server: run `make livekit`, or tests/tools/need.sh livekit-server");
    path
}

/// Below the range that clients take theirs from; a process is killed with the thread that started it.
fn free_port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 200) as u16 * 50;
    let mut ports = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed));
    let is_free = |port: &u16| {
        let address = ("127.0.0.1", *port);
        std::net::TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok()
    };
    ports.find(is_free).unwrap()
}

fn spawn(program: &Path, arguments: &[&str], folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("setpriv (util-linux) cannot be run: {error}"))
}

fn log(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

async fn until_listening(port: u16, folder: &Path) {
    let connecting = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let connected = tokio::time::timeout(PATIENCE, connecting).await;
    assert!(connected.is_ok(), "nobody listens on {port}: {}", log(folder));
}

/// `participants.py`.
struct People {
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl People {
    fn start(url: &str, folder: &Path) -> Self {
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = Command::new(python());
        command.arg(scripts().join("participants.py")).arg(url).stderr(log);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { _child: child, orders, answers: BufReader::new(answers).lines() }
    }

    async fn order(&mut self, order: Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
        let answer =
            tokio::time::timeout(PATIENCE, self.answers.next_line()).await.expect("no answer").unwrap();
        let answer: Value = serde_json::from_str(&answer.expect("the participants ended")).unwrap();
        // Never the order itself: it holds a token.
        assert_eq!(answer, json!({"did": order["do"]}), "{} of {}", order["do"], order["identity"]);
    }
}
