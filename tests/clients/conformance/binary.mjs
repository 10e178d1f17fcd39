// Binary frames of the newer serializer.

import { conform } from "../transcript.mjs";

const hex = (text) => Buffer.from(text).toString("hex");
const NEWER = { vsn1: false };

conform("a push whose payload is JSON is handled like text, and answered in text", `
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [binary] ["1","2","$c","send_message"] ${hex('{"message_type":"text","content":"héllo","client_random":1}')}
  S~ [null,null,"$c","new_message",{"content":"héllo","seq":1,"...":0}]
  S~ ["1","2","$c","phx_reply",{"response":{"seq":1,"duplicate":false,"...":0},"status":"ok"}]
`, { ...NEWER, phoenix: "passes the bytes to the application" });

for (const [what, payload] of [["bytes", "0102ff"], ["nothing", ""], ["an array", hex("[1]")], ["half of JSON", hex("{\"a\":")], ["JSON that is not UTF-8", "7b2261223a22ff227d"]]) {
  conform(`a push of ${what} is refused, and the channel lives`, `
    C> ["1","1","$c","phx_join",{}]
    S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
    C> [binary] ["1","2","$c","send_message"] ${payload}
    S> ["1","2","$c","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
    C> [binary] ["1","3","$c","typing_stop"] ${hex("{}")}
    S> ["1","3","$c","phx_reply",{"response":{},"status":"ok"}]
  `, { ...NEWER, phoenix: "passes the bytes to the application" });
}

conform("heartbeats, joins and leaves may be binary", `
  C> [bytes] 00 00 01 07 09 36 70 68 6f 65 6e 69 78 68 65 61 72 74 62 65 61 74
  S> [null,"6","phoenix","phx_reply",{"response":{},"status":"ok"}]
  C> [binary] ["7","7","$c","phx_join"] ${hex("{}")}
  S> ["7","7","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [binary] ["7","8","$c","phx_leave"]
  S> ["7","8","$c","phx_reply",{"response":{},"status":"ok"}]
  S> ["7","7","$c","phx_close",{}]
`, NEWER);

conform("refs that are empty are empty, not null", `
  C> ["1","1","$c","phx_join",{}]
  S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  C> [binary] ["","","$c","typing_stop"] ${hex("{}")}
  S> ["1","","$c","phx_reply",{"response":{},"status":"ok"}]
  C> [binary] ["","2","$c","phx_leave"]
  C> [binary] ["","","$nowhere","typing_stop"] 01
  S> [null,"","$nowhere","phx_reply",{"response":{"reason":"unmatched topic","message":"$*"},"status":"error"}]
  C> [binary] ["","","$nowhere","phx_leave"]
  S> ["","","$nowhere","phx_reply",{"response":{},"status":"ok"}]
`, NEWER);

for (const [what, frame] of [
  ["a reply", "01 01 01 01 01 31 41 00"],
  ["a broadcast", "02 01 01 61 62"],
  ["a kind that nobody knows", "03"],
  ["a header that is cut off", "00 01 02"],
  ["a topic that runs past the end", "00 01 01 ff 01 31 31 61 62"],
  ["a topic that is not UTF-8", "00 01 01 01 01 31 32 ff 65"],
  ["JSON text", "5b6e756c6c2c2231222c2270686f656e6978222c22686561727462656174222c7b7d5d"],
]) {
  conform(`${what} in a binary frame closes the socket`, `
    C> [bytes] ${frame}
    S> [close] 1007 invalid_frame
  `, { ...NEWER, phoenix: "closes with 1011 and no reason" });
}

conform("an empty binary frame closes the socket", `
  C> [bytes]
  S> [close] 1007 invalid_frame
`, { ...NEWER, longPoll: false, phoenix: "closes with 1011 and no reason" });

conform("the older serializer has no binary frames", `
  C> [bytes] 00 00 01 07 09 36 70 68 6f 65 6e 69 78 68 65 61 72 74 62 65 61 74
  S> [close] 1007 invalid_frame
`, { vsn2: false, phoenix: "closes with 1011 and no reason" });
