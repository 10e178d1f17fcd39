// Channels: joins, leaves, refs of joins, and what is answered with an error.

import { conform } from "../transcript.mjs";

conform("leaving what is not joined is ok, and closes nothing", `
  C> ["1","7","$nowhere","phx_leave",{}]
  S> ["1","7","$nowhere","phx_reply",{"response":{},"status":"ok"}]
`, { vsn1: false });

conform("leaving what is not joined is ok in the older serializer, too", `
  C> [null,"7","$nowhere","phx_leave",{}]
  S> [null,"7","$nowhere","phx_reply",{"response":{},"status":"ok"}]
`);

conform("a push to what is not joined is unmatched, and names no join", `
  C> ["1","5","$c","send_message",{"content":"x"}]
  S> [null,"5","$c","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> [null,"6","$c","x_unknown",{}]
  S> [null,"6","$c","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`);

conform("another user's topic is unauthorized, and not joined", `
  C> ["1","1","user:$bob","phx_join",{}]
  S> ["1","1","user:$bob","phx_reply",{"response":{"reason":"unauthorized","message":"$*"},"status":"error"}]
  C> ["1","2","user:$bob","ping",{}]
  S> [null,"2","user:$bob","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`);

conform("a conversation that does not exist is one that one is no member of", `
  C> ["1","1","$nowhere","phx_join",{}]
  S> ["1","1","$nowhere","phx_reply",{"response":{"reason":"not_a_member","message":"$*"},"status":"error"}]
`);

conform("a leave is answered, then the channel is closed; the topic can be joined again", `
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> ["1","2","$c","phx_leave",{}]
  S> ["1","2","$c","phx_reply",{"response":{},"status":"ok"}]
  S> ["1","1","$c","phx_close",{}]
  C> ["1","3","$c","typing_stop",{}]
  S> [null,"3","$c","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> ["5","5","$c","phx_join",{}]
  S> ["5","5","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
`, { vsn1: false });

conform("in the older serializer nothing names a join, and a close has no ref", `
  C> [null,"1","$c","phx_join",{}]
  S> [null,"1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [null,"2","$c","phx_leave",{}]
  S> [null,"2","$c","phx_reply",{"response":{},"status":"ok"}]
  S> [null,null,"$c","phx_close",{}]
`);

conform("a leave with a stale or a null join_ref is ignored without a word", `
  C> ["5","5","$c","phx_join",{}]
  S> ["5","5","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [null,"6","$c","phx_leave",{}]
  C> ["1","7","$c","phx_leave",{}]
  C> ["5","8","$c","typing_stop",{}]
  S> ["5","8","$c","phx_reply",{"response":{},"status":"ok"}]
`, { vsn1: false });

conform("a push with a null, stale or unknown join_ref is handled, and answered with the present one", `
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> ["2","2","$c","phx_join",{}]
  S> ["2","2","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> ["1","1","$c","phx_close",{}]
  C> ["2","3","$c","typing_stop",{}]
  S> ["2","3","$c","phx_reply",{"response":{},"status":"ok"}]
  C> ["1","4","$c","typing_stop",{}]
  S> ["2","4","$c","phx_reply",{"response":{},"status":"ok"}]
  C> [null,"5","$c","typing_stop",{}]
  S> ["2","5","$c","phx_reply",{"response":{},"status":"ok"}]
  C> ["99","6","$c","typing_stop",{}]
  S> ["2","6","$c","phx_reply",{"response":{},"status":"ok"}]
`);

conform("a second join with the same join_ref closes the first, too", `
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> ["1","1","$c","phx_close",{}]
  C> ["1","2","$c","typing_stop",{}]
  S> ["1","2","$c","phx_reply",{"response":{},"status":"ok"}]
`);

conform("a join without refs is a join", `
  C> [null,null,"$c","phx_join",{}]
  S> [null,null,"$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [null,"2","$c","typing_stop",{}]
  S> [null,"2","$c","phx_reply",{"response":{},"status":"ok"}]
  C> [null,"4","$c","phx_leave",{}]
  S> [null,"4","$c","phx_reply",{"response":{},"status":"ok"}]
  S> [null,null,"$c","phx_close",{}]
`);

conform("params and payloads that are no object are refused", `
  C> ["1","1","$c","phx_join","str"]
  S> ["1","1","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
  C> ["2","2","$c","phx_join",{}]
  S> ["2","2","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> ["2","3","$c","send_message","str"]
  S> ["2","3","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
  C> ["2","4","$c","send_message",[1]]
  S> ["2","4","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
  C> ["2","5","$c","typing_stop",null]
  S> ["2","5","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
  C> ["2","6","$c","typing_stop",5]
  S> ["2","6","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
`, { phoenix: "passes them to the application" });

conform("an event that nobody knows gets an error, and the channel lives", `
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> ["1","2","$c","no_such_event",{"a":1}]
  S> ["1","2","$c","phx_reply",{"response":{"reason":"unknown_event","message":"$*"},"status":"error"}]
  C> ["1","3","$c","phx_reply",{}]
  S> ["1","3","$c","phx_reply",{"response":{"reason":"unknown_event","message":"$*"},"status":"error"}]
  C> ["1","4","$c","phx_close",{}]
  S> ["1","4","$c","phx_reply",{"response":{"reason":"unknown_event","message":"$*"},"status":"error"}]
  C> ["1","5","$c","phx_error",{}]
  S> ["1","5","$c","phx_reply",{"response":{"reason":"unknown_event","message":"$*"},"status":"error"}]
  C> ["1","6","$c",5,{}]
  S> ["1","6","$c","phx_reply",{"response":{"reason":"unknown_event","message":"$*"},"status":"error"}]
  C> ["1","7","$c","mark_as_read",{}]
  S> ["1","7","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
  C> ["1","8","$c","typing_stop",{}]
  S> ["1","8","$c","phx_reply",{"response":{},"status":"ok"}]
`, { phoenix: "the channel crashes: phx_error" });

conform("frames of a topic are handled in their order, sent without waiting", `
  C> ["1","1","$c","phx_join",{}]
  C> ["1","2","$c","typing_stop",{}]
  C> ["1","3","$c","phx_leave",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> ["1","2","$c","phx_reply",{"response":{},"status":"ok"}]
  S> ["1","3","$c","phx_reply",{"response":{},"status":"ok"}]
  S> ["1","1","$c","phx_close",{}]
`, { vsn1: false });

conform("what stands behind a leave is answered", `
  C> ["4","4","$c","phx_join",{}]
  C> ["4","5","$c","phx_leave",{}]
  C> ["4","6","$c","typing_stop",{}]
  S> ["4","4","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> ["4","5","$c","phx_reply",{"response":{},"status":"ok"}]
  S> ["4","4","$c","phx_close",{}]
  S> [null,"6","$c","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`, { vsn1: false, phoenix: "it may get no answer at all" });

conform("join, leave and join again in one burst are each answered", `
  C> ["7","7","$c","phx_join",{}]
  C> ["7","8","$c","phx_leave",{}]
  C> ["9","9","$c","phx_join",{}]
  C> ["9","10","$c","typing_stop",{}]
  S> ["7","7","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> ["7","8","$c","phx_reply",{"response":{},"status":"ok"}]
  S> ["7","7","$c","phx_close",{}]
  S> ["9","9","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> ["9","10","$c","phx_reply",{"response":{},"status":"ok"}]
`, { vsn1: false, phoenix: "the leave gets no reply" });
