// What the guide for clients shows, as frames: every event of both channels.

import { conform } from "../transcript.mjs";

conform("the user's channel", `
  C> ["1","1","user:$alice","phx_join",{}]
  S> ["1","1","user:$alice","phx_reply",{"response":{"user_id":"$alice","status":"online","session_id":"$session"},"status":"ok"}]
  S> ["1",null,"user:$alice","presence_state",{}]
  S> ["1",null,"user:$alice","sync_complete",{"user_id":"$alice","unread":"$*","at":"$*"}]
  C> ["1","2","user:$alice","ping",{}]
  S> ["1","2","user:$alice","phx_reply",{"response":{"pong":null,"server_time":"$*"},"status":"ok"}]
  C> ["1","3","user:$alice","ping",{"timestamp":1795333143}]
  S> ["1","3","user:$alice","phx_reply",{"response":{"pong":1795333143,"server_time":"$*"},"status":"ok"}]
  C> ["1","4","user:$alice","update_presence",{"status":"away"}]
  S> ["1","4","user:$alice","phx_reply",{"response":{"status":"away"},"status":"ok"}]
  C> ["1","5","user:$alice","update_presence",{"status":"asleep"}]
  S> ["1","5","user:$alice","phx_reply",{"response":{"reason":"validation_failed","message":"$*","errors":"$*"},"status":"error"}]
  C> ["1","6","user:$alice","mark_all_read",{"conversation_ids":["$c_id","$nowhere_id"]}]
  S> ["1","6","user:$alice","phx_reply",{"response":{"results":[{"conversation_id":"$c_id","status":"ok","last_read_seq":0},{"conversation_id":"$nowhere_id","status":"error","reason":"not_a_member"}]},"status":"ok"}]
`, { heard: ["presence_state", "sync_complete"], phoenix: "its application also told oneself of one's own presence" });

conform("a message reaches all in the channel as it was sent, and its sender is told its place", `
  A C> ["1","1","$c","phx_join",{}]
  A S> ["1","1","$c","phx_reply",{"response":{"status":"joined","conversation_id":"$c_id","conversation":"$*","last_seq":0,"last_read_seq":0,"messages":[],"truncated":false,"changes":[],"change_cursor":"$*"},"status":"ok"}]
  B C> ["4","4","$c","phx_join",{}]
  B S> ["4","4","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  A C> ["1","2","$c","send_message",{"message_type":"text","content":"héllo / \\"q\\" <b> \u2028 👍","metadata":{"z":1,"a":[1,2.5,null,true]},"client_random":518273645}]
  A S~ [null,null,"$c","new_message",{"id":"$m","conversation_id":"$c_id","seq":1,"sender_id":"$alice","message_type":"text","content":"héllo / \\"q\\" <b> \u2028 👍","metadata":{"z":1,"a":[1,2.5,null,true]},"client_random":518273645,"reply_to_id":null,"sent_at":"$at"}]
  A S~ ["1","2","$c","phx_reply",{"response":{"message_id":"$m","seq":1,"sent_at":"$at","message":{"id":"$m","seq":1,"sender_id":"$alice","...":0},"duplicate":false},"status":"ok"}]
  B S> [null,null,"$c","new_message",{"id":"$m","conversation_id":"$c_id","seq":1,"sender_id":"$alice","content":"héllo / \\"q\\" <b> \u2028 👍","client_random":518273645,"...":0}]
  # The same again is stored once, and nobody hears of it twice.
  A C> ["1","3","$c","send_message",{"message_type":"text","content":"héllo / \\"q\\" <b> \u2028 👍","metadata":{},"client_random":518273645}]
  A S> ["1","3","$c","phx_reply",{"response":{"message_id":"$m","seq":1,"sent_at":"$at","message":"$*","duplicate":true},"status":"ok"}]
  A C> ["1","4","$c","send_message",{"message_type":"text","content":"other","metadata":{},"client_random":518273645}]
  A S> ["1","4","$c","phx_reply",{"response":{"reason":"conflict","message":"$*","message_id":"$m"},"status":"error"}]
  # A push without a ref gets a reply without one.
  A C> ["1",null,"$c","send_message",{"message_type":"text","content":"x","client_random":"a"}]
  A S~ [null,null,"$c","new_message",{"seq":2,"content":"x","metadata":{},"...":0}]
  A S~ ["1",null,"$c","phx_reply",{"response":{"seq":2,"...":0},"status":"ok"}]
  B S> [null,null,"$c","new_message",{"seq":2,"content":"x","...":0}]
`);

conform("typing is told to the others", `
  A C> ["1","1","$c","phx_join",{}]
  A S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  B C> ["1","1","$c","phx_join",{}]
  B S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  A C> ["1","2","$c","typing_start",{}]
  A S> ["1","2","$c","phx_reply",{"response":{},"status":"ok"}]
  B S> [null,null,"$c","typing_indicator",{"user_id":"$alice","action":"start","timestamp":"$*"}]
  A C> ["1","3","$c","typing_stop",{}]
  A S> ["1","3","$c","phx_reply",{"response":{},"status":"ok"}]
  B S> [null,null,"$c","typing_indicator",{"user_id":"$alice","action":"stop","timestamp":"$*"}]
`, { phoenix: "its application did not answer these" });

conform("reading and reacting are told to all in the channel", `
  A C> ["1","1","$c","phx_join",{}]
  A S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  B C> ["1","1","$c","phx_join",{}]
  B S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  A C> ["1","2","$c","send_message",{"message_type":"text","content":"read me","client_random":"r"}]
  A S~ [null,null,"$c","new_message",{"id":"$m","seq":1,"...":0}]
  A S~ ["1","2","$c","phx_reply",{"response":{"seq":1,"...":0},"status":"ok"}]
  B S> [null,null,"$c","new_message",{"id":"$m","seq":1,"...":0}]
  B C> ["1","2","$c","mark_as_read",{"message_id":"$m"}]
  B S~ [null,null,"$c","read_receipt",{"conversation_id":"$c_id","message_id":"$m","seq":1,"user_id":"$bob","read_at":"$*"}]
  B S~ ["1","2","$c","phx_reply",{"response":{"marked_read":true,"last_read_seq":1},"status":"ok"}]
  A S> [null,null,"$c","read_receipt",{"conversation_id":"$c_id","message_id":"$m","seq":1,"user_id":"$bob","read_at":"$*"}]
  B C> ["1","3","$c","mark_as_read",{"message_id":"$m"}]
  B S> ["1","3","$c","phx_reply",{"response":{"marked_read":true,"last_read_seq":1},"status":"ok"}]
  B C> ["1","4","$c","add_reaction",{"message_id":"$m","reaction":"👍"}]
  B S~ [null,null,"$c","reaction_added",{"conversation_id":"$c_id","message_id":"$m","user_id":"$bob","reaction":"👍","timestamp":"$*"}]
  B S~ ["1","4","$c","phx_reply",{"response":{"reaction_added":true},"status":"ok"}]
  A S> [null,null,"$c","reaction_added",{"conversation_id":"$c_id","message_id":"$m","user_id":"$bob","reaction":"👍","timestamp":"$*"}]
  B C> ["1","5","$c","remove_reaction",{"message_id":"$m","reaction":"👍"}]
  B S~ [null,null,"$c","reaction_removed",{"conversation_id":"$c_id","message_id":"$m","user_id":"$bob","reaction":"👍","timestamp":"$*"}]
  B S~ ["1","5","$c","phx_reply",{"response":{"reaction_removed":true},"status":"ok"}]
  A S> [null,null,"$c","reaction_removed",{"conversation_id":"$c_id","message_id":"$m","user_id":"$bob","reaction":"👍","timestamp":"$*"}]
`);

conform("members are told of who comes and goes, and a push to one client names its join", `
  A C> ["1","1","$c","phx_join",{}]
  A S> ["1","1","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  A S> ["1",null,"$c","presence_state",{"$alice":{"metas":[{"phx_ref":"$a_ref","online_at":"$*"}]}}]
  B C> ["4","4","$c","phx_join",{}]
  B S> ["4","4","$c","phx_reply",{"response":{"status":"joined","...":0},"status":"ok"}]
  B S> ["4",null,"$c","presence_state",{"$alice":{"metas":[{"phx_ref":"$a_ref","online_at":"$*"}]},"$bob":{"metas":[{"phx_ref":"$b_ref","online_at":"$*"}]}}]
  A S? [null,null,"$c","presence_diff",{"joins":{"$alice":"$*"},"leaves":{}}]
  A S~ [null,null,"$c","user_joined",{"user_id":"$bob","timestamp":"$*"}]
  # What happened within 200 ms is told in one diff, so one's own join may be in it.
  A S~ [null,null,"$c","presence_diff",{"joins":{"$bob":{"metas":[{"phx_ref":"$b_ref","online_at":"$*"}]},"...":0},"leaves":{}}]
  B C> ["4","5","$c","phx_leave",{}]
  B S> ["4","5","$c","phx_reply",{"response":{},"status":"ok"}]
  B S> ["4","4","$c","phx_close",{}]
  B S? [null,null,"$c","presence_diff",{"joins":"$*","leaves":{}}]
  A S~ [null,null,"$c","user_left",{"user_id":"$bob","timestamp":"$*"}]
  A S~ [null,null,"$c","presence_diff",{"joins":{},"leaves":{"$bob":{"metas":[{"phx_ref":"$b_ref","online_at":"$*"}]}}}]
`, { vsn1: false, heard: ["presence_state", "presence_diff", "user_joined", "user_left"] });
