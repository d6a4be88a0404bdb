//! The limit of requests: finds the tenant of a call, counts the call, and says
//! in every answer how much is left.

use std::sync::Arc;

use axum::{
    extract::{self, Request},
    http::HeaderValue,
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use crate::runtime::rate::Rate;

use super::{State, directory::Absent, error::ApiError};

/// Lets a call of a known tenant pass, with the tenant's services among its
/// extensions, unless the tenant makes too many.
pub async fn limit(
    extract::State(state): extract::State<Arc<State>>,
    mut request: Request,
    next: Next,
) -> Response {
    let services = match Box::pin(state.directory.find(request.headers())).await {
        Ok(services) => services,
        Err(Absent::Unknown) => return ApiError::TenantNotFound.into_response(),
        Err(Absent::Suspended) => return ApiError::TenantSuspended.into_response(),
        Err(Absent::Unavailable) => return ApiError::Unavailable.into_response(),
    };
    let requests = &services.tenant.meters.requests;
    requests.record(1);
    let budget = Budget::of(requests);
    let mut response = if budget.is_spent() {
        ApiError::TooManyRequests.into_response()
    } else {
        request.extensions_mut().insert(Arc::clone(&services));
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert("x-rate-rolling", HeaderValue::from(budget.rolling));
    headers.insert("x-rate-limit", HeaderValue::from(budget.limit));
    headers.insert("x-rate-limit-remaining", HeaderValue::from(budget.remaining()));
    response
}

/// Requests a second: how many there are and how many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budget {
    rolling: u64,
    limit: u64,
}

impl Budget {
    fn of(rate: &Rate) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an average")]
        let rolling = rate.average() as u64;
        Self { rolling, limit: rate.limit() }
    }

    fn is_spent(self) -> bool {
        self.rolling >= self.limit
    }

    fn remaining(self) -> u64 {
        self.limit.saturating_sub(self.rolling)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_the_whole_part_of_the_average() {
        let rate = Rate::new(2, Duration::from_secs(1), 60);
        rate.record(5);
        assert_eq!(Budget::of(&rate), Budget { rolling: 0, limit: 2 });
        tokio::time::advance(Duration::from_secs(1)).await;
        // 5 in two buckets of a second.
        let budget = Budget::of(&rate);
        assert_eq!((budget.rolling, budget.remaining(), budget.is_spent()), (2, 0, true));
        rate.set_limit(3);
        assert!(!Budget::of(&rate).is_spent());
        rate.set_limit(0);
        assert!(Budget::of(&rate).is_spent());
    }
}
