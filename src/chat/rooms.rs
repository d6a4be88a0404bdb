//! Rooms and who is in them.

use serde::Deserialize;
use uuid::Uuid;

use crate::tenants::Caller;

use super::{Chat, ChatError, call::Function, page_of};

/// Members of a new room.
const MOST_MEMBERS: usize = 1000;

/// A room to make.
#[derive(Debug, Deserialize)]
pub struct NewRoom {
    /// Chosen by the client, or made.
    #[serde(default)]
    pub id: Option<Uuid>,
    /// What it is called.
    pub name: String,
    /// `private` or `public`.
    #[serde(default)]
    pub visibility: Option<String>,
    /// Who is in it from the start, beside its maker.
    #[serde(default)]
    pub members: Vec<Uuid>,
}

/// Somebody to take into a room.
#[derive(Debug, Deserialize)]
pub struct Invitation {
    /// Who.
    pub user_id: Uuid,
    /// How others see them.
    #[serde(default)]
    pub name: Option<String>,
    /// `admin` or `member`.
    #[serde(default)]
    pub role: Option<String>,
}

/// Which members of a room.
#[derive(Debug, Clone, Copy, Default)]
pub struct Members<'a> {
    /// Only those whose names begin so.
    pub prefix: Option<&'a str>,
    /// Only those after the page before, as its `next` says.
    pub after: Option<&'a str>,
    /// How many at most.
    pub limit: Option<i32>,
}

impl Chat {
    /// Makes a room. Returns it as JSON text, as all of these do.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn create_room(
        &self,
        caller: Caller<'_>,
        room: &NewRoom,
    ) -> Result<String, ChatError> {
        if room.members.len() > MOST_MEMBERS {
            let text = format!("A new room has at most {MOST_MEMBERS} members.");
            return Err(ChatError::bad_request(text));
        }
        let id = room.id.unwrap_or_else(Uuid::new_v4);
        let function = Function::new("create_room")
            .uuid(id)
            .text(&*room.name)
            .text(room.visibility.as_deref().unwrap_or("private"))
            .uuids(&room.members);
        Box::pin(self.call(caller, id, &function)).await
    }

    /// A public room's new member.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn join_room(&self, caller: Caller<'_>, room: Uuid) -> Result<String, ChatError> {
        Box::pin(self.call(caller, room, &Function::new("join_room").uuid(room))).await
    }

    /// A member who goes.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn leave_room(&self, caller: Caller<'_>, room: Uuid) -> Result<String, ChatError> {
        Box::pin(self.call(caller, room, &Function::new("leave_room").uuid(room))).await
    }

    /// A member whom another one brings.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn invite(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        invitation: &Invitation,
    ) -> Result<String, ChatError> {
        let function = Function::new("invite")
            .uuid(room)
            .uuid(invitation.user_id)
            .text(invitation.name.as_deref())
            .text(invitation.role.as_deref().unwrap_or("member"));
        Box::pin(self.call(caller, room, &function)).await
    }

    /// A member whom another one sends away.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn remove_member(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        user: Uuid,
    ) -> Result<String, ChatError> {
        let function = Function::new("remove_member").uuid(room).uuid(user);
        Box::pin(self.call(caller, room, &function)).await
    }

    /// The caller's rooms, newest message first; `before` is where the page
    /// before this one ended.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn rooms(
        &self,
        caller: Caller<'_>,
        before: Option<&str>,
        limit: Option<i32>,
    ) -> Result<String, ChatError> {
        let limit = page_of(limit);
        self.require()?;
        if self.0.shards.is_spread() {
            return Box::pin(self.rooms_in_all(caller, before, limit)).await;
        }
        let function = Function::new("rooms").number(limit).text(before);
        Box::pin(self.query_in(self.0.shards.pool(0)?, caller, None, &function.sql())).await
    }

    /// One room, if the caller may see it.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn room(&self, caller: Caller<'_>, room: Uuid) -> Result<String, ChatError> {
        Box::pin(self.call(caller, room, &Function::new("room").uuid(room))).await
    }

    /// A room's members, by name.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub async fn members(
        &self,
        caller: Caller<'_>,
        room: Uuid,
        wanted: Members<'_>,
    ) -> Result<String, ChatError> {
        let limit = page_of(wanted.limit);
        let function = Function::new("members")
            .uuid(room)
            .text(wanted.prefix)
            .text(wanted.after)
            .number(limit);
        Box::pin(self.call(caller, room, &function)).await
    }
}
