"""The documents keep to the code: links, settings, messages and alerts that they name are there."""

import os
import re
import unittest
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {"target", ".dev", ".git", "node_modules"}

# Names that look like settings and belong to others, or to the tests.
NOT_SETTINGS = {
    "CHAOS_MINUTES", "FUZZ_CASES", "SILT_MODEL_CASES", "SILT_TEST_SEED",
    "LC_ALL", "NAME_FILE", "RENAME_EXCHANGE", "TEMP_DIR",
}
NAME = re.compile(r"(?<![\w/$])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


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


def anchors(path):
    """What GitHub makes of the headings: lower case, no punctuation, hyphens for spaces."""
    found = []
    for heading in re.findall(r"^#+ +(.*?) *#*$", prose(path), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.append(f"{anchor}-{found.count(anchor)}" if anchor in found else anchor)
    return found


def rows():
    """Names and texts of the rows of the table of settings."""
    table = text_of(ROOT / "src/settings/table/mod.rs")
    return re.findall(r"^    ([A-Z][A-Z0-9_]*) \{$(.*?)^    \}$", table, re.MULTILINE | re.DOTALL)


def settings():
    """Names of all settings, and of the files that secrets may come from."""
    names = {name for name, _ in rows()}
    files = {f"{name}_FILE" for name, row in rows() if "secrecy: Secrecy::Secret" in row}
    return names, files


def of_sections():
    """Names of the settings that a section of the settings file may set."""
    return {name for name, row in rows() if "is_per_collection: true" in row}


def source():
    """silt's own words: the sources, with strings that go on in the next line put together."""
    files = sorted((ROOT / "src").rglob("*.rs"))
    joined = re.sub(r"\\\n\s*", "", "\n".join(text_of(path) for path in files))
    return joined


def messages(heading):
    """The messages of a section's table: the first cell of each of its rows."""
    operations = text_of(ROOT / "docs/operations.md")
    section = re.search(rf"^## {heading}$(.*?)^##", operations, re.MULTILINE | re.DOTALL).group(1)
    rows = [line for line in section.splitlines() if line.startswith(("| `", "| the same with `"))]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


class DocsTest(unittest.TestCase):
    def test_every_relative_link_resolves(self):
        links = [(path, link) for path in documents() for link in LINK.findall(prose(path))]
        inner = [(path, link) for path, link in links if not re.match(r"[a-z]+:", link)]
        self.assertGreater(len(inner), 50)
        for path, link in inner:
            with self.subTest(document=path.name, link=link):
                file, _, anchor = link.partition("#")
                target = (path.parent / unquote(file)).resolve() if file else path
                self.assertTrue(target.exists(), "no such file")
                if anchor:
                    self.assertIn(anchor, anchors(target))

    def test_every_setting_that_a_document_names_is_one(self):
        names, files = settings()
        self.assertGreater(len(names), 30)
        for path in documents():
            for name in sorted(set(NAME.findall(text_of(path)))):
                with self.subTest(document=path.name, name=name):
                    self.assertIn(name, names | files | NOT_SETTINGS)

    def test_the_readme_names_every_setting(self):
        named = set(re.findall(r"`([A-Z0-9_]+)`", text_of(ROOT / "README.md")))
        self.assertEqual(sorted(settings()[0] - named), [])

    def test_the_readme_says_what_a_section_may_set(self):
        readme = text_of(ROOT / "README.md")
        sentence = re.search(r"It may set what belongs to (.*?)\. Beside", readme, re.DOTALL).group(1)
        self.assertEqual(set(re.findall(r"`([A-Z_]+)`", sentence)), of_sections())

    def test_every_metric_that_is_used_is_in_the_list_of_metrics(self):
        metric = re.compile(r"\bsilt_[a-z_]*[a-z]\b")
        known = set(metric.findall(text_of(ROOT / "docs/metrics.md")))
        self.assertGreater(len(known), 15)
        manifests = [path for path in (ROOT / "k8s").rglob("*") if path.suffix in (".yaml", ".json")]
        for path in documents() + manifests:
            used = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric.findall(text_of(path))}
            with self.subTest(file=path.name):
                self.assertEqual(sorted(used - known), [])

    def test_every_halt_is_quoted_as_silt_says_it(self):
        said, halts, snapshots = source(), messages("Halts"), messages("Snapshots")
        self.assertGreater(len(halts), 15)
        self.assertGreater(len(snapshots), 8)
        for message in halts + snapshots:
            # `…` and single capitals stand for what differs from case to case.
            parts = [part.strip(" .,:;()") for part in re.split(r"…|\b[A-Z]\b", message)]
            for part in filter(None, parts):
                with self.subTest(message=message, part=part):
                    self.assertTrue(part in said, "silt says no such thing")

    def test_every_alert_has_its_section(self):
        manifests = [text_of(path) for path in (ROOT / "k8s").rglob("*.yaml")]
        alerts = [name.lower() for text in manifests for name in re.findall(r"alert: *(\w+)", text)]
        runbooks = [found for text in manifests for found in re.findall(r"(docs/\w+\.md)#([\w-]+)", text)]
        self.assertLessEqual(set(alerts), {anchor for _, anchor in runbooks})
        for page, anchor in runbooks:
            with self.subTest(anchor=anchor):
                self.assertIn(anchor, anchors(ROOT / page))


if __name__ == "__main__":
    unittest.main()
