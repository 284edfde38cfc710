use std::{io, path::PathBuf, sync::Arc};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::units::Address;

/// A connection to an endpoint, whatever it runs over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens a fresh connection. A name is looked up every time, and each of its addresses is tried.
pub async fn dial(address: &Address) -> io::Result<TokioIo<Box<dyn Stream>>> {
    let stream: Box<dyn Stream> = match address {
        Address::Ip(address) => Box::new(tcp(TcpStream::connect(address).await?)?),
        Address::Named(host, port) => Box::new(tcp(TcpStream::connect((&**host, *port)).await?)?),
        Address::Unix(path) => Box::new(UnixStream::connect(PathBuf::as_path(path)).await?),
    };
    Ok(TokioIo::new(stream))
}

fn tcp(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The same host at another port. A Unix socket has none, and stays what it is.
pub fn with_port(address: &Address, port: Option<u16>) -> Address {
    match (address, port) {
        (Address::Ip(address), Some(port)) => {
            let mut address = *address;
            address.set_port(port);
            Address::Ip(address)
        }
        (Address::Named(host, _), Some(port)) => Address::Named(Arc::clone(host), port),
        (address, _) => address.clone(),
    }
}
