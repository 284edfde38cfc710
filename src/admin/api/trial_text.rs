//! What a trial changes of who gets whose share, in words.

use http::Method;

use crate::{
    admin::wire::Reasoned,
    snapshot::{Service, TrialInForce},
};

/// Of a request with this method that comes to this pool; `None`: to which is left to chance.
pub(super) fn of_trial(service: &Service, method: &Method, to: Option<usize>) -> Vec<Reasoned> {
    let Some(trial) = &service.trial else {
        return Vec::new();
    };
    [divides(service, trial), rescues(trial, method, to)]
        .into_iter()
        .flatten()
        .map(|because| Reasoned {
            of: "trial".to_owned(),
            because,
        })
        .collect()
}

fn divides(service: &Service, trial: &TrialInForce) -> Option<String> {
    let (stable, candidate) = (&trial.trial.stable, &trial.trial.candidate);
    if !trial.batch().is_empty() {
        let count = trial.batch().len();
        return Some(format!(
            "{count} of the endpoints of {stable} are on trial beside the others"
        ));
    }
    if !trial.holds() {
        return None;
    }
    if service.candidates(trial.stable).is_empty() {
        return Some(format!(
            "{stable} has nobody that may be asked, and while {candidate} is on trial beside it its share is answered 503"
        ));
    }
    let copies = trial.trial.copies.map_or_else(String::new, |part| {
        format!("; it gets copies of {part} of what can be copied")
    });
    Some(format!(
        "{candidate} is on trial beside {stable}, and gets none of its share{copies}"
    ))
}

/// Who may answer in the candidate's place.
fn rescues(trial: &TrialInForce, method: &Method, to: Option<usize>) -> Option<String> {
    let rule = trial.trial.rescue.as_ref();
    let rule = rule.filter(|rule| rule.methods.iter().any(|named| named == method.as_str()))?;
    let most = rule.max_body;
    if !trial.batch().is_empty() {
        return Some(format!(
            "what these fail is asked of the others once, with a body of up to {most} bytes"
        ));
    }
    let (stable, candidate) = (&trial.trial.stable, &trial.trial.candidate);
    let may_fail = to.is_none_or(|pool| pool == trial.candidate);
    (trial.holds() && may_fail).then(|| {
        format!(
            "what {candidate} fails is asked of {stable} once, with a body of up to {most} bytes"
        )
    })
}
