//! A head that is let in has one host, one framing, a target in origin form, and is let in again as it is.

#![no_main]

use cutover::proxy::head::{Door, check};
use http::{HeaderName, HeaderValue, Request, Uri, Version, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &[u8], Vec<(u8, &[u8], &[u8])>)| {
    let (kind, method, target, fields) = input;
    let (Ok(method), Ok(uri)) = (method.parse(), Uri::try_from(target)) else {
        return;
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(kind % 3)];
    for (known, name, value) in fields {
        let name = match known {
            0 => Ok(header::HOST),
            1 => Ok(header::CONTENT_LENGTH),
            2 => Ok(header::TRANSFER_ENCODING),
            3 => Ok(header::COOKIE),
            _ => HeaderName::from_bytes(name),
        };
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    let door = Door {
        fields: 100,
        address: ([127, 0, 0, 1], 80).into(),
        secure: kind > 127,
    };
    if check(&mut request, &door).is_err() {
        return;
    }
    let (uri, headers) = (request.uri().clone(), request.headers().clone());
    assert!(uri.scheme().is_none() && uri.authority().is_none());
    assert!(uri.path().starts_with('/') || uri.path() == "*");
    assert_eq!(headers.get_all(header::HOST).iter().count(), 1);
    assert!(headers.get_all(header::CONTENT_LENGTH).iter().count() <= 1);
    assert!(!(headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING)));
    assert!(headers.keys().all(|name| !name.as_str().contains('_')));
    assert!(check(&mut request, &door).is_ok());
    assert_eq!((request.uri(), request.headers()), (&uri, &headers));
});
