"""Calls every operation of the served OpenAPI document on a running system, once as a user and once as a service.

Run with the interpreter that `tests/tools/openapi.txt` describes. Shows the statuses that each operation answered, and
fails where a check of schemathesis' does, or an operation never succeeded.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN = Path(os.environ.get("SIMURGH_TEST_BIN", ROOT / "target" / "ci")).resolve()
RATES = ["MESSAGES", "TYPING", "JOINS", "GATEWAY_JOINS", "PUSHES", "CONNECTS", "CONNECTS_PER_ADDRESS"]
CALLER, GUESTS = "ann", ["ben", "cem", "dua", "eve"]
# What a user may not do.
OF_SERVICES = {
    "POST /api/v1/users/{user_id}/notifications",
    "DELETE /api/v1/users/{user_id}/sessions",
    "GET /api/v1/conversations/{conversation_id}/messages/{message_id}/delivery",
}


class System:
    """The local stack, without rates, on free ports."""

    def __init__(self, folder):
        ports = [free_port() for _ in range(3)]
        self.url = f"http://127.0.0.1:{ports[0]}"
        listeners = zip(["SIMURGH_LISTEN", "SIMURGH_INTERNAL_LISTEN", "SIMURGH_WORKER_LISTEN"], ports)
        self.env = {
            "PATH": os.environ["PATH"],
            "SIMURGH_EPHEMERAL": "true",
            "SIMURGH_DATA_DIR": str(folder / "data"),
            "SIMURGH_LOG_FORMAT": "text",
            **{name: f"127.0.0.1:{port}" for name, port in listeners},
            **{f"SIMURGH_RATE_{rate}": "0" for rate in RATES},
        }
        self.log = folder / "simurgh.log"
        with open(self.log, "wb") as said:
            self.process = subprocess.Popen([BIN / "simurgh"], env=self.env, cwd=folder, stdout=said, stderr=said)

    def wait(self):
        deadline = time.monotonic() + 30
        while answer(f"{self.url}/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"simurgh does not serve\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def token(self, *of):
        return subprocess.check_output([BIN / "simurgh", "token", *of], env=self.env, text=True).strip()

    def stop(self):
        self.process.kill()
        self.process.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answer(url, method="GET", token=None, body=None):
    """Status and body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"authorization": f"Bearer {token}"} if token else {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return None, b""


def scene(system, token):
    """Conversations, messages and contacts, so that what is asked for is there."""

    def done(method, path, body=None):
        status, text = answer(f"{system.url}/api/v1{path}", method, token, body)
        assert status in (200, 201, 204), (method, path, status, text)
        return json.loads(text or "{}")

    rooms = {}
    for _ in range(3):
        room = done("POST", "/conversations", {"type": "group", "member_ids": GUESTS})["id"]
        for n in range(5):
            sent = {"message_type": "text", "content": f"{n}", "client_random": str(uuid.uuid4())}
            rooms[room] = done("POST", f"/conversations/{room}/messages", sent)["message_id"]
    since = done("GET", f"/conversations/{room}/messages")["change_cursor"]
    react(system, token, room, rooms[room])
    done("POST", "/conversations", {"type": "direct", "member_ids": [GUESTS[0]]})
    done("PUT", f"/contacts/{GUESTS[1]}")
    # For each end of a path, whose ids go there; elsewhere it is the guests'.
    # With whom one blocks no direct conversation is begun.
    users = {"/presence": [CALLER, GUESTS[0]], "/sessions": ["gone"], "/blocks/{user_id}": ["stranger"]}
    return {"rooms": rooms, "users": users, "guests": GUESTS, "caller": CALLER, "since": since}


def react(system, token, room, message):
    """What only a channel can do: a user who is there, and a reaction, so that there are changes."""
    query = {"vsn": "2.0.0", "token": token}
    longpoll = f"{system.url}/socket/longpoll?"
    query["token"] = json.loads(answer(longpoll + urllib.parse.urlencode(query), token=token)[1])["token"]
    pushes = [
        (f"user:{CALLER}", "phx_join", {}),
        (f"conversation:{room}", "phx_join", {}),
        (f"conversation:{room}", "add_reaction", {"message_id": message, "reaction": "👍"}),
    ]
    for n, (topic, event, payload) in enumerate(pushes, 1):
        frame = [topic, f"{n}", topic, event, payload]
        status, text = answer(longpoll + urllib.parse.urlencode(query), "POST", token, frame)
        assert status == 200, (event, status, text)
    deadline = time.monotonic() + 10
    while b'"\xf0\x9f\x91\x8d"' not in answer(f"{system.url}/api/v1/conversations/{room}/messages", token=token)[1]:
        assert time.monotonic() < deadline, "no reaction in the history"
        time.sleep(0.05)


def play(system, folder, document, name, token, scene):
    """One run of schemathesis': whether it passed, and the statuses that each operation answered."""
    counted = folder / f"{name}-statuses.json"
    given = folder / f"{name}-scene.json"
    given.write_text(json.dumps({**scene, "service": name == "service"}))
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "SCHEMATHESIS_HOOKS": "hooks",
        "SIMURGH_TEST_SCENE": str(given),
        "SIMURGH_TEST_STATUSES": str(counted),
    }
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run"]
    # From a file: the operation that a document is loaded by would not be called any more.
    described = folder / "openapi.json"
    described.write_text(json.dumps(document))
    command += [described, "--url", system.url, "--no-color", "--header", f"Authorization: Bearer {token}"]
    began = time.monotonic()
    code = subprocess.run([str(part) for part in command], cwd=folder, env=env).returncode
    print(f"{name}: schemathesis ended with {code} after {time.monotonic() - began:.0f} s")
    return code == 0, json.loads(counted.read_text()) if counted.exists() else {}


def silent(name, statuses, operations):
    """Prints what each operation answered; those that never succeeded."""
    without = []
    for operation in operations:
        answered = statuses.get(operation, {})
        successes = sum(count for status, count in answered.items() if status.startswith("2"))
        each = " ".join(f"{status}:{count}" for status, count in sorted(answered.items()))
        print(f"{name:8}{operation:76}{successes:5} of 2xx  {each}")
        if successes == 0 and (name == "service" or operation not in OF_SERVICES):
            without.append(f"{name}: {operation}")
    return without


def main():
    folder = Path(tempfile.mkdtemp(prefix="simurgh-openapi-"))
    system = System(folder)
    failed = []
    try:
        system.wait()
        user, service = system.token(CALLER), system.token("billing", "--service")
        document = json.loads(answer(f"{system.url}/api/openapi.json")[1])
        paths = document["paths"].items()
        operations = [f"{method.upper()} {path}" for path, item in paths for method in item]
        given = scene(system, user)
        schemas = document["components"]["schemas"]
        given["id_pattern"] = schemas["UserId"]["pattern"]
        given["largest_group"] = schemas["NewConversation"]["oneOf"][0]["properties"]["member_ids"]["maxItems"]
        for name, token in (("user", user), ("service", service)):
            passed, statuses = play(system, folder, document, name, token, given)
            failed += [] if passed else [f"{name}: schemathesis found something"]
            failed += [f"{line} never succeeded" for line in silent(name, statuses, operations)]
        if system.process.poll() is not None or "panicked" in system.log.read_text():
            failed.append(f"simurgh ended or panicked: {system.log}")
    finally:
        system.stop()
    print("\n".join(failed) or f"{len(operations)} operations, as a user and as a service: all is as described")
    if not failed:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
