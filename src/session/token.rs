//! What clients are told about their tokens, at each of the three places.

use crate::{auth::TokenError, error_code::ErrorCode};

use super::refusal::Refusal;

const NOT_A_JWT: &str = "The token provided is not a valid JWT";
const MISSING_CLAIMS: &str = "Fields `role` and `exp` are required in JWT";
const SIGNATURE: &str = "Failed to validate JWT signature";
const NO_KEY: &str = "Failed to generate JWT signer, check your JWT secret or JWKS configuration";

/// A refused upgrade: status, text, code.
pub fn upgrade_refusal(error: &TokenError) -> (u16, &'static str, ErrorCode) {
    match error {
        TokenError::NotAJwt => (401, NOT_A_JWT, ErrorCode::MalformedJWT),
        TokenError::NoKey => (401, NO_KEY, ErrorCode::ErrorConnectingToWebsocket),
        TokenError::Signature => (401, SIGNATURE, ErrorCode::ErrorConnectingToWebsocket),
        TokenError::Expired { .. } => (401, "Token has expired", ErrorCode::InvalidJWTToken),
        TokenError::MissingClaims => (401, MISSING_CLAIMS, ErrorCode::InvalidJWTToken),
        TokenError::Invalid => {
            (500, "Error connecting to Realtime", ErrorCode::ErrorConnectingToWebsocket)
        }
    }
}

/// A refused join.
pub fn join_refusal(error: &TokenError) -> Refusal {
    let code = match error {
        TokenError::NotAJwt => ErrorCode::MalformedJWT,
        TokenError::NoKey => ErrorCode::JwtSignerError,
        TokenError::Signature => ErrorCode::JwtSignatureError,
        TokenError::Expired { .. } | TokenError::MissingClaims => ErrorCode::InvalidJWTToken,
        TokenError::Invalid => ErrorCode::UnknownErrorOnChannel,
    };
    Refusal::new(code, channel_text(error))
}

/// What a joined channel is told before it closes.
pub fn channel_text(error: &TokenError) -> String {
    match error {
        TokenError::NotAJwt => NOT_A_JWT.to_owned(),
        TokenError::NoKey => NO_KEY.to_owned(),
        TokenError::Signature => SIGNATURE.to_owned(),
        TokenError::Expired { seconds } => format!("Token has expired {seconds} seconds ago"),
        TokenError::MissingClaims => MISSING_CLAIMS.to_owned(),
        TokenError::Invalid => "The claims of the token are not accepted".to_owned(),
    }
}
