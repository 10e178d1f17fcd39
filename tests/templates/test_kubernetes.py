"""Kubernetes: built by kustomize, valid by its schemas, and true to the programs."""

import json
import tempfile
import unittest
from pathlib import Path

import yaml

from sources import KUBERNETES, TOOLS, call, duration, gateway_tail, rendered, worker_drain

FOLDERS = ("base", "overlays/production")


def objects(folder):
    return [one for one in yaml.safe_load_all(rendered(folder)) if one]


def find(folder, kind, name):
    (found,) = [one for one in objects(folder) if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pod(folder, name):
    return find(folder, "Deployment", f"simurgh-{name}")["spec"]["template"]["spec"]


def settings(folder, name):
    reference = pod(folder, name)["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    return find(folder, "ConfigMap", reference)["data"]


class Manifests(unittest.TestCase):
    def test_they_are_valid(self):
        for folder in FOLDERS:
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(rendered(folder))
                file.flush()
                shown = call(TOOLS / "kubernetes-validate", "--strict", file.name)
            self.assertNotIn("ERROR", shown)

    def test_checkov_has_nothing_to_say_to_what_is_deployed(self):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "production.yaml"
            file.write_text(rendered("overlays/production"))
            command = [TOOLS / "checkov", "--skip-download", "--quiet", "--output", "json", "--framework", "kubernetes"]
            summary = json.loads(call(*command, "--file", file))["summary"]
        self.assertEqual((summary["failed"], summary["parsing_errors"]), (0, 0))
        self.assertGreater(summary["passed"], 100)

    def test_the_values_for_nats_are_yaml_with_three_servers(self):
        values = yaml.safe_load((KUBERNETES / "nats-values.yaml").read_text())
        self.assertEqual(values["config"]["cluster"]["replicas"], 3)
        for folder in FOLDERS:
            for name in ("gateway", "worker"):
                self.assertEqual(settings(folder, name)["SIMURGH_NATS_REPLICAS"], "3")


class Drain(unittest.TestCase):
    def test_a_gateway_has_time_to_drain(self):
        for folder in FOLDERS:
            spec, own = pod(folder, "gateway"), settings(folder, "gateway")
            pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            drain = duration(own["SIMURGH_DRAIN_DELAY"]) + duration(own["SIMURGH_DRAIN_WINDOW"])
            self.assertGreater(spec["terminationGracePeriodSeconds"], pause + drain + gateway_tail())

    def test_a_worker_has_time_to_finish(self):
        for folder in FOLDERS:
            spec = pod(folder, "worker")
            pause = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            self.assertGreater(spec["terminationGracePeriodSeconds"], pause + worker_drain())


class Pods(unittest.TestCase):
    def test_life_and_readiness_are_told_apart(self):
        for name in ("gateway", "worker"):
            container = pod("base", name)["containers"][0]
            self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/healthz")
            self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/readyz")

    def test_each_has_a_budget_and_a_scale_and_is_spread(self):
        for name in ("gateway", "worker"):
            find("base", "PodDisruptionBudget", f"simurgh-{name}")
            find("base", "HorizontalPodAutoscaler", f"simurgh-{name}")
            keys = {one["topologyKey"] for one in pod("base", name)["topologySpreadConstraints"]}
            self.assertEqual(keys, {"topology.kubernetes.io/zone", "kubernetes.io/hostname"})

    def test_nothing_is_open_that_no_policy_names(self):
        policies = [one["spec"] for one in objects("base") if one["kind"] == "NetworkPolicy"]
        everything = [one for one in policies if one["podSelector"] == {} and "ingress" not in one and "egress" not in one]
        self.assertEqual([one["policyTypes"] for one in everything], [["Ingress", "Egress"]])


if __name__ == "__main__":
    unittest.main()
