//! `access_token`: a new token for a joined channel. Never answered.

use std::sync::Arc;

use serde::Deserialize;

use crate::session::{
    channel::{Channel, Step},
    handlers::postgres_changes,
    socket::{Context, Tasks, token_due},
    token,
};

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    access_token: Option<String>,
}

/// Puts a valid new token in force and ends the channel over a bad one.
pub fn handle(context: &Context, channel: &mut Channel, tasks: &mut Tasks, payload: &[u8]) -> Step {
    let new = match serde_json::from_slice(payload) {
        Ok(Body { access_token: Some(new) }) => new,
        Ok(Body { access_token: None }) | Err(_) => return Step::Stay,
    };
    if new.as_str() == &*channel.token || new.starts_with("sb_") {
        return Step::Stay;
    }
    match context.services.tenant.verify(&new) {
        Ok(claims) => {
            channel.token = Arc::from(new);
            channel.token_due = token_due(&claims);
            channel.claims = claims;
            postgres_changes::subscribe(context, channel, tasks);
            Step::Stay
        }
        Err(error) => Step::Shutdown(token::channel_text(&error).into_owned()),
    }
}
