//! What counting and logging one request costs, and a scrape of many services.

use std::{hint::black_box, net::IpAddr, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use cutover::{
    telemetry::{
        EndpointShard, Exposition, Histogram, PoolShard, Reading, Totals, Windows,
        access_log::{Entry, Format},
        names,
        shard::Source,
    },
    units::{Address, PoolKey, Timestamp},
};
use http::StatusCode;

/// Latencies that fall into many buckets, as real ones do.
fn latencies() -> impl Iterator<Item = Duration> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        Duration::from_micros(200 + (state >> 40) % 20_000)
    })
}

fn counting(c: &mut Criterion) {
    let (histogram, mut next) = (Histogram::default(), latencies());
    c.bench_function("latency/record", |b| {
        b.iter(|| histogram.record(next.next().unwrap_or_default()));
    });
    let (pool, endpoint) = (PoolShard::default(), EndpointShard::default());
    c.bench_function("request/counted", |b| {
        b.iter(|| {
            let status = black_box(StatusCode::OK);
            endpoint.answered(status);
            pool.answered(status, Source::Endpoint, next.next().unwrap_or_default());
        });
    });
}

fn logging(c: &mut Criterion) {
    let endpoint: Address = "10.0.0.1:3000".parse().expect("an address");
    let entry = Entry {
        at: Timestamp::from_millisecond(1_763_625_600_123).expect("in range"),
        client: Some(IpAddr::from([203, 0, 113, 9])),
        method: "GET",
        host: b"shop.example.com",
        protocol: "HTTP/1.1",
        path: "/products/1234?color=red&size=m",
        status: 200,
        source: Source::Endpoint,
        service: Some("shop"),
        pool: Some("green"),
        endpoint: Some(&endpoint),
        bytes_in: 0,
        bytes_out: 5120,
        duration: Duration::from_micros(4321),
        endpoint_duration: Some(Duration::from_micros(2900)),
        request_id: b"01J9ZK4T7Q8W2E3R4T5Y6U7I8O",
        error: None,
        attempts: 1,
    };
    let mut line = String::with_capacity(1024);
    for (name, format) in [("text", Format::Text), ("json", Format::Json)] {
        c.bench_function(&format!("access-log/{name}"), |b| {
            b.iter(|| {
                line.clear();
                black_box(&entry).write(format, &mut line);
                black_box(line.len())
            });
        });
    }
}

fn reading(c: &mut Criterion) {
    let histogram = Histogram::default();
    latencies()
        .take(100_000)
        .for_each(|latency| histogram.record(latency));
    let read = || {
        let mut reading = Reading::default();
        reading.add(&histogram);
        reading
    };
    c.bench_function("window/sample-1000-pools", |b| {
        let pools: Vec<PoolKey> = (0..1000)
            .map(|index| PoolKey {
                service: format!("s{index}").parse().expect("a name"),
                pool: "blue".parse().expect("a name"),
            })
            .collect();
        let start = std::time::Instant::now();
        let (mut windows, mut second) = (Windows::new(start), 0);
        b.iter(|| {
            second += 1;
            latencies()
                .take(100)
                .for_each(|latency| histogram.record(latency));
            let totals = pools.iter().map(|pool| {
                (
                    pool.clone(),
                    Totals {
                        latency: read(),
                        errors: 0,
                    },
                )
            });
            windows.sample(start + Duration::from_secs(second), totals);
        });
    });
    let names: Vec<String> = (0..1000).map(|index| format!("service-{index}")).collect();
    let reading = read();
    c.bench_function("scrape/1000-services", |b| {
        b.iter(|| {
            let mut out = Exposition::default();
            for name in &names {
                for endpoint in 0..10 {
                    let endpoint = format!("10.0.0.{endpoint}:3000");
                    for class in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"] {
                        out.count(
                            &names::ENDPOINT_REQUESTS,
                            [name, "blue", &endpoint, class],
                            1,
                        );
                    }
                }
                out.histogram(&names::REQUEST_DURATION, [name, "blue"], &reading);
            }
            black_box(out.render().len())
        });
    });
}

criterion_group!(benches, counting, logging, reading);
criterion_main!(benches);
