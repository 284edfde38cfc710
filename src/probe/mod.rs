//! Active readiness.
