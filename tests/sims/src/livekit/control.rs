//! The control API under `/sim`: JSON, no key; loopback only is the caller's care. See [`super`] for the list.

use super::auth::Keys;
use super::core::{Core, Microphone, Person};
use super::faults::Faults;
use super::shell::Shell;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Sim = State<Arc<Shell>>;

pub(super) fn routes() -> Router<Arc<Shell>> {
    Router::new()
        .route("/sim/faults", get(faults).put(set_faults))
        .route("/sim/faults/observed", post(observed))
        .route("/sim/keys", post(rotate))
        .route("/sim/calls", get(calls))
        .route("/sim/egresses", get(egresses))
        .route("/sim/egresses/{id}/{fault}", post(hurt))
        .route("/sim/rooms/{room}/participants", post(join))
        .route("/sim/rooms/{room}/participants/{identity}", patch(microphone).delete(leave))
}

async fn faults(State(shell): Sim) -> Json<Faults> {
    Json(shell.faults())
}

async fn set_faults(State(shell): Sim, Json(faults): Json<Faults>) {
    shell.act(|core, _| core.faults = faults);
}

async fn observed(State(shell): Sim) -> Json<Faults> {
    shell.act(|core, _| core.faults = Faults::observed());
    Json(shell.faults())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKeys {
    api_key: String,
    api_secret: String,
}

async fn rotate(State(shell): Sim, Json(NewKeys { api_key, api_secret }): Json<NewKeys>) {
    shell.set_keys(Keys { api_key, api_secret });
}

async fn calls(State(shell): Sim) -> Json<BTreeMap<String, u64>> {
    Json(shell.calls())
}

async fn egresses(State(shell): Sim) -> Json<Vec<super::core::Truth>> {
    Json(shell.truths())
}

async fn hurt(State(shell): Sim, Path((id, fault)): Path<(String, String)>) -> StatusCode {
    let done = match fault.as_str() {
        "drop" => shell.act(|core, _| core.drop_connections(&id)),
        "wedge" => shell.act(|core, now| core.wedge(&id, now)),
        "vanish" => shell.act(|core, _| core.vanish(&id)),
        "crash" => shell.act(|core, now| core.crash(&id, now)),
        _ => false,
    };
    found(done)
}

async fn join(State(shell): Sim, Path(room): Path<String>, Json(person): Json<Person>) {
    shell.act(|core, now| core.join(&room, &person, now));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    microphone: Microphone,
}

async fn microphone(
    State(shell): Sim,
    Path((room, identity)): Path<(String, String)>,
    Json(change): Json<Change>,
) -> StatusCode {
    let set = |core: &mut Core, now: Duration| core.set_microphone(&room, &identity, change.microphone, now);
    found(shell.act(set))
}

async fn leave(State(shell): Sim, Path((room, identity)): Path<(String, String)>) -> StatusCode {
    found(shell.act(|core, now| core.leave(&room, &identity, now)))
}

fn found(done: bool) -> StatusCode {
    if done { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}
