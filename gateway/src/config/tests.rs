use simurgh_service::config::{Stop, parse_from};

use super::*;
use crate::auth::signers::Signer;

fn parsed(args: &[&str]) -> Result<Config, Stop> {
    parse_from(std::iter::once("simurgh-gateway").chain(args.iter().copied()))
}

fn with_key(args: &[&str]) -> Result<Config, Stop> {
    parsed(&[&["--jwt-secret", "a-secret"], args].concat())
}

fn bad(outcome: Result<Config, Stop>) -> String {
    match outcome {
        Err(Stop::Bad(line)) => line,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_defaults_are_the_contracts() {
    let config = with_key(&[]).unwrap();
    assert_eq!(
        (config.listen.to_string(), config.internal_listen.to_string()),
        ("0.0.0.0:4000".into(), "0.0.0.0:4001".into())
    );
    let Settings { tokens, access, rates, bounds, drain, demo } = config.settings;
    assert_eq!((tokens.jwt_user_claim.as_str(), tokens.jwt_service_scope.as_str()), ("sub", "service"));
    assert_eq!(
        (access.service_calls, access.create_conversations),
        (ServiceCalls::Both, CreatePolicy::Users)
    );
    assert!(access.allowed_origins.any());
    let shown = [
        rates.rate_messages,
        rates.rate_typing,
        rates.rate_joins,
        rates.rate_gateway_joins,
        rates.rate_pushes,
        rates.rate_connects,
        rates.rate_connects_per_address,
    ]
    .map(|rate| rate.to_string());
    assert_eq!(shown, ["20:60", "5:10", "50:200", "5000:5000", "50:100", "1000:2000", "100:1000"]);
    let sizes =
        (bounds.max_frame_bytes, bounds.max_unsent_bytes, bounds.max_sockets_per_user, bounds.max_channels);
    assert_eq!(sizes, (128 * 1024, 256 * 1024, 20, 100));
    assert_eq!((drain.drain_delay, drain.drain_window), (Duration::ZERO, Duration::from_secs(10)));
    assert!(!demo.demo_page);
}

#[test]
fn a_gateway_without_a_key_does_not_start() {
    assert_eq!(
        bad(parsed(&[])),
        "simurgh-gateway: SIMURGH_JWT_SECRET: or SIMURGH_JWT_PUBLIC_KEY or SIMURGH_JWKS_URL is required: no token could be verified"
    );
    assert_eq!(bad(parsed(&["--jwt-secret", ""])), "simurgh-gateway: SIMURGH_JWT_SECRET: must not be empty");
}

#[test]
fn a_key_is_given_in_one_way_and_read_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("--jwt-public-key={}", path.display())
    };
    let signer = Signer::es256();
    let good = file("public.pem", &signer.public_pem);
    assert!(parsed(&[&good]).is_ok());
    assert!(parsed(&["--jwks-url", "http://127.0.0.1:1/keys"]).is_ok(), "nobody is asked yet");
    assert!(with_key(&["--jwks-url", ""]).is_ok(), "a variable that is set to nothing");
    let url = "--jwks-url=http://127.0.0.1:1/keys";
    for (args, setting) in [
        (vec![file("private.pem", &signer.private_pem).as_str()], "SIMURGH_JWT_PUBLIC_KEY"),
        (vec![file("empty.pem", "").as_str()], "SIMURGH_JWT_PUBLIC_KEY"),
        (vec!["--jwt-public-key=/does/not/exist"], "SIMURGH_JWT_PUBLIC_KEY"),
        (vec!["--jwt-public-key=/"], "SIMURGH_JWT_PUBLIC_KEY"),
        (vec!["--jwks-url=ftp://issuer/keys"], "SIMURGH_JWKS_URL"),
        (vec!["--jwks-url=keys.json"], "SIMURGH_JWKS_URL"),
        (vec!["--jwks-url=https://me:hunter2@issuer/keys"], "SIMURGH_JWKS_URL"),
        (vec![&good, url], "SIMURGH_JWKS_URL"),
        (vec![&good, "--jwt-secret=x"], "SIMURGH_JWT_PUBLIC_KEY"),
        (vec![url, "--jwt-secret=x"], "SIMURGH_JWKS_URL"),
    ] {
        let line = bad(parsed(&args));
        assert!(line.starts_with(&format!("simurgh-gateway: {setting}: ")) && !line.contains('\n'), "{line}");
        assert!(!line.contains("hunter2") && !line.contains("PRIVATE"), "{line}");
    }
}

#[test]
fn bad_settings_are_named_in_one_line() {
    for (flag, value) in [
        ("--rate-messages", "20"),
        ("--rate-typing", "-1:2"),
        ("--max-frame-bytes", "10"),
        ("--max-frame-bytes", "1000000"),
        ("--max-channels", "0"),
        ("--drain-window", "2h"),
        ("--drain-delay", "10"),
        ("--trusted-proxies", "10.0.0.0/99"),
        ("--allowed-origins", "example.com"),
        ("--create-conversations", "anybody"),
        ("--service-calls", "public"),
        ("--jwt-service-scope", "two words"),
        ("--jwt-user-claim", ""),
        ("--listen", "4000"),
        ("--demo-page", "yes"),
    ] {
        let line = bad(with_key(&[&format!("{flag}={value}")]));
        assert!(line.starts_with("simurgh-gateway: ") && !line.contains('\n'), "{line}");
        assert!(line.contains("SIMURGH_"), "{line}");
    }
}

#[test]
fn the_secret_is_not_shown() {
    assert!(!format!("{:?}", with_key(&[]).unwrap()).contains("a-secret"));
    let Err(Stop::Told(help)) = parsed(&["--help"]) else { panic!("no help") };
    for setting in [
        "SIMURGH_JWT_SECRET",
        "SIMURGH_RATE_CONNECTS_PER_ADDRESS",
        "SIMURGH_DRAIN_WINDOW",
        "SIMURGH_NATS_URL",
    ] {
        assert!(help.contains(setting), "{setting}");
    }
}

#[test]
fn a_rate_of_zero_is_off() {
    let config = with_key(&["--rate-messages", "0", "--create-conversations", "contacts"]).unwrap();
    assert_eq!(config.settings.rates.rate_messages, Rate::OFF);
    assert_eq!(config.settings.access.create_conversations, CreatePolicy::Contacts);
}
