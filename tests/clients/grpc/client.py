"""A client of `simurgh.v1.Messaging`, made from the .proto, driven by lines of JSON on standard input:

    {"id": n, "do": "call", "to": "HOST:PORT", "token": JWT, "method": "SendMessage", "request": {…}, "timeout": seconds}
    {"id": n, "do": "subscribe", …the same}     {"id": n, "do": "cancel", "stream": n}     {"id": n, "do": "pause", "stream": n, "paused": bool}
    {"id": n, "do": "health" | "services" | "services_v1alpha", "to": …}

Each is answered by a line `{"id": n, "ok": {…}}` or `{"id": n, "error": {"code", "message", "reason", "fields", "retry"}}`, where a subscription
is answered by its end; its events are lines `{"stream": n, "event": {…}}`."""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "shared" / "rpc" / "proto"))
messages, services = grpc.protos_and_services("simurgh/v1/messaging.proto")

writing = threading.Lock()


def say(line):
    with writing:
        print(json.dumps(line), flush=True)


def failed(error):
    """A gRPC error, as people and programs read it."""
    said = {"code": error.code().name, "message": error.details(), "fields": []}
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        for kind, read in (
            (error_details_pb2.ErrorInfo, lambda found: {"reason": found.reason, "domain": found.domain, "with": dict(found.metadata)}),
            (error_details_pb2.BadRequest, lambda found: {"fields": [one.field for one in found.field_violations]}),
            (error_details_pb2.RetryInfo, lambda found: {"retry": found.retry_delay.ToTimedelta().total_seconds()}),
        ):
            found = kind()
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(found)
                said.update(read(found))
    return said


class Client:
    def __init__(self):
        self.channels, self.streams, self.running = {}, {}, {}

    def channel(self, to):
        if to not in self.channels:
            # A gateway that comes back is found at once.
            options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
            self.channels[to] = grpc.insecure_channel(to, options=options)
        return self.channels[to]

    def asked(self, line):
        service = messages.DESCRIPTOR.services_by_name["Messaging"]
        method = service.methods_by_name[line["method"]]
        kind = getattr(messages, method.input_type.name)
        request = ParseDict(line["request"], kind())
        stub = getattr(services.MessagingStub(self.channel(line["to"])), line["method"])
        metadata = [("authorization", f"Bearer {line['token']}")] if line.get("token") else []
        return stub, request, {"metadata": metadata, "timeout": line.get("timeout")}

    def call(self, line):
        stub, request, how = self.asked(line)
        answer = stub(request, **how)
        return read(next(answer) if line["method"] == "Subscribe" else answer)

    def subscribe(self, line):
        stub, request, how = self.asked(line)
        stream, runs = stub(request, **how), threading.Event()
        runs.set()
        self.streams[line["id"]], self.running[line["id"]] = stream, runs
        for event in stream:
            say({"stream": line["id"], "event": read(event)})
            runs.wait()
        return {}

    def cancel(self, line):
        self.running[line["stream"]].set()
        self.streams[line["stream"]].cancel()
        return {}

    def pause(self, line):
        runs = self.running[line["stream"]]
        runs.clear() if line["paused"] else runs.set()
        return {}

    def health(self, line):
        stub = health_pb2_grpc.HealthStub(self.channel(line["to"]))
        return read(stub.Check(health_pb2.HealthCheckRequest(service=line.get("service", ""))))

    def services_v1alpha(self, line):
        return {"services": sorted(ProtoReflectionDescriptorDatabase(self.channel(line["to"])).get_services())}

    def services_v1(self, line):
        # The package knows v1alpha's name alone; the messages are the same.
        call = self.channel(line["to"]).stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        answer = next(call(iter([reflection_pb2.ServerReflectionRequest(list_services="")])))
        return {"services": sorted(one.name for one in answer.list_services_response.service)}

    def do(self, line):
        try:
            say({"id": line["id"], "ok": getattr(self, line["do"])(line)})
        except grpc.RpcError as error:
            say({"id": line["id"], "error": failed(error)})
        except Exception as error:  # whatever it is, the driver is told
            say({"id": line["id"], "error": {"code": "CLIENT", "message": f"{type(error).__name__}: {error}"}})


def read(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def main():
    client = Client()
    say({"ready": True})
    with ThreadPoolExecutor(64) as pool:
        for line in sys.stdin:
            pool.submit(client.do, json.loads(line))
        for stream, runs in zip(client.streams.values(), client.running.values()):
            runs.set()
            stream.cancel()


main()
