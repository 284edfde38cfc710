use crate::units::{Matcher, Name};

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub matcher: Matcher,
    pub service: Name,
}
