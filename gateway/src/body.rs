//! Request bodies: JSON, bounded, with the wrong field named.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::{FieldError, Problem};

/// Parses a JSON body: 415 for another media type, 400 for what is not JSON, 422 for a wrong or unknown field.
pub(crate) fn parse<T: DeserializeOwned>(headers: &HeaderMap, bytes: &Bytes) -> Result<T, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(Ok("application/json"), |value| value.to_str());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" {
        let detail = "Send the body as Content-Type: application/json.";
        return Err(Problem::new(415, "unsupported-media-type", "Not JSON", detail));
    }
    let reader = &mut serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut *reader).map_err(|error| refuse(&error))?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(parsed)
}

/// The same with defaults laid under what is given: objects field by field, everything else whole; a `null` takes a default
/// away.
pub(crate) fn parse_over<T: DeserializeOwned>(
    defaults: &Map<String, Value>,
    headers: &HeaderMap,
    bytes: &Bytes,
) -> Result<T, Problem> {
    if defaults.is_empty() {
        return parse(headers, bytes);
    }
    let mut given = parse::<Map<String, Value>>(headers, bytes)?;
    lay_under(&mut given, defaults);
    serde_path_to_error::deserialize(Value::Object(given)).map_err(|error| refuse(&error))
}

fn lay_under(given: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (field, default) in defaults {
        match (given.get_mut(field), default) {
            (None, default) => drop(given.insert(field.clone(), default.clone())),
            (Some(Value::Object(given)), Value::Object(default)) => lay_under(given, default),
            (Some(Value::Null), _) => drop(given.remove(field)),
            (Some(_), _) => {}
        }
    }
}

fn refuse(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let inner = error.inner();
    if !inner.is_data() {
        return not_json(inner);
    }
    let message = inner.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(text, _)| text);
    let mut pointer = pointer(error.path());
    // serde names a missing or unknown field only in its message, never in the path.
    let named = ["missing field `", "unknown field `"].iter().find_map(|start| message.strip_prefix(start));
    if let Some((field, _)) = named.and_then(|rest| rest.split_once('`')) {
        let tail = format!("/{}", escape(field));
        if !pointer.ends_with(&tail) {
            pointer.push_str(&tail);
        }
    }
    Problem::fields(vec![FieldError { pointer, detail: message.into() }])
}

fn not_json(error: &serde_json::Error) -> Problem {
    let detail = format!("The body is not JSON: line {}, column {}.", error.line(), error.column());
    Problem::new(400, "invalid-json", "Not JSON", detail)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |mut text, segment| {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => text.push_str(&format!("/{}", escape(key))),
            Segment::Enum { variant } => text.push_str(&format!("/{}", escape(variant))),
            Segment::Unknown => {}
        }
        text
    })
}

/// RFC 6901 §3.
fn escape(field: &str) -> String {
    field.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::CreateSession;

    fn pointer_of(body: &str) -> (u16, String) {
        let problem =
            parse::<CreateSession>(&HeaderMap::new(), &Bytes::copy_from_slice(body.as_bytes())).unwrap_err();
        let json = serde_json::to_value(&problem).unwrap();
        let pointer = json["errors"][0]["pointer"].as_str().unwrap_or("-").to_owned();
        (problem.status, pointer)
    }

    #[test]
    fn the_wrong_field_is_named_by_its_pointer() {
        let table = [
            (r#"{"roomName":"a","colour":1}"#, 422, "/colour"),
            (r#"{"roomName":"a","a/b~c":1}"#, 422, "/a~1b~0c"),
            (r#"{}"#, 422, "/roomName"),
            (r#"{"roomName":7}"#, 422, "/roomName"),
            (r#"{"roomName":"a","capture":{"mode":"Magic"}}"#, 422, "/capture/mode"),
            (
                r#"{"roomName":"a","speech":{"vocabulary":[{"value":"a"},{"pronunciations":[]}]}}"#,
                422,
                "/speech/vocabulary/1/value",
            ),
            (r#"{"roomName":"a","speech":{"partials":"yes"}}"#, 422, "/speech/partials"),
            (r#"{"roomName":"a""#, 400, "-"),
            (r#"{"roomName":"a"} x"#, 400, "-"),
            ("", 400, "-"),
        ];
        for (body, status, pointer) in table {
            assert_eq!(pointer_of(body), (status, pointer.into()), "{body}");
        }
    }

    #[test]
    fn defaults_lie_under_what_is_given() {
        let defaults: Map<String, Value> = serde_json::from_str(
            r#"{"ingest":{"exposure":"External","external":{"port":1}},"ttlSecondsAfterFinished":9}"#,
        )
        .unwrap();
        let parsed = |body: &'static str| {
            parse_over::<CreateSession>(&defaults, &HeaderMap::new(), &Bytes::from_static(body.as_bytes()))
        };
        let given =
            parsed(r#"{"roomName":"a","ingest":{"exposure":"ClusterIP","external":null,"tls":{}}}"#).unwrap();
        assert_eq!(given.ingest, Some(serde_json::json!({"exposure": "ClusterIP", "tls": {}})));
        assert_eq!(given.ttl_seconds_after_finished, Some(9));
        assert_eq!(parsed(r#"{"roomName":"a","colour":1}"#).unwrap_err().status, 422);
        assert_eq!(parsed("[]").unwrap_err().status, 422);
    }

    #[test]
    fn another_media_type_is_415() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
        assert_eq!(parse::<CreateSession>(&headers, &Bytes::from_static(b"{}")).unwrap_err().status, 415);
        headers.insert(header::CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap());
        assert!(parse::<CreateSession>(&headers, &Bytes::from_static(br#"{"roomName":"a"}"#)).is_ok());
    }
}
