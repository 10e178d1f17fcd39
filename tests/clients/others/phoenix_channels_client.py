"""`phoenix-channels-python-client` of PyPI, driven by lines of JSON on standard input: `{do: connect | join | leave, ...}`.
Each is answered by one line, `{ok}` or `{error}`; broadcasts are lines `{event, topic, payload}`. It listens only, and comes
back by itself."""

import asyncio
import json
import sys
from urllib.parse import urlencode

from phoenix_channels_python_client import PHXChannelsClient, PhoenixChannelsProtocolVersion, ReconnectPolicy

# By default it counts a refused connect as a rapid disconnect, and after three of them, which a gateway that starts again
# easily sees, it waits for a minute.
QUICK = ReconnectPolicy(base_delay_s=0.1, max_delay_s=1, rapid_disconnect_uptime_s=0)


def say(line):
    print(json.dumps(line), flush=True)


def hears(topic):
    async def heard(payload):
        say({"event": "new_message", "topic": topic, "payload": payload})

    return heard


async def main():
    client, loop = None, asyncio.get_running_loop()
    while text := await loop.run_in_executor(None, sys.stdin.readline):
        line = json.loads(text)
        topic = line.get("topic")
        try:
            match line["do"]:
                case "connect":
                    url = f"{line['url']}?{urlencode({'token': line['token']})}"
                    # Under version 2 it takes a broadcast, which has no join_ref, for stale.
                    vsn = PhoenixChannelsProtocolVersion.V1
                    client = PHXChannelsClient(url, "none", protocol_version=vsn, reconnect_policy=QUICK)
                    await client.__aenter__()
                case "join":
                    await client.subscribe_to_topic(topic)
                    client.add_event_handler(topic, "new_message", hears(topic))
                case "leave":
                    await client.unsubscribe_from_topic(topic)
            say({"ok": None})
        except Exception as error:  # whatever it is, the driver is told
            say({"error": f"{type(error).__name__}: {error}"})
    if client:
        await client.shutdown("the end")


asyncio.run(main())
