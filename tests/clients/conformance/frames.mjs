// Frames: heartbeats, refs, what is no message, and topics that nobody serves.

import { conform } from "../transcript.mjs";

conform("heartbeats are answered without a join_ref, and refs come back with their type", `
  C> [null,"7","phoenix","heartbeat",{}]
  S> [null,"7","phoenix","phx_reply",{"response":{},"status":"ok"}]
  C> ["3","8","phoenix","heartbeat",{}]
  S> [null,"8","phoenix","phx_reply",{"response":{},"status":"ok"}]
  C> [null,null,"phoenix","heartbeat",{}]
  S> [null,null,"phoenix","phx_reply",{"response":{},"status":"ok"}]
  C> [null,9,"phoenix","heartbeat",{}]
  S> [null,9,"phoenix","phx_reply",{"response":{},"status":"ok"}]
`);

conform("the topic of heartbeats knows nothing else", `
  C> [null,"10","phoenix","hello",{}]
  S> [null,"10","phoenix","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> ["11","11","phoenix","phx_join",{}]
  S> [null,"11","phoenix","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`);

conform("a topic that no channel is routed for is unmatched, whatever is asked of it", `
  C> ["1","1","nope:1","phx_join",{}]
  S> [null,"1","nope:1","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> ["2","2","user","phx_join",{}]
  S> [null,"2","user","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> ["3","3","","phx_join",{}]
  S> [null,"3","","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`);

conform("a topic whose id is none is unmatched", `
  C> ["2","3","conversation:a b*/é","phx_join",{}]
  S> [null,"3","conversation:a b*/é","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> ["2","4","conversation:constructor","phx_join",{}]
  S> [null,"4","conversation:constructor","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`, { phoenix: "knows no rule for ids" });

conform("a topic or an event that is no text is unmatched, and the socket lives", `
  C> ["1","1",5,"phx_join",{}]
  S> [null,"1",5,"phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> ["1","2","$c",5,{}]
  S> [null,"2","$c","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
`);

conform("refs may be any JSON", `
  C> [1,1,"$c","phx_join",{}]
  S> [1,1,"$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [1,{"r":[1]},"$c","typing_stop",{}]
  S> [1,{"r":[1]},"$c","phx_reply",{"response":{},"status":"ok"}]
  C> [{"a":1},[2],"$c","phx_join",{}]
  S> [{"a":1},[2],"$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  S> [1,1,"$c","phx_close",{}]
`);

conform("elements after the fifth, and white space, are ignored", `
  C> [null,"1","phoenix","heartbeat",{},"extra",[1]]
  S> [null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]
  C> [ null , "2" , "phoenix" , "heartbeat" , { } ]
  S> [null,"2","phoenix","phx_reply",{"response":{},"status":"ok"}]
`, { vsn1: false });

conform("further keys are ignored", `
  C> [text] {"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1","join_ref":"2","extra":1}
  S> [null,"1","phoenix","phx_reply",{"response":{},"status":"ok"}]
`, { vsn2: false });

const PHOENIX_CLOSES = { phoenix: "closes with 1011 and no reason" };

for (const junk of ["{", "ping", "{}", "\"str\"", "null", "5", "[]", "[null,\"1\",\"phoenix\",\"heartbeat\"]"]) {
  conform(`the text ${junk} closes the socket`, `
    C> [text] ${junk}
    S> [close] 1007 invalid_frame
  `, PHOENIX_CLOSES);
}

conform("an empty text closes the socket", `
  C> [text]
  S> [close] 1007 invalid_frame
`, { ...PHOENIX_CLOSES, longPoll: false });

conform("what follows a message closes the socket", `
  C> [text] [null,"1","phoenix","heartbeat",{}] trailing
  S> [close] 1007 invalid_frame
`, { ...PHOENIX_CLOSES, vsn1: false });

conform("the form of the other serializer closes the socket", `
  C> [text] {"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}
  S> [close] 1007 invalid_frame
`, { ...PHOENIX_CLOSES, vsn1: false });

conform("the form of the other serializer closes the socket, the other way round", `
  C> [text] [null,"1","phoenix","heartbeat",{}]
  S> [close] 1007 invalid_frame
`, { ...PHOENIX_CLOSES, vsn2: false });

for (const missing of ["topic", "event", "payload", "ref"]) {
  const frame = { topic: "phoenix", event: "heartbeat", payload: {}, ref: "1" };
  delete frame[missing];
  conform(`an object without ${missing} closes the socket`, `
    C> [text] ${JSON.stringify(frame)}
    S> [close] 1007 invalid_frame
  `, { ...PHOENIX_CLOSES, vsn2: false });
}
