use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{app::find, within};

/// A connection to the proxy that sends what it is told and reads what comes, and retries nothing.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer, its body without the framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The status line and the fields, in lower case.
    pub head: String,
    pub body: String,
    /// Trailer fields of a chunked body.
    pub trailers: String,
}

impl Answer {
    /// The field's value, if there is exactly one.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .head
            .split("\r\n")
            .filter_map(|line| line.split_once(": "))
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address))
            .await
            .unwrap();
        Self::over(stream)
    }

    pub async fn connect_from(ip: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(ip, 0)).unwrap();
        let connected = within("a connection", socket.connect(address)).await;
        Self::over(connected.unwrap())
    }

    /// By a Unix socket. The kernel reads and writes every kind of stream by the same calls.
    pub fn connect_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(OwnedFd::from(stream).into())?;
        Ok(Self::of(stream))
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::of(stream)
    }

    fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next bytes, after an answer.
    pub async fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.until_bytes(count).await;
        self.buffer.drain(..count).collect()
    }

    /// The connection, and what has come on it and was not read.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Sends a `GET` and reads its answer.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        self.answer().await
    }

    /// The same; an error where the connection ends before the answer has.
    pub async fn try_get(&mut self, path: &str) -> io::Result<Answer> {
        self.try_send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes())
            .await?;
        self.try_answer(false).await
    }

    /// The next answer to a request that was not `HEAD`.
    pub async fn answer(&mut self) -> Answer {
        within("an answer", self.try_answer(false)).await.unwrap()
    }

    pub async fn answer_to_head(&mut self) -> Answer {
        within("an answer", self.try_answer(true)).await.unwrap()
    }

    /// An answer; an error where the connection ends before the answer has.
    pub async fn try_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let end = self.until(b"\r\n\r\n").await?;
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
            trailers: String::new(),
        };
        if to_head || matches!(status, 100..200 | 204 | 304) {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            self.read_chunks(&mut answer).await?;
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            while self.buffer.len() < length {
                self.fill().await?;
            }
            answer.body = text(self.buffer.drain(..length));
        } else {
            while self.fill().await.is_ok() {}
            answer.body = text(self.buffer.drain(..));
        }
        Ok(answer)
    }

    async fn read_chunks(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let end = self.until(b"\r\n").await?;
            let size = text(self.buffer.drain(..end));
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            if size == 0 {
                return self.read_trailers(answer).await;
            }
            while self.buffer.len() < size + 2 {
                self.fill().await?;
            }
            answer.body += &text(self.buffer.drain(..size));
            self.buffer.drain(..2);
        }
    }

    async fn read_trailers(&mut self, answer: &mut Answer) -> io::Result<()> {
        loop {
            let end = self.until(b"\r\n").await?;
            let line = text(self.buffer.drain(..end));
            if line == "\r\n" {
                let length = answer.trailers.trim_end().len();
                answer.trailers.truncate(length);
                return Ok(());
            }
            answer.trailers += &line;
        }
    }

    /// Where these bytes end in what has come.
    async fn until(&mut self, what: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(at) = find(&self.buffer, what) {
                return Ok(at + what.len());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Reads on until at least so many bytes have come that are not read yet.
    pub async fn until_bytes(&mut self, count: usize) {
        within("bytes", async {
            while self.buffer.len() < count {
                self.fill().await.unwrap();
            }
        })
        .await;
    }

    /// Reads on until so many bytes of an answer's body have come; they stay unread.
    pub async fn until_body_bytes(&mut self, count: usize) {
        within("a body", async {
            let head = self.until(b"\r\n\r\n").await.unwrap();
            while self.buffer.len() < head + count {
                self.fill().await.unwrap();
            }
        })
        .await;
    }

    /// Waits for the connection's orderly end; returns what came before it.
    pub async fn until_closed(&mut self) -> String {
        within("the connection's end", async {
            while self.fill().await.is_ok() {}
        })
        .await;
        text(self.buffer.drain(..))
    }

    /// Waits for the connection's end, and says whether it was a reset.
    pub async fn until_broken(&mut self) -> bool {
        let end = within("the connection's end", async {
            loop {
                if let Err(error) = self.fill().await {
                    return error;
                }
            }
        });
        end.await.kind() == io::ErrorKind::ConnectionReset
    }

    /// Whether the connection is open and nothing has come on it.
    pub fn is_open_and_silent(&self) -> bool {
        let mut byte = [0];
        self.buffer.is_empty()
            && matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

fn text(bytes: impl Iterator<Item = u8>) -> String {
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}
