//! What clients are told about their tokens, at each of the three places: the
//! upgrade, a join, and a joined channel whose token is replaced or expires.

use std::borrow::Cow;

use crate::{auth::TokenError, error_code::ErrorCode};

use super::refusal::Refusal;

const NOT_A_JWT: &str = "The token provided is not a valid JWT";
const MISSING_CLAIMS: &str = "Fields `role` and `exp` are required in JWT";
const SIGNATURE: &str = "Failed to validate JWT signature";

/// A refused upgrade: status, text, code.
pub fn upgrade_refusal(error: &TokenError) -> (u16, Cow<'static, str>, ErrorCode) {
    let (status, text, code) = match error {
        TokenError::NotAJwt => (401, NOT_A_JWT, ErrorCode::MalformedJWT),
        TokenError::NoKey { kid } => {
            return (401, no_key(kid.as_deref()), ErrorCode::ErrorConnectingToWebsocket);
        }
        TokenError::Signature => (401, SIGNATURE, ErrorCode::ErrorConnectingToWebsocket),
        TokenError::Expired { .. } => (401, "Token has expired", ErrorCode::InvalidJWTToken),
        TokenError::MissingClaims => (401, MISSING_CLAIMS, ErrorCode::InvalidJWTToken),
        TokenError::Invalid => {
            (500, "Error connecting to Realtime", ErrorCode::ErrorConnectingToWebsocket)
        }
    };
    (status, text.into(), code)
}

/// A refused join.
pub fn join_refusal(error: &TokenError) -> Refusal {
    let code = match error {
        TokenError::NotAJwt => ErrorCode::MalformedJWT,
        TokenError::NoKey { .. } => ErrorCode::JwtSignerError,
        TokenError::Signature => ErrorCode::JwtSignatureError,
        TokenError::Expired { .. } | TokenError::MissingClaims => ErrorCode::InvalidJWTToken,
        TokenError::Invalid => {
            let text = "Unknown Error on Channel";
            return Refusal::bare(ErrorCode::UnknownErrorOnChannel, text);
        }
    };
    Refusal::new(code, channel_text(error))
}

/// What a joined channel is told before it closes.
pub fn channel_text(error: &TokenError) -> Cow<'static, str> {
    match error {
        TokenError::NotAJwt => NOT_A_JWT.into(),
        TokenError::NoKey { kid } => no_key(kid.as_deref()),
        TokenError::Signature => SIGNATURE.into(),
        TokenError::Expired { seconds } => {
            format!("Token has expired {seconds} seconds ago").into()
        }
        TokenError::MissingClaims => MISSING_CLAIMS.into(),
        TokenError::Invalid => "The claims of the token are not accepted".into(),
    }
}

fn no_key(kid: Option<&str>) -> Cow<'static, str> {
    match kid {
        Some(kid) => format!(
            "Failed to generate JWT signer for key ID (kid) \"{kid}\", check your JWT secret or JWKS configuration"
        )
        .into(),
        None => {
            "Failed to generate JWT signer, check your JWT secret or JWKS configuration".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMED: &str = "Failed to generate JWT signer for key ID (kid) \"K\", check your JWT secret or JWKS configuration";
    const UNNAMED: &str =
        "Failed to generate JWT signer, check your JWT secret or JWKS configuration";

    fn all() -> [TokenError; 7] {
        [
            TokenError::NotAJwt,
            TokenError::NoKey { kid: Some("K".to_owned()) },
            TokenError::NoKey { kid: None },
            TokenError::Signature,
            TokenError::Expired { seconds: 7 },
            TokenError::MissingClaims,
            TokenError::Invalid,
        ]
    }

    #[test]
    fn texts_of_an_upgrade() {
        let expected = [
            (401, "The token provided is not a valid JWT", ErrorCode::MalformedJWT),
            (401, NAMED, ErrorCode::ErrorConnectingToWebsocket),
            (401, UNNAMED, ErrorCode::ErrorConnectingToWebsocket),
            (401, "Failed to validate JWT signature", ErrorCode::ErrorConnectingToWebsocket),
            (401, "Token has expired", ErrorCode::InvalidJWTToken),
            (401, "Fields `role` and `exp` are required in JWT", ErrorCode::InvalidJWTToken),
            (500, "Error connecting to Realtime", ErrorCode::ErrorConnectingToWebsocket),
        ];
        for (error, (status, text, code)) in all().iter().zip(expected) {
            assert_eq!(upgrade_refusal(error), (status, text.into(), code));
        }
    }

    #[test]
    fn texts_of_a_join() {
        let expected = [
            "MalformedJWT: The token provided is not a valid JWT".to_owned(),
            format!("JwtSignerError: {NAMED}"),
            format!("JwtSignerError: {UNNAMED}"),
            "JwtSignatureError: Failed to validate JWT signature".to_owned(),
            "InvalidJWTToken: Token has expired 7 seconds ago".to_owned(),
            "InvalidJWTToken: Fields `role` and `exp` are required in JWT".to_owned(),
            "Unknown Error on Channel".to_owned(),
        ];
        for (error, text) in all().iter().zip(expected) {
            assert_eq!(join_refusal(error).to_string(), text);
        }
    }

    #[test]
    fn texts_of_a_joined_channel() {
        let expected = [
            "The token provided is not a valid JWT",
            NAMED,
            UNNAMED,
            "Failed to validate JWT signature",
            "Token has expired 7 seconds ago",
            "Fields `role` and `exp` are required in JWT",
            "The claims of the token are not accepted",
        ];
        for (error, text) in all().iter().zip(expected) {
            assert_eq!(channel_text(error), text);
        }
    }
}
