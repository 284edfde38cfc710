//! Pure choice: which route, which pool.
