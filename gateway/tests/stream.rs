//! The WebSocket over real sockets: replay, follow, resume, end.

mod common;

use common::{Door, Heard, keyed};
use serde_json::json;

#[tokio::test]
async fn a_viewer_is_greeted_then_gets_history_then_what_comes_then_the_end() {
    let door = Door::with(keyed()).await;
    let id = door.session("standup").await;
    door.speak(&id, 3).await;
    let mut viewer = door.stream(&id, "").await;
    let hello = viewer.frame().await;
    assert_eq!(
        (&hello["type"], &hello["session"], &hello["head"], &hello["from"], &hello["recovered"]),
        (&json!("hello"), &json!(id.as_str()), &json!(3), &json!(0), &json!(true))
    );
    assert_eq!(viewer.offsets_to(3).await, [1, 2, 3]);
    door.speak(&id, 5).await;
    assert_eq!(viewer.offsets_to(5).await, [4, 5]);
    door.end(&id).await;
    assert_eq!(viewer.frame().await["type"], "end");
    assert_eq!(viewer.next().await, Heard::Closed(1000));
}
