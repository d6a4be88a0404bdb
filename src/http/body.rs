//! Bodies of requests, read whole and within a limit.

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use super::error::ApiError;

/// The whole body. Reading stops at the limit.
///
/// # Errors
///
/// [`ApiError::BodyTooLarge`], or [`ApiError::BadRequest`] if it breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    to_bytes(body, limit).await.map_err(|error| {
        let error = error.into_inner();
        match error.is::<LengthLimitError>() {
            true => ApiError::BodyTooLarge,
            false => ApiError::BadRequest,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_above_the_limit_is_told_apart() {
        assert_eq!(read(Body::from("abc"), 3).await, Ok(Bytes::from_static(b"abc")));
        assert_eq!(read(Body::from("abcd"), 3).await, Err(ApiError::BodyTooLarge));
    }
}
