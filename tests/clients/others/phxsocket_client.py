"""`phxsocket` of PyPI, driven by lines of JSON on standard input: `{do: connect | join | push | leave, ...}`. Each is
answered by one line, `{ok}` or `{error}`; broadcasts are lines `{event, topic, payload}`."""

import json
import sys
import threading

import phxsocket

# Broadcasts come in a thread of the library's, and `print` writes a text and the end of its line apart.
writing = threading.Lock()


def say(line):
    with writing:
        print(json.dumps(line), flush=True)


def main():
    client, channels = None, {}
    for line in map(json.loads, sys.stdin):
        topic = line.get("topic")
        try:
            match line["do"]:
                case "connect":
                    client, channels = phxsocket.Client(line["url"], {"token": line["token"]}), {}
                    client.connect()
                    done = None
                case "join":
                    channel = client.channel(topic, line.get("params", {}))
                    channel.on("new_message", lambda payload, topic=topic: say({"event": "new_message", "topic": topic, "payload": payload}))
                    done = channel.join()
                    channels[topic] = channel
                case "push":
                    done = channels[topic].push(line["event"], line["payload"], reply=True).wait_for_response()
                case "leave":
                    channels.pop(topic).push("phx_leave", {}, reply=True).wait_for_response()
                    done = None
            say({"ok": done})
        except Exception as error:  # whatever it is, the driver is told
            say({"error": f"{type(error).__name__}: {error}"})


main()
