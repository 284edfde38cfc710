use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use tokio::{net::TcpStream, time::timeout};

use super::{Answer, Connection, Error};
use crate::tls::{Authorities, ClientSettings, Failure, Trust};

/// Of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the connection to the last byte.
    pub within: Duration,
    /// How many bytes of the answer are read; the rest is let go of with its connection.
    pub largest: usize,
}

/// Asks others over HTTP/1.1. Cheap to clone. By default those are believed whom the system's roots vouch for, and these are read when they are
/// first needed.
#[derive(Clone, Default)]
pub struct Client {
    tls: Arc<OnceLock<ClientSettings>>,
}

impl Client {
    /// Believes those alone whom these vouch for.
    pub fn trusting(authorities: Authorities) -> Result<Self, String> {
        let client = Self::default();
        let settings = settings(authorities)?;
        client.tls.get_or_init(|| settings);
        Ok(client)
    }

    /// Reads the system's roots, for whoever would know at once that there are none.
    pub fn ready(self) -> Result<Self, String> {
        self.tls()?;
        Ok(self)
    }

    fn tls(&self) -> Result<&ClientSettings, String> {
        if let Some(settings) = self.tls.get() {
            return Ok(settings);
        }
        let authorities = Authorities::of_system().map_err(|error| error.to_string())?;
        let settings = settings(authorities)?;
        Ok(self.tls.get_or_init(|| settings))
    }

    /// A connection to whom the URL names.
    pub async fn connect(&self, uri: &Uri) -> Result<Connection, Error> {
        let unusable = |why: &str| Error::Unusable(why.to_owned());
        let safe = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(unusable("its URL begins neither with http:// nor https://")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(unusable("its URL names a user, which is not sent"));
        }
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if safe { 443 } else { 80 });
        let stream = TcpStream::connect((bare, port)).await;
        let stream = stream.map_err(|error| Error::Unreachable(error.to_string()))?;
        if !safe {
            return Connection::over(stream).await;
        }
        let tls = self.tls().map_err(Error::Unusable)?;
        match tls.connect(stream, host).await {
            Ok(connected) => Connection::over(connected.stream).await,
            Err(error) if error.failure == Failure::Closed => {
                Err(Error::Unreachable(error.to_string()))
            }
            Err(error) => Err(Error::Unsafe(error.to_string())),
        }
    }

    /// Sends one request on a connection of its own. Whoever no longer waits for the answer ends both.
    pub async fn send(&self, request: Request<Bytes>, limits: Limits) -> Result<Answer, Error> {
        let asked = async {
            let mut connection = self.connect(request.uri()).await?;
            let mut request = request;
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(header::CONNECTION, close);
            connection.send(request, limits.largest).await
        };
        let answer = timeout(limits.within, asked).await;
        answer.unwrap_or(Err(Error::Late))
    }
}

fn settings(authorities: Authorities) -> Result<ClientSettings, String> {
    ClientSettings::new(Trust::Authorities(authorities), None, None, (true, false))
}
