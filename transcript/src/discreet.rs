//! What a log may show of other people's code, whatever its filter says: spoken words, keys and tokens stay out of it.

use tracing::Level;

/// Libraries that write down what they send and receive, from DEBUG on: URLs with tokens, headers with keys, whole frames.
const TALKATIVE: &[&str] = &[
    "async_nats",
    "axum",
    "h2",
    "hyper",
    "hyper_util",
    "libwebrtc",
    "livekit",
    "livekit_api",
    "reqwest",
    "rustls",
    "tokio_rustls",
    "tokio_tungstenite",
    "tower_http",
    "tungstenite",
];

/// May a line of this target and level be shown? Ours decide for themselves; of others nobody sees TRACE, which dumps what passes
/// through them, and of the talkative ones no DEBUG either.
pub fn may_show(target: &str, level: &Level) -> bool {
    let crate_name = target.split("::").next().unwrap_or_default();
    let most = if crate_name.starts_with("roomscribe") {
        Level::TRACE
    } else if TALKATIVE.contains(&crate_name) {
        Level::INFO
    } else {
        Level::DEBUG
    };
    *level <= most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_through_a_library_is_never_shown() {
        for (target, most) in [
            ("roomscribe_worker::run", Level::TRACE),
            ("roomscribe", Level::TRACE),
            ("tungstenite::protocol", Level::INFO),
            ("hyper_util::client::legacy::pool", Level::INFO),
            ("reqwest", Level::INFO),
            ("mio::poll", Level::DEBUG),
        ] {
            for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                assert_eq!(may_show(target, &level), level <= most, "{target} {level}");
            }
        }
    }
}
