use std::io;

/// Whether this machine has nothing left to open a connection with: memory (ENOMEM), file descriptors of all processes or of this
/// one (ENFILE, EMFILE), the address's ports (EADDRNOTAVAIL), buffers (ENOBUFS). Says nothing of whoever is on the other side.
pub fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 99 | 105))
}
