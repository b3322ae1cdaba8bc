"""The systemd unit: by its structure everywhere, and by systemd itself where it is."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from deploy import project

UNIT = "systemd/silt.service"


def options(name):
    """All values of one option, in their order."""
    return re.findall(rf"^{name}=(.*)$", project.text(UNIT), re.M)


class UnitTest(unittest.TestCase):
    def one(self, name):
        (value,) = options(name)
        return value

    def test_a_drain_has_its_time(self):
        self.assertGreater(int(self.one("TimeoutStopSec")), project.shutdown_seconds())
        self.assertEqual(self.one("KillSignal"), "SIGTERM")

    def test_it_starts_again_unless_that_is_no_use(self):
        self.assertEqual(self.one("Restart"), "on-failure")
        self.assertEqual(self.one("RestartPreventExitStatus"), "2")
        self.assertRegex(project.text("docs/commands.md"), r"\| 2 \| a setting or the command line is wrong")

    def test_a_reload_is_a_flush(self):
        self.assertEqual(self.one("ExecReload"), "/bin/kill -USR1 $MAINPID")

    def test_secrets_are_credentials(self):
        text = project.text(UNIT)
        given = dict(re.findall(r"^#?LoadCredential=(\w+):(.*)$", text, re.M))
        named = dict(re.findall(r"^#?Environment=(\w+_FILE)=(.*)$", text, re.M))
        self.assertIn("MONGODB_URI", given)
        self.assertLessEqual(given.keys(), project.secrets())
        self.assertEqual(named, {f"{name}_FILE": f"%d/{name}" for name in given})
        self.assertTrue(all(path == f"/etc/silt/secrets/{name}" for name, path in given.items()))

    def test_the_settings_file_is_a_credential_too(self):
        text = project.text(UNIT)
        ((name, path),) = re.findall(r"^#LoadCredential=([\w.]+\.toml):(.*)$", text, re.M)
        self.assertEqual(path, f"/etc/silt/{name}")
        self.assertIn(f"\n#Environment=SILT_CONFIG=%d/{name}\n", text)

    def test_the_pages_check_runs_as_the_unit_does(self):
        page = project.text("docs/deploying.md")
        check = re.search(r"^systemd-run .*?^    /bin/sh .*?$", page, re.M | re.S).group(0)
        given = dict(re.findall(r"--property=(\w+)=(\S+)", check))
        for name in ("DynamicUser", "EnvironmentFile", "LoadCredential"):
            self.assertEqual(given.pop(name), self.one(name))
        # So that a directory of the unit's stays that of one user.
        self.assertEqual(given, {"User": Path(UNIT).stem})
        self.assertIn(f"exec {self.one('ExecStart')} check'", check)

    def test_it_is_confined(self):
        expected = {
            "DynamicUser": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "NoNewPrivileges": "yes",
            "PrivateDevices": "yes", "CapabilityBoundingSet": "", "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
            "MemoryMax": "512M", "MemoryDenyWriteExecute": "yes", "RestrictNamespaces": "yes",
        }
        self.assertEqual({name: self.one(name) for name in expected}, expected)
        self.assertEqual(options("SystemCallFilter")[0], "@system-service")

    @project.where("systemd-analyze", "that systemd takes the unit")
    def test_systemd_takes_it(self):
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder) / "silt.service"
            # The binary needn't be installed where this runs.
            unit.write_text(project.text(UNIT).replace("ExecStart=/usr/local/bin/silt", "ExecStart=/bin/true"))
            done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
            said = [line for line in done.stderr.splitlines() if "silt.service" in line]
            self.assertEqual((done.returncode, said), (0, []), done.stderr)

    @project.where("systemd-analyze", "how exposed the unit is")
    def test_systemd_finds_it_little_exposed(self):
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(project.ROOT / UNIT)]
        done = subprocess.run(command, capture_output=True, text=True)
        if "unrecognized option" in done.stderr:
            # Before version 250 it judges only what is installed.
            return
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
