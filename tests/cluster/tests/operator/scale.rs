//! A thousand sessions at once.

use crate::world::{World, api, join, livekit};
use roomscribe_cluster::scale::{self, Wanted};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_become_ready_and_then_cost_no_write() {
    let count = std::env::var("SESSIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(1000);
    let livekit = livekit(61).await;
    // One frame in two seconds: the rooms are many and the machine is small.
    livekit.set_faults(|faults| faults.frame_gap_s = 2.0);
    for number in 0..count {
        join(&livekit, &format!("scale-{number}"), "ada");
    }
    let world = World::new(api().await, &livekit.url()).await;
    let operator = world.operator_with(&[("LIVEKIT_RATE", "500"), ("LIVEKIT_BURST", "500")]).await;
    // Deleting all of them is what the benchmark measures.
    let deleted = count / 10;
    let wanted = Wanted { count, patience: Duration::from_secs(300), look: Duration::from_secs(15), deleted };
    let run = scale::run(world.api, &operator, &world.user, &world.namespace, wanted).await.unwrap();
    println!("{}", serde_json::to_string_pretty(&run).unwrap());

    assert_eq!((run.steady_writes, crate::world::live(&livekit, None).len()), (0, count - deleted));
}
