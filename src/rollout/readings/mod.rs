//! Figures from outside, of both versions: how they are asked for, and what they say.
//!
//! A source that cannot be asked, or has no figure, says nothing of the new version: that is told, and is never a reason to take it back.

mod pointer;
mod prometheus;
mod record;
mod rule;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, header};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

pub use record::{Finding, Record};
pub use rule::{Verdict, judge};

use super::outside::{Outside, Source};
use crate::{
    config::plan::{Bound, Metric, MetricSource},
    outbound::{Answer, Limits, place, printable},
    units::{Name, Secret},
};

/// A figure is some bytes; many series are a mistake that is told from the first of them.
const LARGEST: usize = 256 << 10;
/// Of what a source says against itself.
const SHOWN: usize = 300;

/// Why there is no figure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFigure {
    /// The source cannot be asked, or not that.
    #[error("{0}")]
    Failed(String),
    /// It has none at the moment, such as of a version that nobody has used yet.
    #[error("{0}")]
    Empty(String),
}

/// Whom a figure is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub service: Name,
    pub stable: Name,
    pub candidate: Name,
}

/// What one look at a figure has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub metric: Name,
    pub service: Name,
    /// Where it matters and is known.
    pub stable: Option<f64>,
    pub candidate: Option<f64>,
    pub finding: Finding,
    /// It is told, and changes nothing.
    pub dry_run: bool,
}

impl Look {
    /// In words: `orders_per_minute of shop: 12.5 is ...`.
    pub fn words(&self) -> String {
        let dry = if self.dry_run { " (dry run)" } else { "" };
        let (metric, service) = (&self.metric, &self.service);
        format!("{metric} of {service}{dry}: {}", self.finding)
    }

    /// It is reason enough to take the new version back.
    pub fn takes_back(&self) -> bool {
        matches!(self.finding, Finding::Bad(_)) && !self.dry_run
    }
}

/// The figure of one pool, now.
pub async fn query(
    metric: &Metric,
    service: &Name,
    pool: &Name,
    outside: &Outside,
) -> Result<f64, NoFigure> {
    let asked = ask(metric, service, pool, outside).await;
    outside.count_query(match &asked {
        Ok(_) => Source::Answered,
        Err(NoFigure::Empty(_)) => Source::Empty,
        Err(NoFigure::Failed(_)) => Source::Failed,
    });
    asked
}

/// Whether the source can be asked at all: before a rollout begins, since one whose figures cannot be had must not be half started. That it
/// has no figure yet is no hindrance.
pub async fn probe(
    metric: &Metric,
    service: &Name,
    pool: &Name,
    outside: &Outside,
) -> Result<(), String> {
    match query(metric, service, pool, outside).await {
        Err(NoFigure::Failed(why)) => Err(format!("metric {}: {why}", metric.name)),
        Ok(_) | Err(NoFigure::Empty(_)) => Ok(()),
    }
}

/// Looks at a figure at its interval, and tells what it finds, until it is dropped.
pub async fn follow(
    metric: &Metric,
    subject: &Subject,
    outside: &Outside,
    mut told: impl FnMut(Look),
) {
    let mut looks = interval_at(Instant::now() + metric.interval, metric.interval);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut record = Record::default();
    loop {
        looks.tick().await;
        told(look(metric, subject, outside, &mut record).await);
    }
}

/// One look, at both versions at once where both matter.
pub async fn look(
    metric: &Metric,
    subject: &Subject,
    outside: &Outside,
    record: &mut Record,
) -> Look {
    let of = |pool| query(metric, &subject.service, pool, outside);
    let compares = matches!(metric.bound, Bound::Stable { .. });
    let stable = async {
        if compares {
            of(&subject.stable).await.map(Some)
        } else {
            Ok(None)
        }
    };
    let (stable, candidate) = tokio::join!(stable, of(&subject.candidate));
    let finding = record.take(metric.bound, stable.clone(), candidate.clone());
    Look {
        metric: metric.name.clone(),
        service: subject.service.clone(),
        stable: stable.ok().flatten(),
        candidate: candidate.ok(),
        finding,
        dry_run: metric.dry_run,
    }
}

async fn ask(
    metric: &Metric,
    service: &Name,
    pool: &Name,
    outside: &Outside,
) -> Result<f64, NoFigure> {
    let about = |text: &str| {
        let text = text.replace("{{pool}}", pool.as_str());
        text.replace("{{service}}", service.as_str())
    };
    let (url, fields) = match &metric.source {
        MetricSource::Prometheus { url, query } => {
            (prometheus::url(url, &about(query), metric.timeout), &[][..])
        }
        MetricSource::Http { url, headers, .. } => (about(url), &headers[..]),
    };
    let who = place(&url);
    let failed = |why: &dyn std::fmt::Display| NoFigure::Failed(format!("{who} {why}"));
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url.trim().parse().map_err(|error| failed(&error))?;
    let mut headers: HeaderMap = fields.iter().cloned().collect();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(secret) = &metric.authorization {
        let value = authorization(secret).ok_or_else(|| {
            failed(&"cannot be sent its `authorization`, which is no value of a header")
        })?;
        headers.insert(header::AUTHORIZATION, value);
    }
    *request.headers_mut() = headers;
    let limits = Limits {
        within: metric.timeout,
        largest: LARGEST,
    };
    let answer = outside.client.send(request, limits).await;
    let answer = answer.map_err(|error| failed(&error))?;
    let read = match &metric.source {
        MetricSource::Prometheus { .. } => prometheus::read(&answer),
        MetricSource::Http { pointer, .. } => pointer::read(&answer, pointer),
    };
    read.map_err(|none| match none {
        NoFigure::Failed(why) => failed(&why),
        NoFigure::Empty(why) => NoFigure::Empty(format!("{who} {why}")),
    })
}

fn authorization(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(secret.expose().trim_ascii()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A figure as text; only such with which one can compute.
fn number(text: &str) -> Result<f64, NoFigure> {
    match text.trim().parse::<f64>() {
        Ok(figure) if figure.is_finite() => Ok(figure),
        Ok(_) => Err(NoFigure::Empty(format!("says {}", text.trim()))),
        Err(_) => {
            let said = printable(text.as_bytes(), SHOWN);
            Err(NoFigure::Failed(format!(
                "says `{said}`, which is no number"
            )))
        }
    }
}

/// What came instead of a figure.
fn refused(answer: &Answer, said: &str) -> NoFigure {
    let said = printable(said.as_bytes(), SHOWN);
    let said = Some(said).filter(|said| !said.is_empty());
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    NoFigure::Failed(format!("answered {}{said}", answer.status))
}
