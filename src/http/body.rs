//! Bodies of requests, read whole and within a limit.

use std::error::Error;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http_body_util::LengthLimitError;

use super::{error::ApiError, patience::Broken};

/// The whole body. Reading stops at the limit.
///
/// # Errors
///
/// [`ApiError::BodyTooLarge`], [`ApiError::BodyTooSlow`], or
/// [`ApiError::BadRequest`] if it breaks off.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    to_bytes(body, limit).await.map_err(|error| {
        let error = error.into_inner();
        if error.is::<LengthLimitError>() {
            return ApiError::BodyTooLarge;
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*error);
        let mut is_late = false;
        while let Some(error) = cause {
            is_late |= matches!(error.downcast_ref(), Some(Broken::Late));
            cause = error.source();
        }
        if is_late { ApiError::BodyTooSlow } else { ApiError::BadRequest }
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
