//! An update of all replicas while people watch.

use crate::viewers::{Endpoints, watch};
use crate::world::{Replica, World, api, until};
use futures_util::future::join_all;
use serde_json::json;

const VIEWERS: usize = 500;
const REPLICAS: usize = 2;

/// As a Deployment with maxUnavailable 0 does it: a new one is ready, then an old one is asked to leave.
async fn replace(world: &World<'_>, endpoints: &Endpoints, old: Replica) -> Replica {
    let new = world.replica().await;
    endpoints.add(&new.base);
    old.leave();
    until("the old one says that it leaves", async || !old.is_ready().await).await;
    endpoints.remove(&old.base);
    old.gone().await;
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_viewers_have_every_offset_once_after_all_replicas_were_replaced() {
    let world = World::new(api().await).await;
    let endpoints = Endpoints::default();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(world.replica().await);
    }
    replicas.iter().for_each(|replica| endpoints.add(&replica.base));
    let (_, made) = replicas[0].post(json!({"name": "all-hands", "roomName": "all-hands"})).await;
    let id = made["id"].as_str().unwrap().to_owned();
    world.speak(&id, 20).await;
    let viewers: Vec<_> = (0..VIEWERS).map(|_| watch(&endpoints, &id)).collect();
    until("all watch", async || {
        let counts = join_all(replicas.iter().map(|replica| replica.viewers())).await;
        counts.iter().sum::<f64>() >= VIEWERS as f64
    })
    .await;
    let mut head = 20;
    let mut fresh = Vec::new();
    for old in replicas {
        let update = replace(&world, &endpoints, old);
        tokio::pin!(update);
        // Somebody speaks all the while.
        fresh.push(loop {
            tokio::select! {
                new = &mut update => break new,
                () = tokio::time::sleep(std::time::Duration::from_millis(30)) => {
                    head += 1;
                    world.speak(&id, head).await;
                }
            }
        });
    }
    world.speak(&id, head + 20).await;
    // The end comes from a gateway: no worker is left.
    world.finish("all-hands", "RoomEnded").await;
    let end = head + 21;
    let expected: Vec<u64> = (1..=end).collect();
    let seen = join_all(viewers).await;
    let mut moved = 0;
    for seen in seen {
        let seen = seen.unwrap();
        assert_eq!(seen.offsets, expected);
        assert!(seen.closes.iter().all(|code| matches!(code, 1000 | 1001)), "{:?}", seen.closes);
        moved += seen.closes.iter().filter(|code| **code == 1001).count();
    }
    assert!(moved >= VIEWERS, "only {moved} were sent elsewhere");
    assert_eq!(fresh.len(), REPLICAS);
}
