"""The templates deployed to moto, an emulator of AWS; and the store, and a whole system, on the table made there."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from sources import BIN, ROOT, TOOLS, CLOUDFORMATION, call
from test_images import free_port

REGION = "eu-west-1"
# What the emulator takes as anybody's.
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


def answer(url, **options):
    """Status and body of a request; `None` where nobody listens."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (urllib.error.URLError, OSError):
        return None


class Programs:
    """Processes that end with this, each by its own id; what they say is in files of one folder."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="simurgh-templates-"))
        self.running = []

    def start(self, name, command, serves, environment=()):
        """Starts one, and waits until `serves()`."""
        with open(self.folder / name, "wb") as said:
            process = subprocess.Popen(
                [str(part) for part in command], stdout=said, stderr=said, cwd=self.folder,
                env={"PATH": os.environ["PATH"], **dict(environment)},
            )
        self.running.append(process)
        deadline = time.monotonic() + 60
        while not serves():
            said = (self.folder / name).read_text()[-2000:]
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{name} does not serve (exit {process.poll()})\n{said}")
            time.sleep(0.05)

    def stop(self):
        for process in reversed(self.running):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)


class Emulator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.programs = Programs()
        cls.addClassCleanup(cls.programs.stop)
        port = free_port()
        cls.endpoint = f"http://127.0.0.1:{port}"
        command = [TOOLS / "moto_server", "--host", "127.0.0.1", "--port", port]
        cls.programs.start("moto", command, lambda: answer(f"{cls.endpoint}/moto-api/data.json") is not None)
        options = {"endpoint_url": cls.endpoint, "region_name": REGION, "config": Config(proxies={})}
        secrets = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        cls.client = staticmethod(lambda service: boto3.client(service, **options, **secrets))
        cls.deploy("data.yaml")

    @classmethod
    def deploy(cls, name, **parameters):
        """Deploys a template; its outputs."""
        cloud = cls.client("cloudformation")
        stack = f"simurgh-{name.removesuffix('.yaml')}"
        cloud.create_stack(
            StackName=stack,
            TemplateBody=(CLOUDFORMATION / name).read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        (found,) = cloud.describe_stacks(StackName=stack)["Stacks"]
        assert found["StackStatus"] == "CREATE_COMPLETE", found
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def test_the_table_is_as_defined(self):
        definition = json.loads((ROOT / "worker" / "table.json").read_text())
        store = self.client("dynamodb")
        table = store.describe_table(TableName="simurgh")["Table"]
        self.assertEqual(table["KeySchema"], definition["KeySchema"])
        self.assertEqual(table["BillingModeSummary"]["BillingMode"], definition["BillingMode"])
        self.assertTrue(table["DeletionProtectionEnabled"])
        # Moto leaves expiry and recovery out when a stack makes a table: those are compared in the template alone.

    def test_the_store_keeps_its_contract_on_it(self):
        test = "deployed::the_table_of_the_template_keeps_the_contract_of_a_store_but_for_the_largest_items"
        command = "cargo test --profile ci --locked --offline --package simurgh-tests --test store --".split()
        environment = {**os.environ, **KEYS, "SIMURGH_TEST_DEPLOYED": self.endpoint}
        shown = call(*command, "--exact", test, "--ignored", cwd=ROOT, env=environment)
        self.assertIn("1 passed", shown)

    def test_gateways_and_workers_serve_from_it(self):
        nats, worker, public, internal = (free_port() for _ in range(4))
        start = self.programs.start
        monitor = free_port()
        (self.programs.folder / "nats.conf").write_text(
            f'listen: "127.0.0.1:{nats}"\nhttp: "127.0.0.1:{monitor}"\njetstream {{ store_dir: "{self.programs.folder}/nats-state" }}\n'
        )
        healthy = lambda url: lambda: (answer(url) or (0,))[0] == 200
        start("nats", [os.environ["SIMURGH_TEST_NATS_SERVER"], "-c", "nats.conf"], healthy(f"http://127.0.0.1:{monitor}/healthz"))
        shared = {"SIMURGH_NATS_URL": f"nats://127.0.0.1:{nats}"}
        start("worker", [BIN / "simurgh-worker"], healthy(f"http://127.0.0.1:{worker}/readyz"), {
            **shared, **KEYS, "SIMURGH_WORKER_LISTEN": f"127.0.0.1:{worker}", "SIMURGH_DYNAMODB_ENDPOINT": self.endpoint,
        })
        start("gateway", [BIN / "simurgh-gateway"], healthy(f"http://127.0.0.1:{public}/readyz"), {
            **shared, "SIMURGH_JWT_SECRET": "secret",
            "SIMURGH_LISTEN": f"127.0.0.1:{public}", "SIMURGH_INTERNAL_LISTEN": f"127.0.0.1:{internal}",
        })
        token = call(BIN / "simurgh", "token", "alice", env={"SIMURGH_JWT_SECRET": "secret"}).strip()
        api = f"http://127.0.0.1:{public}/api/v1/conversations"
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        wanted = json.dumps({"type": "group", "metadata": {"title": "on moto"}, "member_ids": ["bob"]}).encode()
        status, made = answer(api, data=wanted, headers=headers, method="POST")
        self.assertEqual(status, 201, made)
        status, read = answer(f"{api}/{json.loads(made)['id']}", headers=headers)
        self.assertEqual((status, json.loads(read)["metadata"]), (200, {"title": "on moto"}), read)
        # And it is in that table.
        self.assertGreater(self.client("dynamodb").scan(TableName="simurgh")["Count"], 0)

    def test_network_balancer_and_services_come_up(self):
        network = self.deploy("network.yaml")
        subnets = self.client("ec2").describe_subnets(SubnetIds=network["PrivateSubnets"].split(","))["Subnets"]
        self.assertEqual(len({one["AvailabilityZone"] for one in subnets}), 3)
        placed = {name: network[name] for name in ("NetworkId", "NetworkCidr")}

        certificate = self.client("acm").request_certificate(DomainName="chat.example.com")["CertificateArn"]
        own = {"PublicSubnets": network["PublicSubnets"], "CertificateArn": certificate, "AccessLogBucket": "logs"}
        self.deploy("balancer.yaml", **placed, **own)
        balancing = self.client("elbv2")
        (balancer,) = balancing.describe_load_balancers()["LoadBalancers"]
        (targets,) = balancing.describe_target_groups()["TargetGroups"]
        self.assertEqual(targets["HealthCheckPath"], "/healthz")
        self.assertEqual(targets["Port"], 4000)
        self.deploy_services(network, balancer, targets, placed)

    def deploy_services(self, network, balancer, targets, placed):
        secrets = ("JwtSecret", "GatewayNatsSecret", "WorkerNatsSecret", "NatsTlsSecret")
        store = self.client("secretsmanager")
        arns = {name: store.create_secret(Name=name, SecretString="{}")["ARN"] for name in secrets}
        table = self.client("dynamodb").describe_table(TableName="simurgh")["Table"]["TableArn"]
        (group,) = balancer["SecurityGroups"]
        self.deploy(
            "app.yaml", **placed, **arns,
            PrivateSubnets=network["PrivateSubnets"], Cluster=network["Cluster"], TableArn=table,
            BalancerGroup=group, NatsClientsGroup=group, Targets=targets["TargetGroupArn"],
            GatewayImage="gateway:1", WorkerImage="worker:1",
        )
        listed = self.client("ecs").list_services(cluster=network["Cluster"])["serviceArns"]
        self.assertEqual(len(listed), 2)


if __name__ == "__main__":
    unittest.main()
