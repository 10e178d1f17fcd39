use http::HeaderMap;

use super::*;
use crate::testing;

fn admission(args: &[&str]) -> Admission {
    Admission::new(&testing::settings(args), capacity(1_000))
}

const fn capacity(sockets: usize) -> Capacity {
    Capacity { sockets, connections: 64, internal: 16 }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn forwarded(values: &[&str]) -> HeaderMap {
    values.iter().map(|value| (address::FORWARDED_FOR.parse().unwrap(), value.parse().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_storm_becomes_a_queue_of_two_seconds() {
    let admission = admission(&["--rate-connects=100:10", "--rate-connects-per-address=0"]);
    let now = testing::now();
    let held: Vec<_> = (0..1_000).filter_map(|_| admission.reserve(address("192.0.2.1"), now).ok()).collect();
    assert_eq!(held.len(), 10 + 200);
    assert!(held.is_sorted());
    assert_eq!(held.last(), Some(&MAX_HOLD));
    assert_eq!(admission.reserve(address("192.0.2.2"), now), Err(Duration::from_millis(2_010)));
    assert!(lock(&admission.turns).addresses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_address_does_not_take_the_others_turns() {
    let admission = admission(&["--rate-connects=1000:2000", "--rate-connects-per-address=1:1"]);
    let now = testing::now();
    let waits = |from: &str| (0..4).map(|_| admission.reserve(address(from), now).ok()).collect::<Vec<_>>();
    let expected = [Some(0), Some(1), Some(2), None].map(|seconds| seconds.map(Duration::from_secs));
    assert_eq!(waits("192.0.2.1"), expected);
    assert_eq!(waits("192.0.2.2"), expected);
    assert_eq!(waits("2001:db8::1"), expected);
    assert_eq!(waits("2001:db8::ffff"), [None; 4], "the same network of 64 bits");
}

#[tokio::test(start_paused = true)]
async fn addresses_that_have_all_turns_again_are_forgotten() {
    let admission = admission(&["--rate-connects=0", "--rate-connects-per-address=1:5"]);
    let now = testing::now();
    let nth = |number: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number));
    for number in 0..5_000 {
        admission.reserve(nth(number), now).unwrap();
    }
    assert_eq!(lock(&admission.turns).addresses.len(), 5_000);
    for number in 5_000..8_300 {
        admission.reserve(nth(number), now + Duration::from_secs(10)).unwrap();
    }
    assert!(lock(&admission.turns).addresses.len() < 5_000);
}

#[tokio::test(start_paused = true)]
async fn the_kept_addresses_are_bounded() {
    let admission = admission(&["--rate-connects=0", "--rate-connects-per-address=1:1"]);
    let now = testing::now();
    for number in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
        admission.reserve(IpAddr::from(std::net::Ipv4Addr::from(number)), now).unwrap();
    }
    assert_eq!(lock(&admission.turns).addresses.len(), MAX_ADDRESSES);
}

#[test]
fn a_place_is_free_again_when_its_socket_is_gone() {
    let admission = Admission::new(&testing::settings(&[]), capacity(1));
    let place = admission.place().unwrap();
    assert!(admission.place().is_none());
    drop(place);
    assert!(admission.place().is_some());
}

#[test]
fn the_client_is_the_rightmost_untrusted_address() {
    let admission = admission(&["--trusted-proxies=10.0.0.0/8,fd00::/8"]);
    let client = |peer: &str, values: &[&str]| admission.client_address(address(peer), &forwarded(values));
    let proxy = "10.0.0.1";
    assert_eq!(client(proxy, &[]), address(proxy));
    assert_eq!(client(proxy, &["203.0.113.9"]), address("203.0.113.9"));
    assert_eq!(client(proxy, &["1.1.1.1, 203.0.113.9"]), address("203.0.113.9"), "the first may be forged");
    assert_eq!(client(proxy, &["1.1.1.1, 203.0.113.9, 10.0.0.7"]), address("203.0.113.9"));
    assert_eq!(client(proxy, &["1.1.1.1", "203.0.113.9,fd00::1"]), address("203.0.113.9"));
    assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"]), address("203.0.113.9"));
    assert_eq!(client(proxy, &["203.0.113.9:4711"]), address("203.0.113.9"));
    assert_eq!(client(proxy, &["[2001:db8::1]:4711"]), address("2001:db8::1"));
    assert_eq!(client(proxy, &["[2001:db8::1]"]), address("2001:db8::1"));
    assert_eq!(client(proxy, &["10.0.0.3, 10.0.0.2"]), address("10.0.0.3"), "none but proxies");
    assert_eq!(
        client(proxy, &["203.0.113.9, unknown, 10.0.0.2"]),
        address("10.0.0.2"),
        "nobody vouches further"
    );
    assert_eq!(client(proxy, &["unknown"]), address(proxy));
}

#[test]
fn who_is_no_trusted_proxy_speaks_for_itself_only() {
    let admission = admission(&["--trusted-proxies=10.0.0.0/8"]);
    assert_eq!(
        admission.client_address(address("192.0.2.1"), &forwarded(&["203.0.113.9"])),
        address("192.0.2.1")
    );
}

#[test]
fn an_untrusted_forwarded_for_is_warned_of_once() {
    let written = Written::default();
    let log = tracing_subscriber::fmt().with_writer(written.clone()).finish();
    tracing::subscriber::with_default(log, || {
        let admission = admission(&["--trusted-proxies=10.0.0.0/8"]);
        let _ = admission.client_address(address("192.0.2.1"), &forwarded(&[]));
        let _ = admission.client_address(address("10.0.0.1"), &forwarded(&["203.0.113.9"]));
        assert_eq!(written.text(), "", "nothing to tell");
        for peer in ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1"] {
            let _ = admission.client_address(address(peer), &forwarded(&["203.0.113.9"]));
        }
    });
    let text = written.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("WARN") && text.contains("SIMURGH_TRUSTED_PROXIES"), "{text}");
    assert!(!text.contains("203.0.113.9"), "a forged address is nobody's: {text}");
}

#[tokio::test(start_paused = true)]
async fn a_forged_address_takes_no_turn_of_another() {
    let admission = admission(&["--rate-connects=0", "--rate-connects-per-address=1:1"]);
    let now = testing::now();
    let from = |peer: &str, claimed: &str| {
        admission.reserve(admission.client_address(address(peer), &forwarded(&[claimed])), now)
    };
    assert_eq!(from("192.0.2.1", "203.0.113.9"), Ok(Duration::ZERO));
    assert_eq!(from("192.0.2.1", "203.0.113.10"), Ok(Duration::from_secs(1)), "whatever it claims");
    assert_eq!(from("203.0.113.9", "192.0.2.1"), Ok(Duration::ZERO), "nothing was taken of the one it named");
}

/// What was logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
