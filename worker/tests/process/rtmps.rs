//! RTMPS: real publishers over TLS, and whoever else comes to the port.

use crate::stage::{PATIENCE, Speech, Stage, Worker};
use crate::tones::{check_within, encode, numbers};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// KiB. The program alone has about 30 MiB in a debug build.
const BOUNDED: u64 = 160 * 1024;
/// Seconds of tones that are published, and the number of tones in them.
const SECONDS: f64 = 6.0;
const TONES: [u32; 4] = [0, 1, 2, 3];
/// First bytes of a ClientHello.
const HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

/// A stage whose RTMP port speaks TLS.
struct Secured {
    stage: Stage,
    certificate: CertificateDer<'static>,
}

impl Secured {
    fn new(speech_url: &str) -> Self {
        let mut stage = Stage::new(speech_url);
        let certificate = write_pair(&stage);
        let [cert, key] = paths(&stage).map(|path| path.display().to_string());
        stage.flags =
            ["--tls-cert", &cert, "--tls-key", &key, "--tls-renewal-seconds", "1"].map(str::to_owned).into();
        Self { stage, certificate }
    }

    fn url(&self) -> String {
        self.stage.url(1).replace("rtmp://127.0.0.1", "rtmps://localhost")
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.stage.rtmp)).await.unwrap()
    }

    /// A publisher's TLS, up to the end of its handshake.
    async fn connect(
        &self,
        trusted: Option<&CertificateDer<'static>>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        trusted.iter().for_each(|certificate| roots.add((*certificate).clone()).unwrap());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.socket().await).await
    }
}

fn paths(stage: &Stage) -> [PathBuf; 2] {
    ["tls.crt", "tls.key"].map(|name| stage.dir.path().join(name))
}

/// A new pair for `localhost`, as its files; the certificate.
fn write_pair(stage: &Stage) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, key] = paths(stage);
    std::fs::write(cert, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

fn tones(stage: &Stage) -> String {
    let file = stage.dir.path().join("tones.aac");
    std::fs::write(&file, encode(SECONDS)).unwrap();
    file.display().to_string()
}

fn spawn(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().unwrap_or_else(|error| panic!("{program} is missing ({error}): install it"))
}

fn ffmpeg(secured: &Secured) -> Child {
    let (input, url) = (tones(&secured.stage), secured.url());
    spawn("ffmpeg", &["-nostdin", "-v", "error", "-re", "-i", &input, "-c", "copy", "-f", "flv", &url])
}

async fn refused(worker: &Worker, reason: &str) -> u64 {
    worker.metric(&format!("roomscribe_worker_rtmp_refused_total{{reason=\"{reason}\"}}")).await
}

/// Everything that was said is in the log, once and at its time.
async fn assert_all_heard(secured: &Secured, mut worker: Worker, mut publisher: Child) {
    let ended = timeout(PATIENCE, publisher.wait()).await.expect("the publisher does not end").unwrap();
    assert!(ended.success(), "{ended}; {}", secured.stage.stderr());
    worker.until_status(|status| status["publisher"].is_null()).await;
    let status = worker.status().await;
    assert!(status["mediaMs"].as_f64().unwrap() >= SECONDS * 1000.0 - 100.0, "{status}");
    worker.signal("TERM").await;
    assert_eq!(worker.ended().await.code(), Some(0), "{}", secured.stage.stderr());
    assert_eq!(numbers(&secured.stage.events()), TONES);
    check_within(&secured.stage.events(), &[], SECONDS, 50.0);
}

#[tokio::test]
async fn ffmpeg_publishes_over_tls_and_every_word_arrives() {
    let speech = Speech::start(json!({}));
    let secured = Secured::new(&speech.url());
    let worker = secured.stage.worker().await;
    let publisher = ffmpeg(&secured);
    assert_all_heard(&secured, worker, publisher).await;
}

#[tokio::test]
async fn rtmp2sink_publishes_over_tls_and_every_word_arrives() {
    let speech = Speech::start(json!({}));
    let secured = Secured::new(&speech.url());
    let worker = secured.stage.worker().await;
    let (input, url) = (format!("location={}", tones(&secured.stage)), format!("location={}", secured.url()));
    let pipeline =
        ["filesrc", &input, "!", "aacparse", "!", "flvmux", "streamable=true", "!", "rtmp2sink", &url];
    let publisher =
        spawn("gst-launch-1.0", &[&["-q", "-e"], &pipeline[..], &["tls-validation-flags=0"]].concat());
    assert_all_heard(&secured, worker, publisher).await;
}

#[tokio::test]
async fn six_hundred_strangers_at_the_tls_port_keep_no_publisher_out_and_cost_bounded_memory_and_log() {
    let speech = Speech::start(json!({}));
    let mut secured = Secured::new(&speech.url());
    secured.stage.log = "info";
    let worker = secured.stage.worker().await;
    let (mut held, mut shaken) = (Vec::new(), Vec::new());
    for number in 0..600 {
        // Half a greeting; a whole handshake and nothing after it; another protocol; plain RTMP.
        if number % 4 == 1 {
            shaken.push(secured.connect(Some(&secured.certificate)).await.unwrap());
            continue;
        }
        let mut socket = secured.socket().await;
        let said: &[u8] = [HELLO, b"", b"GET / HTTP/1.1\r\n\r\n", b"\x03plain"][number % 4];
        socket.write_all(said).await.unwrap();
        held.push(socket);
    }
    let publisher = ffmpeg(&secured);
    assert!(worker.metric("roomscribe_worker_rtmp_open_connections").await <= 512);
    secured.stage.until_events(|events| numbers(events).contains(&0)).await;
    worker.until(|| async { worker.metric("roomscribe_worker_rtmp_open_connections").await == 1 }).await;
    assert!(worker.memory("VmHWM:") < BOUNDED, "{} KiB", worker.memory("VmHWM:"));
    let lines = secured.stage.stderr().lines().count();
    assert!(lines < 60, "{lines} lines of log for 600 strangers");
    drop((held, shaken));
    assert_all_heard(&secured, worker, publisher).await;
}

#[tokio::test]
async fn a_tls_handshake_of_one_byte_a_second_is_closed_by_its_deadline_and_told() {
    let mut secured = Secured::new("http://127.0.0.1:1");
    secured.stage.log = "info";
    let worker = secured.stage.worker().await;
    let (mut reader, mut writer) = secured.socket().await.into_split();
    let dripping = async {
        for byte in HELLO {
            writer.write_all(&[*byte]).await.unwrap_or_default();
            sleep(Duration::from_secs(1)).await;
        }
        panic!("it may drip for ever");
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = dripping => {}
        _ = reader.read_to_end(&mut answer) => {}
    }
    worker.until(|| async { refused(&worker, "tls_handshake_timeout").await == 1 }).await;
    worker.until(|| async { worker.metric("roomscribe_worker_rtmp_open_connections").await == 0 }).await;
    assert!(secured.stage.stderr().contains("the TLS handshake did not end in time"));
}

#[tokio::test]
async fn what_is_not_tls_and_who_does_not_trust_us_is_told_with_its_mend_and_hurts_nobody() {
    let speech = Speech::start(json!({}));
    let secured = Secured::new(&speech.url());
    let worker = secured.stage.worker().await;
    // First, while the log's budget for strangers lasts.
    assert!(secured.connect(None).await.is_err(), "an unknown issuer");
    worker.until(|| async { refused(&worker, "tls_distrusted").await == 1 }).await;
    let mut random = fastrand::Rng::with_seed(1);
    let greetings = [b"\x03plain RTMP".to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()];
    let garbage = (0..40).map(|_| [HELLO, &std::array::from_fn::<u8, 600, _>(|_| random.u8(..))].concat());
    for greeting in greetings.into_iter().chain(garbage) {
        let mut socket = secured.socket().await;
        socket.write_all(&greeting).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("it is kept");
    }
    assert_eq!((refused(&worker, "plain_rtmp").await, refused(&worker, "tls_error").await), (1, 41));
    worker.until(|| async { worker.metric("roomscribe_worker_rtmp_open_connections").await == 0 }).await;
    let log = secured.stage.stderr();
    for mend in ["the publisher must use rtmps://", "does not trust the certificate of TLS_CERT", "RTMP_HOST"]
    {
        assert!(log.contains(mend), "{mend}: {log}");
    }
    let publisher = ffmpeg(&secured);
    assert_all_heard(&secured, worker, publisher).await;
}

#[tokio::test]
async fn tls_at_the_plain_port_is_told_with_its_mend() {
    let mut secured = Secured::new("http://127.0.0.1:1");
    secured.stage.flags.clear();
    let worker = secured.stage.worker().await;
    assert!(secured.connect(Some(&secured.certificate)).await.is_err());
    worker.until(|| async { refused(&worker, "wrong_version").await == 1 }).await;
    let log = secured.stage.stderr();
    assert!(log.contains("this looks like TLS: use rtmp://"), "{log}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_bad_one_is_told_once() {
    let speech = Speech::start(json!({}));
    let secured = Secured::new(&speech.url());
    let worker = secured.stage.worker().await;
    let publisher = ffmpeg(&secured);
    worker.until_status(|status| status["publisher"]["attempt"] == 1).await;
    let [_, key] = paths(&secured.stage);
    std::fs::write(&key, "half a copy").unwrap();
    let told = || secured.stage.stderr().matches("the new TLS files cannot be used").count();
    worker.until(|| async { told() == 1 }).await;
    assert!(secured.connect(Some(&secured.certificate)).await.is_ok(), "the old one went away");
    let renewed = write_pair(&secured.stage);
    worker.until(|| async { secured.connect(Some(&renewed)).await.is_ok() }).await;
    assert_eq!(told(), 1);
    assert!(secured.connect(Some(&secured.certificate)).await.is_err(), "the old one is still shown");
    assert_all_heard(&secured, worker, publisher).await;
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_ends_with_64_and_names_its_setting() {
    let secured = Secured::new("http://127.0.0.1:1");
    let [cert, key] = paths(&secured.stage);
    let cases = [
        (Some(cert.clone()), None, "TLS_KEY: is not set"),
        (None, Some(key.clone()), "TLS_CERT: is not set"),
        (Some(key.clone()), Some(key.clone()), "TLS_CERT: "),
        (Some(cert.clone()), Some(cert.clone()), "TLS_KEY: "),
        (Some("/nowhere".into()), Some(key), "TLS_CERT: /nowhere cannot be read"),
    ];
    let mut stage = secured.stage;
    stage.flags.clear();
    for (cert, key, named) in cases {
        let mut command = stage.command();
        command.arg("--session").arg(stage.session_file(1)).stderr(Stdio::piped());
        command.envs(cert.map(|path| ("TLS_CERT", path))).envs(key.map(|path| ("TLS_KEY", path)));
        let output = command.output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(named) && said.lines().count() == 1, "{named}: {said}");
    }
}
