"""
Backup and restore: a system serves from the restored table what was acknowledged before the backup, and goes on from there.
By moto's point-in-time recovery; and on AWS's own engine, which has none, by what any restore is: a table with the same items.
"""

import json
import os
import unittest
import uuid

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from sources import BIN, ROOT, TOOLS, call
from test_emulator import KEYS, REGION, Programs, answer
from test_images import free_port

TABLE = "simurgh"
RESTORED = "simurgh-restored"
SECRET = "secret"


def healthy(url):
    return lambda: (answer(url) or (0,))[0] == 200


class System:
    """A gateway and a worker on one table, with a nats-server that knows nothing of any other system's."""

    def __init__(self, programs, endpoint, table):
        nats, monitor, worker, public, internal = (free_port() for _ in range(5))
        (programs.folder / f"{table}.conf").write_text(
            f'listen: "127.0.0.1:{nats}"\nhttp: "127.0.0.1:{monitor}"\njetstream {{ store_dir: "{programs.folder}/{table}-nats" }}\n'
        )
        server = [os.environ["SIMURGH_TEST_NATS_SERVER"], "-c", f"{table}.conf"]
        programs.start(f"nats-{table}", server, healthy(f"http://127.0.0.1:{monitor}/healthz"))
        shared = {"SIMURGH_NATS_URL": f"nats://127.0.0.1:{nats}"}
        programs.start(f"worker-{table}", [BIN / "simurgh-worker"], healthy(f"http://127.0.0.1:{worker}/readyz"), {
            **shared, **KEYS, "SIMURGH_WORKER_LISTEN": f"127.0.0.1:{worker}", "SIMURGH_DYNAMODB_ENDPOINT": endpoint,
            "SIMURGH_TABLE": table,
        })
        programs.start(f"gateway-{table}", [BIN / "simurgh-gateway"], healthy(f"http://127.0.0.1:{public}/readyz"), {
            **shared, "SIMURGH_JWT_SECRET": SECRET,
            "SIMURGH_LISTEN": f"127.0.0.1:{public}", "SIMURGH_INTERNAL_LISTEN": f"127.0.0.1:{internal}",
        })
        self.gateway = f"http://127.0.0.1:{public}"

    def ask(self, user, method, path, body=None):
        """Status and parsed body of an HTTP call as this user."""
        token = call(BIN / "simurgh", "token", user, env={"SIMURGH_JWT_SECRET": SECRET}).strip()
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        # As any client: on a busy machine a command may run out of time, and each of these may be asked again.
        for _ in range(5):
            status, said = answer(f"{self.gateway}/api/v1/conversations{path}", data=data, headers=headers, method=method)
            if status != 503:
                break
        return status, json.loads(said) if said else None

    def send(self, user, conversation, name):
        body = {"message_type": "text", "content": name, "client_random": name}
        return self.ask(user, "POST", f"/{conversation}/messages", body)

    def history(self, user, conversation):
        _, said = self.ask(user, "GET", f"/{conversation}/messages?after_seq=0")
        return [(one["seq"], one["id"], one["content"]) for one in said["messages"]]

    def join(self, user, conversation, last_seq):
        """What phoenix.js is answered where it says that it has seen `last_seq`."""
        script = f"""
            import {{ Client }} from "{ROOT}/tests/clients/client.mjs";
            import {{ token }} from "{ROOT}/tests/clients/support.mjs";
            const client = await new Client("{user}", {{ gateway: "{self.gateway}", token: () => token("{user}") }}).connect();
            const {{ reply }} = await client.join("conversation:{conversation}", {{ last_seq: {last_seq} }});
            console.log(JSON.stringify(reply));
            process.exit();
        """
        environment = {**os.environ, "SIMURGH_WALK_SECRET": SECRET}
        return json.loads(call("node", "--input-type=module", "--eval", script, env=environment))


class Restore(unittest.TestCase):
    def setUp(self):
        self.programs = Programs()
        self.addCleanup(self.programs.stop)

    def client(self, port):
        self.endpoint = f"http://127.0.0.1:{port}"
        own = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client("dynamodb", endpoint_url=self.endpoint, region_name=REGION, config=Config(proxies={}), **own)

    def table(self, store, name):
        definition = json.loads((ROOT / "worker" / "table.json").read_text())
        expiry = definition.pop("TimeToLiveSpecification")
        store.create_table(TableName=name, **definition)
        store.get_waiter("table_exists").wait(TableName=name)
        store.update_time_to_live(TableName=name, TimeToLiveSpecification=expiry)

    def serves_what_was_before(self, restore):
        """Talks, restores by `restore()`, talks on in the old table, and looks at what the restored one makes of it."""
        before = System(self.programs, self.endpoint, TABLE)
        status, made = before.ask("alice", "POST", "", {"id": str(uuid.uuid4()), "type": "group", "member_ids": ["bob", "carol"]})
        self.assertIn(status, (200, 201), made)
        conversation = made["id"]
        sent = [before.send("alice", conversation, f"m{n}") for n in range(1, 6)]
        self.assertEqual([said["seq"] for _, said in sent], [1, 2, 3, 4, 5])
        self.assertEqual(before.ask("alice", "DELETE", f"/{conversation}/members/carol")[0], 204)
        kept = before.history("bob", conversation)
        self.assertEqual([content for _, _, content in kept], ["m1", "m2", "m3", "m4", "m5"])
        restore()
        self.assertEqual(before.send("alice", conversation, "m6")[1]["seq"], 6)

        after = System(self.programs, self.endpoint, RESTORED)
        self.assertEqual(after.history("bob", conversation), kept)
        status, refused = after.ask("carol", "GET", f"/{conversation}")
        self.assertEqual((status, refused["error"]["reason"]), (404, "not_a_member"), "who was removed stays so")
        # Who tries again what was acknowledged before gets the same message.
        status, again = after.send("alice", conversation, "m5")
        self.assertEqual((status, again["message_id"], again["duplicate"]), (200, kept[-1][1], True))
        # A client that saw more than there is now can tell by the end of the log.
        reply = after.join("bob", conversation, 6)
        self.assertEqual((reply["last_seq"], reply["messages"]), (5, []))
        # What came after the backup is gone, and its place is taken anew.
        self.assertEqual(after.send("bob", conversation, "other")[1]["seq"], 6)
        self.assertEqual([content for _, _, content in after.history("alice", conversation)], ["m1", "m2", "m3", "m4", "m5", "other"])

    def test_a_table_restored_to_a_point_in_time(self):
        port = free_port()
        store = self.client(port)
        self.programs.start("moto", [TOOLS / "moto_server", "--host", "127.0.0.1", "--port", port], lambda: answer(f"{self.endpoint}/moto-api/data.json") is not None)
        self.table(store, TABLE)
        store.update_continuous_backups(TableName=TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})

        def restore():
            store.restore_table_to_point_in_time(SourceTableName=TABLE, TargetTableName=RESTORED, UseLatestRestorableTime=True)
            store.get_waiter("table_exists").wait(TableName=RESTORED)

        self.serves_what_was_before(restore)

    def test_a_table_with_the_same_items_on_awss_own_engine(self):
        folder, port = os.environ["SIMURGH_TEST_DYNAMODB_LOCAL"], free_port()
        store = self.client(port)
        engine = ["java", "-Xmx512m", f"-Djava.library.path={folder}/DynamoDBLocal_lib", "-jar", f"{folder}/DynamoDBLocal.jar", "-inMemory", "-disableTelemetry", "-port", port]
        self.programs.start("dynamodb-local", engine, lambda: (answer(self.endpoint) or (0,))[0] == 400)
        self.table(store, TABLE)
        with self.assertRaises(ClientError, msg="it recovers now: use that"):
            store.restore_table_to_point_in_time(SourceTableName=TABLE, TargetTableName=RESTORED, UseLatestRestorableTime=True)

        def restore():
            self.table(store, RESTORED)
            for page in store.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True):
                for item in page["Items"]:
                    store.put_item(TableName=RESTORED, Item=item)

        self.serves_what_was_before(restore)


if __name__ == "__main__":
    unittest.main()
