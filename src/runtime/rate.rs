//! Rates averaged over a sliding minute.
