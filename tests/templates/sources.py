"""Where the templates and the programs are, and how both are read."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
INFRA = ROOT / "infra"
CLOUDFORMATION = INFRA / "cloudformation"
KUBERNETES = INFRA / "kubernetes"
COMPOSE = ROOT / "localstack" / "compose.yaml"
# The programs of the virtual environment that this runs in.
TOOLS = Path(sys.executable).parent
BIN = Path(os.environ.get("SIMURGH_TEST_BIN", ROOT / "target" / "ci"))

SETTING = re.compile(r"\bSIMURGH_(?!TEST_)[A-Z][A-Z0-9_]*")


def call(*command, **options):
    """What the command printed; raises with all of it where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} failed with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Tagged(yaml.SafeLoader):
    """Reads CloudFormation's short forms, each as `{"Fn::Name": value}`."""


def _tagged(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Tagged.add_multi_constructor("!", _tagged)


def template(name):
    """A CloudFormation template."""
    return yaml.load((CLOUDFORMATION / name).read_text(), Tagged)


def rendered(folder):
    """The manifests that kustomize makes of a folder, as text."""
    return call("kubectl", "kustomize", KUBERNETES / folder)


def duration(text):
    """Seconds of a setting such as `45s`."""
    number, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(number) * {"s": 1, "m": 60}[unit]


def settings(program):
    """Names and defaults (`None` where there is none) of the settings in a program's --help."""
    text = call(BIN / program, "--help")
    parts = re.split(r"\[env: (SIMURGH_\w+)", text)
    found = {}
    for name, rest in zip(parts[1::2], parts[2::2]):
        default = re.match(r"[^\[]*\[default: ([^\]]*)\]", rest)
        found[name] = default.group(1) if default else None
    return found


def constant(path, name):
    """Seconds of a `const NAME: Duration` in a Rust source: what the programs themselves wait for."""
    source = (ROOT / path).read_text()
    unit, number = re.search(rf"const {name}: Duration = Duration::from_(secs|millis)\(([\d_]+)\)", source).groups()
    return int(number.replace("_", "")) / {"secs": 1, "millis": 1000}[unit]


def gateway_tail():
    """
    The longest a gateway takes to end once its drain delay and window are over, in s: requests under way (a command's
    budget and one more), stragglers (a budget and three), users who come back elsewhere, and its own tasks.
    `Gateway::run` in gateway/src/gateway.rs.
    """
    budget = constant("gateway/src/workers.rs", "BUDGET")
    grace = constant("gateway/src/topic/actor.rs", "GRACE")
    return (budget + 1) + (budget + 3) + (grace + 0.5) + 2


def worker_drain():
    """The longest a worker takes to end, in s: `serve` in worker/src/serve.rs and the end of its main."""
    serve = [constant("worker/src/serve.rs", name) for name in ("HEARTBEAT", "LINGER", "DRAIN", "FLUSH")]
    return sum(serve) + constant("worker/src/main.rs", "END")
