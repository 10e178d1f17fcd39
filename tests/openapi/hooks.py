"""What the document cannot say: which ids exist, and the rules between two fields. schemathesis loads this module.

What is wrong on purpose stays as it is: only what the document allows is led to where the service can agree.
"""

import atexit
import json
import os
import re
import uuid
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import unquote

import schemathesis
from schemathesis.core.parameters import ParameterLocation

SCENE = json.loads(Path(os.environ["SIMURGH_TEST_SCENE"]).read_text())
SERVICE = SCENE["service"]
CALLER = SCENE["caller"]
ID = re.compile(SCENE["id_pattern"])
LARGEST = SCENE["largest_group"]
UNKNOWN = "00000000-0000-8000-8000-000000000000"
DELETE = "DELETE /api/v1/conversations/{conversation_id}/messages/{message_id}"
SEND = ("POST", "/api/v1/conversations/{conversation_id}/messages")

# Conversations that answers named: nothing replaces them.
created = set()
# Messages that were sent, by conversation. Those of the scene are answered, and stay.
sent = defaultdict(list)
# All that answers named, those that were deleted, too: nothing replaces them.
named = set()
# Those of pages by path: one list's are no other's.
cursors = defaultdict(list, since=[SCENE["since"]])
statuses = defaultdict(Counter)


def one_of(pool, value):
    """One of the pool, the same for the same value."""
    return pool[zlib.crc32(str(value).encode()) % len(pool)]


def is_id(value):
    return isinstance(value, str) and ID.fullmatch(value) is not None


@schemathesis.hook
def before_load_schema(ctx, raw_schema):
    """Closes what is answered, so that a field that is not described is found, and tells users' and services' rules apart."""
    schemas = raw_schema["components"]["schemas"]
    asked = {"NewConversation", "ConversationPatch", "SettingsPatch", "NewMessage", "MessageEdit", "NewNotification"}
    for name, schema in schemas.items():
        if name not in asked:
            close(schema)
    for name in ("NewMessage", "MessageEdit"):
        sender = schemas[name]["properties"].pop("sender_id")
        if SERVICE:
            # It must say for whom; what a user says of that is a field that nobody knows, and ignored.
            schemas[name]["properties"]["sender_id"] = sender["oneOf"][0]
            schemas[name]["required"].append("sender_id")
    if SERVICE:
        for path in raw_schema["paths"].values():
            for operation in path.values():
                for parameter in operation.get("parameters", []):
                    if parameter["name"] == "user_id" and parameter["in"] == "query":
                        parameter["required"] = True


def close(schema):
    for inner in schema.get("properties", {}).values():
        close(inner)
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)


def is_right(case, location):
    """Whether this part of a case is as the document says, and is there."""
    part = case.meta.components.get(location) if case.meta else None
    return part is None or part.mode.is_positive


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    called = (case.method.upper(), case.operation.path)
    if case.path_parameters and is_right(case, ParameterLocation.PATH):
        changed = in_path(called, case.path_parameters)
        if changed is not None:
            case.path_parameters = changed
    if isinstance(case.query, dict) and is_right(case, ParameterLocation.QUERY):
        case.query = in_query(called, dict(case.query))
    if isinstance(case.body, dict) and is_right(case, ParameterLocation.BODY):
        case.body = in_body(called, dict(case.body), (case.path_parameters or {}).get("conversation_id"))


def in_path(called, parameters):
    """Ids of what is there; none where the path is to have others. Parameters are escaped as they are sent."""
    plain = {name: unquote(str(value)) for name, value in parameters.items()}
    if not all(map(is_id, plain.values())):
        return None
    room, user = plain.get("conversation_id"), plain.get("user_id")
    if room and room not in created and room not in SCENE["rooms"]:
        plain["conversation_id"] = one_of(list(SCENE["rooms"]), room)
    if "message_id" in plain and plain["message_id"] not in named:
        plain["message_id"] = one_of(sent[plain["conversation_id"]] or [UNKNOWN], plain["message_id"])
    if user:
        pool = next((pool for end, pool in SCENE["users"].items() if called[1].endswith(end)), SCENE["guests"])
        plain["user_id"] = one_of(pool, user)
    return plain


def in_query(called, query):
    if "before_seq" in query and "after_seq" in query:
        del query["before_seq"]
    if "user_id" in query:
        query["user_id"] = CALLER
    if SERVICE and "for_everyone" in query:
        query["for_everyone"] = "true"
    for name in ("cursor", "since"):
        # A cursor is opaque: only the service makes them.
        if query.get(name):
            query[name] = one_of(["", *cursors[pool_of(name, called[1])]], query[name])
    return query


def pool_of(name, path):
    return path if name == "cursor" else name


def in_body(called, body, room):
    if called == ("POST", "/api/v1/conversations"):
        others = [user for user in body["member_ids"] if user != CALLER]
        if body["type"] == "direct":
            body["member_ids"] = (others + SCENE["guests"])[:1]
        if SERVICE:
            body["member_ids"] = [CALLER, *body["member_ids"]][:LARGEST]
        if not SERVICE and body.get("id"):
            body["id"] = str(uuid.uuid5(uuid.NAMESPACE_OID, body["id"]))
    elif called[0] == "PATCH" and called[1].endswith("/settings"):
        if isinstance(body.get("muted_until"), str):
            # Of the document's times those in UTC, which is how all of them are written.
            body["muted_until"] = "2031-02-03T04:05:06.789Z"
    elif called == SEND:
        if body.get("reply_to_id"):
            body["reply_to_id"] = SCENE["rooms"].get(room)
    if SERVICE and "sender_id" in body:
        body["sender_id"] = CALLER
    return body


@schemathesis.hook
def after_call(ctx, case, response):
    if response.request.method != case.operation.method.upper():
        return
    statuses[case.operation.label][response.status_code] += 1
    if case.operation.label == DELETE and response.status_code == 204:
        path = {name: unquote(str(value)) for name, value in case.path_parameters.items()}
        living = sent[path["conversation_id"]]
        if path["message_id"] in living:
            living.remove(path["message_id"])
    if response.status_code >= 300 or "json" not in response.headers.get("content-type", [""])[0]:
        return
    body = response.json()
    if case.operation.label == "POST /api/v1/conversations":
        created.add(body["id"])
    if case.operation.label == " ".join(SEND):
        named.add(body["message_id"])
        if not body["duplicate"]:
            sent[body["message"]["conversation_id"]].append(body["message_id"])
    for name, key in (("cursor", "next_cursor"), ("since", "change_cursor")):
        pool = cursors[pool_of(name, case.operation.path)]
        if isinstance(body, dict) and body.get(key) and len(pool) < 20:
            pool.append(body[key])


@atexit.register
def tell():
    Path(os.environ["SIMURGH_TEST_STATUSES"]).write_text(json.dumps(statuses))
