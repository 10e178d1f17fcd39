"""A push service: it wakes up phones whose users missed a message. It consumes the stream that Simurgh's workers write to
NATS (docs/contract.md, section 6.1) and prints what it would push; `README.md` says how to run it.

What it shows: a durable consumer, so that nothing is lost while the service is down; an entry is acknowledged once its
push was delivered, and comes again where it was not; and whatever comes twice collapses into one push by its name."""

import asyncio
import json
import os
import signal

import nats
from nats.errors import TimeoutError as NothingThere
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

NAMESPACE = os.environ.get("SIMURGH_NAMESPACE", "simurgh")
STREAM = f"{NAMESPACE}_offline"
# The consumer's name: NATS remembers under it what was acknowledged.
DURABLE = os.environ.get("PUSH_CONSUMER", "push")
# An entry whose push is not acknowledged within this time comes again.
ACK_WAIT_SECONDS = 30
AT_ONCE = 100


def push_for(entry):
    """What a phone would be told: who wrote where, and that there is something to fetch. The app reads the message itself
    with its user's token, so that no content passes through the services of others."""
    return {
        "to": entry["user_id"],
        # A phone shows one notification for each of these: an entry that comes twice is shown once.
        "collapse_id": f'{entry["message_id"]}:{entry["user_id"]}',
        "title": f'{entry["sender_id"]} mentioned you' if entry["mentioned"] else f'New message from {entry["sender_id"]}',
        "data": {"conversation_id": entry["conversation_id"], "message_id": entry["message_id"], "seq": entry["seq"]},
    }


async def deliver(push):
    """Here a real service calls APNs, FCM or Web Push, and raises where that fails."""
    print(json.dumps(push), flush=True)


async def consumer(jetstream):
    """The durable consumer, made where it is not there yet; waits for the stream, which gateways make."""
    config = ConsumerConfig(
        durable_name=DURABLE, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_SECONDS, deliver_policy=DeliverPolicy.ALL,
        max_ack_pending=10 * AT_ONCE,
    )
    while True:
        try:
            await jetstream.add_consumer(STREAM, config)
            return await jetstream.pull_subscribe_bind(DURABLE, STREAM)
        except (NotFoundError, NothingThere) as error:
            print(f"waiting for the stream {STREAM}: {error}", flush=True)
            await asyncio.sleep(1)


async def handle(message):
    try:
        await deliver(push_for(json.loads(message.data)))
    except (ValueError, KeyError):
        # Nothing that could ever be pushed: it must not come again.
        await message.term()
    except Exception as error:
        print(f"not delivered, it comes again: {error}", flush=True)
        await message.nak(delay=1)
    else:
        # Waits for the server's word: an acknowledgement that is lost would bring the entry again.
        await message.ack_sync()


async def main():
    connection = await nats.connect(
        os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
        user=os.environ.get("NATS_USER"), password=os.environ.get("NATS_PASSWORD"),
        # For ever: NATS may be away for a while.
        max_reconnect_attempts=-1, allow_reconnect=True,
    )
    subscription = await consumer(connection.jetstream(timeout=5))
    print(f"consuming {STREAM} as {DURABLE}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not stop.is_set():
        try:
            messages = await subscription.fetch(AT_ONCE, timeout=1)
        except NothingThere:
            continue
        except Exception as error:
            print(f"NATS does not answer, trying again: {error}", flush=True)
            await asyncio.sleep(1)
            continue
        # In order, so that a phone shows them in order. A real service does many users at once.
        for message in messages:
            try:
                await handle(message)
            except Exception as error:
                print(f"not acknowledged, it comes again: {error}", flush=True)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
