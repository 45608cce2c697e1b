//! What holds for every path: 404, 405, HEAD, OPTIONS, CORS, the page.

use crate::common::{Door, keyed, problem};
use roomscribe_gateway::Config;

const APP: &str = "https://app.example.com";

async fn shared_with_app() -> Door {
    Door::with(Config { allowed_origins: vec![APP.into()], ..keyed() }).await
}

#[tokio::test]
async fn unknown_paths_are_404_problems() {
    let door = Door::with(keyed()).await;
    for path in
        ["/v2/sessions", "/v1/sessions/", "/v1/sessions/a/b", "/index.php", "/%2e%2e/etc/passwd", "//"]
    {
        assert_eq!(problem(door.get(path).await).await, (404, "not-found".into()), "{path}");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_names_the_right_ones() {
    let door = Door::with(keyed()).await;
    for (method, path, allowed) in [
        ("PUT", "/v1/sessions", ["GET", "HEAD", "POST"].as_slice()),
        ("PATCH", "/v1/sessions/a", &["GET", "HEAD", "DELETE"]),
        ("POST", "/v1/sessions/a/transcript", &["GET", "HEAD", "DELETE"]),
        ("GET", "/v1/sessions/a/tickets", &["POST"]),
        ("DELETE", "/healthz", &["GET", "HEAD"]),
        ("OPTIONS", "/v1/sessions", &["GET", "HEAD", "POST"]),
    ] {
        let answer = door.request(method, path).send().await.unwrap();
        let mut named: Vec<_> = answer.headers()["allow"]
            .to_str()
            .unwrap()
            .split(',')
            .map(str::trim)
            .map(str::to_owned)
            .collect();
        let mut allowed = allowed.to_vec();
        named.sort();
        allowed.sort();
        assert_eq!(named, allowed, "{method} {path}");
        assert_eq!(problem(answer).await, (405, "method-not-allowed".into()), "{method} {path}");
    }
}

#[tokio::test]
async fn a_path_that_is_not_utf8_is_a_400_problem() {
    let door = Door::with(keyed()).await;
    for tail in ["", "/transcript", "/stream"] {
        let answer = door.get(&format!("/v1/sessions/%ff{tail}")).await;
        assert_eq!(problem(answer).await.0, 400, "{tail}");
    }
}

#[tokio::test]
async fn an_allowed_page_gets_its_preflight_and_its_answers() {
    let door = shared_with_app().await;
    let preflight = door
        .request("OPTIONS", "/v1/sessions")
        .header("origin", APP)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, content-type, idempotency-key")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-origin"], APP);
    let allowed = preflight.headers()["access-control-allow-headers"].to_str().unwrap().to_ascii_lowercase();
    assert!(
        ["authorization", "content-type", "idempotency-key", "if-none-match"]
            .iter()
            .all(|h| allowed.contains(h))
    );
    assert!(preflight.headers()["access-control-allow-methods"].to_str().unwrap().contains("DELETE"));
    for path in ["/v1/sessions", "/v1/sessions/nobody"] {
        let answer = door.request("GET", path).header("origin", APP).send().await.unwrap();
        assert_eq!(answer.headers()["access-control-allow-origin"], APP, "{path}");
        assert!(answer.headers()["access-control-expose-headers"].to_str().unwrap().contains("ETag"));
        assert!(answer.headers().get("access-control-allow-credentials").is_none());
        assert!(answer.headers().get_all("vary").iter().any(|v| v == "Origin"));
    }
}

#[tokio::test]
async fn any_other_page_is_refused_before_anything_happens() {
    let door = shared_with_app().await;
    for origin in ["https://evil.test", "http://app.example.com", "https://app.example.com.evil.test", "null"]
    {
        for (method, path) in
            [("GET", "/v1/sessions"), ("POST", "/v1/sessions"), ("OPTIONS", "/v1/sessions"), ("GET", "/")]
        {
            let answer = door.request(method, path).header("origin", origin).send().await.unwrap();
            assert!(answer.headers().get("access-control-allow-origin").is_none());
            assert_eq!(problem(answer).await, (403, "origin-refused".into()), "{method} {path} {origin}");
        }
    }
}

#[tokio::test]
async fn the_page_is_served_whole_under_a_strict_policy() {
    let door = Door::with(keyed()).await;
    let page = door.http.get(&door.base).send().await.unwrap();
    let headers = page.headers().clone();
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    let html = page.text().await.unwrap();
    let links = html
        .split(['"', '\''])
        .filter(|word| word.starts_with('/') && (word.ends_with(".js") || word.ends_with(".css")));
    let mut waiting: Vec<String> = links.map(str::to_owned).collect();
    let mut seen = Vec::new();
    while let Some(path) = waiting.pop() {
        if seen.contains(&path) {
            continue;
        }
        let answer = door.http.get(format!("{}{path}", door.base)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let text = answer.text().await.unwrap();
        let imports = text.lines().filter_map(|line| line.rsplit_once("from './")?.1.strip_suffix("';"));
        waiting.extend(imports.map(|file| format!("/{file}")));
        seen.push(path);
    }
    assert!(
        seen.iter().any(|path| path == "/app.js") && seen.iter().any(|path| path == "/style.css"),
        "{seen:?}"
    );
    let tag = headers["etag"].to_str().unwrap();
    let again = door.http.get(&door.base).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
}
