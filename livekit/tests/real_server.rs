//! The same client tests as in `client.rs`, against a real livekit-server (Go module v1.13.5) with participants of
//! LiveKit's own client SDK. `make livekit` builds the server once and runs them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

mod common;

use common::both;
use common::hook::Hook;
use common::real::Real;

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn people_and_open_microphones_are_counted() {
    both::people_and_open_microphones_are_counted(Real::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn tokens_are_accepted_or_refused_as_they_deserve() {
    both::tokens_are_accepted_or_refused_as_they_deserve(Real::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn refused_credentials_are_never_taken_for_the_network() {
    both::refused_credentials_are_never_taken_for_the_network(Real::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn what_is_not_there_is_404_and_an_empty_project_has_no_egress() {
    both::what_is_not_there_is_404_and_an_empty_project_has_no_egress(Real::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn a_wrong_base_url_is_told_from_a_missing_room() {
    both::a_wrong_base_url_is_told_from_a_missing_room(Real::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn no_egress_worker_is_a_lack_of_capacity() {
    both::no_egress_worker_is_a_lack_of_capacity(Real::start(None).await).await;
}

#[tokio::test]
#[ignore = "needs a livekit-server: make livekit"]
async fn webhooks_are_signed_and_count_once() {
    let hook = Hook::listen().await;
    both::webhooks_are_signed_and_count_once(Real::start(Some(&hook.url)).await, hook).await;
}
