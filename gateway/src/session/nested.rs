//! Payloads that are nested deep.

use simurgh_protocol::Vsn;

use super::{tests::*, *};

#[test]
fn deeply_nested_json_is_refused_before_anybody_reads_it() {
    let mut client = Client::new(Vsn::V2);
    client.joined("1", "a");
    for levels in [128, 60_000] {
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        for frame in [
            format!(r#"["1","2","conversation:a","send_message",{deep}]"#),
            format!(r#"["3","3","conversation:b","phx_join",{deep}]"#),
        ] {
            assert_eq!(reason(&frames(&client.says(&frame))[0]), "validation_failed", "{levels}");
        }
    }
    let fits = format!(
        r#"["1","4","conversation:a","send_message",{{"x":{}{}}}]"#,
        "[".repeat(127),
        "]".repeat(127)
    );
    assert!(matches!(client.says(&fits)[0], Effect::Do { .. }));
}
