//! `GET /v2/live` without a token, and reading files in pieces.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::problem::Problem;
use crate::server::Server;
use crate::store::Entry;

const LIMIT: usize = 20;
const LIMIT_MOST: usize = 100;
const PIECE: usize = 64 * 1024;

/// The page of sessions that `query` asks for, newest first.
///
/// # Errors
/// 400 naming the parameter.
pub(crate) fn list(server: &Server, query: &[(String, String)]) -> Result<Json<Value>, Problem> {
    let offset = number(query, "offset", 0)?;
    let limit = number(query, "limit", LIMIT)?.clamp(1, LIMIT_MOST);
    let metadata = match value(query, "custom_metadata").map(serde_json::from_str::<Value>) {
        None => None,
        Some(Ok(wanted)) => Some(wanted),
        Some(Err(_)) => return Err(bad("custom_metadata", "must be a JSON object")),
    };
    let matching: Vec<_> = server
        .store
        .all()
        .into_iter()
        .filter(|e| fits_status(e, query) && fits_dates(e, query) && fits_metadata(e, metadata.as_ref()))
        .collect();
    let items: Vec<_> = matching.iter().skip(offset).take(limit).map(|e| e.json()).collect();
    let page = |offset: usize| format!("/v2/live?offset={offset}&limit={limit}");
    let after = offset.saturating_add(limit);
    let next = (after < matching.len()).then(|| page(after));
    Ok(Json(json!({"first": page(0), "current": page(offset), "next": next, "items": items})))
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
}

fn number(query: &[(String, String)], name: &str, default: usize) -> Result<usize, Problem> {
    value(query, name).map_or(Ok(default), |v| v.parse().map_err(|_| bad(name, "must be a whole number")))
}

fn bad(name: &str, must: &str) -> Problem {
    Problem::new(400, "/v2/live", "Invalid parameter(s).")
        .with_errors(vec![format!("Query \"{name}\" {must}")])
}

/// `status=done&status=error`, also spelled `status[]` and with commas.
fn fits_status(entry: &Arc<Entry>, query: &[(String, String)]) -> bool {
    let mut asked = query.iter().filter(|(k, _)| k == "status" || k == "status[]").peekable();
    let status = entry.status().name();
    asked.peek().is_none() || asked.any(|(_, v)| v.split(',').any(|s| s == status))
}

/// RFC 3339 in UTC sorts as text; a date alone is its first ten characters.
fn fits_dates(entry: &Arc<Entry>, query: &[(String, String)]) -> bool {
    let created = entry.created_at.as_str();
    value(query, "date").is_none_or(|d| created.get(..10) == d.get(..10))
        && value(query, "before_date").is_none_or(|d| created < d)
        && value(query, "after_date").is_none_or(|d| created > d)
}

fn fits_metadata(entry: &Arc<Entry>, wanted: Option<&Value>) -> bool {
    let Some(wanted) = wanted.and_then(Value::as_object) else { return true };
    let has = entry.request.custom_metadata.as_ref();
    wanted.iter().all(|(k, v)| has.and_then(|m| m.get(k)) == Some(v))
}

/// `head`, then the file, in pieces.
pub(crate) fn chunks(head: Bytes, file: tokio::fs::File) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::unfold((Some(head), file), |(head, mut file)| async move {
        if let Some(head) = head {
            return Some((Ok(head), (None, file)));
        }
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok(piece.into()), (None, file)))
            }
            Err(e) => Some((Err(e), (None, file))),
        }
    })
}
