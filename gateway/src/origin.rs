//! From where a browser may call. Pure.

/// Judges the `Host` and `Origin` headers.
#[derive(Debug, Clone)]
pub(crate) struct Origins {
    allowed: Vec<Allowed>,
    /// Hosts that open mode answers to besides loopback.
    public_host: Option<String>,
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Exact(String),
    /// `https://` and `.example.com` of `https://*.example.com`.
    Subdomains {
        scheme: String,
        suffix: String,
    },
}

/// What the headers mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No browser, or the gateway's own page.
    Own,
    /// A page that the settings allow: it gets CORS headers.
    Foreign,
    /// A page that the settings do not allow.
    Refused,
    /// Open mode, asked under a name that is not loopback: DNS rebinding.
    WrongHost,
}

impl Origins {
    pub(crate) fn new(allowed: &[String], public_url: Option<&str>, open: bool) -> Self {
        let mut allowed: Vec<_> = allowed.iter().filter_map(|entry| Allowed::parse(entry)).collect();
        let public = public_url.and_then(split);
        if let Some((scheme, host)) = &public {
            allowed.push(Allowed::Exact(format!("{scheme}://{host}")));
        }
        Self { allowed, public_host: public.map(|(_, host)| host), open }
    }

    pub(crate) fn judge(&self, host: Option<&str>, origin: Option<&str>) -> Verdict {
        let host = host.map(str::to_ascii_lowercase);
        if self.open && !host.as_deref().is_some_and(|host| self.is_ours(host)) {
            return Verdict::WrongHost;
        }
        let Some(origin) = origin else { return Verdict::Own };
        let Some((scheme, from)) = split(origin) else { return Verdict::Refused };
        if Some(&from) == host.as_ref() {
            return Verdict::Own;
        }
        match self.allowed.iter().any(|allowed| allowed.takes(&scheme, &from)) {
            true => Verdict::Foreign,
            false => Verdict::Refused,
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => host.split(':').next().unwrap_or_default(),
        };
        let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        loopback || name == "localhost" || self.public_host.as_deref() == Some(host)
    }
}

impl Allowed {
    fn parse(entry: &str) -> Option<Self> {
        let (scheme, host) = split(entry.trim())?;
        Some(match host.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => Self::Subdomains { scheme, suffix: suffix.into() },
            _ => Self::Exact(format!("{scheme}://{host}")),
        })
    }

    fn takes(&self, scheme: &str, host: &str) -> bool {
        match self {
            Self::Exact(origin) => origin.split_once("://") == Some((scheme, host)),
            Self::Subdomains { scheme: s, suffix } => {
                s == scheme && host.len() > suffix.len() && host.ends_with(suffix)
            }
        }
    }
}

/// Scheme and host (with the port, unless it is the scheme's own) of a URL or origin, in lower case.
fn split(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains('@') {
        return None;
    }
    let (scheme, mut host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let own_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    if host.ends_with(own_port) {
        host.truncate(host.len() - own_port.len());
    }
    Some((scheme, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(open: bool) -> Origins {
        let allowed = [
            "https://app.example.com".into(),
            "https://*.customer.test".into(),
            "http://dev.test:3000".into(),
        ];
        Origins::new(&allowed, Some("https://captions.example.com/base"), open)
    }

    #[test]
    fn pages_are_judged_by_origin() {
        let host = "10.0.0.5:8080";
        let table = [
            (None, Verdict::Own),
            (Some("http://10.0.0.5:8080"), Verdict::Own),
            (Some("https://app.example.com"), Verdict::Foreign),
            (Some("https://APP.example.com:443"), Verdict::Foreign),
            (Some("https://captions.example.com"), Verdict::Foreign),
            (Some("https://a.customer.test"), Verdict::Foreign),
            (Some("http://dev.test:3000"), Verdict::Foreign),
            (Some("http://dev.test:3001"), Verdict::Refused),
            (Some("http://app.example.com"), Verdict::Refused),
            (Some("https://app.example.com.evil.test"), Verdict::Refused),
            (Some("https://.customer.test"), Verdict::Refused),
            (Some("https://evilcustomer.test"), Verdict::Refused),
            (Some("https://app.example.com@evil.test"), Verdict::Refused),
            (Some("http://10.0.0.5:9090"), Verdict::Refused),
            (Some("null"), Verdict::Refused),
            (Some(""), Verdict::Refused),
        ];
        for (origin, expected) in table {
            assert_eq!(origins(false).judge(Some(host), origin), expected, "{origin:?}");
        }
    }

    #[test]
    fn open_mode_answers_only_to_loopback_names() {
        let table = [
            (Some("localhost:8080"), Verdict::Own),
            (Some("LOCALHOST"), Verdict::Own),
            (Some("127.0.0.1:8080"), Verdict::Own),
            (Some("[::1]:8080"), Verdict::Own),
            (Some("captions.example.com"), Verdict::Own),
            (Some("rebound.evil.test:8080"), Verdict::WrongHost),
            (Some("localhost.evil.test"), Verdict::WrongHost),
            (Some("127.0.0.1.evil.test"), Verdict::WrongHost),
            (Some("10.0.0.5:8080"), Verdict::WrongHost),
            (None, Verdict::WrongHost),
        ];
        for (host, expected) in table {
            assert_eq!(origins(true).judge(host, None), expected, "{host:?}");
        }
        let rebound = origins(true).judge(Some("evil.test"), Some("http://evil.test"));
        assert_eq!(rebound, Verdict::WrongHost);
        assert_eq!(
            origins(true).judge(Some("localhost:8080"), Some("http://localhost:3000")),
            Verdict::Refused
        );
    }
}
