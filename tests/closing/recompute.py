"""recompute.py FOLDER: recomputes each closing record of a collection from the files, without silt, and prints what it
found as JSON. Fails if a record isn't what the files say, or if the chain of records has a hole."""
import gzip
import hashlib
import json
import os
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

sys.path.append(str(Path(os.environ["SILT_TEST_SERVERS"]).parent))
import tools  # noqa: E402

tools.schemas()
from jsonschema import Draft202012Validator  # noqa: E402

SCHEMA = json.loads((Path(os.environ["SILT_TEST_SERVERS"]).parent.parent / "docs" / "closing.schema.json").read_text())
HOUR_FILE = re.compile(r"(\d{4}-\d\d-\d\d-\d\d)(?:\.part(\d+))?\.(json|ndjson)(\.gz)?")


def changes(path):
    """What a file holds."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.name.endswith(".gz") else raw).decode()
    rows = [json.loads(line) for line in text.split("\n") if line] if ".ndjson" in path.name else json.loads(text)["changes"]
    return [row["change"] for row in rows]


def cluster_time(change):
    stamp = change["clusterTime"]["$timestamp"]
    return stamp["t"], stamp["i"]


def end(change):
    return {"token": change["_id"], "cluster_time": change["clusterTime"]}


def seconds(text):
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def recompute(folder, hour):
    """The files of an hour as a record should have them, and their changes by operation."""
    parts = {}
    for path in folder.iterdir():
        match = HOUR_FILE.fullmatch(path.name)
        if match and match[1] == hour:
            parts[int(match[2] or 1)] = path
    assert sorted(parts) == list(range(1, len(parts) + 1)), parts
    files, operations, seen = [], {}, []
    for _, path in sorted(parts.items()):
        found = changes(path)
        files.append({
            "name": path.name, "bytes": path.stat().st_size, "changes": len(found),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "first": end(found[0]), "last": end(found[-1])})
        for change in found:
            operations[change["operationType"]] = operations.get(change["operationType"], 0) + 1
        seen += found
    begin = datetime.strptime(hour, "%Y-%m-%d-%H").replace(tzinfo=timezone.utc).timestamp()
    assert all(begin <= cluster_time(change)[0] < begin + 3600 for change in seen)
    assert len({json.dumps(change["_id"]) for change in seen}) == len(seen)
    return files, operations, len(seen), int(begin)


def bound(record, name):
    stamp = record[f"{name}_cluster_time"]["$timestamp"]
    assert seconds(record[name]) == stamp["t"], record
    return stamp["t"], stamp["i"]


def link(folder, record):
    return {
        "record": record, "sha256": hashlib.sha256((folder / "_closed" / record).read_bytes()).hexdigest(),
        "last_token": json.loads((folder / "_closed" / record).read_text())["files"][-1]["last"]["token"]}


def main(folder):
    names = sorted(path.name for path in (folder / "_closed").iterdir() if path.name != "latest.json")
    records = {name: json.loads((folder / "_closed" / name).read_text()) for name in names}
    latest = json.loads((folder / "_closed" / "latest.json").read_text())
    for document in [*records.values(), latest]:
        Draft202012Validator(SCHEMA).validate(document)
    for name, record in records.items():
        files, operations, count, begin = recompute(folder, name.removesuffix(".json"))
        assert record["files"] == files, (record["files"], files)
        assert (record["operations"], record["changes"]) == (operations, count), record
        assert seconds(record["hour"]) == begin
        assert bound(record, "complete_until") >= (begin + 3600, 0), record
    for before, after in zip(names, names[1:]):
        linked = (records[after]["previous"], records[before]["next"])
        assert linked in [(link(folder, before), None), (None, link(folder, after))], (before, after, linked)
        assert bound(records[before], "complete_until") == bound(records[after], "complete_from"), (before, after)
    if names:
        # The newest record is written before latest.json.
        assert latest["record"] in names[-2:], latest
        assert bound(latest, "complete_until") >= bound(records[latest["record"]], "complete_until")
        assert bound(latest, "complete_from") <= bound(records[names[0]], "complete_from")
    print(json.dumps({
        "hours": [name.removesuffix(".json") for name in names], "changes": sum(it["changes"] for it in records.values()),
        "until": latest["complete_until"], "from": latest["complete_from"], "record": latest["record"],
        "records": list(records.values())}))


main(Path(sys.argv[1]))
