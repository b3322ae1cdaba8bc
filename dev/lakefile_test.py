"""Tests of lakefile.py: python3 -m unittest discover -s dev -p '*_test.py'"""

import gzip
import json
import tempfile
import unittest
from pathlib import Path

from lakefile import Lake, LakeError, hour, token

FOURTEEN = 1_705_327_200  # 2024-01-15T14:00:00Z
HOUR = "2024-01-15-14"


def record(number, seconds=FOURTEEN):
    change = {"_id": {"_data": f"82{number:04}"}, "clusterTime": {"$timestamp": {"t": seconds, "i": number}}}
    return {"timestamp": "2024-01-15T14:00:00.000Z", "change": change}


def framed(records, count=None):
    metadata = json.dumps({"collection": "users", "count": len(records) if count is None else count})
    lines = ",\n".join(json.dumps(record) for record in records)
    return f'{{"metadata":{metadata},"changes":[\n{lines}\n]}}\n'.encode()


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records).encode()


class LakeTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def put(self, name, data):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def read(self, name, data):
        self.put(f"users/{name}", data)
        (file,) = Lake(self.root).files()
        return [token(change) for change in file.changes()]

    def refuses(self, name, data, words):
        with self.assertRaisesRegex(LakeError, words):
            self.read(name, data)

    def test_reads_every_format(self):
        both = [record(1), record(2)]
        members = gzip.compress(lines(both[:1])) + gzip.compress(lines(both[1:]))
        for name, data in {
            f"{HOUR}.json": framed(both),
            f"{HOUR}.ndjson": lines(both),
            f"{HOUR}.json.gz": gzip.compress(framed(both)),
            f"{HOUR}.ndjson.gz": members,
        }.items():
            with self.subTest(name):
                self.assertEqual(self.read(name, data), ["820001", "820002"])
                (self.root / "users" / name).unlink()

    def test_a_line_separator_in_a_string_ends_no_line(self):
        odd = json.dumps({**record(1), "note": "a\u2028b\x85"}, ensure_ascii=False).encode()
        self.assertEqual(self.read(f"{HOUR}.ndjson", odd + b"\n"), ["820001"])

    def test_an_hour_ends_before_the_next_begins(self):
        self.assertEqual(hour(record(1, FOURTEEN + 3599)["change"]), HOUR)
        self.assertEqual(hour(record(1, FOURTEEN + 3600)["change"]), "2024-01-15-15")

    def test_refuses_a_change_of_another_hour(self):
        self.refuses(f"{HOUR}.json", framed([record(1, FOURTEEN - 1)]), "of hour 2024-01-15-13: 820001")

    def test_refuses_a_count_that_is_wrong(self):
        self.refuses(f"{HOUR}.json", framed([record(1)], count=2), "says it holds 2 changes and holds 1")

    def test_refuses_half_a_file_in_every_format(self):
        both = [record(1), record(2)]
        self.refuses(f"{HOUR}.json", framed(both)[:-4], "can't be read")
        (self.root / "users" / f"{HOUR}.json").unlink()
        self.refuses(f"{HOUR}.ndjson", lines(both)[:-9], "can't be read")
        (self.root / "users" / f"{HOUR}.ndjson").unlink()
        self.refuses(f"{HOUR}.json.gz", gzip.compress(framed(both))[:-9], "can't be read")

    def test_refuses_what_only_python_takes_for_json(self):
        self.refuses(f"{HOUR}.ndjson", b'{"timestamp":NaN}\n', "NaN is not JSON")

    def test_lists_by_collection_time_and_part(self):
        names = [f"b/{HOUR}.json", f"b/{HOUR}.part2.json", f"b/{HOUR}.part10.json", "b/2024-01-15-15.json"]
        for name in [*reversed(names), f"a%2Fb/{HOUR}.ndjson.gz"]:
            self.put(name, b"")
        files = Lake(self.root).files()
        self.assertEqual([file.collection for file in files], ["a/b", "b", "b", "b", "b"])
        self.assertEqual([str(file) for file in files[1:]], names)
        self.assertEqual([str(file) for file in Lake(self.root).newest()], [f"a%2Fb/{HOUR}.ndjson.gz", names[3]])

    def test_tells_strangers_from_hidden_files(self):
        for name in [f"a/{HOUR}.json", f"a/.{HOUR}.json.new", ".silt/state", "a/notes.txt", f"{HOUR}.json"]:
            self.put(name, b"")
        strangers = [str(path.relative_to(self.root)) for path in Lake(self.root).strangers()]
        self.assertEqual(strangers, [f"{HOUR}.json", "a/notes.txt"])


if __name__ == "__main__":
    unittest.main()
