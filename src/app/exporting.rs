use std::{io, pin::Pin, sync::Arc, time::Duration};

use crate::{
    config::plan::Otlp,
    telemetry::{SpanCounts, Spans},
};

/// Who takes spans, where the file names somebody and the program was built for it.
#[derive(Default)]
pub struct Exporting {
    pub spans: Option<Spans>,
    /// Sends what waits.
    last_words: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Exporting {
    pub fn counts(&self) -> Option<Arc<SpanCounts>> {
        self.spans.as_ref().map(Spans::counts)
    }

    #[cfg(feature = "otlp")]
    pub fn start(plan: Option<&Otlp>) -> io::Result<Self> {
        let Some(plan) = plan else {
            return Ok(Self::default());
        };
        let header = |(name, secret): &(http::HeaderName, crate::units::Secret)| {
            let mut value = http::HeaderValue::from_bytes(secret.expose()).ok()?;
            value.set_sensitive(true);
            Some((name.clone(), value))
        };
        let (spans, exporter) = crate::otlp::start(crate::otlp::Settings {
            endpoint: plan.endpoint.clone(),
            headers: plan.headers.iter().filter_map(header).collect(),
            timeout: plan.timeout,
            service_name: plan.service_name.clone(),
        })?;
        Ok(Self {
            spans: Some(spans),
            last_words: Some(Box::pin(exporter.end())),
        })
    }

    /// The check has refused the table.
    #[cfg(not(feature = "otlp"))]
    pub fn start(plan: Option<&Otlp>) -> io::Result<Self> {
        match plan {
            None => Ok(Self::default()),
            Some(_) => Err(io::Error::other("built without OTLP")),
        }
    }

    /// Ends when what waits is sent, and after so long at the latest.
    pub async fn end(self, limit: Duration) {
        if let Some(last_words) = self.last_words
            && tokio::time::timeout(limit, last_words).await.is_err()
        {
            tracing::warn!("ended before the last spans were exported");
        }
    }
}
