"""The images and the compose file: linted, and what they start is started as they would."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from sources import BIN, COMPOSE, INFRA, ROOT, TOOLS, call

DOCKERFILE = INFRA / "Dockerfile"
# As the images have it.
USER = 65532
# A root that is read-only, for a user that may do nothing: as a container's, but for the files that are on this machine.
CONFINED = """
mount --make-rprivate /
mount --options remount,bind,ro /
exec setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- \
    sh -c 'if touch "$0/written" 2> /dev/null; then exit 99; fi; exec "$@"' "$@"
"""


def stages():
    """Instructions of each stage, by its name."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found, name = {}, None
    for line in lines:
        word, rest = line.split(" ", 1)
        if word == "FROM":
            name = rest.split(" AS ")[1]
            found[name] = [("FROM", rest.split(" AS ")[0])]
        else:
            found[name].append((word, rest))
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Dockerfile(unittest.TestCase):
    def test_linters_have_nothing_to_say(self):
        call(TOOLS / "hadolint", DOCKERFILE)
        command = [TOOLS / "checkov", "--skip-download", "--quiet", "--output", "json", "--framework", "dockerfile"]
        summary = json.loads(call(*command, "--file", DOCKERFILE))["summary"]
        self.assertEqual((summary["failed"], summary["parsing_errors"]), (0, 0))
        self.assertGreater(summary["passed"], 10)

    def test_what_it_copies_exists_and_is_let_through(self):
        ignored = (INFRA / "Dockerfile.dockerignore").read_text().splitlines()
        let = [one[1:] for one in ignored if one.startswith("!")]
        self.assertIn("*", ignored)
        for path in let:
            self.assertTrue((ROOT / path).exists(), path)
        copied = [word for stage in stages().values() for verb, rest in stage if verb == "COPY" for word in [rest]]
        self.assertGreater(len(copied), 5)
        for rest in copied:
            *sources, _ = rest.split()
            stage = sources.pop(0).removeprefix("--from=") if sources[0].startswith("--from=") else None
            if stage:
                self.assertIn(stage, stages())
                continue
            for source in sources:
                self.assertTrue((ROOT / source).exists(), source)
                self.assertTrue(any(one == source or one.startswith(f"{source}/") for one in let), source)

    def test_all_that_cargo_reads_is_copied(self):
        copied = [word for verb, rest in stages()["build"] if verb == "COPY" for word in rest.split()[:-1]]
        described = json.loads(call("cargo", "metadata", "--format-version", "1", "--no-deps", "--offline", cwd=ROOT))
        for package in described["packages"]:
            folder = Path(package["manifest_path"]).parent.relative_to(ROOT)
            self.assertTrue(any(folder.is_relative_to(one) for one in copied), folder)

    def test_the_profile_is_the_one_for_images(self):
        _make, build = [rest for verb, rest in stages()["build"] if verb == "RUN"]
        self.assertIn("--profile dist", build)
        self.assertIn("[profile.dist]", (ROOT / "Cargo.toml").read_text())

    def test_each_image_starts_one_program_as_nobody(self):
        for name in ("gateway", "worker"):
            stage = stages()[name]
            self.assertEqual(stage[0], ("FROM", "base"))
            self.assertIn(("ENTRYPOINT", f'["/usr/bin/simurgh-{name}"]'), stage)
        self.assertIn(("USER", f"{USER}:{USER}"), stages()["base"])


class EntryPoints(unittest.TestCase):
    def start(self, program, health, environment):
        """Runs a program as its image would until it says that it lives; its exit code after SIGTERM."""
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch).chmod(0o755)
            copy = shutil.copy(BIN / program, scratch)
            os.chmod(copy, 0o755)
            script = CONFINED.format(user=USER)
            with open(Path(scratch) / "said", "w+b") as said:
                process = subprocess.Popen(
                    ["unshare", "--mount", "sh", "-euc", script, "sh", scratch, copy],
                    env={"PATH": os.environ["PATH"], **environment}, stdout=said, stderr=said,
                )
                try:
                    self.await_life(process, health, said)
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    self.assertRegex(status, rf"Uid:\t{USER}\t{USER}\t{USER}\t{USER}")
                    self.assertRegex(status, r"CapEff:\t0+\n")
                    process.send_signal(signal.SIGTERM)
                    return process.wait(30)
                finally:
                    process.kill()
                    process.wait()

    def await_life(self, process, health, said):
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(health, timeout=2) as answer:
                    return self.assertEqual(answer.status, 200)
            except (urllib.error.URLError, OSError):
                said.seek(0)
                self.assertIsNone(process.poll(), f"ended with {process.returncode}: {said.read().decode()}")
                self.assertLess(time.monotonic(), deadline, "it does not answer")
                time.sleep(0.05)

    @unittest.skipUnless(os.geteuid() == 0, "only root may make a read-only root for somebody else")
    def test_the_gateway_lives_as_nobody_on_a_read_only_root(self):
        port = free_port()
        environment = {
            "SIMURGH_LISTEN": f"127.0.0.1:{port}",
            "SIMURGH_INTERNAL_LISTEN": f"127.0.0.1:{free_port()}",
            "SIMURGH_JWT_SECRET": "secret",
            "SIMURGH_NATS_URL": f"nats://127.0.0.1:{free_port()}",
        }
        self.assertEqual(self.start("simurgh-gateway", f"http://127.0.0.1:{port}/healthz", environment), 0)

    @unittest.skipUnless(os.geteuid() == 0, "only root may make a read-only root for somebody else")
    def test_the_worker_lives_as_nobody_on_a_read_only_root(self):
        port = free_port()
        environment = {
            "SIMURGH_WORKER_LISTEN": f"127.0.0.1:{port}",
            "SIMURGH_NATS_URL": f"nats://127.0.0.1:{free_port()}",
            "SIMURGH_DYNAMODB_ENDPOINT": f"http://127.0.0.1:{free_port()}",
            "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1",
        }
        self.assertEqual(self.start("simurgh-worker", f"http://127.0.0.1:{port}/healthz", environment), 0)


class Compose(unittest.TestCase):
    def setUp(self):
        self.services = yaml.safe_load(COMPOSE.read_text())["services"]

    def test_it_is_valid(self):
        call(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)

    def test_what_it_mounts_and_builds_exists(self):
        mounted = [one.split(":")[0] for service in self.services.values() for one in service.get("volumes", [])]
        self.assertGreater(len(mounted), 5)
        for path in mounted:
            self.assertTrue((COMPOSE.parent / path).is_file(), path)
        for name in ("gateway-1", "gateway-2", "worker"):
            build = self.services[name]["build"]
            self.assertEqual((COMPOSE.parent / build["context"] / build["dockerfile"]).resolve(), DOCKERFILE)
            self.assertIn(build["target"], stages())

    def test_every_image_has_a_version(self):
        for name, service in self.services.items():
            tag = service["image"].split(":", 1)[1]
            self.assertNotIn("latest", tag, name)

    def test_localstack_is_the_last_that_needs_no_account_and_makes_the_table_of_the_template(self):
        localstack = self.services["localstack"]
        self.assertIn(":-4.14.0}", localstack["image"])
        self.assertIn("LOCALSTACK_AUTH_TOKEN", localstack["environment"])
        hook = COMPOSE.parent / "compose" / "table.sh"
        self.assertTrue(os.access(hook, os.X_OK))
        self.assertIn("../infra/cloudformation/data.yaml:/infra/data.yaml:ro", localstack["volumes"])
        self.assertIn("--template-file /infra/data.yaml", hook.read_text())

    def test_the_broker_takes_its_configuration(self):
        call(os.environ["SIMURGH_TEST_NATS_SERVER"], "-t", "-c", COMPOSE.parent / "compose" / "nats.conf")


if __name__ == "__main__":
    unittest.main()
