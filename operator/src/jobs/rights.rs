//! What the operator's Role must allow, asked of the API server itself.

use crate::api::{self, Error};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

/// Group, resource and verbs, as in `operator/rbac.yaml`.
const NEEDED: &[(&str, &str, &[&str])] = &[
    ("roomscribe.io", "transcriptionsessions", &["get", "list", "watch", "patch", "delete"]),
    ("roomscribe.io", "transcriptionsessions/status", &["update"]),
    ("roomscribe.io", "transcriptionsessions/finalizers", &["update"]),
    ("", "pods", &["list", "watch", "create", "delete"]),
    ("", "services", &["list", "watch", "create", "patch", "delete"]),
    ("", "secrets", &["create", "patch", "delete"]),
    ("events.k8s.io", "events", &["create", "patch"]),
];

/// `verb resource` of each right that this process lacks in `namespace` (`None`: in all of them).
///
/// # Errors
/// The API server does not say.
pub(super) async fn missing(client: &Client, namespace: Option<&str>) -> Result<Vec<String>, Error> {
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut missing = Vec::new();
    for (group, resource, verbs) in NEEDED {
        for verb in *verbs {
            let review = review(group, resource, verb, namespace);
            let call = async { api.create(&PostParams::default(), &review).await };
            let answer = api::bounded("ask which rights this process has", call).await?;
            if !answer.status.is_some_and(|status| status.allowed) {
                missing.push(format!("{verb} {resource}"));
            }
        }
    }
    Ok(missing)
}

fn review(group: &str, resource: &str, verb: &str, namespace: Option<&str>) -> SelfSubjectAccessReview {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        group: Some(group.into()),
        resource: Some(resource.into()),
        subresource: (!subresource.is_empty()).then(|| subresource.into()),
        verb: Some(verb.into()),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure here is a failed test")]
mod tests {
    use super::*;
    use k8s_openapi::api::rbac::v1::ClusterRole;
    use std::collections::BTreeSet;

    #[test]
    fn the_rights_that_are_asked_for_are_those_of_the_committed_role() {
        let documents = include_str!("../../rbac.yaml").split("\n---");
        let role = documents.map(|text| serde_saphyr::from_str::<serde_json::Value>(text).unwrap());
        let role = role.into_iter().find(|value| value["kind"] == "ClusterRole").unwrap();
        let rules = serde_json::from_value::<ClusterRole>(role).unwrap().rules.unwrap();
        let mut committed = BTreeSet::new();
        for rule in &rules {
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    committed.extend(rule.verbs.iter().map(|verb| format!("{group} {resource} {verb}")));
                }
            }
        }
        let asked = NEEDED.iter().flat_map(|(group, resource, verbs)| {
            verbs.iter().map(move |verb| format!("{group} {resource} {verb}"))
        });
        assert_eq!(asked.collect::<BTreeSet<_>>(), committed);
    }
}
