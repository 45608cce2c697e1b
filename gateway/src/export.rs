//! `GET …/transcript`: the four renderings, streamed.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roomscribe_transcript::render::{self, Meta};
use roomscribe_transcript::{Head, Offset, Record, SessionId};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::app::Shared;
use crate::auth::Need;
use crate::problem::Problem;
use crate::routes::Key;

/// Records per read of the log.
const BATCH: usize = 256;
/// Bytes per piece of the body.
const PIECE: usize = 32 * 1024;
/// Pieces between the renderer and the connection.
const PIECES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Srt,
    Vtt,
    Txt,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    format: Option<String>,
    /// Show this translation where there is one.
    language: Option<String>,
    #[serde(default)]
    after: u64,
    until: Option<u64>,
}

pub(crate) async fn transcript(
    State(shared): State<Arc<Shared>>,
    Key(key): Key,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let grant = shared.grant(&headers)?;
    let document = shared.find(&grant, Need::Read, &key).await?;
    let Query(asked) =
        asked.map_err(|_| Problem::bad_request("after and until must be offsets: whole numbers from 0."))?;
    let format = Format::choose(asked.format.as_deref(), accept(&headers))?;
    let id = SessionId::parse(&document.id).ok_or_else(Problem::not_found)?;
    let head = shared.log().head(&id).await?;
    let tag = format!("\"{}:{}:{}\"", head.epoch, head.head, format.name());
    if has_tag(&headers, &tag) {
        return Ok(tagged(StatusCode::NOT_MODIFIED.into_response(), &tag));
    }
    let Ok(permit) = Arc::clone(&shared.exports).try_acquire_owned() else {
        shared.metrics.refuse("exports");
        return Err(Problem::too_many("too-many-exports", "Too many exports are at work: try again.", 2));
    };
    let records = read(&shared, &id, &asked, &head).await?;
    let meta = Meta {
        session: document.id,
        epoch: head.epoch,
        head: head.head,
        complete: head.ended,
        language: asked.language,
    };
    let name = format!("inline; filename=\"{}.{}\"", document.name.replace(['"', '\\'], "_"), format.name());
    let patience = shared.config.write_timeout;
    let mut response = stream(format, meta, records, permit, patience).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(tagged(response, &tag))
}

fn tagged(mut response: Response, tag: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.append(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    response
}

/// Whether `If-None-Match` names this tag.
pub(crate) fn has_tag(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

fn accept(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT)?.to_str().ok()
}

/// Up to the head that the tag names: what is appended meanwhile belongs to the next one.
async fn read(
    shared: &Shared,
    id: &SessionId,
    asked: &Asked,
    head: &Head,
) -> Result<Vec<Arc<Record>>, Problem> {
    let until = asked.until.unwrap_or(u64::MAX).min(head.head.0);
    let mut records: Vec<Arc<Record>> = Vec::new();
    let mut after = Offset(asked.after);
    while after.0 < until {
        let batch = shared.log().read(id, after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = last.offset;
        records.extend(batch.into_iter().filter(|record| record.offset.0 <= until));
    }
    Ok(records)
}

/// Renders on a blocking thread, a few pieces ahead of the connection. A reader that takes no piece for `patience` is cut
/// off: it would hold the thread and the permit for ever.
fn stream(
    format: Format,
    meta: Meta,
    records: Vec<Arc<Record>>,
    permit: OwnedSemaphorePermit,
    patience: Duration,
) -> Body {
    let (to, ready) = mpsc::channel(PIECES);
    let pieces = Pieces { to, patience, runtime: Handle::current() };
    tokio::task::spawn_blocking(move || {
        let _held_until_done = permit;
        let mut out = io::BufWriter::with_capacity(PIECE, pieces);
        let rendered = format.write(&meta, &records, &mut out).and_then(|()| out.flush());
        // A body that simply ended would look whole.
        if let Err(error) = rendered {
            tracing::debug!(%error, "an export was not taken to its end");
            let (pieces, _) = out.into_parts();
            drop(pieces.to.try_send(Err(error)));
        }
    });
    Body::from_stream(futures_util::stream::unfold(ready, async |mut ready| {
        ready.recv().await.map(|piece| (piece, ready))
    }))
}

struct Pieces {
    to: mpsc::Sender<io::Result<Bytes>>,
    patience: Duration,
    runtime: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sending = self.to.send_timeout(Ok(Bytes::copy_from_slice(bytes)), self.patience);
        match self.runtime.block_on(sending) {
            Ok(()) => Ok(bytes.len()),
            Err(SendTimeoutError::Timeout(_)) => Err(io::ErrorKind::TimedOut.into()),
            Err(SendTimeoutError::Closed(_)) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Format {
    const ALL: [Self; 4] = [Self::Json, Self::Srt, Self::Vtt, Self::Txt];

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Txt => "txt",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Srt => "application/x-subrip; charset=utf-8",
            Self::Vtt => "text/vtt; charset=utf-8",
            Self::Txt => "text/plain; charset=utf-8",
        }
    }

    /// `format=` wins; then the best of `Accept`; JSON when neither says anything.
    fn choose(asked: Option<&str>, accept: Option<&str>) -> Result<Self, Problem> {
        if let Some(asked) = asked {
            let found = Self::ALL.into_iter().find(|format| format.name() == asked);
            return found.ok_or_else(|| Problem::bad_request("format must be json, srt, vtt or txt."));
        }
        let Some(accept) = accept else { return Ok(Self::Json) };
        let mut ranges: Vec<_> = accept.split(',').map(range).filter(|(_, q)| *q > 0).collect();
        ranges.sort_by_key(|(_, q)| std::cmp::Reverse(*q));
        let found =
            ranges.iter().find_map(|(range, _)| Self::ALL.into_iter().find(|format| format.fits(range)));
        found.ok_or_else(|| {
            let detail = "Accept must allow application/json, application/x-subrip, text/vtt or text/plain.";
            Problem::new(406, "not-acceptable", "Not acceptable", detail)
        })
    }

    fn fits(self, range: &str) -> bool {
        let own = self.media_type().split(';').next().unwrap_or_default();
        // text/* means plain text: captions are asked for by name.
        range == own
            || range == "*/*"
            || (range == "application/*" && self == Self::Json)
            || (range == "text/*" && self == Self::Txt)
    }

    fn write(self, meta: &Meta, records: &[Arc<Record>], out: &mut impl Write) -> io::Result<()> {
        let records = records.iter().map(Arc::as_ref);
        match self {
            Self::Json => render::write_json(meta, records, out),
            Self::Srt => render::write_srt(meta, records, out),
            Self::Vtt => render::write_vtt(meta, records, out),
            Self::Txt => render::write_txt(meta, records, out),
        }
    }
}

/// A media range in lower case, and its weight in thousandths.
fn range(text: &str) -> (String, u16) {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok());
    (range, weight.map_or(1000, |q| (q.clamp(0.0, 1.0) * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_comes_from_the_query_then_from_accept() {
        let table = [
            (None, None, Ok(Format::Json)),
            (Some("srt"), Some("text/vtt"), Ok(Format::Srt)),
            (Some("pdf"), None, Err(400)),
            (None, Some("text/vtt"), Ok(Format::Vtt)),
            (None, Some("text/plain;q=0.4, text/vtt;q=0.8"), Ok(Format::Vtt)),
            (None, Some("application/x-subrip, */*;q=0.1"), Ok(Format::Srt)),
            (None, Some("text/html,application/xhtml+xml,*/*;q=0.8"), Ok(Format::Json)),
            (None, Some("text/*"), Ok(Format::Txt)),
            (None, Some("image/png"), Err(406)),
            (None, Some("application/json;q=0"), Err(406)),
        ];
        for (asked, accept, expected) in table {
            let chosen = Format::choose(asked, accept).map_err(|problem| problem.status);
            assert_eq!(chosen, expected, "{asked:?} {accept:?}");
        }
    }
}
