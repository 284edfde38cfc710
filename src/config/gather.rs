//! Reading the file and those it includes, within bounds, and what they are known by.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use super::{
    file::{Node, Parsed, Place, Table, parse},
    problem::{Code, Problem},
    source::Source,
};

/// Of one file. A config of a thousand services has a tenth of it.
const LARGEST: u64 = 2 * 1024 * 1024;
/// Of all files together.
const LARGEST_SUM: u64 = 16 * 1024 * 1024;
const MOST_FILES: usize = 1000;
/// Of a certificate, a key or a list of them.
pub const LARGEST_BESIDE: u64 = 4 * 1024 * 1024;

/// SHA-256 over all bytes that were read, and over what could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    #[cfg(test)]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The texts of a file and those it includes, as far as they can be had.
pub struct Gathered {
    /// The first is the file itself.
    pub sources: Vec<Source>,
    pub trees: Vec<Parsed>,
    pub problems: Vec<Problem>,
    pub hash: Hash,
    /// The folders in which a file may appear that would be included.
    pub folders: BTreeSet<PathBuf>,
    /// Certificates, secrets and pages that the files name, and what was in them.
    pub beside: Vec<Beside>,
}

/// A file that is no part of the text and yet of what it means.
pub struct Beside {
    pub path: PathBuf,
    /// SHA-256; nothing where it can't be read.
    digest: Option<[u8; 32]>,
}

impl Beside {
    fn at(path: PathBuf) -> Self {
        let digest = Self::digest(&path);
        Self { path, digest }
    }

    fn digest(path: &Path) -> Option<[u8; 32]> {
        let bytes = bounded(path, LARGEST_BESIDE).ok()?;
        Some(Sha256::digest(bytes).into())
    }
}

/// Reads `path` and what it includes.
pub fn gather(path: &Path) -> Gathered {
    gather_from(path, bounded(path, LARGEST))
}

/// Whether [`gather`] would give the same again, without parsing anything. `false` where that can't be known so cheaply.
pub fn is_as_before(path: &Path, before: &Gathered) -> bool {
    let Some((main, included)) = before.sources.split_first() else {
        return false;
    };
    if !before.problems.is_empty() || !main.is_still(path) {
        return false;
    }
    if before
        .beside
        .iter()
        .any(|beside| Beside::digest(&beside.path) != beside.digest)
    {
        return false;
    }
    // The same text names the same patterns; what they match may differ.
    let (files, _) = named(path, &before.trees[0]);
    files.len() == included.len()
        && files
            .iter()
            .zip(included)
            .all(|((file, _), source)| source.path == *file && source.is_still(file))
}

/// Reads `text` as if it stood at `path`, and what it includes.
pub fn gather_text(path: &Path, text: &str) -> Gathered {
    let bytes = if text.len() as u64 > LARGEST {
        Err(too_large(LARGEST))
    } else {
        Ok(text.as_bytes().to_vec())
    };
    gather_from(path, bytes)
}

fn gather_from(path: &Path, bytes: Result<Vec<u8>, String>) -> Gathered {
    let mut gathering = Gathering::default();
    gathering.add(path.to_owned(), bytes, None);
    for (file, place) in gathering.included(path) {
        let left = LARGEST_SUM.saturating_sub(gathering.sum);
        let bytes = bounded(&file, LARGEST.min(left));
        gathering.add(file, bytes, Some(place));
    }
    let beside: Vec<_> = beside(path, &gathering.trees)
        .into_iter()
        .map(Beside::at)
        .collect();
    for beside in &beside {
        // Their names are part of the text.
        gathering.hasher.update(beside.digest.unwrap_or_default());
    }
    Gathered {
        sources: gathering.sources,
        trees: gathering.trees,
        problems: gathering.problems,
        hash: Hash(gathering.hasher.finalize().into()),
        folders: gathering.folders,
        beside,
    }
}

/// The files that the trees name: certificates, keys and authorities, secrets, error pages.
fn beside(main: &Path, trees: &[Parsed]) -> BTreeSet<PathBuf> {
    let mut named = Vec::new();
    for tree in trees {
        let lists = ["listeners", "notify"].map(|root| tree.table.get(root));
        let items = lists.into_iter().flatten().flat_map(Node::items);
        for item in items.filter_map(Node::table) {
            named_in(item, &mut named);
        }
        let roots = ["defaults", "services"].map(|root| tree.table.get(root));
        for table in roots.into_iter().flatten().filter_map(Node::table) {
            named_in(table, &mut named);
        }
    }
    let base = main.parent().unwrap_or(Path::new(""));
    let sound = |name: &&&str| !name.is_empty() && !name.contains('\0');
    named
        .iter()
        .filter(sound)
        .map(|name| base.join(name))
        .collect()
}

/// Those of `{ file = … }`, and what TLS is made of.
fn named_in<'a>(table: &'a Table, named: &mut Vec<&'a str>) {
    for (key, _, node) in table.iter() {
        match node.text() {
            Some(text) if ["file", "cert", "key", "ca", "crl"].contains(&key) => named.push(text),
            Some(_) => {}
            // What is sent there and expected in return names no files.
            None if ["probe", "headers"].contains(&key) => {}
            None => {
                let below = node.items().iter().chain([node]).filter_map(Node::table);
                below.for_each(|table| named_in(table, named));
            }
        }
    }
}

#[derive(Default)]
struct Gathering {
    sources: Vec<Source>,
    trees: Vec<Parsed>,
    problems: Vec<Problem>,
    hasher: Sha256,
    sum: u64,
    folders: BTreeSet<PathBuf>,
}

impl Gathering {
    /// Takes in one file; `named` is where another file names it.
    fn add(&mut self, path: PathBuf, bytes: Result<Vec<u8>, String>, named: Option<Place>) {
        let index = self.sources.len();
        let start = named.unwrap_or(Place::new(index, &(0..0)));
        // Not the whole path: the same files are the same from whichever folder they are named.
        let name = path.file_name().unwrap_or_default();
        self.hasher.update(name.as_encoded_bytes());
        match &bytes {
            Ok(bytes) => {
                self.sum += bytes.len() as u64;
                self.hasher.update([1]);
                self.hasher.update((bytes.len() as u64).to_le_bytes());
                self.hasher.update(bytes);
            }
            Err(_) => self.hasher.update([0]),
        }
        let text = bytes.and_then(decoded).unwrap_or_else(|why| {
            let message = match named {
                Some(_) => format!("{} can't be read: {why}", path.display()),
                None => format!("the file can't be read: {why}"),
            };
            let mut problem = Problem::new(Code::Unreadable, start, message);
            if named.is_some() {
                problem = problem.key("include");
            }
            self.problems.push(problem);
            String::new()
        });
        self.trees.push(parse(&text, index, &mut self.problems));
        self.sources.push(Source::new(path, &text));
    }

    /// The files that the first one includes, and where each is asked for.
    fn included(&mut self, main: &Path) -> Vec<(PathBuf, Place)> {
        let (mut found, folders) = named(main, &self.trees[0]);
        self.folders = folders;
        if let Some((_, place)) = found.get(MOST_FILES) {
            let message = format!("{} files are included", found.len());
            let problem = Problem::new(Code::InvalidValue, *place, message);
            self.problems.push(
                problem
                    .key("include")
                    .expected(format!("at most {MOST_FILES}")),
            );
            found.truncate(MOST_FILES);
        }
        found
    }
}

/// The files that the tree of `main` includes, in the order of their names, and the folders in which more may appear.
fn named(main: &Path, tree: &Parsed) -> (Vec<(PathBuf, Place)>, BTreeSet<PathBuf>) {
    let base = main.parent().unwrap_or(Path::new(""));
    let own = fs::canonicalize(main).ok();
    let mut found: Vec<(PathBuf, Place)> = Vec::new();
    let mut folders = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let patterns = tree.table.get("include");
    for item in patterns.into_iter().flat_map(Node::items) {
        let Some(pattern) = item.text().filter(|text| !text.contains('\0')) else {
            continue;
        };
        folders.insert(folder(base, pattern));
        let mut files = matches(base, pattern);
        if files.is_empty() && !pattern.contains(['*', '?', '[']) {
            files.push(base.join(pattern));
        }
        files.sort();
        for file in files {
            let known = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if own.as_ref() != Some(&known) && seen.insert(known) {
                found.push((file, item.place));
            }
        }
    }
    (found, folders)
}

/// The files that a pattern below `base` names. What is wrong with the pattern itself, the walk tells.
fn matches(base: &Path, pattern: &str) -> Vec<PathBuf> {
    if pattern.contains("**") {
        return Vec::new();
    }
    let whole = if Path::new(pattern).is_absolute() || base.as_os_str().is_empty() {
        pattern.to_owned()
    } else {
        let base = glob::Pattern::escape(&base.to_string_lossy());
        format!("{base}/{pattern}")
    };
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    glob::glob_with(&whole, options)
        .map(|paths| paths.filter_map(Result::ok).take(MOST_FILES * 2).collect())
        .unwrap_or_default()
}

/// The deepest folder above a pattern that has no wildcard in it.
fn folder(base: &Path, pattern: &str) -> PathBuf {
    let plain = pattern.split(['*', '?', '[']).next().unwrap_or_default();
    let plain = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
    let plain = if plain.is_empty() && pattern.starts_with('/') {
        "/"
    } else {
        plain
    };
    base.join(plain)
}

fn too_large(limit: u64) -> String {
    format!("it is larger than {} KiB", limit / 1024)
}

/// There are regular files, such as /proc/kmsg, whose reader waits until there is something to read.
const O_NONBLOCK: i32 = 0o4000;

/// A regular file's bytes, `limit` at most; else why not, in words that follow `can't be read:`.
pub fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::WouldBlock => "it has nothing to say".to_owned(),
        _ => error.to_string(),
    };
    let kind = fs::metadata(path).map_err(told)?;
    if kind.is_dir() {
        return Err("it is a directory".into());
    }
    // A pipe that nobody writes to would hold up the reader for ever.
    if !kind.is_file() {
        return Err("it is no regular file".into());
    }
    let mut bytes = Vec::new();
    let file = fs::File::options()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .map_err(told)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(limit));
    }
    Ok(bytes)
}

fn decoded(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("it is UTF-16; save it as UTF-8".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.split(|byte| *byte == b'\n').count();
        format!("it is not UTF-8 (line {line})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_nothing_to_say_yet_is_not_waited_for() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(bounded(Path::new("/proc/kmsg"), LARGEST).is_ok()));
        // Whether it may be read at all is the system's affair.
        let _ = told
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("an end");
    }

    #[test]
    fn files_are_as_before_until_one_changes_comes_or_goes() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("cutover.toml");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("cutover.toml", "include = [\"more/*.toml\"]\n");
        fs::create_dir(folder.path().join("more")).unwrap();
        write("more/a.toml", "a = 1\n");
        let before = gather(&main);
        write("other.log", "a line\n");
        assert!(is_as_before(&main, &before));
        for (name, text) in [
            ("more/a.toml", "a = 2\n"),
            ("more/a.toml", "a = 1\n# longer\n"),
            ("more/b.toml", ""),
            ("cutover.toml", "include = []\n"),
        ] {
            let path = folder.path().join(name);
            let was = fs::read(&path).ok();
            write(name, text);
            assert!(!is_as_before(&main, &before), "{name}: {text}");
            match was {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            assert!(is_as_before(&main, &before), "{name} restored");
        }
        fs::remove_file(folder.path().join("more/a.toml")).unwrap();
        assert!(!is_as_before(&main, &before));
    }
}
