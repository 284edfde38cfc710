//! The file as typed: a tree of values with their places, and the table of every key that may stand in it.
//!
//! Knows the format's shape and syntax, not what the values mean together.

pub mod keys;
mod merge;
mod shape;
pub mod syntax;
mod tree;
mod view;
mod walk;

pub use merge::merge;
pub use shape::{Fallback, Key, Section, Shape, Syntax, keys_of};
pub use tree::{Node, Parsed, Place, Table, Value, parse};
pub use view::{View, section_of};
pub use walk::{described, joined, misread, nearest, walk};
