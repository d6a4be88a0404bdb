//! What callers of the chat are told when nothing was done: `{code, message}`.

use std::collections::BTreeMap;

use axum::{
    extract::Request,
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;
use utoipa::{
    IntoResponses, ToSchema as _,
    openapi::{
        Content, Ref, RefOr, ResponseBuilder, ResponsesBuilder, response::Response as Described,
    },
};

use crate::{
    chat::{ChatError, Code},
    http::{error, openapi::ChatRefusal},
};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The chat says no.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// No token of the tenant's.
    #[error("A valid token is needed.")]
    Unauthorized,
    /// The tenant is suspended.
    #[error("The tenant is suspended.")]
    Suspended,
    /// No such route.
    #[error("There is nothing here.")]
    NoRoute,
}

/// Says that a refusal has a code already.
#[derive(Clone)]
struct Coded;

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::Chat(error) => (status(error.code), error.code.as_str()),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Suspended => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "not_found"),
        };
        let mut body = json!({ "code": code, "message": self.to_string() });
        if let (Self::Chat(ChatError { current: Some(version), .. }), Some(body)) =
            (&self, body.as_object_mut())
        {
            body.insert("current_version".to_owned(), (*version).into());
        }
        let mut response = error::json(status, &body);
        response.extensions_mut().insert(Coded);
        response
    }
}

/// What every route of the chat may refuse with, for the description of the API.
const ALWAYS: [(StatusCode, &str); 7] = [
    (StatusCode::BAD_REQUEST, "Something has the wrong form"),
    (StatusCode::UNAUTHORIZED, "No valid token"),
    (StatusCode::FORBIDDEN, "The caller may not"),
    (StatusCode::NOT_FOUND, "No such room or message, or not the caller's to see"),
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
    (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
    (StatusCode::SERVICE_UNAVAILABLE, "No database, or no chat in it"),
];

impl IntoResponses for Refused {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let body = || Content::new(Some(Ref::from_schema_name(ChatRefusal::name())));
        let described = ALWAYS.map(|(status, text)| {
            let response = ResponseBuilder::new().description(text);
            (status.as_str().to_owned(), response.content("application/json", body()).build())
        });
        ResponsesBuilder::new().responses_from_iter(described).build().responses
    }
}

fn status(code: Code) -> StatusCode {
    match code {
        Code::BadRequest => StatusCode::BAD_REQUEST,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::Deleted => StatusCode::GONE,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Gives refusals of other layers and of the router the same form.
pub(super) async fn with_codes(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.extensions().get::<Coded>().is_some() {
        return response;
    }
    let (code, message) = match status {
        StatusCode::UNAUTHORIZED => ("unauthorized", "There is no such tenant."),
        StatusCode::NOT_FOUND => ("not_found", "There is nothing here."),
        StatusCode::METHOD_NOT_ALLOWED => ("bad_request", "The method is not one of this route's."),
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "The body is too large."),
        StatusCode::TOO_MANY_REQUESTS => {
            ("rate_limited", "Too many requests; try again in a moment.")
        }
        _ if status.is_client_error() => ("bad_request", "The address or the body cannot be read."),
        _ => ("unavailable", "The server cannot do this now."),
    };
    let (head, _) = response.into_parts();
    let mut answer = error::json(status, &json!({ "code": code, "message": message }));
    // What was said about rates stays; the body's own headers are the new one's.
    for (name, value) in &head.headers {
        if name.as_str().starts_with("x-rate") || name == "allow" {
            answer.headers_mut().insert(name.clone(), value.clone());
        }
    }
    answer
}
