//! `export`: a transcript as a file.

use super::{Client, segment};
use crate::cli::{Export, ExportFormat};
use crate::exit::Failure;
use futures_util::StreamExt;
use reqwest::Method;
use std::io::Write;

/// Streams the transcript to a file or standard output.
pub(crate) async fn export(args: Export) -> Result<(), Failure> {
    let client = Client::new(&args.gateway)?;
    let format = match args.format {
        ExportFormat::Json => "json",
        ExportFormat::Srt => "srt",
        ExportFormat::Vtt => "vtt",
        ExportFormat::Txt => "txt",
    };
    let path = format!("/v1/sessions/{}/transcript?format={format}", segment(&args.session));
    let mut chunks = client.send(client.request(Method::GET, &path)).await?.bytes_stream();
    let mut output: Box<dyn Write> = match &args.output {
        None => Box::new(std::io::stdout().lock()),
        Some(path) => Box::new(std::fs::File::create(path).map_err(|error| unwritable(path, error))?),
    };
    let name = args.output.unwrap_or_else(|| "standard output".into());
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| Failure::unavailable("the gateway broke off; run the command again"))?;
        output.write_all(&chunk).map_err(|error| unwritable(&name, error))?;
    }
    output.flush().map_err(|error| unwritable(&name, error))
}

fn unwritable(path: &std::path::Path, error: std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Failure::nobody_listens();
    }
    Failure::unavailable(format_args!("cannot write {}: {error}", path.display()))
}
