"""Holds the documents to the code: links, names, messages and commands.

Each fenced block has a class, by the words after its backticks:

    sh              parsed: bash must parse it, and each command of silt, make and Python, and each path of this
                    repository, must exist (`silt --help` is asked)
    sh run          run, in order, against a real replica set; the quickstart's
    sh background   run likewise, but left running: a silt
    LANGUAGE TOOL…  a recipe of docs/reading*.md for these tools (duckdb, spark, pandas, polars, azure, jq), or for a format alone (json,
                    ndjson), run by reading_test.py
    js, toml, text  js must parse (node), toml must parse; text is an excerpt or has placeholders
"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from deploy import project

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {"target", ".dev", ".git", "node_modules"}

# Two minutes for the README, one question a page.
README_BYTES = 6 * 1024
PAGE_BYTES = 12 * 1024

# Names that look like settings and belong to others, or to the tests.
NOT_SETTINGS = {
    "CHAOS_MINUTES", "FUZZ_CASES", "SILT_MODEL_CASES", "SILT_TEST_SEED",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "LC_ALL", "NAME_FILE", "RENAME_EXCHANGE", "TEMP_DIR",
}
# Phrases in messages that come from the driver, the SDK or the system.
NOT_SILTS_WORDS = {
    "Address already in use", "An error occurred during DNS resolution", "Authentication failed", "Cannot assign requested address",
    "Connection refused", "No such file or directory", "SCRAM failure", "Unable to parse PEM-encoded root certificate from", "dns error",
    "failed to lookup address information", "is an invalid option", "peer closed connection without sending TLS close_notify",
    "ReplicaSetNoPrimary", "query_type", "tls handshake eof", "unexpected end of file",
}
# Code between backticks that is not a message.
NOT_MESSAGES = re.compile(r"silt |kubectl |jq |kill |az |curl |db\.|rs\.|\{|appName|Topology|[A-Z_]+=|make |I/O error$|error$")
# How a message begins that isn't a command: "silt may not use the checkpoint collection".
NOT_COMMANDS = {"may"}
NAME = re.compile(r"(?<![\w/$])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^( *)```([\w ]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# Besides the tables of halts.md and snapshot-problems.md, which are held to more.
QUOTING_PAGES = {"alerts", "azure-problems", "operations", "permissions", "runbook", "troubleshooting"}
CLASSES = {"sh", "sh run", "sh background", "js", "toml", "text"}
RECIPES = {"sql duckdb", "sql duckdb json", "sql duckdb ndjson", "python spark", "python pandas", "python polars", "python pandas polars", "python azure", "sh jq"}

READY_SECONDS = 60


def documents():
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(set(folders) - NOT_OURS)
        found += [Path(folder, name) for name in sorted(files) if name.endswith(".md")]
    return found


def text_of(path):
    return path.read_text(encoding="utf-8")


def prose(path):
    """A document without its fenced code."""
    return FENCE.sub("", text_of(path))


def blocks(path):
    """Class and text of each fenced block."""
    return [(kind.strip(), text) for _, kind, text in BLOCK.findall(text_of(path))]


def anchors(path):
    """What GitHub makes of the headings: lower case, no punctuation, hyphens for spaces."""
    found = []
    for heading in re.findall(r"^#+ +(.*?) *#*$", prose(path), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return found


def links(path):
    """The files of this repository, with anchors, that a document links to."""
    for link in LINK.findall(prose(path)):
        if not re.match(r"[a-z]+:", link):
            file, _, anchor = link.partition("#")
            yield link, (path.parent / unquote(file)).resolve() if file else path, anchor


def rows():
    """Names and texts of the rows of the table of settings."""
    table = ROOT / "src/settings/table/mod.rs"
    return re.findall(r"^    ([A-Z][A-Z0-9_]*) \{$(.*?)^    \}$", text_of(table), re.MULTILINE | re.DOTALL)


def settings():
    """Names of all settings, and of the files that secrets may come from."""
    names = {name for name, _ in rows()}
    files = {f"{name}_FILE" for name, row in rows() if "secrecy: Secrecy::Secret" in row}
    return names, files


def settings_of_sections():
    """Names of the settings that a section of the settings file may set."""
    return {name for name, row in rows() if "is_per_collection: true" in row}


def source():
    """The sources, with strings that continue on the next line joined."""
    files = sorted([*(ROOT / "src").rglob("*.rs"), *(ROOT / "crates").rglob("*.rs")])
    return re.sub(r"\\\n\s*", "", "\n".join(text_of(path) for path in files))


def messages(page):
    """The messages of a page's table: the first cell of each of its rows."""
    rows = [line for line in text_of(ROOT / page).splitlines() if line.startswith(("| `", "| the same with `"))]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


class DocsTest(unittest.TestCase):
    def test_every_relative_link_resolves(self):
        found = [(path, *link) for path in documents() for link in links(path)]
        self.assertGreater(len(found), 200)
        for path, link, target, anchor in found:
            with self.subTest(document=path.name, link=link):
                self.assertTrue(target.exists(), "no such file")
                if anchor:
                    self.assertIn(anchor, anchors(target))

    def test_every_path_that_a_document_names_exists(self):
        path = re.compile(r"`((?:src|crates|tests|benches|dev|docs|k8s|systemd)/[\w./-]+)`")
        found = [(document, name) for document in documents() for name in path.findall(prose(document))]
        self.assertGreater(len(found), 30)
        for document, name in found:
            with self.subTest(document=document.name, path=name):
                self.assertTrue((ROOT / name).exists())

    def test_every_page_is_in_the_index(self):
        index = ROOT / "docs/README.md"
        listed = {target for _, target, _ in links(index)}
        for path in sorted((ROOT / "docs").glob("*.md")):
            with self.subTest(document=path.name):
                self.assertTrue(path in listed or path == index)

    def test_pages_are_short(self):
        self.assertLessEqual(len((ROOT / "README.md").read_bytes()), README_BYTES)
        for path in sorted((ROOT / "docs").rglob("*.md")):
            with self.subTest(document=path.name):
                self.assertLessEqual(len(path.read_bytes()), PAGE_BYTES)

    def test_every_setting_that_a_document_names_is_one(self):
        names, files = settings()
        self.assertGreater(len(names), 30)
        for path in documents():
            for name in sorted(set(NAME.findall(text_of(path)))):
                with self.subTest(document=path.name, name=name):
                    self.assertIn(name, names | files | NOT_SETTINGS)

    def test_the_page_of_settings_names_every_setting(self):
        named = set(re.findall(r"`([A-Z0-9_]+)`", text_of(ROOT / "docs/settings.md")))
        self.assertEqual(sorted(settings()[0] - named), [])

    def test_the_page_says_what_a_section_may_set(self):
        page = text_of(ROOT / "docs/settings-file.md")
        sentence = re.search(r"\*\*Sections\*\* may set (.*?)\.\n", page, re.DOTALL).group(1)
        self.assertEqual(set(re.findall(r"`([A-Z_]+)`", sentence)), settings_of_sections())

    def test_every_metric_that_is_used_is_in_the_list_of_metrics(self):
        metric = re.compile(r"\bsilt_[a-z_]*[a-z]\b")
        known = set(metric.findall(text_of(ROOT / "docs/metrics.md")))
        self.assertGreater(len(known), 15)
        manifests = [path for path in (ROOT / "k8s").rglob("*") if path.suffix in (".yaml", ".json")]
        for path in documents() + manifests:
            used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric.findall(text_of(path))}
            with self.subTest(file=path.name):
                self.assertEqual(sorted(used - known - {"silt_core", "silt_version"}), [])

    def test_every_message_is_quoted_as_silt_prints_it(self):
        printed, halts, snapshots = source(), messages("docs/halts.md"), messages("docs/snapshot-problems.md")
        self.assertGreater(len(halts), 15)
        self.assertGreater(len(snapshots), 8)
        for message in halts + snapshots:
            # `…` and single capitals stand for what differs from case to case.
            parts = [part.strip(" .,:;()") for part in re.split(r"…|\b[A-Z]\b", message)]
            for part in filter(None, parts):
                with self.subTest(message=message, part=part):
                    self.assertTrue(part in printed, "silt doesn't print this")

    def test_every_phrase_in_a_text_is_quoted_as_silt_prints_it(self):
        printed, checked = source(), 0
        pages = [path for path in (ROOT / "docs").glob("*.md") if path.stem in QUOTING_PAGES]
        self.assertEqual(len(pages), len(QUOTING_PAGES))
        for path in pages:
            for message in {code for code in re.findall(r"`([^`]+)`", prose(path)) if " " in code and code[0] != "{"}:
                parts = [part.strip(" .,:;()") for part in re.split(r"…|\b[A-Z]\b|: |\b\d+\b|=127\.0\.0\.1:8080", message)]
                for part in filter(None, parts):
                    if NOT_MESSAGES.match(part) or part in NOT_SILTS_WORDS:
                        continue
                    with self.subTest(document=path.name, message=message, part=part):
                        self.assertTrue(part in printed, "silt doesn't print this")
                        checked += 1
        self.assertGreater(checked, 40)

    def test_every_alert_has_its_section(self):
        manifests = [text_of(path) for path in (ROOT / "k8s").rglob("*.yaml")]
        alerts = [name.lower() for text in manifests for name in re.findall(r"alert: *(\w+)", text)]
        runbooks = [found for text in manifests for found in re.findall(r"(docs/[\w-]+\.md)#([\w-]+)", text)]
        self.assertLessEqual(set(alerts), {anchor for _, anchor in runbooks})
        for page, anchor in runbooks:
            with self.subTest(anchor=anchor):
                self.assertIn(anchor, anchors(ROOT / page))


@cache
def silt():
    """The binary of this tree."""
    command = ["cargo", "build", "--quiet", "--locked", "--bin", "silt", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    artifacts = map(json.loads, built.stdout.splitlines())
    return next(found for found in (one.get("executable") for one in artifacts) if found)


@cache
def help_of(*command):
    done = subprocess.run([silt(), *command, "--help"], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"silt {' '.join(command)}: {done.stderr}")
    return done.stdout


def commands(script):
    """The words of each simple command of a script, as far as they can be told apart without running it."""
    script = re.sub(r"\\\n", " ", script)
    script = re.sub(r"<<'?(\w+)'?.*?^\1$", "", script, flags=re.MULTILINE | re.DOTALL)
    script = re.sub(r"(^|\s)#.*$", r"\1", script, flags=re.MULTILINE)
    words = shlex.shlex(script, posix=True, punctuation_chars=";|&\n")
    words.whitespace, words.whitespace_split, words.commenters = " \t\r", True, ""
    command = []
    for word in [*words, ";"]:
        if set(word) <= set(";|&\n"):
            if command:
                yield command
            command = []
        else:
            command.append(word)


def silts_arguments(words):
    """What a command line gives to silt: `docker exec silt silt flush` gives `flush`. None if it doesn't run silt."""
    places = [at for at, word in enumerate(words) if word == "silt" or word.endswith("/release/silt") or word == "…/silt"]
    if words[0] == "docker" and "run" in words[:3] and places:
        return words[places[-1] + 1:]
    if words[0] in {"docker", "kubectl"}:
        # docker exec CONTAINER silt …, docker compose exec SERVICE silt …, kubectl exec deploy/silt -- silt …
        return words[places[-1] + 1:] if "exec" in words and places and words[-1] != "silt" else None
    first = next((at for at, word in enumerate(words) if "=" not in word), None)
    return words[first + 1:] if first in places else None


class CommandTest(unittest.TestCase):
    def of_kind(self, *kinds):
        for path in documents():
            for kind, text in blocks(path):
                if kind in kinds:
                    yield path, text

    def test_every_block_has_a_class(self):
        for path in documents():
            for kind, _ in blocks(path):
                with self.subTest(document=path.name):
                    self.assertIn(kind, CLASSES | RECIPES)
                    # Elsewhere they would not be run.
                    self.assertTrue(kind not in ("sh run", "sh background") or path.name == "quickstart.md")
                    self.assertTrue(kind not in RECIPES or path.match("docs/reading*.md"))

    def test_shell_parses(self):
        found = list(self.of_kind("sh", "sh run", "sh background", "sh jq"))
        self.assertGreater(len(found), 15)
        for path, text in found:
            with self.subTest(document=path.name, block=text):
                done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_javascript_parses(self):
        for path, text in self.of_kind("js"):
            with self.subTest(document=path.name, block=text):
                done = subprocess.run(["node", "--check", "-"], input=text, capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_toml_parses(self):
        for path, text in self.of_kind("toml"):
            with self.subTest(document=path.name):
                tomllib.loads(text)

    def test_commands_exist(self):
        targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
        checked = 0
        for path, text in self.of_kind("sh", "sh run", "sh background"):
            for words in commands(text):
                with self.subTest(document=path.name, command=" ".join(words)):
                    arguments = silts_arguments(words)
                    if arguments is not None:
                        self.silt_takes(arguments)
                        checked += 1
                    elif words[0] == "make":
                        named = {word for word in words[1:] if "=" not in word}
                        self.assertLessEqual(named, targets)
                        checked += 1
                    for word in words:
                        if re.match(r"(?:\./)?(?:dev|docs|k8s|systemd)/", word):
                            self.assertTrue((ROOT / word).exists(), f"no {word}")
        self.assertGreater(checked, 15)

    def silt_takes(self, arguments):
        command = [word for word in arguments[:1] if not word.startswith("-")]
        known = help_of(*command)
        for word in arguments:
            if word.startswith("--"):
                self.assertIn(word.split("=")[0], known)

    def test_commands_that_the_text_names_exist(self):
        listed = set(re.findall(r"^  (\w+)  ", help_of(), re.MULTILINE))
        self.assertGreater(len(listed), 3)
        for path in documents():
            for line in re.findall(r"`silt ([^`]+)`", prose(path)):
                words = line.split()
                with self.subTest(document=path.name, command=line):
                    if words[0].isalpha() and words[0].islower() and words[0] not in NOT_COMMANDS:
                        self.assertIn(words[0], listed)

    def test_every_command_is_documented(self):
        listed = set(re.findall(r"^  (\w+)  ", help_of(), re.MULTILINE)) - {"help"}
        documented = set(re.findall(r"`silt (\w+)`", text_of(ROOT / "docs/commands.md")))
        self.assertEqual(sorted(listed - documented), [])


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class QuickstartTest(unittest.TestCase):
    """The quickstart's commands do what it says, in its order."""

    def setUp(self):
        servers = [sys.executable, str(ROOT / "dev/servers.py"), "mongod"]
        self.mongod = subprocess.Popen(servers, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.mongod.stdout.close)
        self.addCleanup(self.mongod.communicate)
        self.port = json.loads(self.mongod.stdout.readline())["ports"][0]
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / ".dev").symlink_to(ROOT / ".dev")
        self.http = f"127.0.0.1:{free_port()}"

    def adapted(self, script):
        """The script with this test's port, folder and binary, and nothing else changed."""
        for place, ours in [(":27017", f":{self.port}"), ("/tmp/lake", f"{self.folder}/lake"), ("target/release/silt", silt())]:
            script = script.replace(place, ours)
        return f"set -euo pipefail\n{script}"

    def test_it_ends_with_the_change_in_the_lake(self):
        environment = {**os.environ, "HTTP_ADDR": self.http}
        options = {"cwd": self.folder, "env": environment, "text": True}
        output = ""
        for kind, text in blocks(ROOT / "docs/quickstart.md"):
            script = ["bash", "-c", self.adapted(text)]
            if kind == "sh run":
                done = subprocess.run(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=READY_SECONDS, **options)
                self.assertEqual(done.returncode, 0, done.stdout)
                output = done.stdout
            elif kind == "sh background":
                running = subprocess.Popen(["bash", "-c", "exec " + text.strip().replace("target/release/silt", silt())],
                                           stderr=subprocess.DEVNULL, **options)
                self.addCleanup(running.wait)
                self.addCleanup(running.terminate)
                self.wait_until_ready(options)
        self.assertIn("1 changes are in the lake", output)
        self.assertIn('"name":"Ada"', output)
        files = list((self.folder / "lake/users").glob("*.json"))
        self.assertEqual(len(files), 1)
        (change,) = json.loads(files[0].read_text())["changes"]
        self.assertEqual(change["change"]["fullDocument"]["name"], "Ada")

    def wait_until_ready(self, options):
        end = time.monotonic() + READY_SECONDS
        while subprocess.run([silt(), "healthcheck"], capture_output=True, **options).returncode != 0:
            self.assertLess(time.monotonic(), end, "silt isn't ready")
            time.sleep(0.05)


class CompareTest(unittest.TestCase):
    """The scripts of migrating.md find what one of two archives lacks."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def archive(self, name, tokens):
        event = {"operationType": "insert", "documentKey": {"_id": {"$oid": "65a5"}}}
        changes = [{"change": {"_id": {"_data": token}, **event}} for token in tokens]
        path = self.folder / name / "2024-01-15-14.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"changes": changes}))

    def run_block(self, beginning, *arguments):
        (script,) = [text for kind, text in blocks(ROOT / "docs/migrating.md") if text.startswith(beginning)]
        done = subprocess.run(["sh", "-c", script, "sh", *arguments], cwd=self.folder, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    @project.where("jq", "that the comparison of two archives finds what is missing")
    def test_it_counts_what_one_of_two_archives_lacks(self):
        # 01 and 09 are outside the span that both saw.
        self.archive("old", ["01", "02", "04", "05"])
        self.archive("new", ["02", "03", "04", "04", "05", "09"])
        lines = self.run_block("#!/bin/sh\n# compare.sh", "old", "new").splitlines()
        counts = {name.strip(): int(count) for name, count in (line.split(":") for line in lines)}
        self.assertEqual(counts, {"both": 3, "only in old": 0, "only in new": 2, "twice in new": 1})

    @project.where("jq", "that changes are given the older form")
    def test_the_filter_unwraps_ids_and_dates(self):
        (self.folder / "FILE").write_text('{"a": {"$oid": "65a5"}, "b": [{"$date": "2024-01-15T14:00:00Z"}]}')
        output = self.run_block("jq 'walk")
        self.assertEqual(json.loads(output), {"a": "65a5", "b": ["2024-01-15T14:00:00Z"]})


if __name__ == "__main__":
    unittest.main()
