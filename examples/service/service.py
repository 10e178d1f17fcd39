"""A back-end service that talks to its customers: it opens a conversation for an order, says how the order stands, and
answers whoever asks. Over gRPC, with a service's token; `README.md` says how to run it.

What it shows: ids and `client_random`s of the service's own, so that doing all of it again does nothing twice; and a
stream of events that is resumed where it broke off, so that no question is missed and none is answered twice."""

import os
import sys
import time
from pathlib import Path

import grpc

# `grpc` compiles the .proto when it is imported; a larger program would do that once, with `python -m grpc_tools.protoc`.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "rpc" / "proto"))
messages, services = grpc.protos_and_services("simurgh/v1/messaging.proto")

# Who the service is in conversations. It needs no account: its token may act for anyone.
SENDER = "orders"


class Orders:
    def __init__(self, address, token):
        self.stub = services.MessagingStub(grpc.insecure_channel(address))
        self.metadata = [("authorization", f"Bearer {token}")]

    def call(self, method, request):
        """A call that is tried again while it may succeed: each can safely be repeated."""
        while True:
            try:
                return getattr(self.stub, method)(request, metadata=self.metadata, timeout=10)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                time.sleep(0.5)

    def open(self, order, customers):
        """The order's conversation, made where it is not there yet."""
        request = messages.CreateConversationRequest(
            id=f"order:{order}", type="group", member_ids=[SENDER, *customers], metadata={"order": order}
        )
        return self.call("CreateConversation", request).conversation.id

    def say(self, conversation, name, content, reply_to=None):
        """Says something. `name` makes it one message, however often it is said."""
        request = messages.SendMessageRequest(
            conversation_id=conversation, sender_id=SENDER, content=content, client_random=name, reply_to_id=reply_to
        )
        return self.call("SendMessage", request).message

    def follow(self, conversation, after_seq):
        """Every message of others after that one, for ever, each once."""
        while True:
            request = messages.SubscribeRequest(conversation_id=conversation, after_seq=after_seq)
            try:
                for event in self.stub.Subscribe(request, metadata=self.metadata):
                    if event.WhichOneof("payload") == "new_message":
                        after_seq = event.new_message.seq
                        if event.new_message.sender_id != SENDER:
                            yield event.new_message
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                time.sleep(0.5)


def main(order, *customers):
    service = Orders(os.environ.get("SIMURGH_GRPC", "127.0.0.1:4001"), os.environ["SIMURGH_TOKEN"])
    conversation = service.open(order, customers)
    shipped = service.say(conversation, "shipped", f"Order {order} has left our warehouse.")
    print(f"{conversation}: said so in message {shipped.seq}; waiting for questions", flush=True)
    for question in service.follow(conversation, shipped.seq):
        print(f"{question.sender_id}: {question.content}", flush=True)
        service.say(conversation, f"to {question.id}", "It arrives on Friday.", reply_to=question.id)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: SIMURGH_TOKEN=JWT [SIMURGH_GRPC=HOST:PORT] service.py ORDER CUSTOMER...")
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
