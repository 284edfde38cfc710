//! The HTTP client side.
