//! The normal form of a path (RFC 3986 §6.2.2), in which it is matched and passed on.

/// The path has no normal form: it leads above the root, or two readers could take it for two different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNormalForm;

/// The normal form of a path, or `None` where it is that already.
///
/// Escapes of unreserved characters are decoded, the others kept, with upper-case digits: an escaped slash is no slash.
/// `.` and `..` are followed; empty segments stay.
pub fn normal_path(path: &str) -> Result<Option<String>, NoNormalForm> {
    if !path.starts_with('/') {
        return Err(NoNormalForm);
    }
    let mut before = 0;
    let mut plain = true;
    for &byte in path.as_bytes() {
        match byte {
            b'%' => plain = false,
            b'.' if before == b'/' => plain = false,
            // Windows takes it for a slash, and so do browsers.
            b'\\' | 0..=b' ' | 0x7f.. => return Err(NoNormalForm),
            _ => {}
        }
        before = byte;
    }
    if plain {
        return Ok(None);
    }
    let decoded = decode(path)?;
    let found = decoded.as_deref().unwrap_or(path);
    Ok(follow(found)?.or(decoded))
}

/// The path with the escapes it needs and no others, where that makes a difference.
fn decode(path: &str) -> Result<Option<String>, NoNormalForm> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let Some(first) = path.find('%') else {
        return Ok(None);
    };
    let mut decoded = String::with_capacity(path.len());
    decoded.push_str(&path[..first]);
    let mut rest = path[first..].bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            decoded.push(char::from(byte));
            continue;
        }
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        let meant = high << 4 | low;
        if meant.is_ascii_alphanumeric() || b"-._~".contains(&meant) {
            decoded.push(char::from(meant));
        } else {
            let digits = [high, low].map(|digit| char::from(DIGITS[usize::from(digit)]));
            decoded.extend(['%', digits[0], digits[1]]);
        }
    }
    Ok((decoded != path).then_some(decoded))
}

fn digit(byte: Option<u8>) -> Result<u8, NoNormalForm> {
    let value = byte.and_then(|byte| char::from(byte).to_digit(16));
    value
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(NoNormalForm)
}

/// The path with its dot segments followed (RFC 3986 §5.2.4), where it has any.
fn follow(path: &str) -> Result<Option<String>, NoNormalForm> {
    let segments = || path.split('/').skip(1);
    let mut dotted = false;
    for segment in segments() {
        match segment {
            "." | ".." => dotted = true,
            _ if hides_a_dot_segment(segment) => return Err(NoNormalForm),
            _ => {}
        }
    }
    if !dotted {
        return Ok(None);
    }
    let mut left = Vec::new();
    let mut at_folder = false;
    for segment in segments() {
        at_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(left.pop().ok_or(NoNormalForm)?),
            _ => left.push(segment),
        }
    }
    if at_folder {
        left.push("");
    }
    let mut followed = String::with_capacity(path.len());
    for segment in left {
        followed.push('/');
        followed.push_str(segment);
    }
    Ok(Some(followed))
}

/// Whether it becomes a dot segment for a reader that decodes before it splits (`..%2Fa`), or that drops parameters before
/// it follows (`..;a`). Such a reader would leave the place that the route was chosen for.
fn hides_a_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    loop {
        let end = rest.find('%').map_or(rest.len(), |first| {
            let slashes = ["%2F", "%5C"].map(|slash| rest[first..].find(slash));
            let next = slashes.into_iter().flatten().min();
            next.map_or(rest.len(), |next| first + next)
        });
        let piece = &rest[..end];
        let named = piece.split(';').next().unwrap_or(piece);
        let named = named.split("%3B").next().unwrap_or(named);
        if matches!(named, "." | "..") {
            return true;
        }
        match rest.get(end + 3..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_normal_path_stays_as_it_is() {
        for path in [
            "/",
            "/a",
            "/a/",
            "//",
            "//a//b/",
            "/a.b",
            "/.well-known/x",
            "/...",
            "/..a/.b/.../",
            "/a;b=c/d,e",
            "/a:@!$&'()*+=~_-",
            "/a%2Fb",
            "/%00%0D%0A",
            "/%C3%A4",
            "/%25",
            "/%252e%252e",
            "/a%3F",
            "/a|b^{c}\"",
        ] {
            assert_eq!(normal_path(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn paths_that_mean_the_same_have_the_same_normal_form() {
        for (path, same) in [
            ("/%7Euser/%61%2D%2e%5F", "/~user/a-._"),
            ("/a%2fb%5c", "/a%2Fb%5C"),
            ("/%c0%af", "/%C0%AF"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.%2e/b", "/b"),
            ("/./a", "/a"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a//../b", "/a/b"),
            ("/a/..//b", "//b"),
            ("/.", "/"),
            ("/a/./b/../c/%7e?", "/a/c/~?"),
        ] {
            assert_eq!(normal_path(path), Ok(Some(same.to_owned())), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_astray_has_none() {
        for path in [
            "",
            "a",
            "*",
            "/..",
            "/../a",
            "/a/../..",
            "/a/../../b",
            "/%2e%2e/a",
            "/a/%2e%2e/%2E./etc",
            "/.//../..",
            "/a\\b",
            "/\\",
            "/a b",
            "/\t",
            "/\0",
            "/\x7f",
            "/\u{e4}",
            "/%",
            "/%2",
            "/%zz",
            "/%2",
            "/%+1",
            "/%-1",
            "/a%2",
            "/a/..%2fb",
            "/a/b%2f..",
            "/a/..%5cb",
            "/a/x%2F%2e%2e%2Fb",
            "/a/.%2Fb",
            "/a/..;/b",
            "/a/..;x=1/b",
            "/a/.;",
            "/a/..%3bx/b",
        ] {
            assert_eq!(normal_path(path), Err(NoNormalForm), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(path in "/([a./%\\\\;]|%2[eEfF5]|%5[cC]|\\.\\.|/){0,12}") {
            if let Ok(Some(first)) = normal_path(&path) {
                prop_assert_ne!(&first, &path);
                prop_assert_eq!(normal_path(&first), Ok(None));
                prop_assert!(first.split('/').all(|segment| segment != ".."));
            }
        }
    }
}
