//! The LiveKit project of this installation: its settings, and where it stands seen from here.

use crate::exit::Failure;
use crate::values::given;
use reqwest::Url;
use roomscribe_calls::Project;
use roomscribe_livekit::{Client, Credentials};
use roomscribe_plan::address::only_this_machine;
use std::net::IpAddr;
use std::sync::Arc;

const NAMES: [&str; 3] = ["LIVEKIT_HTTP_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"];

/// Checked settings of a LiveKit project.
pub(crate) struct LiveKit {
    credentials: Credentials,
    host: String,
}

impl LiveKit {
    /// `None` when none of the three is set; two of three are a mistake.
    pub(crate) fn check(
        url: Option<String>,
        api_key: Option<String>,
        api_secret: Option<String>,
    ) -> Result<Option<Self>, Failure> {
        let values = [given(url), given(api_key), given(api_secret)];
        if values.iter().all(Option::is_none) {
            return Ok(None);
        }
        if let Some(at) = values.iter().position(Option::is_none) {
            return Err(Failure::setting(
                NAMES[at],
                format_args!(
                    "is not set: {}, {} and {} belong together; set all three, or none",
                    NAMES[0], NAMES[1], NAMES[2]
                ),
            ));
        }
        let [url, api_key, api_secret] = values.map(Option::unwrap_or_default);
        for (name, value) in [(NAMES[1], &api_key), (NAMES[2], &api_secret)] {
            if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(Failure::setting(name, "has a character that no key has: copy it again"));
            }
        }
        let host = host(&url)?;
        Ok(Some(Self { credentials: Credentials { url, api_key, api_secret }, host }))
    }

    /// Its API as installation `install` uses it.
    pub(crate) fn project(&self, install: &str) -> Result<Project, Failure> {
        let client = Client::new(self.credentials.clone())
            .map_err(|error| Failure::setting(NAMES[0], error.message))?;
        let tally = Arc::new(|call, how| tracing::debug!(call, how, "LiveKit was asked"));
        Ok(Project::new(client, install, tally))
    }

    /// For people: where it is.
    pub(crate) fn url(&self) -> &str {
        &self.credentials.url
    }

    /// It runs on this machine, so its egress may reach this machine's loopback addresses.
    pub(crate) fn is_local(&self) -> bool {
        only_this_machine(&self.host)
    }

    /// Audio on its way from there crosses networks that are nobody's own.
    pub(crate) fn is_public(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => !(ip.is_private() || ip.is_loopback() || ip.is_link_local()),
            Ok(IpAddr::V6(ip)) => !(ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local()),
            Err(_) => {
                let private = [".local", ".internal", ".lan", ".localhost"];
                self.host.contains('.') && !private.iter().any(|ending| self.host.ends_with(ending))
            }
        }
    }
}

/// What is refused is not repeated: it may hold a password.
fn host(url: &str) -> Result<String, Failure> {
    let wrong = |why: &str| {
        Err(Failure::setting(NAMES[0], format_args!("{why}; write e.g. https://project.livekit.cloud")))
    };
    let http = match url.split_once("://") {
        Some(("http" | "ws", rest)) => format!("http://{rest}"),
        Some(("https" | "wss", rest)) => format!("https://{rest}"),
        _ => return wrong("is not a URL that begins with https://, http://, wss:// or ws://"),
    };
    let Ok(url) = Url::parse(&http) else { return wrong("is not a URL: look at its host and port") };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("holds a user or password: key and secret have their own settings");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("must end before ? and #");
    }
    let host = url.host_str().unwrap_or_default();
    Ok(host.trim_start_matches('[').trim_end_matches(']').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, key: &str, secret: &str) -> Result<Option<LiveKit>, Failure> {
        LiveKit::check(Some(url.into()), Some(key.into()), Some(secret.into()))
    }

    #[test]
    fn two_of_three_settings_name_the_third() {
        assert!(check("", "", " ").unwrap().is_none());
        for (url, key, secret, missing) in [
            ("", "k", "s", "LIVEKIT_HTTP_URL"),
            ("https://h", "", "s", "LIVEKIT_API_KEY"),
            ("https://h", "k", "", "LIVEKIT_API_SECRET"),
            ("https://h", "", "", "LIVEKIT_API_KEY"),
        ] {
            let failure = check(url, key, secret).err().unwrap();
            assert_eq!(failure.code, crate::exit::SETTINGS);
            assert!(failure.to_string().starts_with(&format!("{missing}: is not set")), "{failure}");
        }
    }

    #[test]
    fn a_url_that_is_refused_is_not_repeated() {
        for url in
            ["hunter2", "ftp://hunter2", "https://a:hunter2@h", "https://h?hunter2", "https://a:hunter2"]
        {
            let line = check(url, "k", "s").err().unwrap().to_string();
            assert!(line.starts_with("LIVEKIT_HTTP_URL: ") && !line.contains("hunter2"), "{line}");
        }
        assert!(check("wss://project.livekit.cloud/", "k", "s").unwrap().is_some());
    }

    #[test]
    fn where_it_stands_is_read_from_its_host() {
        for (url, local, public) in [
            ("http://127.0.0.1:7880", true, false),
            ("ws://localhost:7880", true, false),
            ("http://[::1]:7880", true, false),
            ("http://livekit:7880", false, false),
            ("http://10.0.0.5:7880", false, false),
            ("http://[fd00::5]:7880", false, false),
            ("http://livekit.internal", false, false),
            ("wss://project.livekit.cloud", false, true),
            ("https://203.0.113.5", false, true),
        ] {
            let livekit = check(url, "k", "s").unwrap().unwrap();
            assert_eq!((livekit.is_local(), livekit.is_public()), (local, public), "{url}");
        }
    }
}
