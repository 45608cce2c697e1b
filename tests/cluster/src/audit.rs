//! What the API server was asked, by whom: its audit log, read back.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

/// Metadata of every request; the controller manager's and the server's own are left out.
pub(crate) const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ['system:apiserver', 'system:kube-controller-manager']}
- {level: None, nonResourceURLs: ['/readyz*', '/livez*', '/healthz*']}
- {level: Metadata}
";

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asked.
    pub user: String,
    /// `get list watch create update patch delete deletecollection`.
    pub verb: String,
    /// `pods`, `services/status`; the path of a request for no resource.
    pub resource: String,
    /// Empty for cluster-wide ones.
    pub namespace: String,
    /// Empty for lists and creations.
    pub name: String,
    /// HTTP status.
    pub code: u16,
}

impl Request {
    /// It asked for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
    }
}

/// How often, by verb, resource and status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    counts: BTreeMap<(String, String, u16), u64>,
}

impl Requests {
    fn add(&mut self, request: &Request) {
        *self.counts.entry((request.verb.clone(), request.resource.clone(), request.code)).or_default() += 1;
    }

    /// Requests by verb, resource and status.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str, u16, u64)> {
        self.counts
            .iter()
            .map(|((verb, resource, code), count)| (verb.as_str(), resource.as_str(), *code, *count))
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many of this verb and resource (with its subresource: `pods/status`), whatever came of them.
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        self.all().filter(|(v, r, _, _)| *v == verb && *r == resource).map(|(_, _, _, count)| count).sum()
    }

    /// How many for this resource and its subresources, whatever came of them.
    pub fn of(&self, resource: &str) -> u64 {
        let is_of = |r: &str| r.split('/').next() == Some(resource);
        self.all().filter(|(_, r, _, _)| is_of(r)).map(|(_, _, _, count)| count).sum()
    }

    /// How many asked for a change; leases, which a leader renews for ever, are not counted.
    pub fn writes(&self) -> u64 {
        let is_write = |verb: &str| !matches!(verb, "get" | "list" | "watch" | "head" | "options");
        self.all().filter(|(v, r, _, _)| is_write(v) && *r != "leases").map(|(_, _, _, count)| count).sum()
    }

    /// How many were answered so.
    pub fn answered(&self, code: u16) -> u64 {
        self.all().filter(|(_, _, c, _)| *c == code).map(|(_, _, _, count)| count).sum()
    }

    /// Those that came after `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let left = |(key, count): (&(String, String, u16), &u64)| {
            let left = count.saturating_sub(earlier.counts.get(key).copied().unwrap_or_default());
            (left > 0).then(|| (key.clone(), left))
        };
        Self { counts: self.counts.iter().filter_map(left).collect() }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all()
            .try_for_each(|(verb, resource, code, count)| writeln!(f, "{count:6} {verb} {resource} {code}"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

impl Line {
    /// A watch counts when it begins, everything else when it ends.
    fn request(self) -> Option<Request> {
        let stage = if self.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        let is_refused_watch = self.verb == "watch" && self.response_status.code >= 400;
        if self.stage != stage && !(is_refused_watch && self.stage == "ResponseComplete") {
            return None;
        }
        let resource = match (self.object_ref.resource, self.object_ref.subresource) {
            (resource, _) if resource.is_empty() => {
                self.request_uri.split('?').next().unwrap_or_default().to_owned()
            }
            (resource, sub) if sub.is_empty() => resource,
            (resource, sub) => format!("{resource}/{sub}"),
        };
        Some(Request {
            user: self.impersonated_user.unwrap_or(self.user).username,
            verb: self.verb,
            resource,
            namespace: self.object_ref.namespace,
            name: self.object_ref.name,
            code: self.response_status.code,
        })
    }
}

/// The log, read on from where the last look ended.
pub(crate) struct Audit {
    file: PathBuf,
    read: u64,
    by_user: BTreeMap<String, Requests>,
}

impl Audit {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file, read: 0, by_user: BTreeMap::new() }
    }

    pub(crate) fn of(&mut self, user: &str) -> anyhow::Result<Requests> {
        let (by_user, mut read) = (&mut self.by_user, self.read);
        each(&self.file, &mut read, |request| {
            by_user.entry(request.user.clone()).or_default().add(&request);
        })?;
        self.read = read;
        Ok(self.by_user.get(user).cloned().unwrap_or_default())
    }

    /// Every request that passes, in order.
    pub(crate) fn list(&self, mut wanted: impl FnMut(&Request) -> bool) -> anyhow::Result<Vec<Request>> {
        let mut found = Vec::new();
        each(&self.file, &mut 0, |request| {
            if wanted(&request) {
                found.push(request);
            }
        })?;
        Ok(found)
    }
}

/// Each whole line after `from`, which moves on.
fn each(file: &PathBuf, from: &mut u64, mut take: impl FnMut(Request)) -> anyhow::Result<()> {
    let mut file = BufReader::new(File::open(file)?);
    file.seek(SeekFrom::Start(*from))?;
    let mut line = String::new();
    while file.read_line(&mut line)? > 0 && line.ends_with('\n') {
        *from += line.len() as u64;
        if let Some(request) = serde_json::from_str::<Line>(&line)?.request() {
            take(request);
        }
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "test support")]
mod tests {
    use super::*;

    fn line(stage: &str, verb: &str, code: u16) -> Option<Request> {
        let text = format!(
            r#"{{"stage":"{stage}","verb":"{verb}","requestURI":"/api/v1/pods?x=1","user":{{"username":"a","groups":["b"]}},"objectRef":{{"resource":"pods","subresource":"status","namespace":"n","name":"p"}},"responseStatus":{{"code":{code}}}}}"#
        );
        serde_json::from_str::<Line>(&text).unwrap().request()
    }

    #[test]
    fn a_watch_counts_once_and_when_it_begins() {
        assert_eq!(line("ResponseStarted", "watch", 200).unwrap().resource, "pods/status");
        assert_eq!(line("ResponseComplete", "watch", 200), None);
        assert_eq!(line("ResponseComplete", "watch", 403).unwrap().code, 403);
        assert_eq!(line("ResponseComplete", "get", 200).unwrap().user, "a");
        assert_eq!(line("ResponseStarted", "get", 200), None);
    }

    #[test]
    fn what_came_before_a_look_is_not_in_the_difference() {
        let mut early = Requests::default();
        early.add(&line("ResponseComplete", "patch", 200).unwrap());
        let mut late = early.clone();
        late.add(&line("ResponseComplete", "patch", 409).unwrap());
        let between = late.since(&early);
        assert_eq!((between.total(), between.writes(), between.answered(409)), (1, 1, 1));
        assert_eq!((late.count("patch", "pods/status"), late.of("pods"), late.of("services")), (2, 2, 0));
    }
}
