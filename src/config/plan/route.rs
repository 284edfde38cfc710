use crate::units::{Matcher, Name, OwnAnswer, RouteRules};

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub matcher: Matcher,
    pub target: Target,
    pub rules: RouteRules,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Service(Name),
    /// The proxy itself.
    Own(OwnAnswer),
}

impl Route {
    pub fn service(&self) -> Option<&Name> {
        match &self.target {
            Target::Service(name) => Some(name),
            Target::Own(_) => None,
        }
    }
}
