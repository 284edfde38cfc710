//! A DNS server that says what a test wants.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use tokio::{
    io::{self, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::AbortHandle,
};

#[derive(Clone)]
pub enum Record {
    Address(IpAddr),
    /// Priority, weight, port and target.
    Service(u16, u16, u16, String),
}

#[derive(Default)]
struct Zone {
    records: BTreeMap<String, Vec<Record>>,
    ttl: u32,
    /// In place of any answer.
    code: u8,
    silent: bool,
    /// Says by UDP nothing but that there is more.
    truncates: bool,
    asked: Vec<(Instant, Kind)>,
}

type Kind = u16;

const A: Kind = 1;
const SRV: Kind = 33;
const AAAA: Kind = 28;

pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    tasks: [AbortHandle; 2],
}

impl Dns {
    pub async fn start() -> Self {
        let (datagrams, connections) = bind().await;
        let address = datagrams.local_addr().unwrap();
        let zone = Arc::<Mutex<Zone>>::default();
        let tasks = [
            tokio::spawn(by_udp(datagrams, zone.clone())),
            tokio::spawn(by_tcp(connections, zone.clone())),
        ];
        Self {
            address,
            zone,
            tasks: tasks.map(|task| task.abort_handle()),
        }
    }

    /// All that there is under a name.
    pub fn say(&self, name: &str, records: &[Record]) {
        let mut zone = self.zone.lock().unwrap();
        zone.records.insert(name.to_owned(), records.to_vec());
    }

    /// Answers with this code from now on; 0: as it should.
    pub fn fail(&self, code: u8) {
        self.zone.lock().unwrap().code = code;
    }

    pub fn silence(&self, silent: bool) {
        self.zone.lock().unwrap().silent = silent;
    }

    /// From now on there is more to every answer than a datagram carries.
    pub fn truncate(&self) {
        self.zone.lock().unwrap().truncates = true;
    }

    pub fn asked(&self) -> usize {
        self.zone.lock().unwrap().asked.len()
    }

    /// When it was asked for addresses of version 4.
    pub fn looks(&self) -> Vec<Instant> {
        let zone = self.zone.lock().unwrap();
        let looks = zone.asked.iter().filter(|(_, kind)| *kind == A);
        looks.map(|(at, _)| *at).collect()
    }

    pub fn set_ttl(&self, ttl: u32) {
        self.zone.lock().unwrap().ttl = ttl;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// One port of both protocols.
async fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Somebody else may have it.
        if let Ok(connections) = TcpListener::bind(datagrams.local_addr().unwrap()).await {
            return (datagrams, connections);
        }
    }
}

async fn by_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let answer = answer(&buffer[..length], &mut zone.lock().unwrap(), true);
        if let Some(answer) = answer {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn by_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Until whoever asks has no more questions.
        tokio::spawn(converse(stream, zone.clone()));
    }
}

async fn converse(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) -> io::Result<()> {
    loop {
        let mut query = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut query).await?;
        let answer = answer(&query, &mut zone.lock().unwrap(), false);
        if let Some(answer) = answer {
            stream.write_u16(answer.len().try_into().unwrap()).await?;
            stream.write_all(&answer).await?;
        }
    }
}

fn answer(query: &[u8], zone: &mut Zone, may_truncate: bool) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    zone.asked.push((Instant::now(), kind));
    let truncated = may_truncate && zone.truncates;
    let known = zone.records.get(&labels.join("."));
    let code = match (zone.code, known) {
        (0, None) => 3,
        (code, _) => code,
    };
    let records = known
        .filter(|_| code == 0 && !truncated)
        .into_iter()
        .flatten();
    let data: Vec<_> = records.filter_map(|record| data(record, kind)).collect();
    let mut answer = query[..2].to_vec();
    answer.extend([
        0x81 | (u8::from(truncated) << 1),
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(data.len()).unwrap(),
    ]);
    answer.extend([0, 0, 0, 0]);
    answer.extend(&query[12..at + 5]);
    for data in data {
        // The name is the question's.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(zone.ttl.to_be_bytes());
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    (!zone.silent).then_some(answer)
}

fn data(record: &Record, kind: u16) -> Option<Vec<u8>> {
    match (record, kind) {
        (Record::Address(IpAddr::V4(ip)), A) => Some(ip.octets().to_vec()),
        (Record::Address(IpAddr::V6(ip)), AAAA) => Some(ip.octets().to_vec()),
        (Record::Service(priority, weight, port, target), SRV) => {
            let mut data = Vec::new();
            for number in [priority, weight, port] {
                data.extend(number.to_be_bytes());
            }
            for label in target.split('.') {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend(label.as_bytes());
            }
            data.push(0);
            Some(data)
        }
        _ => None,
    }
}
