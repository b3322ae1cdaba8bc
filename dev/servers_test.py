"""Tests of servers.py: python3 -m unittest discover -s dev -p '*_test.py'"""

import json
import os
import signal
import subprocess
import sys
import unittest
from pathlib import Path

import tools

SERVERS = Path(__file__).with_name("servers.py")
OLDEST = next(iter(tools.MONGODS))


def version_of(uri):
    tools.python()
    from pymongo import MongoClient

    with MongoClient(uri) as client:
        return client.server_info()["version"]


class ServersTest(unittest.TestCase):
    def launch(self, *arguments, **environment):
        program = subprocess.Popen(
            [sys.executable, SERVERS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, **environment},
        )
        self.addCleanup(program.stderr.close)
        self.addCleanup(program.stdout.close)
        self.addCleanup(program.wait)
        self.addCleanup(program.stdin.close)
        return program

    def order(self, program, line):
        program.stdin.write(line)
        program.stdin.flush()

    def test_a_killed_member_is_started_again_and_ended_with_the_others(self):
        program = self.launch("mongod", "--members", "2")
        before = json.loads(program.stdout.readline())
        os.kill(before["pids"][1], signal.SIGKILL)
        self.order(program, "start 1\n")
        after = json.loads(program.stdout.readline())
        self.assertEqual((after["ports"], after["uri"]), (before["ports"], before["uri"]))
        self.assertEqual(after["pids"][0], before["pids"][0])
        self.assertNotEqual(after["pids"][1], before["pids"][1])
        program.stdin.close()
        self.assertEqual(program.wait(60), 0, program.stderr.read())
        for pid in after["pids"]:
            self.assertRaises(ProcessLookupError, os.kill, pid, 0)

    def test_a_server_is_of_the_version_that_was_asked_for(self):
        for version in tools.MONGODS:
            with self.subTest(version):
                program = self.launch("mongod", "--version", version)
                self.assertEqual(version_of(json.loads(program.stdout.readline())["uri"]), version)
                program.stdin.close()
                self.assertEqual(program.wait(60), 0, program.stderr.read())

    def test_a_version_of_a_run_holds_for_its_server_and_those_that_its_command_starts(self):
        command = f'echo "$SILT_TEST_MONGODB_URI"; exec {sys.executable} {SERVERS} mongod --lone standalone'
        program = self.launch("run", "--version", OLDEST, "--", "sh", "-c", command, MONGODB_URI="mongodb://another/")
        self.assertEqual(version_of(program.stdout.readline().strip()), OLDEST)
        self.assertEqual(version_of(json.loads(program.stdout.readline())["uri"]), OLDEST)
        program.stdin.close()
        self.assertEqual(program.wait(60), 0, program.stderr.read())

    def test_a_version_that_is_not_to_be_had_is_refused(self):
        program = self.launch("mongod", "--version", "4.2.0")
        self.assertEqual(program.wait(60), 1)
        self.assertIn("there is no mongod 4.2.0 to be had", program.stderr.read())

    def test_an_order_that_is_none_is_refused(self):
        program = self.launch("azurite")
        program.stdout.readline()
        self.order(program, "start 1\n")
        self.assertEqual(program.wait(60), 1)
        self.assertIn("`start 1` is no order", program.stderr.read())


if __name__ == "__main__":
    unittest.main()
