//! What builds beside this one say: the one before, and the one after.

use std::fmt::Debug;

use serde_json::{Map, Value, json};

use super::*;

/// Reads an envelope of one kind, and answers how this build writes it.
type Kind = fn(&str) -> Result<String, InvalidEnvelope>;

fn rewritten<T: Serialize + DeserializeOwned + Debug>(text: &str) -> Result<String, InvalidEnvelope> {
    let envelope: T = decode(text.as_bytes())?;
    Ok(String::from_utf8(encode(&envelope).to_vec()).unwrap())
}

const COMMAND: Kind = rewritten::<Command>;
const ANSWER: Kind = rewritten::<Answer>;
const CONVERSATION: Kind = rewritten::<ConversationEnvelope>;
const GATEWAY: Kind = rewritten::<GatewayEnvelope>;

/// Envelopes as builds of version 1 write them. Nothing is changed here while the version stays: what can no longer be read
/// so cannot be read by the neighbour either. A field that is added has a default, and a line of its own here.
const RECORDED: [(Kind, &str); 23] = [
    (
        COMMAND,
        r#"{"v":1,"e":{"id":"00000000-0000-0000-0000-000000000001","principal":{"user":"alice"},"deadline":"1970-01-01T00:00:02.500Z","call":{"push":{"conversation":"c1","push":"send_message","payload":{"content":"héllo"}}}}}"#,
    ),
    (
        COMMAND,
        r#"{"v":1,"e":{"id":"00000000-0000-0000-0000-000000000001","principal":"service","token":{"user":"billing","issued_at":null},"deadline":"1970-01-01T00:00:02.500Z","call":"join_user"}}"#,
    ),
    (
        COMMAND,
        r#"{"v":1,"e":{"id":"00000000-0000-0000-0000-000000000001","principal":{"user":"alice"},"token":{"user":"alice","issued_at":"1970-01-01T00:00:00.007Z"},"deadline":"1970-01-01T00:00:02.500Z","call":{"history":{"conversation":"c1","page":{"before_seq":null,"after_seq":3,"limit":50,"since":"x"}}}}}"#,
    ),
    (
        COMMAND,
        r#"{"v":1,"e":{"id":"00000000-0000-0000-0000-000000000001","principal":{"user":"alice"},"deadline":"1970-01-01T00:00:02.500Z","call":{"create_conversation":{"policy":"contacts","body":{"type":"group"}}}}}"#,
    ),
    (
        COMMAND,
        r#"{"v":1,"e":{"id":"00000000-0000-0000-0000-000000000001","principal":{"user":"alice"},"deadline":"1970-01-01T00:00:02.500Z","call":{"range":{"conversation":"c1","after_seq":3,"after_change":1}}}}"#,
    ),
    (
        COMMAND,
        r#"{"v":1,"e":{"id":"00000000-0000-0000-0000-000000000001","principal":"service","deadline":"1970-01-01T00:00:02.500Z","call":{"presence_changed":{"user":"bob","entry":{"gateway":"g1","revision":9,"gone":false}}}}}"#,
    ),
    (ANSWER, r#"{"v":1,"e":{"ok":{"status":201,"body":{"seq":1}}}}"#),
    (ANSWER, r#"{"v":1,"e":{"refused":{"reason":"not_a_member","message":"no"}}}"#),
    (
        CONVERSATION,
        r#"{"v":1,"e":{"members_version":2,"event":{"messages":[{"seq":1,"payload":{"content":"x"}},{"seq":2,"payload":{}}]}}}"#,
    ),
    (
        CONVERSATION,
        r#"{"v":1,"e":{"members_version":2,"event":{"change":{"change_seq":1,"seq":1,"event":"reaction_added","payload":{}}}}}"#,
    ),
    (
        CONVERSATION,
        r#"{"v":1,"e":{"members_version":2,"event":{"head":{"conversation":"c1","last_seq":2,"change_seq":1,"members_version":2}}}}"#,
    ),
    (
        CONVERSATION,
        r#"{"v":1,"e":{"members_version":0,"event":{"told":{"event":"typing_indicator","payload":{},"except":"alice"}}}}"#,
    ),
    (
        CONVERSATION,
        r#"{"v":1,"e":{"members_version":0,"event":{"presence":{"gateway":"g1","previous":0,"revision":4,"joins":[{"user":"bob","phx_ref":"r2","phx_ref_prev":"r1","online_at":"1970-01-01T00:00:00.005Z"}],"leaves":["r0"]}}}}"#,
    ),
    (GATEWAY, r#"{"v":1,"e":{"told":{"users":["alice"],"event":"notification","payload":{}}}}"#),
    (
        GATEWAY,
        r#"{"v":1,"e":{"chosen":{"user":"alice","chosen":{"status":"away","at":"1970-01-01T00:00:00.005Z"}}}}"#,
    ),
    (
        GATEWAY,
        r#"{"v":1,"e":{"presence":{"seen":{"user_id":"bob","status":"online","last_seen":null},"entry":{"gateway":"g1","revision":9,"gone":false}}}}"#,
    ),
    (GATEWAY, r#"{"v":1,"e":{"revoked":{"user":"alice","at":"1970-01-01T00:00:00.005Z"}}}"#),
    (rewritten::<WorkerAlive>, r#"{"v":1,"e":{"id":"w1","leaving":true}}"#),
    (
        rewritten::<UserPresence>,
        r#"{"v":1,"e":{"chosen":{"status":"busy","at":"1970-01-01T00:00:00.005Z"},"metas":[{"user":"bob","phx_ref":"r1","online_at":"1970-01-01T00:00:00.005Z"}],"dropped":1}}"#,
    ),
    (rewritten::<UserPresence>, r#"{"v":1,"e":{"chosen":null,"metas":[],"watchers":2}}"#),
    (
        rewritten::<ConversationPresence>,
        r#"{"v":1,"e":{"revision":3,"metas":[{"user":"bob","phx_ref":"r1","online_at":"1970-01-01T00:00:00.005Z"}]}}"#,
    ),
    (rewritten::<LongPollCall>, r#"{"v":1,"e":{"poll":{"session":"s","seen":1,"from":0,"poll":2}}}"#),
    (rewritten::<LongPollAnswer>, r#"{"v":1,"e":{"messages":{"number":1,"total":20}}}"#),
];

#[test]
fn what_the_build_before_wrote_is_read_and_written_the_same() {
    for (kind, recorded) in RECORDED {
        assert_eq!(kind(recorded).unwrap_or_else(|error| panic!("{recorded}: {error}")), recorded);
    }
}

#[test]
fn fields_that_an_older_build_leaves_out_have_a_default() {
    for (kind, older, now) in [
        (CONVERSATION, r#","seq":1,"event":"reaction_added""#, r#","seq":0,"event":"reaction_added""#),
        (rewritten::<WorkerAlive>, r#","leaving":true"#, r#","leaving":false"#),
        (rewritten::<UserPresence>, r#","dropped":1"#, ""),
        (COMMAND, r#""token":{"user":"alice","issued_at":"1970-01-01T00:00:00.007Z"},"#, ""),
    ] {
        let (_, recorded) = RECORDED.iter().find(|(_, one)| one.contains(older)).unwrap();
        let without =
            older.split_once(r#""event""#).map_or(String::new(), |(_, rest)| format!(r#","event"{rest}"#));
        assert_eq!(kind(&recorded.replace(older, &without)).unwrap(), recorded.replace(older, now));
    }
}

/// The envelope with fields that this build does not know, wherever a structure is; not in what clients sent, and not beside the
/// name of a variant.
fn extended(value: Value) -> Value {
    const CLIENTS: [&str; 2] = ["payload", "body"];
    match value {
        Value::Object(fields) => {
            let is_variant = fields.len() == 1;
            let mut fields: Map<_, _> = fields
                .into_iter()
                .map(|(name, value)| {
                    let kept = CLIENTS.contains(&name.as_str());
                    let value = if kept { value } else { extended(value) };
                    (name, value)
                })
                .collect();
            if !is_variant {
                fields.insert("of_a_newer_build".to_owned(), json!({"with": ["anything", {"in": 1}]}));
            }
            Value::Object(fields)
        }
        Value::Array(values) => values.into_iter().map(extended).collect(),
        other => other,
    }
}

#[test]
fn fields_of_a_newer_build_are_left_aside() {
    for (kind, recorded) in RECORDED {
        // What a refusal has beside its reason is for the client, whatever it is.
        if recorded.contains("refused") {
            continue;
        }
        let newer = extended(serde_json::from_str(recorded).unwrap()).to_string();
        assert!(newer.matches("of_a_newer_build").count() >= 1, "{newer}");
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&kind(&newer).unwrap_or_else(|error| panic!("{newer}: {error}"))), value(recorded));
    }
}

#[test]
fn another_version_is_named_whatever_else_it_says() {
    for (kind, recorded) in RECORDED {
        let newer = recorded.replacen(r#"{"v":1"#, r#"{"v":2"#, 1);
        assert!(matches!(kind(&newer), Err(InvalidEnvelope::Version(2))), "{newer}");
        assert!(matches!(kind(r#"{"v":7,"e":{"of":"another shape"}}"#), Err(InvalidEnvelope::Version(7))));
        assert!(matches!(kind(r#"{"v":7}"#), Err(InvalidEnvelope::Version(7))));
        for none in [recorded.replacen(r#""v":1,"#, "", 1), recorded.replacen(r#""v":1"#, r#""v":1000"#, 1)] {
            assert!(matches!(kind(&none), Err(InvalidEnvelope::Json(_))), "{none}");
        }
    }
}

#[test]
fn variants_of_a_newer_build_are_refused() {
    for (kind, known, newer) in [
        (COMMAND, r#""push":"send_message""#, r#""push":"send_hologram""#),
        (COMMAND, r#"{"push":{"#, r#"{"teleport":{"#),
        (COMMAND, r#""call":"join_user""#, r#""call":"join_everyone""#),
        (COMMAND, r#""principal":"service""#, r#""principal":"robot""#),
        (COMMAND, r#""policy":"contacts""#, r#""policy":"friends_of_friends""#),
        (ANSWER, r#"{"ok":{"#, r#"{"perhaps":{"#),
        (ANSWER, r#""reason":"not_a_member""#, r#""reason":"not_in_the_mood""#),
        (CONVERSATION, r#"{"messages":["#, r#"{"holograms":["#),
        (GATEWAY, r#"{"told":{"#, r#"{"sung":{"#),
        (GATEWAY, r#""status":"away""#, r#""status":"asleep""#),
        (rewritten::<LongPollCall>, r#"{"poll":{"#, r#"{"peek":{"#),
        (rewritten::<LongPollAnswer>, r#"{"messages":{"#, r#"{"stream":{"#),
    ] {
        let (_, recorded) = RECORDED.iter().find(|(_, one)| one.contains(known)).unwrap();
        let text = recorded.replacen(known, newer, 1);
        assert!(matches!(kind(&text), Err(InvalidEnvelope::Json(_))), "{text}");
    }
}

#[test]
fn what_is_cut_off_is_refused() {
    for (kind, recorded) in RECORDED {
        for end in (0..recorded.len()).filter(|end| recorded.is_char_boundary(*end)) {
            assert!(kind(&recorded[..end]).is_err(), "{}", &recorded[..end]);
        }
    }
}

#[test]
fn an_error_says_where_and_not_what() {
    for text in [
        r#"{"v":1,"e":{"ok":{"status":"secret","body":{}}}}"#,
        r#"{"v":1,"e":{"secret":{}}}"#,
        r#"{"v":1,"e":{"refused":{"reason":"secret","message":"secret"}}}"#,
        r#"{"v":1,"e":secret}"#,
    ] {
        let error = ANSWER(text).unwrap_err().to_string();
        assert!(error.contains("at byte") && !error.contains("secret"), "{error}");
    }
}
