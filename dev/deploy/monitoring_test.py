"""Alerts and dashboard: PromQL that parses, metrics that silt has, a page for each alert, and what makes each fire."""

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import tools

tools.schemas()

import yaml

from deploy import project

RULES = "k8s/components/prometheus/prometheusrule.yaml"
DASHBOARD = "k8s/components/grafana/silt.json"
RUNBOOKS = ["docs/alerts.md"]
LABELS = {"database", "collection", "state", "reason", "outcome", "cause", "version", "le"}
TARGET_LABELS = {"job", "namespace", "pod", "instance"}  # which Prometheus adds
# What Grafana puts in before it asks Prometheus.
VARIABLES = {"$__rate_interval": "1m", "$database": ".*", "$collection": ".*"}


def rules():
    groups = yaml.safe_load(project.text(RULES))["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard():
    return json.loads(project.text(DASHBOARD))


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def parsed(expressions):
    """What Prometheus' own grammar makes of each expression: its error, its metrics, its labels."""
    command = ["node", str(project.ROOT / "dev/deploy/node/promql.js"), str(tools.schemas())]
    done = subprocess.run(command, input=json.dumps(expressions), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def anchors(markdown):
    """The anchors of a page's headings, as they come out where Markdown is shown."""
    headings = re.findall(r"^#+ +(.+?) *$", markdown, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class PromqlTest(unittest.TestCase):
    def selects_what_silt_has(self, expressions, also=()):
        for expression, found in zip(expressions, parsed(expressions)):
            with self.subTest(expression):
                self.assertIsNone(found["error"])
                self.assertTrue(found["metrics"])
                self.assertLessEqual(set(found["metrics"]), {*project.silts_metrics(), *also})
                self.assertLessEqual(set(found["labels"]), LABELS | TARGET_LABELS)

    def test_alerts(self):
        self.selects_what_silt_has([rule["expr"] for rule in rules()], also=["up"])

    def test_dashboard(self):
        expressions = [target["expr"] for panel in panels() for target in panel["targets"]]
        self.assertGreater(len(expressions), 30)
        for variable, value in VARIABLES.items():
            expressions = [expression.replace(variable, value) for expression in expressions]
        self.selects_what_silt_has(expressions)

    def test_variables(self):
        queries = [one["definition"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
        selectors = [re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups() for query in queries]
        self.assertEqual([label for _, label in selectors], ["database", "collection"])
        self.selects_what_silt_has([selector.replace("$database", ".*") for selector, _ in selectors])

    def test_the_grammar_refuses(self):
        for wrong in ["sum by (a (b)", "silt_lag_seconds{", "rate(silt_gaps_total[5 minutes])", "a > > b"]:
            (found,) = parsed([wrong])
            self.assertIsNotNone(found["error"], wrong)


class AlertTest(unittest.TestCase):
    def test_each_says_what_to_do(self):
        for rule in rules():
            with self.subTest(rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ["warning", "critical"])
                self.assertEqual(rule["annotations"].keys(), {"summary", "description", "runbook_url"})
                page, anchor = rule["annotations"]["runbook_url"].split("#")
                self.assertIn(page, RUNBOOKS)
                self.assertEqual(anchor, rule["alert"].lower())
                self.assertIn(anchor, anchors(project.text(page)))

    def test_templates_name_labels_that_silt_has(self):
        for rule in rules():
            for annotation in rule["annotations"].values():
                named = set(re.findall(r"\$labels\.(\w+)", annotation))
                self.assertLessEqual(named, LABELS | TARGET_LABELS)

    @project.where("promtool", "what makes an alert fire")
    def test_each_fires_when_it_should_and_only_then(self):
        cases = yaml.safe_load(project.text("dev/deploy/alerts.yaml"))
        tested = set(re.findall(r"\bSilt\w+", json.dumps([case.get("promql_expr_test") for case in cases["tests"]])))
        self.assertEqual(tested, {rule["alert"] for rule in rules()})
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "rules.yaml").write_text(yaml.safe_dump(yaml.safe_load(project.text(RULES))["spec"]))
            shutil.copy(project.ROOT / "dev/deploy/alerts.yaml", folder)
            done = subprocess.run(["promtool", "test", "rules", "alerts.yaml"], cwd=folder, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class DashboardTest(unittest.TestCase):
    def test_panels_have_ids_and_places_of_their_own(self):
        everything = dashboard()["panels"]
        self.assertEqual(len({panel["id"] for panel in everything}), len(everything))
        taken = {}
        for panel in everything:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24)
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, f"{panel['title']} lies on {taken.get((x, y))}")
                    taken[x, y] = panel["title"]

    def test_all_ask_the_chosen_source(self):
        names = [one["name"] for one in dashboard()["templating"]["list"]]
        self.assertEqual(names, ["datasource", "database", "collection"])
        for panel in panels():
            for asked in [panel, *panel["targets"]]:
                self.assertEqual(asked["datasource"], {"type": "prometheus", "uid": "${datasource}"}, panel["title"])

    def test_what_has_collections_can_be_narrowed_to_one(self):
        whole = {"silt_build_info", "silt_oplog_window_seconds", "silt_buffer_used_bytes", "silt_buffer_limit_bytes"}
        for panel in panels():
            for target in panel["targets"]:
                of_collections = set(re.findall(r"silt_\w+", target["expr"])) - whole
                narrowed = target["expr"].count('{database=~"$database", collection=~"$collection"')
                self.assertEqual(narrowed > 0, bool(of_collections), target["expr"])

    def test_it_shows_every_metric(self):
        shown = set(re.findall(r"\b(?:silt|process)_\w+", project.text(DASHBOARD)))
        families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in project.silts_metrics()}
        families -= {"process_start_time_seconds"}
        self.assertEqual({re.sub(r"_bucket$", "", name) for name in shown}, families)


if __name__ == "__main__":
    unittest.main()
