"""HAProxy in front of gateways: stock clients walk through it, by WebSocket and by long poll, and while gateways are replaced."""

import json
import os
import subprocess
import tempfile
import time
import unittest

from sources import BIN, INFRA, ROOT, call
from test_emulator import answer
from test_images import free_port


REHEARSAL = ROOT / "tests" / "rehearsal" / "run"


class Rehearsal(unittest.TestCase):
    """Gateways are replaced behind HAProxy; as small as it can be, and by hand as large as one likes."""

    def rehearse(self, *options):
        command = [REHEARSAL, "--clients", "60", "--delay", "3s", "--window", "3s", *options]
        environment = {**os.environ, "SIMURGH_TEST_BIN": str(BIN)}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)

    def test_a_rolling_deploy_and_an_outage_of_nats_lose_nothing(self):
        done = self.rehearse("--calm", "3", "--outage", "8")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        for phase in ("at rest", "rolling deploy", "nats-server away for 8 s"):
            self.assertIn(f"{phase}: lost 0, duplicated 0, out of order 0", done.stdout)

    def test_processes_that_are_not_given_the_time_to_end_are_told(self):
        done = self.rehearse("--calm", "1", "--outage", "0", "--grace", "1")
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("gateway-1 did not end by itself", done.stdout)
        self.assertIn("closed otherwise than with 1012", done.stdout)


class HaProxy(unittest.TestCase):
    def setUp(self):
        self.said = tempfile.TemporaryFile()
        self.addCleanup(self.said.close)
        environment = {**os.environ, "SIMURGH_TEST_BIN": str(BIN), "SIMURGH_TRUSTED_PROXIES": "127.0.0.1/32"}
        command = [ROOT / "localstack" / "up", "--gateways", "3", "--workers", "1", "--json"]
        system = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.said, env=environment)
        self.addCleanup(self.end, system)
        # It says where everything is once all of it serves; where it fails the pipe ends.
        line = system.stdout.readline()
        self.assertTrue(line, "localstack/up ended")
        self.up = json.loads(line)
        self.address = f"127.0.0.1:{free_port()}"
        places = {f"GATEWAY_{n}": url.removeprefix("http://") for n, url in enumerate(self.up["gateways"], 1)}
        balancer = subprocess.Popen(
            ["haproxy", "-db", "-f", INFRA / "haproxy" / "haproxy.cfg"],
            env={"PATH": os.environ["PATH"], "BALANCER": self.address, **places}, stdout=self.said, stderr=self.said,
        )
        self.addCleanup(self.end, balancer)
        deadline = time.monotonic() + 20
        while (answer(f"http://{self.address}/readyz") or (0,))[0] != 200:
            self.assertLess(time.monotonic(), deadline, "HAProxy does not serve")
            time.sleep(0.05)

    def end(self, process):
        process.terminate()
        process.wait(30)
        if process.stdout:
            process.stdout.close()

    def test_stock_clients_walk_through_it(self):
        walk = ["node", ROOT / "tests" / "clients" / "run.mjs", "--gateways", f"http://{self.address}", "--secret", self.up["secret"]]
        for transport in ([], ["--longpoll"]):
            shown = call(*walk, *transport, "--file", "messages", timeout=300)
            self.assertRegex(shown, r"walk: [1-9]\d* passed, 0 failed")


if __name__ == "__main__":
    unittest.main()
