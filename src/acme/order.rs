//! One certificate, from the order to the chain.

use std::{sync::Arc, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeHandle, ChallengeType, Error,
    Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

use crate::tls::{Certificate, Challenges, Shown};

/// How long an authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_mins(2));

/// How it is proven that we hold a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// By a file on port 80 (RFC 8555 §8.3).
    Http01,
    /// By a certificate on port 443 (RFC 8737).
    TlsAlpn01,
}

/// What was got: a chain and its key, both PEM.
pub(super) struct Got {
    pub chain: String,
    pub key: String,
}

/// Orders a certificate for `host`, in place of one that it has.
pub(super) async fn order(
    account: &Account,
    host: &str,
    method: Method,
    replaces: Option<CertificateIdentifier<'static>>,
    challenges: &Arc<Challenges>,
) -> Result<Got, Failed> {
    let names = [Identifier::Dns(host.to_owned())];
    let mut order = match replaces {
        // An authority that does not know the certificate, or has seen it replaced, refuses such an order.
        Some(before) => match account
            .new_order(&NewOrder::new(&names).replaces(before))
            .await
        {
            Ok(order) => order,
            Err(error) if is_unknown_account(&error) => return Err(error.into()),
            Err(_) => account.new_order(&NewOrder::new(&names)).await?,
        },
        None => account.new_order(&NewOrder::new(&names)).await?,
    };
    let shown = show(&mut order, host, method, challenges).await?;
    let status = order.poll_ready(&PATIENCE).await;
    if !matches!(status, Ok(OrderStatus::Ready)) {
        return Err(why(&mut order, status).await);
    }
    drop(shown);
    let key = KeyPair::generate().map_err(Failed::ours)?;
    let mut params = CertificateParams::new([host.to_owned()]).map_err(Failed::ours)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(Failed::ours)?;
    order.finalize_csr(request.der()).await?;
    Ok(Got {
        chain: order.poll_certificate(&PATIENCE).await?,
        key: key.serialize_pem(),
    })
}

/// Shows the proof of each name, and asks the authority to look.
async fn show(
    order: &mut Order,
    host: &str,
    method: Method,
    challenges: &Arc<Challenges>,
) -> Result<Vec<Shown>, Failed> {
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => return Err(Failed(format!("the authorization is {other:?}"), None)),
        }
        let kind = match method {
            Method::Http01 => ChallengeType::Http01,
            Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let Some(mut challenge) = authorization.challenge(kind) else {
            return Err(Failed(
                "the authority does not offer this challenge".into(),
                None,
            ));
        };
        shown.push(proof(&challenge, host, method, challenges)?);
        challenge.set_ready().await?;
    }
    Ok(shown)
}

fn proof(
    challenge: &ChallengeHandle<'_>,
    host: &str,
    method: Method,
    challenges: &Arc<Challenges>,
) -> Result<Shown, Failed> {
    let authorization = challenge.key_authorization();
    if method == Method::Http01 {
        return Ok(challenges.show_token(&challenge.token, authorization.as_str()));
    }
    let digest = authorization.digest();
    let mut params = CertificateParams::new([host.to_owned()]).map_err(Failed::ours)?;
    params
        .custom_extensions
        .push(CustomExtension::new_acme_identifier(digest.as_ref()));
    let key = KeyPair::generate().map_err(Failed::ours)?;
    let signed = params.self_signed(&key).map_err(Failed::ours)?;
    let pem = (signed.pem(), key.serialize_pem());
    let certificate = Certificate::new(pem.0.as_bytes(), pem.1.as_bytes()).map_err(Failed::ours)?;
    Ok(challenges.show_certificate(host, certificate))
}

/// What the authority says of a proof that it did not take.
async fn why(order: &mut Order, status: Result<OrderStatus, Error>) -> Failed {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let told = state.challenges.iter().find_map(|c| c.error.as_ref());
        if let Some(problem) = told {
            return Failed(problem.to_string(), None);
        }
    }
    match status {
        Ok(status) => Failed(format!("the order is {status:?}"), None),
        Err(error) => error.into(),
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(pub String, Option<Error>);

impl Failed {
    pub(super) fn ours(error: impl std::fmt::Display) -> Self {
        Self(error.to_string(), None)
    }

    /// The authority has forgotten the account, or never knew it.
    pub(super) fn is_unknown_account(&self) -> bool {
        self.1.as_ref().is_some_and(is_unknown_account)
    }
}

fn is_unknown_account(error: &Error) -> bool {
    matches!(error, Error::Api(problem)
        if problem.r#type.as_deref() == Some("urn:ietf:params:acme:error:accountDoesNotExist"))
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self(error.to_string(), Some(error))
    }
}
