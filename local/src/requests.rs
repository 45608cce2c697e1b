//! Requests for sessions: what this installation can do, and what cannot be meant.

use roomscribe_crds::names;
use roomscribe_gateway::sessions::{CaptureMode, CreateSession, FieldError, SessionsError};

/// What the types alone do not say.
pub(crate) fn check(request: &CreateSession, has_livekit: bool) -> Result<(), SessionsError> {
    let invalid = |pointer: &str, detail: &str| {
        Err(SessionsError::Invalid { pointer: pointer.into(), detail: detail.into() })
    };
    if request.room_name.trim().is_empty() || request.room_name.len() > 256 {
        return invalid("/roomName", "must have 1 to 256 bytes");
    }
    if request.name.as_deref().is_some_and(|name| !names::is_label(name)) {
        return invalid(
            "/name",
            "must be a DNS label: a-z, 0-9 and -, at most 40, beginning and ending with a letter or digit",
        );
    }
    if !(10..=10_000).contains(&request.speech.endpointing_milliseconds) {
        return invalid("/speech/endpointingMilliseconds", "must be from 10 to 10000");
    }
    let code =
        |code: &String| matches!(code.len(), 2 | 3) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if let Some(index) = request.speech.languages.iter().position(|language| !code(language)) {
        return invalid(&format!("/speech/languages/{index}"), "must be an ISO 639-1 code such as en");
    }
    if let Some(index) = request.speech.translate_to.iter().position(|language| !code(language)) {
        return invalid(&format!("/speech/translateTo/{index}"), "must be an ISO 639-1 code such as en");
    }
    let beyond = request.for_clusters_only();
    if !beyond.is_empty() {
        let detail = |pointer: &str| {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            format!(
                "{field} is for installations on Kubernetes: leave it out, serve has its settings in .env"
            )
        };
        let wrong =
            beyond.into_iter().map(|pointer| FieldError { pointer: pointer.into(), detail: detail(pointer) });
        return Err(SessionsError::Fields(wrong.collect()));
    }
    match request.capture.mode {
        CaptureMode::Push => Ok(()),
        CaptureMode::TrackEgress => Err(SessionsError::Unsupported(
            "capture.mode TrackEgress is not there yet: use Auto, RoomComposite or Push".into(),
        )),
        CaptureMode::Auto | CaptureMode::RoomComposite if has_livekit => Ok(()),
        CaptureMode::Auto | CaptureMode::RoomComposite => Err(SessionsError::Unsupported(
            "this installation has no LiveKit: set LIVEKIT_HTTP_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET and restart, or use capture.mode Push (roomscribe start NAME --capture push)"
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_only_a_cluster_knows_is_refused_by_name() {
        let request = json!({"roomName": "a", "worker": {}, "speech": {"region": "eu-west"}, "capture": {"mode": "Push"}});
        let request: CreateSession = serde_json::from_value(request).unwrap();
        let Err(SessionsError::Fields(wrong)) = check(&request, true) else { panic!("accepted") };
        let pointers: Vec<_> = wrong.iter().map(|wrong| wrong.pointer.as_str()).collect();
        assert_eq!(pointers, ["/worker", "/speech/region"]);
        assert!(wrong[1].detail.starts_with("speech.region is for installations on Kubernetes"));
    }
}
