//! What the API server refuses is told by pointers into the request.

use crate::world::{World, api, pointers};
use serde_json::{Value, json};

async fn refused(requests: &[(Value, &str, &str)]) {
    let world = World::new(api().await).await;
    let replica = world.replica().await;
    let mut wrong = Vec::new();
    for (fields, pointer, words) in requests {
        let mut body = json!({"roomName": "a"});
        body.as_object_mut().unwrap().extend(fields.as_object().cloned().unwrap());
        let (status, problem) = replica.post(body.clone()).await;
        assert_eq!(status, 422, "{body} {problem}");
        let detail = problem["errors"][0]["detail"].as_str().unwrap_or_default();
        if pointers(&problem) != [*pointer] || !detail.contains(words) {
            wrong.push(format!("{body} {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn rules_types_and_ranges_are_told_by_field() {
    refused(&[
        (json!({"ingest": {"exposure": "External"}}), "/ingest", "give external.host"),
        (
            json!({"ingest": {"exposure": "External", "external": {"host": "rtmp://h", "port": 1}}}),
            "/ingest/external/host",
            "without scheme",
        ),
        (json!({"ingest": {"exposure": "Magic"}}), "/ingest/exposure", "supported values"),
        (json!({"ingest": {"sourceRanges": ["everywhere"]}}), "/ingest/sourceRanges", "CIDR"),
        (json!({"ingest": 7}), "/ingest", "object"),
        (json!({"speech": {"region": "EU"}}), "/speech/region", "us-west or eu-west"),
        (json!({"speech": {"apiUrl": "ftp://h"}}), "/speech/apiUrl", "scheme and host"),
        (json!({"speech": {"languages": ["eng"]}}), "/speech/languages", "two small letters"),
        (json!({"limits": {"maxDurationSeconds": 5}}), "/limits/maxDurationSeconds", "60"),
        (json!({"worker": {"resources": {"requests": {"cpu": "much"}}}}), "/worker/resources", "100m of cpu"),
        (
            json!({"worker": {"tolerations": [{"operator": "Exists", "value": "x"}]}}),
            "/worker/tolerations",
            "there is no value",
        ),
        (json!({"livekitRef": {}}), "/livekitRef/name", "Required"),
        (json!({"replicas": 2}), "/replicas", "always 1"),
    ])
    .await;
}

#[tokio::test]
async fn fields_that_the_resource_does_not_have_are_refused_never_dropped() {
    refused(&[
        (json!({"ingest": {"colour": "red"}}), "/ingest/colour", "no field colour"),
        (json!({"speakers": {"names": []}}), "/speakers/names", "no field names"),
        (json!({"colour": "red"}), "/colour", "unknown field"),
    ])
    .await;
}

#[tokio::test]
async fn a_full_namespace_and_a_policy_of_the_cluster_are_told_in_their_words() {
    let world = World::new(api().await).await;
    let replica = world.replica().await;
    let namespace = &world.namespaces[0];
    let policy = format!(
        "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {{name: no-{namespace}}}\nspec:\n  matchConstraints:\n    resourceRules:\n    - {{apiGroups: [roomscribe.io], apiVersions: ['*'], operations: [CREATE], resources: [transcriptionsessions]}}\n  validations:\n  - {{expression: \"object.spec.roomName != 'secret'\", message: not this room}}\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {{name: no-{namespace}}}\nspec: {{policyName: no-{namespace}, validationActions: [Deny], matchResources: {{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}}}\n"
    );
    world.api.apply(&policy).await.unwrap();
    crate::world::until("the policy holds", async || {
        replica.post(json!({"roomName": "secret"})).await.0 != 201 || {
            let made = world.resources().list(&Default::default()).await.unwrap();
            for session in made {
                world
                    .resources()
                    .delete(session.metadata.name.as_deref().unwrap(), &Default::default())
                    .await
                    .unwrap();
            }
            false
        }
    })
    .await;
    let (status, problem) = replica.post(json!({"roomName": "secret"})).await;
    assert_eq!(status, 422, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("not this room"), "{problem}");
}
