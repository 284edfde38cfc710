use http::StatusCode;

/// A request that could not be answered by an endpoint.
#[derive(Debug, thiserror::Error)]
#[error("{kind:?}")]
pub struct ProxyError {
    pub kind: Kind,
    pub fault: Fault,
    /// Whether the request may be sent to another endpoint.
    pub resend: Resend,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is no valid HTTP, or two readers could understand it differently.
    Malformed,
    /// The request's body is coded in a way that we don't take apart.
    UnsupportedCoding,
    NoRoute,
    /// The route is not for this client.
    Forbidden,
    /// The client uses the route too often, and may come back after so many seconds.
    RateLimited(u32),
    /// `TRACE`, which would show the app's view of a request to a script, and `CONNECT`, which asks for a tunnel.
    MethodNotAllowed,
    /// The service lets nobody ask for a tunnel, and the request asks for nothing else.
    UpgradeNotAllowed,
    /// The host is not one of the certificate that the client was shown, where clients must show theirs too.
    Misdirected,
    /// The request has come through Cutovers so often that it must go round.
    Loop,
    /// The client stopped sending its body.
    ClientSlow,
    /// The client went away; nobody reads the answer.
    ClientGone,
    BodyTooLarge,
    TooManyHeaders,
    /// No endpoint may be given the request.
    NoEndpoint,
    /// As many requests as may be are under way, and as many as may be wait.
    QueueFull,
    /// It has waited for its turn as long as it may.
    QueueTimeout,
    /// Requests of its service are held for so many seconds more, and as many as may be wait.
    HoldFull(u32),
    /// Its service is in maintenance: what is answered, and when the client may come back, in seconds.
    Maintenance(StatusCode, u32),
    /// This machine has no descriptors, ports or memory left for a connection to the endpoint.
    Shortage,
    /// As many connections to the endpoint are open as may be, and none came free in time.
    ConnectionsFull,
    ConnectFailed,
    ConnectTimeout,
    /// The endpoint took the connection, and the handshake of TLS with it failed.
    TlsFailed,
    /// The endpoint said that it did not look at the request.
    EndpointRefused,
    /// The endpoint closed or broke the connection before it answered.
    EndpointBroke,
    /// What the endpoint sent is no valid HTTP answer.
    EndpointMalformed,
    /// The endpoint does not speak the protocol that was asked for, and its answer would say that it did.
    NoTunnel,
    EndpointSlow,
    /// The request's time in all is over.
    RequestTimeout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Client,
    Endpoint,
    Ours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// Nothing of the request was written: it can go elsewhere, whatever its method.
    Safe,
    /// It may have been run, but may be run twice, and was kept.
    Repeatable,
    Unsafe,
}

impl Kind {
    /// The one table of what is answered.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::UnsupportedCoding | Self::UpgradeNotAllowed => StatusCode::NOT_IMPLEMENTED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::ClientSlow | Self::ClientGone => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoEndpoint
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::HoldFull(_)
            | Self::Shortage
            | Self::ConnectionsFull
            | Self::EndpointRefused => StatusCode::SERVICE_UNAVAILABLE,
            Self::Maintenance(status, _) => status,
            Self::ConnectFailed
            | Self::TlsFailed
            | Self::EndpointBroke
            | Self::EndpointMalformed
            | Self::NoTunnel => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::EndpointSlow | Self::RequestTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
        }
    }

    /// In how many seconds the client may come back, where that is known.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Self::RateLimited(seconds)
            | Self::HoldFull(seconds)
            | Self::Maintenance(_, seconds) => Some(seconds),
            _ => None,
        }
    }

    /// As logs name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnsupportedCoding => "unsupported-coding",
            Self::NoRoute => "no-route",
            Self::Forbidden => "forbidden",
            Self::RateLimited(_) => "rate-limited",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::UpgradeNotAllowed => "upgrade-not-allowed",
            Self::Misdirected => "misdirected",
            Self::Loop => "loop",
            Self::ClientSlow => "client-slow",
            Self::ClientGone => "client-gone",
            Self::BodyTooLarge => "body-too-large",
            Self::TooManyHeaders => "too-many-headers",
            Self::NoEndpoint => "no-endpoint",
            Self::QueueFull => "queue-full",
            Self::QueueTimeout => "queue-timeout",
            Self::HoldFull(_) => "hold-full",
            Self::Maintenance(..) => "maintenance",
            Self::Shortage => "shortage",
            Self::ConnectionsFull => "connections-full",
            Self::ConnectFailed => "connect-failed",
            Self::ConnectTimeout => "connect-timeout",
            Self::TlsFailed => "tls-failed",
            Self::EndpointRefused => "endpoint-refused",
            Self::EndpointBroke => "endpoint-broke",
            Self::EndpointMalformed => "endpoint-malformed",
            Self::NoTunnel => "no-tunnel",
            Self::EndpointSlow => "endpoint-slow",
            Self::RequestTimeout => "request-timeout",
        }
    }

    /// Whether the client has waited for an endpoint in vain.
    pub fn is_timeout(self) -> bool {
        matches!(
            self,
            Self::ConnectTimeout | Self::EndpointSlow | Self::RequestTimeout
        )
    }

    pub fn fault(self) -> Fault {
        match self {
            Self::Malformed
            | Self::UnsupportedCoding
            | Self::NoRoute
            | Self::Forbidden
            | Self::RateLimited(_)
            | Self::MethodNotAllowed
            | Self::UpgradeNotAllowed
            | Self::Misdirected
            | Self::ClientSlow
            | Self::ClientGone
            | Self::BodyTooLarge
            | Self::TooManyHeaders => Fault::Client,
            Self::ConnectFailed
            | Self::ConnectTimeout
            | Self::TlsFailed
            | Self::EndpointRefused
            | Self::EndpointBroke
            | Self::EndpointMalformed
            | Self::NoTunnel
            | Self::EndpointSlow
            | Self::RequestTimeout => Fault::Endpoint,
            Self::Loop
            | Self::NoEndpoint
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::HoldFull(_)
            | Self::Maintenance(..)
            | Self::Shortage
            | Self::ConnectionsFull => Fault::Ours,
        }
    }
}

impl From<Kind> for ProxyError {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            fault: kind.fault(),
            resend: Resend::Unsafe,
            source: None,
        }
    }
}

impl ProxyError {
    pub fn with(kind: Kind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..kind.into()
        }
    }

    #[must_use]
    pub fn resend(self, resend: Resend) -> Self {
        Self { resend, ..self }
    }
}
