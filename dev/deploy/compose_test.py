"""compose.yaml against the schema of the Compose specification, and against silt."""

import copy
import json
import re
import unittest

import tools

SCHEMAS = tools.schemas()

import jsonschema
import yaml

import servers
from deploy import project


def compose():
    return yaml.safe_load(project.text("compose.yaml"))


def wrong(document):
    schema = json.loads((SCHEMAS / "node_modules/dclint/schemas/compose.schema.json").read_text(encoding="utf-8"))
    return [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)]


def seconds(duration):
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", duration).groups("0")
    return int(minutes) * 60 + int(rest)


class ComposeTest(unittest.TestCase):
    def setUp(self):
        self.services = compose()["services"]
        self.silt = self.services["silt"]

    def test_the_specification_knows_every_field(self):
        self.assertEqual(wrong(compose()), [])

    def test_an_unknown_field_is_refused(self):
        for name in self.services:
            broken = copy.deepcopy(compose())
            broken["services"][name]["restarts"] = "always"
            self.assertNotEqual(wrong(broken), [], name)

    def test_every_variable_is_a_setting(self):
        self.assertLessEqual(self.silt["environment"].keys(), project.settings().keys())

    def test_what_stands_in_comments_can_be_switched_on(self):
        text = re.sub(r"^( +)# (SILT_CONFIG:|volumes:|  - \./)", r"\1\2", project.text("compose.yaml"), flags=re.M)
        document = yaml.safe_load(text)
        self.assertEqual(wrong(document), [])
        silt = document["services"]["silt"]
        (mount,) = silt["volumes"]
        self.assertEqual(mount.split(":")[1:], [silt["environment"]["SILT_CONFIG"], "ro"])

    def test_it_holds_no_secret(self):
        environment = self.silt["environment"]
        self.assertEqual(environment["AZURE_STORAGE_ACCOUNT_KEY"], servers.AZURITE_KEY)
        self.assertNotIn("@", environment["MONGODB_URI"])
        known = {"AZURE_STORAGE_ACCOUNT_KEY", "MONGODB_URI", "HTTP_TOKEN"}
        self.assertLessEqual(project.secrets() & environment.keys(), known)

    def test_what_is_published_stays_on_this_machine(self):
        for service in self.services.values():
            for port in service.get("ports", []):
                self.assertRegex(port, r"^127\.0\.0\.1:")

    def test_silt_waits_for_healthy_servers(self):
        self.assertEqual(self.silt["depends_on"].keys(), self.services.keys() - {"silt"})
        for name, wait in self.silt["depends_on"].items():
            self.assertEqual(wait["condition"], "service_healthy")
            self.assertIn("test", self.services[name]["healthcheck"])

    def test_the_replica_set_is_the_one_that_silt_asks_for(self):
        command = self.services["mongodb"]["command"]
        name = command[command.index("--replSet") + 1]
        self.assertEqual(self.silt["environment"]["MONGODB_URI"], f"mongodb://mongodb:27017/?replicaSet={name}")
        script = self.services["mongodb"]["healthcheck"]["test"][-1]
        self.assertIn(f'_id: "{name}"', script)
        self.assertIn('host: "mongodb:27017"', script)
        self.assertNotIn("$", script)  # Compose would put a variable there

    def test_azurite_is_on_silts_own_loopback(self):
        self.assertEqual(self.silt["network_mode"], "service:azurite")
        endpoint = f"http://127.0.0.1:10000/{servers.AZURITE_ACCOUNT}"
        self.assertEqual(self.silt["environment"]["AZURE_STORAGE_ENDPOINT"], endpoint)
        pinned = json.loads(project.text("dev/azurite/package.json"))["dependencies"]["azurite"]
        self.assertTrue(self.services["azurite"]["image"].endswith(f":{pinned}"))

    def test_silt_is_built_here_and_confined(self):
        self.assertEqual(self.silt["build"], ".")
        self.assertIs(self.silt["read_only"], True)
        self.assertEqual(self.silt["cap_drop"], ["ALL"])
        self.assertGreater(seconds(self.silt["stop_grace_period"]), project.shutdown_seconds(self.silt["environment"]))


if __name__ == "__main__":
    unittest.main()
