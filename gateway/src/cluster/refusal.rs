//! What the API server refuses, in the words of our own requests. Pure.

use crate::sessions::{FieldError, SessionsError};
use kube::core::Status;

/// Fields of a request, which are those of `spec`.
const FIELDS: [&str; 11] = [
    "roomName",
    "livekitRef",
    "desiredState",
    "capture",
    "ingest",
    "speech",
    "speakers",
    "limits",
    "ttlSecondsAfterFinished",
    "worker",
    "replicas",
];

/// The answer to a request that the API server has refused; `what` as in "create sessions".
pub(super) fn explain(status: &Status, what: &str, namespace: &str) -> SessionsError {
    let said = &status.message;
    let unknown = unknown_fields(said);
    let causes = causes(status);
    match status.code {
        400 | 422 if !unknown.is_empty() => SessionsError::Fields(unknown),
        400 | 422 if !causes.is_empty() => SessionsError::Fields(causes),
        400 | 422 => SessionsError::Fields(vec![whole(said)]),
        403 if said.contains("exceeded quota") => SessionsError::TooMany(format!(
            "namespace {namespace} is full: end a session, or have its ResourceQuota raised ({said})"
        )),
        403 if said.contains("is being terminated") => SessionsError::Unavailable(format!(
            "namespace {namespace} is being deleted: whoever runs this installation must make it again, or set GATEWAY_NAMESPACES"
        )),
        403 if said.contains(" cannot ") => SessionsError::Unavailable(format!(
            "the gateway may not {what} in namespace {namespace}: whoever runs this installation must apply gateway/rbac.yaml there"
        )),
        // A policy of the cluster.
        403 => SessionsError::Fields(vec![whole(said)]),
        404 if said.contains("namespaces ") => SessionsError::Unavailable(format!(
            "namespace {namespace} is not there: whoever runs this installation must make it, or set GATEWAY_NAMESPACES"
        )),
        404 => SessionsError::Unavailable(
            "the cluster does not know TranscriptionSessions: whoever runs this installation must apply crds/transcriptionsessions.yaml".into(),
        ),
        _ => SessionsError::Unavailable(format!("the API server refused to {what}: {said}")),
    }
}

fn whole(said: &str) -> FieldError {
    FieldError { pointer: String::new(), detail: said.to_owned() }
}

/// `strict decoding error: unknown field "spec.ingest.colour", unknown field …`.
fn unknown_fields(said: &str) -> Vec<FieldError> {
    let Some((_, list)) = said.split_once("strict decoding error: ") else { return Vec::new() };
    let quoted = list.split("unknown field \"").skip(1).filter_map(|rest| rest.split('"').next());
    let wrong = |field: &str| {
        let path = path(field);
        let name = path.last().cloned().unwrap_or_default();
        FieldError { pointer: pointer(&path), detail: format!("there is no field {name}") }
    };
    quoted.map(wrong).collect()
}

fn causes(status: &Status) -> Vec<FieldError> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let mut wrong: Vec<FieldError> = Vec::new();
    // "some validation rules were not checked because the object was invalid": says nothing to mend.
    for cause in causes.filter(|cause| !cause.message.contains("some validation rules were not checked")) {
        let detail = sentence(&cause.message);
        let field =
            FieldError { pointer: pointer(&precise(path(&cause.field), detail)), detail: detail.to_owned() };
        if !wrong.contains(&field) {
            wrong.push(field);
        }
    }
    wrong
}

/// Without `Invalid value: "object": `: the type of a CEL rule's value is of no use to anyone. Other values are.
fn sentence(message: &str) -> &str {
    let rest = ["object", "string", "integer", "array", "boolean"]
        .iter()
        .find_map(|kind| message.strip_prefix(&format!("Invalid value: \"{kind}\": ")));
    rest.unwrap_or(message)
}

/// Rules of an object begin with the field that they mean: `speech.region: …`, `external.host: …`.
fn precise(path: Vec<String>, detail: &str) -> Vec<String> {
    let Some((begin, _)) = detail.split_once(": ") else { return path };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let words: Vec<String> = begin.split('.').map(str::to_owned).collect();
    if !words.iter().all(|word| is_word(word))
        || words.first().is_none_or(|word| word.starts_with(|c: char| c.is_uppercase()))
    {
        return path;
    }
    if words[0] == "metadata" {
        return words[1..].to_vec();
    }
    if FIELDS.contains(&words[0].as_str()) {
        // The server's own path may go further: a list's index.
        return if path.starts_with(&words) { path } else { words };
    }
    if path.ends_with(&words) { path } else { [path, words].concat() }
}

/// `spec.speech.vocabulary[0].value` as words, without `spec` and `metadata`; `<nil>` is the whole object.
fn path(field: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            words.push(index.to_owned());
            rest = after;
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        words.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    if words.first().is_some_and(|first| matches!(first.as_str(), "spec" | "metadata" | "<nil>")) {
        words.remove(0);
    }
    words
}

/// RFC 6901.
fn pointer(path: &[String]) -> String {
    path.iter().map(|word| format!("/{}", word.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::{StatusCause, StatusDetails};

    fn refused(code: u16, message: &str, causes: &[(&str, &str)]) -> SessionsError {
        let causes = causes.iter().map(|(field, message)| StatusCause {
            reason: "FieldValueInvalid".into(),
            message: (*message).into(),
            field: (*field).into(),
        });
        let mut details: StatusDetails = serde_json::from_str("{}").unwrap();
        details.causes = causes.collect();
        let status = Status { code, message: message.into(), details: Some(details), ..Status::default() };
        explain(&status, "create sessions", "meetings")
    }

    fn fields(error: &SessionsError) -> Vec<(&str, &str)> {
        let SessionsError::Fields(wrong) = error else { return Vec::new() };
        wrong.iter().map(|wrong| (wrong.pointer.as_str(), wrong.detail.as_str())).collect()
    }

    #[test]
    fn causes_become_pointers_to_what_was_sent() {
        for (field, message, pointer, detail) in [
            (
                "spec.ingest",
                "Invalid value: \"object\": external is needed with exposure External, and only then",
                "/ingest",
                "external is needed with exposure External, and only then",
            ),
            (
                "spec.speech",
                "Invalid value: \"object\": speech.region: give a region",
                "/speech/region",
                "speech.region: give a region",
            ),
            (
                "spec.ingest.external.host",
                "Invalid value: \"string\": external.host: give a host name",
                "/ingest/external/host",
                "external.host: give a host name",
            ),
            (
                "spec.ingest",
                "Invalid value: \"object\": sourceRanges: give CIDR ranges",
                "/ingest/sourceRanges",
                "sourceRanges: give CIDR ranges",
            ),
            (
                "<nil>",
                "Invalid value: \"object\": metadata.name: use small letters",
                "/name",
                "metadata.name: use small letters",
            ),
            (
                "spec.speech.vocabulary[3].value",
                "Too long: may not be more than 200 bytes",
                "/speech/vocabulary/3/value",
                "Too long: may not be more than 200 bytes",
            ),
            ("spec.worker.podLabels[a/b]", "Invalid value: 7", "/worker/podLabels/a~1b", "Invalid value: 7"),
            (
                "spec.ingest.exposure",
                "Unsupported value: \"Magic\": supported values: \"LoadBalancer\"",
                "/ingest/exposure",
                "Unsupported value: \"Magic\": supported values: \"LoadBalancer\"",
            ),
        ] {
            assert_eq!(fields(&refused(422, "is invalid", &[(field, message)])), [(pointer, detail)]);
        }
    }

    #[test]
    fn unknown_fields_are_all_named() {
        let said = "TranscriptionSession in version \"v1alpha1\" cannot be handled as a TranscriptionSession: strict decoding error: unknown field \"spec.ingest.colour\", unknown field \"spec.worker.size\"";
        let error = refused(400, said, &[]);
        assert_eq!(
            fields(&error),
            [("/ingest/colour", "there is no field colour"), ("/worker/size", "there is no field size")]
        );
    }

    #[test]
    fn what_the_caller_cannot_mend_says_who_must() {
        for (code, said, expected) in [
            (
                403,
                "transcriptionsessions.roomscribe.io is forbidden: User \"x\" cannot create resource",
                "may not create sessions in namespace meetings: whoever runs this installation must apply gateway/rbac.yaml",
            ),
            (404, "namespaces \"meetings\" not found", "must make it, or set GATEWAY_NAMESPACES"),
            (
                404,
                "the server could not find the requested resource",
                "apply crds/transcriptionsessions.yaml",
            ),
            (
                403,
                "unable to create new content in namespace meetings because it is being terminated",
                "is being deleted",
            ),
            (403, "exceeded quota: sessions", "ResourceQuota raised"),
            (403, "admission webhook \"policy\" denied the request: not on Sundays", "not on Sundays"),
        ] {
            assert!(refused(code, said, &[]).to_string().contains(expected), "{said}");
        }
    }
}
