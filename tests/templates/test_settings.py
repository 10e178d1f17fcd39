"""Every setting that a template names exists, and every one that a program needs is named."""

import re
import subprocess
import unittest

import yaml

from sources import BIN, COMPOSE, INFRA, SETTING, settings, template
from test_kubernetes import FOLDERS, pod, settings as configured

PROGRAMS = {"gateway": "simurgh-gateway", "worker": "simurgh-worker"}
# Has a default, which is this machine's.
NEEDED = ["SIMURGH_NATS_URL"]


def required(program):
    """
    What the program wants before it starts, as it says itself: lists of settings of which one is enough. It runs once
    for each.
    """
    found = []
    for _ in range(20):
        environment = {**{names[0]: "x" for names in found}, "SIMURGH_NATS_URL": "nonsense://"}
        done = subprocess.run([BIN / program], env=environment, capture_output=True, text=True, timeout=20)
        if "is required" not in done.stderr:
            # The next thing that it says is that the broker's address is none: it has all it needs.
            assert "SIMURGH_NATS_URL" in done.stderr, done.stderr
            return [*found, NEEDED]
        found.append(SETTING.findall(done.stderr))
    raise AssertionError(f"{program} wants for ever more: {found}")


def given():
    """`(where, program, names)` of each place that starts a program."""
    for task, name in (("GatewayTask", "gateway"), ("WorkerTask", "worker")):
        definitions = template("app.yaml")["Resources"][task]["Properties"]["ContainerDefinitions"]
        (container,) = [one for one in definitions if one["Name"] == name]
        yield "app.yaml", name, {one["Name"] for one in container["Environment"] + container["Secrets"]}
    for folder in FOLDERS:
        for name in PROGRAMS:
            container = pod(folder, name)["containers"][0]
            yield folder, name, set(configured(folder, name)) | {one["name"] for one in container["env"]}
    for service, body in yaml.safe_load(COMPOSE.read_text())["services"].items():
        name = service.split("-")[0]
        if name in PROGRAMS:
            yield service, name, set(body["environment"])


class Settings(unittest.TestCase):
    def test_those_of_a_program_are_its_own(self):
        places = 0
        for where, name, names in given():
            own = {one for one in names if one.startswith("SIMURGH_")}
            self.assertLessEqual(own, set(settings(PROGRAMS[name])), where)
            places += 1
        self.assertEqual(places, 9)

    def test_what_a_program_needs_is_there(self):
        needs = {name: required(program) for name, program in PROGRAMS.items()}
        self.assertTrue(any("SIMURGH_JWT_SECRET" in names for names in needs["gateway"]))
        for where, name, names in given():
            for enough in needs[name]:
                self.assertTrue(names & set(enough), f"{where}: {enough}")

    def test_words_in_comments_and_descriptions_exist_too(self):
        exist = set(settings("simurgh-gateway")) | set(settings("simurgh-worker")) | set(settings("simurgh"))
        files = [one for one in [*INFRA.rglob("*"), *COMPOSE.parent.glob("compose*")] if one.is_file()]
        self.assertGreater(len(files), 10)
        for file in files:
            text = file.read_text()
            # What nats-server takes from its own environment.
            of_nats = set(re.findall(r"\$(SIMURGH_NATS_\w+_PASSWORD)", text)) if file.suffix == ".conf" else set()
            self.assertLessEqual(set(SETTING.findall(text)) - of_nats, exist, file)


if __name__ == "__main__":
    unittest.main()
