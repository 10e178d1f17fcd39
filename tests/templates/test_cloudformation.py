"""CloudFormation: linted, and true to the programs and to the table's definition."""

import json
import re
import tempfile
import unittest
from pathlib import Path

from sources import CLOUDFORMATION, ROOT, TOOLS, call, duration, gateway_tail, template, worker_drain

TEMPLATES = sorted(CLOUDFORMATION.glob("*.yaml"))


def containers(task):
    definitions = template("app.yaml")["Resources"][task]["Properties"]["ContainerDefinitions"]
    return {one["Name"]: one for one in definitions}


def environment(container):
    return {one["Name"]: one["Value"] for one in container["Environment"]}


class Lint(unittest.TestCase):
    def test_cfn_lint_has_nothing_to_say(self):
        self.assertGreaterEqual(len(TEMPLATES), 5)
        call(TOOLS / "cfn-lint", "--", *TEMPLATES)

    def test_checkov_has_nothing_to_say(self):
        command = [TOOLS / "checkov", "--skip-download", "--quiet", "--output", "json", "--framework", "cloudformation"]
        summary = json.loads(call(*command, "--directory", CLOUDFORMATION))["summary"]
        self.assertEqual((summary["failed"], summary["parsing_errors"]), (0, 0))
        self.assertGreater(summary["passed"], 50)

    def test_every_stack_of_the_root_is_given_parameters_that_it_has(self):
        for file in ("main.yaml", "nats.yaml"):
            stacks = [one for one in template(file)["Resources"].values() if one["Type"] == "AWS::CloudFormation::Stack"]
            self.assertGreaterEqual(len(stacks), 3)
            for stack in stacks:
                wanted = template(stack["Properties"]["TemplateURL"])["Parameters"]
                given = stack["Properties"]["Parameters"]
                required = {name for name, one in wanted.items() if "Default" not in one}
                self.assertLessEqual(set(given), set(wanted), stack["Properties"]["TemplateURL"])
                self.assertLessEqual(required, set(given), stack["Properties"]["TemplateURL"])


class Table(unittest.TestCase):
    def test_it_is_the_one_that_workers_create(self):
        definition = json.loads((ROOT / "worker" / "table.json").read_text())
        table = template("data.yaml")["Resources"]["Table"]["Properties"]
        for name, value in definition.items():
            self.assertEqual(table[name], value, name)

    def test_what_is_in_it_is_safe(self):
        resource = template("data.yaml")["Resources"]["Table"]
        table = resource["Properties"]
        self.assertEqual((resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), ("Retain", "Retain"))
        self.assertTrue(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"])
        self.assertTrue(table["SSESpecification"]["SSEEnabled"])
        self.assertEqual(template("data.yaml")["Parameters"]["DeletionProtection"]["Default"], "true")


class Drain(unittest.TestCase):
    def test_a_gateway_has_time_to_drain(self):
        gateway = containers("GatewayTask")["gateway"]
        settings = environment(gateway)
        drain = duration(settings["SIMURGH_DRAIN_DELAY"]) + duration(settings["SIMURGH_DRAIN_WINDOW"])
        self.assertGreater(gateway["StopTimeout"], drain + gateway_tail())
        # The most that Fargate allows.
        self.assertLessEqual(gateway["StopTimeout"], 120)

    def test_the_balancer_keeps_sockets_for_longer_than_the_drain(self):
        resources = template("balancer.yaml")["Resources"]
        targets = {one["Key"]: one["Value"] for one in resources["Targets"]["Properties"]["TargetGroupAttributes"]}
        settings = environment(containers("GatewayTask")["gateway"])
        drain = duration(settings["SIMURGH_DRAIN_DELAY"]) + duration(settings["SIMURGH_DRAIN_WINDOW"])
        self.assertGreater(int(targets["deregistration_delay.timeout_seconds"]), drain)
        # And new sockets are taken until it has noticed.
        check = resources["Targets"]["Properties"]
        self.assertGreaterEqual(duration(settings["SIMURGH_DRAIN_DELAY"]), check["HealthCheckIntervalSeconds"])

    def test_a_silent_socket_is_ended_by_the_gateway(self):
        balancer = template("balancer.yaml")["Resources"]["Balancer"]["Properties"]["LoadBalancerAttributes"]
        idle = next(one["Value"] for one in balancer if one["Key"] == "idle_timeout.timeout_seconds")
        source = (ROOT / "gateway" / "src" / "socket.rs").read_text()
        silence = int(re.search(r"const SILENCE: Duration = Duration::from_secs\((\d+)\)", source).group(1))
        self.assertGreater(int(idle), silence)

    def test_a_worker_has_time_to_finish(self):
        self.assertGreater(containers("WorkerTask")["worker"]["StopTimeout"], worker_drain())

    def test_what_ecs_replaces_for_is_life_and_not_readiness(self):
        for task, name in (("GatewayTask", "gateway"), ("WorkerTask", "worker")):
            self.assertIn("/healthz", containers(task)[name]["HealthCheck"]["Command"][-1])
        targets = template("balancer.yaml")["Resources"]["Targets"]["Properties"]
        self.assertEqual(targets["HealthCheckPath"], "/healthz")

    def test_the_alarm_waits_for_what_the_programs_say_when_they_are_not_ready(self):
        pattern = template("scaling.yaml")["Resources"]["NotReady"]["Properties"]["FilterPattern"]
        said = re.search(r'"(.+)"', pattern).group(1)
        self.assertIn(f'"{said}"', (ROOT / "shared" / "service" / "src" / "readiness.rs").read_text())


class Rights(unittest.TestCase):
    def test_workers_may_do_what_they_do_and_no_more(self):
        role = template("app.yaml")["Resources"]["WorkerRole"]["Properties"]
        self.assertNotIn("ManagedPolicyArns", role)
        allowed = set()
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]:
            if "Fn::If" not in statement:
                self.assertEqual(statement["Resource"], {"Ref": "TableArn"})
                allowed |= set(statement["Action"])
        self.assertEqual(allowed, {f"dynamodb:{name}" for name in self.called()})

    def called(self):
        """The operations in the store's source, but for those under `--create-table`, as IAM names them."""
        sources = [ROOT / "worker" / "src" / "store" / "dynamo.rs", *(ROOT / "worker" / "src" / "store" / "dynamo").glob("*.rs")]
        operations = "get_item|put_item|update_item|delete_item|query|scan|batch_get_item|batch_write_item|transact_write_items|transact_get_items|describe_table"
        found = {name for one in sources for name in re.findall(rf"\.({operations})\(\)", one.read_text())}
        self.assertIn("put_item", found)
        # A transaction needs the rights of what it consists of.
        if "transact_write_items" in found:
            found.remove("transact_write_items")
            text = (ROOT / "worker" / "src" / "store" / "dynamo" / "transact.rs").read_text()
            self.assertNotRegex(text, r"\b(Delete|Update|ConditionCheck)::builder")
        return {"".join(part.title() for part in name.split("_")) for name in found}

    def test_gateways_may_do_nothing(self):
        self.assertNotIn("TaskRoleArn", template("app.yaml")["Resources"]["GatewayTask"]["Properties"])


class Nats(unittest.TestCase):
    def test_the_server_takes_its_configuration(self):
        import os

        server = os.environ["SIMURGH_TEST_NATS_SERVER"]
        task = template("nats-server.yaml")["Resources"]["Task"]["Properties"]["ContainerDefinitions"]
        settings = next(one for one in task if one["Name"] == "settings")
        ((text, _),) = [one["Value"]["Fn::Sub"] for one in settings["Environment"] if one["Name"] == "CONFIGURATION"]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for name, value in (("Number", "1"), ("Domain", "simurgh.internal"), ("Presence", "2048")):
                text = text.replace("${" + name + "}", value)
            text = text.replace("/settings/", f"{folder}/").replace('"/state"', f'"{folder}/state"')
            (folder / "accounts.conf").write_text("")
            request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=nats-1".split()
            call("openssl", *request, "-keyout", folder / "server.key", "-out", folder / "server.pem")
            (folder / "ca.pem").write_text((folder / "server.pem").read_text())
            (folder / "nats.conf").write_text(text)
            call(server, "-t", "-c", folder / "nats.conf")
            self.assertIn('ping_interval: "10s"', text)


if __name__ == "__main__":
    unittest.main()
