"""HAProxy in front of gateways: stock clients walk through it, by WebSocket and by long poll."""

import json
import os
import subprocess
import tempfile
import time
import unittest

from sources import BIN, INFRA, ROOT, call
from test_emulator import answer
from test_images import free_port


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
