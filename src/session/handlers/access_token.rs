//! `access_token`: a new token for a joined channel. Never answered.

use serde::Deserialize;

use crate::{
    auth::Claims,
    authorization::{AuthorizeError, Rights},
    chat::Ticket,
    secret::Secret,
    session::{
        channel::{Channel, Permissions, Step},
        context::{Context, token_due},
        handlers::postgres_changes,
        permission,
        tasks::Tasks,
        token,
    },
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
    if new == channel.token.expose() || new.starts_with("sb_") {
        return Step::Stay;
    }
    match context.services.tenant.verify(&new) {
        Ok(claims) => {
            let (token, ticket) = (Secret::new(new), context.services.chat.ticket());
            if channel.key.private {
                return Step::AskRead { token, claims, ticket };
            }
            put_in_force(context, channel, tasks, (token, claims, ticket));
            Step::Stay
        }
        Err(error) => Step::Shutdown(token::channel_text(&error).into_owned()),
    }
}

/// Takes a new token for a private channel, once the policies have answered.
pub fn permit(
    context: &Context,
    channel: &mut Channel,
    tasks: &mut Tasks,
    new: (Secret, Claims, Ticket),
    read: Result<Rights, AuthorizeError>,
) -> Step {
    let topic = &channel.key.topic;
    let read = match read {
        Ok(read) => read,
        Err(error) => return Step::Shutdown(permission::refresh_text(&error, topic)),
    };
    let presence = channel.presence.enabled;
    let before = channel.permissions.read;
    if !(read.broadcast || (presence && read.presence)) {
        return Step::Shutdown(permission::denied(topic));
    }
    if (before.broadcast && !read.broadcast) || (presence && before.presence && !read.presence) {
        return Step::Shutdown(permission::lost(topic));
    }
    channel.permissions = Permissions::private(read);
    channel.update_interest();
    put_in_force(context, channel, tasks, new);
    Step::Stay
}

fn put_in_force(
    context: &Context,
    channel: &mut Channel,
    tasks: &mut Tasks,
    (token, claims, ticket): (Secret, Claims, Ticket),
) {
    channel.token = token;
    channel.token_due = token_due(&claims);
    let is_another = claims.subject() != channel.claims.subject();
    channel.claims = claims;
    if is_another {
        let (key, claims) = (&channel.key, &channel.claims);
        context.services.chat.reseat(key, claims, &channel.subscriber, ticket);
    }
    postgres_changes::subscribe(context, channel, tasks);
}
