//! Whatever comes in whatever order.

use proptest::prelude::*;

use super::{tests::*, *};

proptest! {
    /// Whatever comes in whatever order: no panic, no more channels than allowed, and each push and join that was
    /// taken up is answered once.
    #[test]
    fn every_frame_is_answered_once(steps in prop::collection::vec((0..6u8, 0..3u8, 0..3u8), 0..60)) {
        let mut client = Client::new(Vsn::V2);
        let mut under_way: Vec<(ChannelId, bool)> = Vec::new();
        let (mut asked, mut answered) = (0, 0);
        for (kind, topic, join) in steps {
            let effects = match kind {
                0 | 1 if !under_way.is_empty() => {
                    let (channel, is_join) = under_way.remove(0);
                    let outcome = if kind == 0 { Ok(Raw::empty()) } else { Err(Refusal::not_a_member()) };
                    if is_join {
                        client.session.joined(channel, outcome, &mut client.gate)
                    } else {
                        client.session.done(channel, outcome, &mut client.gate)
                    }
                }
                2 => { asked += 1; client.says(&format!(r#"["{join}","r","conversation:{topic}","phx_join",{{}}]"#)) }
                3 => { asked += 1; client.says(&format!(r#"["{join}","r","conversation:{topic}","typing_start",{{}}]"#)) }
                4 => { asked += 1; client.says(&format!(r#"["{join}","r","conversation:{topic}","nope",{{}}]"#)) }
                _ => { asked += 1; client.says(r#"[null,"r","phoenix","heartbeat",{}]"#) }
            };
            for effect in &effects {
                match effect {
                    Effect::Join { channel, .. } => under_way.push((*channel, true)),
                    Effect::Do { channel, .. } => under_way.push((*channel, false)),
                    Effect::Send(_) => answered += frames(std::slice::from_ref(effect)).iter().filter(|frame| frame[3] == "phx_reply").count(),
                    Effect::Close(_) => prop_assert!(false, "closed"),
                    _ => {}
                }
            }
            prop_assert!(client.session.channels().count() <= 3);
        }
        for _ in 0..200 {
            let Some((channel, is_join)) = under_way.pop() else { break };
            let effects = if is_join {
                client.session.joined(channel, Ok(Raw::empty()), &mut client.gate)
            } else {
                client.session.done(channel, Ok(Raw::empty()), &mut client.gate)
            };
            for effect in &effects {
                match effect {
                    Effect::Join { channel, .. } => under_way.push((*channel, true)),
                    Effect::Do { channel, .. } => under_way.push((*channel, false)),
                    Effect::Send(_) => answered += frames(std::slice::from_ref(effect)).iter().filter(|frame| frame[3] == "phx_reply").count(),
                    _ => {}
                }
            }
        }
        prop_assert_eq!(asked, answered);
    }
}
