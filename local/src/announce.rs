//! What `serve` says when it is up: where everything is, what to do next, and what will not work.

use crate::exit::Failure;
use crate::serve::{leads_nowhere, rtmp_scheme};
use crate::settings::{Settings, SpeechSettings};
use crate::terminal::print;
use crate::values::url_host;
use roomscribe_plan::address::{is_unspecified, only_this_machine};
use std::net::SocketAddr;

/// On standard output; what needs mending goes to standard error. `rtmp` is `HOST:PORT` of the RTMP URLs.
pub(crate) fn announce(settings: &Settings, http: SocketAddr, rtmp: &str) -> Result<(), Failure> {
    let speech = match &settings.speech {
        SpeechSettings::Embedded => "on this machine (English)".to_owned(),
        SpeechSettings::Remote { url, .. } => url.clone(),
    };
    let own = format!("http://{}:{}", url_host(http.ip()), http.port());
    let page = settings.public_url.clone().unwrap_or_else(|| own.clone());
    print(format_args!("page       {page}/"))?;
    print(format_args!("{:<10} {}", rtmp_scheme(settings), rtmp))?;
    if let Some(livekit) = &settings.livekit {
        print(format_args!("livekit    {}", livekit.url()))?;
    }
    print(format_args!("speech     {speech}"))?;
    print(format_args!("data       {}", settings.data_dir.display()))?;
    let capture = if settings.livekit.is_some() { "" } else { " --capture push" };
    let client = client_settings(settings, &own);
    print(format_args!("next       {client}roomscribe start my-room{capture}"))?;
    let host = rtmp.rsplit_once(':').map_or("", |(host, _)| host);
    if let Some(trouble) = rtmp_trouble(settings, host) {
        eprintln!("{trouble}");
    }
    Ok(())
}

/// What is wrong with the address in the RTMP URLs, and what to set.
fn rtmp_trouble(settings: &Settings, host: &str) -> Option<String> {
    let missing = settings.rtmp_host.is_none();
    let lost =
        if settings.livekit.is_some() { "; rooms are not captured until then (AddressLoopback)" } else { "" };
    if is_unspecified(host) {
        return Some(format!(
            "RTMP_HOST: {host} is an address to listen on (RTMP_LISTEN), not one to publish to: set it to a name or address of this machine that publishers reach{lost}"
        ));
    }
    if leads_nowhere(settings, host) {
        return Some(format!(
            "RTMP_HOST: LiveKit is elsewhere and cannot reach {host}: set it to a name or address of this machine that LiveKit reaches{lost}"
        ));
    }
    if hears_only_itself(settings, host) {
        let listen = settings.rtmp_listen;
        return Some(format!(
            "RTMP_LISTEN is {listen} (the default is 127.0.0.1:1935), which only this machine reaches, but publishers are told {host}: set RTMP_LISTEN=0.0.0.0:{}, unless a tunnel or proxy here forwards to it",
            listen.port()
        ));
    }
    if missing && settings.tls.is_some() {
        return Some(format!(
            "RTMP_HOST is not set: the RTMP URLs say {host}; set it to the name in the certificate, which publishers check"
        ));
    }
    (missing && settings.rtmp_listen.ip().is_unspecified()).then(|| {
        format!(
            "RTMP_HOST is not set: the RTMP URLs say {host}; set it to the name that publishers elsewhere use"
        )
    })
}

/// Publishers elsewhere are sent to a port that listens on this machine's own address.
fn hears_only_itself(settings: &Settings, host: &str) -> bool {
    settings.rtmp_host.is_some() && settings.rtmp_listen.ip().is_loopback() && !only_this_machine(host)
}

/// What the client commands need in their environment here.
fn client_settings(settings: &Settings, own: &str) -> String {
    let url =
        if own == crate::client::DEFAULT_URL { String::new() } else { format!("ROOMSCRIBE_URL={own} ") };
    let key = if settings.api_keys.is_empty() { "" } else { "ROOMSCRIBE_API_KEY=… " };
    url + key
}
