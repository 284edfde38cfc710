//! Endpoints behind TLS.
