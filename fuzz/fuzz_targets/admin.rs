//! Whatever stands in a call of the admin API is understood or refused as the caller's mistake; what is understood is understood the same when
//! it is said again.

#![no_main]

use std::{cell::RefCell, fmt::Debug};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts},
    http::Request,
};
use cutover::admin::{
    extract::{DryRun, Json, Query, Removal, Reverting},
    problem::Problem,
    wire::{Changes, Drain, PutEndpoint, PutWeights, Reload, Restore, Rollback, Switch},
};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(Builder::new_current_thread().enable_time().build().expect("a runtime"));
}

fn now<F: Future>(future: F) -> F::Output {
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

fn refused(problem: &Problem) {
    assert!(matches!(problem.0.status, 400 | 413 | 415 | 422), "{}", problem.0.detail);
    serde_json::to_string(&problem.0).expect("an answer");
}

fn read<T: DeserializeOwned>(kind: &str, body: &[u8]) -> Option<T> {
    let request = Request::post("/").header("content-type", kind).body(Body::from(body.to_vec()));
    match now(Json::<T>::from_request(request.ok()?, &())) {
        Ok(Json(understood)) => Some(understood),
        Err(problem) => {
            refused(&problem);
            None
        }
    }
}

fn body<T: DeserializeOwned + Serialize>(kind: &str, bytes: &[u8]) {
    if let Some(understood) = read::<T>(kind, bytes) {
        let said = serde_json::to_vec(&understood).expect("it can be said");
        let again = read::<T>("application/json", &said).expect("what is said can be understood");
        assert_eq!(serde_json::to_vec(&again).expect("it can be said"), said);
    }
}

fn query<T: DeserializeOwned + Debug>(text: &str) {
    let Ok(request) = Request::get(format!("/?{text}")).body(()) else {
        return;
    };
    let (mut parts, ()) = request.into_parts();
    if let Err(problem) = now(Query::<T>::from_request_parts(&mut parts, &())) {
        refused(&problem);
    }
}

fuzz_target!(|input: (u8, bool, &str, &[u8])| {
    let (call, json, text, bytes) = input;
    let kind = if json { "application/json" } else { text };
    match call % 12 {
        0 => body::<PutWeights>(kind, bytes),
        1 => body::<Switch>(kind, bytes),
        2 => body::<Rollback>(kind, bytes),
        3 => body::<Drain>(kind, bytes),
        4 => body::<Restore>(kind, bytes),
        5 => body::<PutEndpoint>(kind, bytes),
        6 => body::<Reload>(kind, bytes),
        7 => query::<DryRun>(text),
        8 => query::<Removal>(text),
        9 => query::<Reverting>(text),
        _ => body::<Changes>(kind, bytes),
    }
});
