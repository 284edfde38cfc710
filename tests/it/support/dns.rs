//! A DNS server that says what a test wants.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::AbortHandle};

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
    asked: usize,
}

pub struct Dns {
    pub address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    task: AbortHandle,
}

impl Dns {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::<Mutex<Zone>>::default();
        let shared = zone.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let answer = answer(&buffer[..length], &mut shared.lock().unwrap());
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        Self {
            address,
            zone,
            task: task.abort_handle(),
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

    pub fn asked(&self) -> usize {
        self.zone.lock().unwrap().asked
    }

    pub fn set_ttl(&self, ttl: u32) {
        self.zone.lock().unwrap().ttl = ttl;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(query: &[u8], zone: &mut Zone) -> Option<Vec<u8>> {
    zone.asked += 1;
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let known = zone.records.get(&labels.join("."));
    let code = match (zone.code, known) {
        (0, None) => 3,
        (code, _) => code,
    };
    let records = known.filter(|_| code == 0).into_iter().flatten();
    let data: Vec<_> = records.filter_map(|record| data(record, kind)).collect();
    let mut answer = query[..2].to_vec();
    answer.extend([
        0x81,
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
        (Record::Address(IpAddr::V4(ip)), 1) => Some(ip.octets().to_vec()),
        (Record::Address(IpAddr::V6(ip)), 28) => Some(ip.octets().to_vec()),
        (Record::Service(priority, weight, port, target), 33) => {
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
