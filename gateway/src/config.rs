//! What the gateway is told at start.

pub use crate::auth::KeySet;
use std::fmt;
use std::time::Duration;

/// A secret setting: never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who may do what.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Everybody may do everything: for a listener on loopback only ([`crate::Gateway::serve`] refuses any other), and
    /// only for requests whose `Host` is loopback too (a foreign page must not reach it by DNS rebinding).
    Open,
    /// A bearer token is needed.
    Required {
        /// `ROOMSCRIBE_API_KEY`: backends; every scope. Several allow rotation.
        api_keys: Vec<Secret>,
        /// `ROOMSCRIBE_JWT_SECRET`: HS256 key of viewers' tokens.
        jwt_secret: Option<Secret>,
    },
}

/// How much the gateway takes on. Each limit answers 429, or closes a socket with 4429.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Viewers of this process.
    pub viewers: usize,
    /// Viewers from one IP address (behind a proxy all share one).
    pub viewers_per_ip: usize,
    /// Viewers of one session.
    pub viewers_per_session: usize,
    /// Viewers with one API key, or with tokens of one `sub`; tickets count for whoever asked for them.
    pub viewers_per_token: usize,
    /// WebSocket handshakes per second.
    pub handshakes_per_second: u32,
    /// Bytes of frames that the watched sessions may hold together; at it, no further session can be watched.
    pub held_bytes: usize,
    /// TCP connections of this process that are not viewers; further ones are closed at once.
    pub http_connections: usize,
    /// Bytes that a viewer may be behind before it is closed with 4408.
    pub viewer_backlog_bytes: usize,
    /// Frames that a viewer may send per second.
    pub frames_per_second: u32,
    /// Bytes of one frame from a viewer.
    pub frame_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Idempotency keys remembered.
    pub idempotency_keys: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// Exports rendered at the same time; each holds one transcript in memory.
    pub exports: usize,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            viewers: 20_000,
            viewers_per_ip: 2_000,
            viewers_per_session: 10_000,
            viewers_per_token: 10_000,
            handshakes_per_second: 2_000,
            held_bytes: 512 * 1024 * 1024,
            http_connections: 1_024,
            viewer_backlog_bytes: 256 * 1024,
            frames_per_second: 10,
            frame_bytes: 16 * 1024,
            body_bytes: 64 * 1024,
            idempotency_keys: 10_000,
            idempotency_ttl: Duration::from_secs(24 * 3600),
            exports: 8,
        }
    }
}

/// Settings of one gateway.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who may do what; no default, so that an open gateway is somebody's decision.
    pub auth: Auth,
    /// `ROOMSCRIBE_JWKS_URL`: keys of others who sign viewers' tokens; whoever fetches them holds a clone.
    pub jwks: Option<KeySet>,
    /// `ALLOWED_ORIGINS`: `https://app.example.com`, or `https://*.example.com` for its subdomains. The gateway's own
    /// origin is always allowed.
    pub allowed_origins: Vec<String>,
    /// `PUBLIC_URL`: makes links absolute; its host is allowed in open mode.
    pub public_url: Option<String>,
    /// Laid under the body of `POST /v1/sessions`: fields of the contract's spec.
    pub session_defaults: serde_json::Map<String, serde_json::Value>,
    /// Limits.
    pub limits: GatewayLimits,
    /// `hello.server`, e.g. `roomscribe/0.1.0`.
    pub server_name: String,
    /// Interval of WebSocket pings and of heartbeats when idle; below the 60 s of common proxies.
    pub ping: Duration,
    /// How long a session stays subscribed after its last viewer.
    pub linger: Duration,
    /// How long `/readyz` fails at shutdown before anything is closed: whoever spreads connections learns it meanwhile.
    pub settle: Duration,
    /// Over how long viewers are sent away (1001) at shutdown; each at its own random moment.
    pub drain: Duration,
    /// How long a write to a viewer, or one piece of an export, may take.
    pub write_timeout: Duration,
    /// How long a request's head may take, and how long a connection may rest between requests.
    pub head_timeout: Duration,
    /// How long a request's body and its answer may take together; what is streamed afterwards is not counted.
    pub request_timeout: Duration,
    /// How long a viewer without a token may take to send one.
    pub auth_timeout: Duration,
    /// Take `?access_token=`; off because URLs land in logs (tickets are the better way).
    pub access_token_in_url: bool,
}

impl Config {
    /// The defaults, with the one setting that has none.
    pub fn new(auth: Auth) -> Self {
        Self {
            auth,
            jwks: None,
            allowed_origins: Vec::new(),
            public_url: None,
            session_defaults: serde_json::Map::new(),
            limits: GatewayLimits::default(),
            server_name: concat!("roomscribe/", env!("CARGO_PKG_VERSION")).into(),
            ping: Duration::from_secs(20),
            linger: Duration::from_secs(30),
            settle: Duration::ZERO,
            drain: Duration::from_secs(5),
            write_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            auth_timeout: Duration::from_secs(5),
            access_token_in_url: false,
        }
    }
}
