"""docs/rebuild.py on folders as silt leaves them: what it writes, and where it stops."""

import gzip
import importlib.util
import tempfile
import unittest
from pathlib import Path

import tools

tools.python()

import bson
from bson import json_util
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import DeleteOne, InsertOne, ReplaceOne

RECIPE = Path(__file__).resolve().parent.parent / "docs/rebuild.py"
_spec = importlib.util.spec_from_file_location("rebuild", RECIPE)
rebuild = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(rebuild)

POSITION = Timestamp(1_705_328_123, 7)
BEFORE, LATER = Timestamp(POSITION.time, 6), Timestamp(POSITION.time + 60, 1)
NOT_IN_JSON = b"\xff"


def text(value):
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS, ensure_ascii=False)


def line(change):
    return text({"timestamp": "2024-01-15T14:15:24.000Z", "change": change})


def read(number, **fields):
    document = {"_id": number, **fields}
    return {"operationType": "read", "clusterTime": POSITION, "documentKey": {"_id": number}, "fullDocument": document}


def change(kind, number, time=LATER, **fields):
    return {"operationType": kind, "clusterTime": time, "documentKey": {"_id": number}, **fields}


class Target:
    """Notes what is to be written."""

    def __init__(self):
        self.written = []

    def bulk_write(self, operations):
        self.written += operations


class RebuildTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.lake = Path(folder.name)
        self.folder = self.lake / "mydb/users"
        self.snapshot("snapshot-2024-01-15-14-15-23", POSITION, [read(1)])

    def put(self, path, content):
        path = self.lake / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def snapshot(self, name, position, documents, manifest_name="_manifest.json"):
        manifest = {
            "database": "mydb", "collection": "users", "cluster_time": position, "parts": [{"name": "part-00001.ndjson"}],
        }
        self.put(f"mydb/users/{name}/{manifest_name}", text(manifest).encode())
        lines = "".join(line(document) + "\n" for document in documents)
        self.put(f"mydb/users/{name}/part-00001.ndjson", lines.encode())

    def hour(self, *changes, name="2024-01-15-14.ndjson"):
        lines = "".join(line(change) + "\n" for change in changes)
        self.put(f"mydb/users/{name}", lines.encode())

    def gap(self, folder, **fields):
        record = {
            "reason": "historyLost", "database": "mydb", "collection": "users", "until_cluster_time": LATER,
            "recorded_at": "2024-01-15T17:33:20.000Z", **fields,
        }
        self.put(f"{folder}/_gaps/2024-01-15-14-15-23.json", text(record).encode())

    def written(self):
        target = Target()
        rebuild.rebuild(self.folder, target)
        return target.written

    def refused(self):
        with self.assertRaises(SystemExit) as stopped:
            self.written()
        return str(stopped.exception)

    def test_changes_from_the_position_on_follow_the_documents(self):
        self.hour(
            change("delete", 8, BEFORE),
            change("insert", 2, POSITION, fullDocument={"_id": 2}),
            change("update", 1, fullDocument={"_id": 1, "n": 5}),
            change("delete", 2),
            change("createIndexes", 0),
        )
        expected = [
            InsertOne({"_id": 1}), ReplaceOne({"_id": 2}, {"_id": 2}, upsert=True),
            ReplaceOne({"_id": 1}, {"_id": 1, "n": 5}, upsert=True), DeleteOne({"_id": 2}),
        ]
        self.assertEqual(self.written(), expected)

    def test_a_line_ends_with_a_line_feed_alone(self):
        words = "a\u2028b\u2029c\u0085d"
        self.snapshot("snapshot-2024-01-15-14-15-23", POSITION, [read(1, words=words)])
        self.hour(change("insert", 2, fullDocument={"_id": 2, "words": words}))
        first, second = self.written()
        self.assertEqual(first, InsertOne({"_id": 1, "words": words}))
        self.assertEqual(second, ReplaceOne({"_id": 2}, {"_id": 2, "words": words}, upsert=True))

    def test_every_format_and_every_part_is_read_in_order(self):
        deletions = [change("delete", number) for number in range(4)]
        names = ["2024-01-15-14.json", "2024-01-15-14.part2.ndjson.gz", "2024-01-15-14.part10.json.gz"]
        for name, deletion in zip(names, deletions):
            lines = line(deletion) + "\n" if ".ndjson" in name else f'{{"metadata":{{}},"changes":[\n{line(deletion)}\n]}}'
            self.put(f"mydb/users/{name}", gzip.compress(lines.encode()) if name.endswith(".gz") else lines.encode())
        self.hour(deletions[3], name="2024-01-15-15.ndjson")
        self.assertEqual(self.written()[1:], [DeleteOne({"_id": number}) for number in range(4)])

    def test_what_json_cannot_say_comes_as_bytes(self):
        document = bson.encode({"_id": 2, "text": "?"}).replace(b"?", NOT_IN_JSON)
        raw = bson.encode(change("insert", 2, fullDocument=RawBSONDocument(document)))
        self.hour({"operationType": "insert", "siltRawEvent": bson.Binary(raw)})
        _, written = self.written()
        self.assertEqual(written._doc.raw, document)
        # As pymongo does before it sends it.
        self.assertEqual(len(written._doc), 2)

    def test_an_update_without_its_document_is_well_if_the_document_goes_or_comes_later(self):
        gone = change("update", 1, fullDocument=None)
        for later in [change("delete", 1), change("replace", 1, fullDocument={"_id": 1})]:
            self.hour(gone, later)
            self.assertEqual(len(self.written()), 2)

    def test_an_update_without_its_document_is_refused_if_nothing_makes_up_for_it(self):
        for update in [change("update", 1, fullDocument=None), change("update", 1)]:
            self.hour(update, change("delete", 2))
            self.assertIn("the update of {'_id': 1}", self.refused())

    def test_a_gap_behind_the_position_is_refused_by_name(self):
        self.gap("mydb/users")
        self.assertIn("mydb/users/_gaps/2024-01-15-14-15-23.json", self.refused())

    def test_a_gap_of_all_that_share_a_stream_is_refused(self):
        for folder, database in [("mydb/_database", "mydb"), ("_database", "")]:
            self.gap(folder, database=database, collection="")
            self.assertIn(f"{folder}/_gaps", self.refused())
            self.gap(folder, database="other", collection="")
            self.written()

    def test_a_single_change_that_is_lost_is_refused(self):
        self.gap("mydb/users", reason="tooLarge", cluster_time=LATER, until_cluster_time=None)
        self.assertIn("tooLarge", self.refused())

    def test_a_gap_whose_end_is_not_known_ends_when_it_was_recorded(self):
        self.gap("mydb/users", until_cluster_time=None)
        self.assertIn("historyLost", self.refused())

    def test_a_gap_before_the_newest_snapshot_is_none(self):
        self.gap("mydb/users")
        self.snapshot("snapshot-2024-01-15-14-16-23", LATER, [read(3)])
        self.assertEqual(self.written(), [InsertOne({"_id": 3})])
        self.gap("mydb/users", reason="tooLarge", cluster_time=POSITION)
        self.written()

    def test_a_snapshot_without_a_manifest_is_not_taken(self):
        (self.folder / "snapshot-2024-01-15-14-15-23/_manifest.json").unlink()
        self.assertIn("no finished snapshot", self.refused())

    def test_the_newest_manifest_counts_also_if_an_older_version_wrote_it(self):
        for number, name in [(16, "manifest.json"), (17, "_manifest.json"), (18, "manifest.json")]:
            self.snapshot(f"snapshot-2024-01-15-14-{number}-23", LATER, [read(number)], name)
            self.assertEqual(self.written(), [InsertOne({"_id": number})])

    def test_what_happens_to_the_whole_collection_is_left_to_people(self):
        self.hour({"operationType": "drop", "clusterTime": LATER})
        self.assertIn("drop at", self.refused())


if __name__ == "__main__":
    unittest.main()
