//! One connection per process: made within a bounded wait, kept for ever, and the stream made when it is not there.

use super::settings::NatsSettings;
use crate::log::LogError;
use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Info;
use async_nats::jetstream::{self, Context, ErrorCode, stream::Stream};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, connection::State};
use std::error::Error;
use std::fmt::Display;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long a start waits for NATS.
pub const CONNECT_WAIT: Duration = Duration::from_secs(20);
/// For an answer of NATS; also for an acknowledgement.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// For an answer once the connection is there again: its question may have waited for that.
const LATE_ANSWER_WAIT: Duration = Duration::from_millis(250);
/// Between two attempts at the start, and at most between two attempts to connect again.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Messages of one subscription that wait to be looked at; the next ones are dropped, which is noticed as a gap.
const WAITING_MESSAGES_MAX: usize = 1024;

const LOOK: &str = "check that it runs and can be reached from here";
const START: &str = "start nats-server with -js, and let this account use it";

/// The connection, the names, and what changed under us.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) stream: Stream<()>,
    pub(super) settings: NatsSettings,
    /// Names this process among writers.
    pub(super) writer: String,
    /// Changes whenever messages may have been missed: connected again, or a subscription overflowed.
    pub(super) doubts: watch::Sender<u64>,
}

impl Conn {
    /// Waits this long for NATS.
    pub(super) async fn open(
        settings: NatsSettings,
        writer: String,
        patience: Duration,
    ) -> Result<Self, LogError> {
        let doubts = watch::Sender::new(0);
        let addresses = addresses(&settings)?;
        let options = with_user(options(&settings, doubts.clone()).await?, &addresses);
        let deadline = Instant::now() + patience;
        let client = loop {
            let error = match options.clone().connect(addresses.clone()).await {
                Ok(client) => break client,
                Err(error) => error,
            };
            let refused = matches!(
                error.kind(),
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
            );
            if refused {
                return Err(settings
                    .error(&error, "check the credentials (NATS_CREDS, or user and password in NATS_URL)"));
            }
            if Instant::now() + RETRY_WAIT >= deadline {
                return Err(settings.error(chain(&error), LOOK));
            }
            sleep(RETRY_WAIT).await;
        };
        let context = jetstream::ContextBuilder::new()
            .timeout(ANSWER_WAIT)
            .ack_timeout(ANSWER_WAIT)
            .build(client.clone());
        let stream = ready(&context, &settings, deadline).await?;
        Ok(Self { client, context, stream, settings, writer, doubts })
    }

    /// The log's subject of a session.
    pub(super) fn subject(&self, kind: &str, session: &crate::model::SessionId) -> String {
        format!("{}.{kind}.{session}", self.settings.prefix)
    }

    /// Makes the stream when it is not there.
    pub(super) async fn ensure_stream(&self) -> Result<(), LogError> {
        ensure(&self.context, &self.settings).await.map(drop)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// What `work` gives. An answer that was under way when the connection was lost never comes: it is not waited for.
    pub(super) async fn answered<T>(&self, work: impl Future<Output = T>) -> Result<T, LogError> {
        let mut doubts = self.doubts.subscribe();
        let lost = async {
            let _ = doubts.changed().await;
            sleep(LATE_ANSWER_WAIT).await;
        };
        tokio::select! {
            biased;
            answer = work => Ok(answer),
            () = lost => Err(self.error("the connection was lost")),
        }
    }

    pub(super) fn error(&self, why: impl Display) -> LogError {
        self.settings.error(why, LOOK)
    }
}

impl NatsSettings {
    pub(super) fn error(&self, why: impl Display, mend: &'static str) -> LogError {
        LogError::Nats { url: self.shown_url(), why: why.to_string(), mend }
    }
}

fn addresses(settings: &NatsSettings) -> Result<Vec<ServerAddr>, LogError> {
    let parse = |url: &str| url.trim().parse::<ServerAddr>();
    let given: Result<Vec<_>, _> = settings.url.split(',').map(parse).collect();
    // What it says may quote the URL and so the password.
    given.map_err(|_| settings.error("not a URL of NATS", "give nats://HOST:4222"))
}

/// The library ignores user and password (or a token) in the URL.
fn with_user(options: ConnectOptions, addresses: &[ServerAddr]) -> ConnectOptions {
    let given = |address: &ServerAddr| Some((decoded(address.username()?), address.password().map(decoded)));
    match addresses.iter().find_map(given) {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    }
}

/// Without the URL's %-encoding.
fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = &after[if code.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn options(settings: &NatsSettings, doubts: watch::Sender<u64>) -> Result<ConnectOptions, LogError> {
    let url = settings.shown_url();
    let mut told = false;
    let (say, mut said) = watch::channel(true);
    // Each change of state is logged once, however often a lost server is tried.
    tokio::spawn(async move {
        while said.changed().await.is_ok() {
            let up = *said.borrow_and_update();
            match (up, told) {
                (false, false) => tracing::warn!(
                    url,
                    "the connection to NATS is lost; what is said is kept and stored when it is back"
                ),
                (true, true) => tracing::info!(url, "NATS is back"),
                _ => {}
            }
            told = !up;
        }
    });
    let events = move |event| {
        let up = match event {
            Event::Connected => Some(true),
            Event::Disconnected => Some(false),
            _ => None,
        };
        if let Some(up) = up {
            say.send_replace(up);
        }
        if matches!(event, Event::Connected | Event::SlowConsumer(_)) {
            doubts.send_modify(|count| *count += 1);
        }
        std::future::ready(())
    };
    let options = ConnectOptions::new()
        .name("roomscribe")
        .ping_interval(Duration::from_secs(5))
        .connection_timeout(ANSWER_WAIT)
        .request_timeout(Some(ANSWER_WAIT))
        .subscription_capacity(WAITING_MESSAGES_MAX)
        .reconnect_delay_callback(|attempt| {
            RETRY_WAIT.min(Duration::from_millis(50) * attempt.min(20) as u32)
        })
        .event_callback(events);
    let Some(path) = &settings.creds else { return Ok(options) };
    let mend = "NATS_CREDS must be the path of a credentials file";
    // The reason, never the content.
    options
        .credentials_file(path)
        .await
        .map_err(|error| settings.error(format!("{}: {}", path.display(), error.kind()), mend))
}

async fn ready(
    context: &Context,
    settings: &NatsSettings,
    deadline: Instant,
) -> Result<Stream<()>, LogError> {
    loop {
        let error = match ensure(context, settings).await {
            Ok(_) => break,
            // A server that is still starting has no JetStream yet.
            Err(error @ LogError::Nats { mend, .. }) if mend != LOOK && mend != START => return Err(error),
            Err(error) => error,
        };
        if Instant::now() + RETRY_WAIT >= deadline {
            return Err(error);
        }
        sleep(RETRY_WAIT).await;
    }
    let stream = context.get_stream_no_info(settings.stream_name()).await;
    stream.map_err(|error| settings.error(chain(&error), LOOK))
}

async fn ensure(context: &Context, settings: &NatsSettings) -> Result<Info, LogError> {
    let name = settings.stream_name();
    match context.get_stream(&name).await {
        Ok(stream) => accept(stream.cached_info().clone(), settings),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                create(context, settings).await
            }
            GetStreamErrorKind::JetStream(error) => Err(refused(settings, error.error_code(), &error)),
            // Nobody listens where JetStream's requests go.
            GetStreamErrorKind::Request if no_responders(&error) => Err(without_jetstream(settings)),
            _ => Err(settings.error(chain(&error), LOOK)),
        },
    }
}

async fn create(context: &Context, settings: &NatsSettings) -> Result<Info, LogError> {
    match context.create_stream(settings.stream()).await {
        Ok(stream) => {
            tracing::info!(
                stream = settings.stream_name(),
                replicas = settings.replicas,
                "made the stream of all transcripts"
            );
            accept(stream.cached_info().clone(), settings)
        }
        Err(error) => match error.kind() {
            // Another process was faster, with other settings.
            CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                match context.get_stream(settings.stream_name()).await {
                    Ok(stream) => accept(stream.cached_info().clone(), settings),
                    Err(error) => Err(settings.error(chain(&error), LOOK)),
                }
            }
            CreateStreamErrorKind::JetStream(error) => Err(refused(settings, error.error_code(), &error)),
            _ => Err(settings.error(chain(&error), LOOK)),
        },
    }
}

fn accept(info: Info, settings: &NatsSettings) -> Result<Info, LogError> {
    match settings.lacks(&info.config) {
        None => Ok(info),
        Some(what) => Err(settings.error(
            format!("its stream {} is not as Roomscribe makes it: {what}", settings.stream_name()),
            "mend it with `nats stream edit` (docs/nats.md), or delete it if its transcripts may go",
        )),
    }
}

fn refused(settings: &NatsSettings, code: ErrorCode, error: &dyn Display) -> LogError {
    match code {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            without_jetstream(settings)
        }
        // These pass: an election, a cluster that is still starting.
        ErrorCode::CLUSTER_NOT_AVAILABLE
        | ErrorCode::CLUSTER_NOT_LEADER
        | ErrorCode::INSUFFICIENT_RESOURCES => settings.error(error, LOOK),
        _ => settings.error(error, "check NATS_REPLICAS and the limits of its JetStream account"),
    }
}

fn without_jetstream(settings: &NatsSettings) -> LogError {
    settings.error("JetStream is off", START)
}

fn no_responders(error: &(dyn Error + 'static)) -> bool {
    let said = chain(error);
    said.contains("no responders") || said.contains("requested JetStream resource does not exist")
}

/// An error with what is behind it.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let next = error.to_string();
        if !said.contains(&next) {
            said = format!("{said}: {next}");
        }
        inner = error.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn a_password_of_a_url_is_taken_without_its_encoding() {
        for (encoded, plain) in
            [("plain", "plain"), ("a%40b%3A%25", "a@b:%"), ("50%", "50%"), ("%zz%4", "%zz%4")]
        {
            assert_eq!(decoded(encoded), plain);
        }
    }
}
