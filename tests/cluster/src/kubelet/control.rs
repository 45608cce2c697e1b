//! The control API under `/fake`, on 127.0.0.1: JSON, no key.
//!
//! `GET /fake/pods`; `GET` and `PUT /fake/behaviour`; `POST /fake/pods/<namespace>/<name>/<what>` where what is
//! `crash?code=75` (0 = done), `evict`, `lose`, `hang`, `resume`, `speech?state=refused&reason=CredentialsRefused`.

use super::World;
use super::handle::{Order, PodView};
use super::settings::Behaviour;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::sync::Arc;

pub(super) fn routes(world: Arc<World>) -> Router {
    Router::new()
        .route("/fake/pods", get(pods))
        .route("/fake/behaviour", get(behaviour).put(set_behaviour))
        .route("/fake/pods/{namespace}/{name}/{what}", post(act))
        .with_state(world)
}

async fn pods(State(world): State<Arc<World>>) -> Json<Vec<PodView>> {
    Json(world.views())
}

async fn behaviour(State(world): State<Arc<World>>) -> Json<Behaviour> {
    Json(world.behaviour())
}

async fn set_behaviour(State(world): State<Arc<World>>, Json(behaviour): Json<Behaviour>) {
    world.set_behaviour(behaviour);
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct How {
    code: i32,
    state: String,
    reason: String,
}

impl Default for How {
    fn default() -> Self {
        Self { code: 1, state: "live".into(), reason: String::new() }
    }
}

async fn act(
    State(world): State<Arc<World>>,
    Path((namespace, name, what)): Path<(String, String, String)>,
    Query(how): Query<How>,
) -> StatusCode {
    let order = match what.as_str() {
        "crash" => Order::Exit(how.code),
        "evict" => Order::Evict,
        "lose" => Order::Lose,
        "hang" => Order::Hang,
        "resume" => Order::Resume,
        "speech" => {
            let Some(handle) = world.handle(&namespace, &name) else { return StatusCode::NOT_FOUND };
            handle.say(how.state, how.reason);
            return StatusCode::NO_CONTENT;
        }
        _ => return StatusCode::NOT_FOUND,
    };
    if world.order(&namespace, &name, order) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}
