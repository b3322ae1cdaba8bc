#!/usr/bin/env python3
"""rebuild.py FOLDER URI DATABASE COLLECTION

Fills an empty collection from the newest finished snapshot and all later changes in the lake. FOLDER is the
collection's downloaded folder, archived with JSON_MODE=canonical, with `_database/` beside it as in the lake, if
there is one. Needs pymongo. It stops where the lake is incomplete: at a gap, or an update without its document.
docs/snapshots.md has the requirements.
"""

import gzip
import re
import sys
from datetime import datetime
from pathlib import Path

from bson import encode, json_util
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne

OPTIONS = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
# Keeps the bytes as they are, and lets pymongo read text that is not UTF-8.
AS_IT_WAS = CodecOptions(document_class=RawBSONDocument, unicode_decode_error_handler="replace")
MANIFESTS = ("_manifest.json", "manifest.json")  # the second is that of older versions
HOUR_FILE = re.compile(r"(\d{4}-\d\d-\d\d-\d\d)(?:\.part(\d+))?\.(nd)?json(\.gz)?")


def changes(path):
    """The changes of a file, whatever its format."""
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    # Only \n ends a line: the other characters that Python's splitlines() accepts may occur in a text.
    lines = map(load, filter(None, raw.split(b"\n"))) if ".ndjson" in path.name else load(raw)["changes"]
    for line in lines:
        change = line["change"]
        # The whole event as BSON, because JSON can't express it.
        yield RawBSONDocument(bytes(change["siltRawEvent"]), AS_IT_WAS) if "siltRawEvent" in change else change


def load(raw):
    return json_util.loads(raw.decode(), json_options=OPTIONS)


def hour_files(folder):
    """Hour files, by hour and then by part."""
    found = ((HOUR_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return [path for match, path in sorted((match and (match[1], int(match[2] or 1)), path)
                                           for match, path in found if match)]


def newest_snapshot(folder):
    """The manifest of the newest finished snapshot."""
    finished = [manifest for name in MANIFESTS for manifest in folder.glob(f"snapshot-*/{name}")]
    if not finished:
        raise SystemExit(f"{folder} has no finished snapshot")
    return max(finished, key=lambda manifest: manifest.parent)


def rebuild(folder, collection):
    path = newest_snapshot(folder)
    snapshot, manifest = path.parent, load(path.read_bytes())
    refuse_gaps(folder, manifest)
    for part in manifest["parts"]:
        write(collection, (InsertOne(read["fullDocument"]) for read in changes(snapshot / part["name"])))
    missing = {}
    for path in hour_files(folder):
        later = (change for change in changes(path) if change["clusterTime"] >= manifest["cluster_time"])
        write(collection, filter(None, (operation(change, missing) for change in later)))
    if missing:
        kind, key, time = next(iter(missing.values()))
        raise SystemExit(
            f"the {kind} of {key} at {time} has no document, and no later change has it: FULL_DOCUMENT=default, "
            "or whenAvailable without an image, or the document's deletion isn't in the lake yet")


def refuse_gaps(folder, manifest):
    """Stops if a gap record says that changes after the snapshot's position are lost."""
    # A shared stream's record for all collections is in `_database/`, beside the collections or the databases.
    places = [folder, folder.parent / "_database", folder.parent.parent / "_database"]
    for path in sorted(path for place in places for path in place.glob("_gaps/*.json")):
        gap = load(path.read_bytes())
        is_meant = all(gap[name] in ("", manifest[name]) for name in ("database", "collection"))
        if is_meant and lost_until(gap) > manifest["cluster_time"]:
            raise SystemExit(
                f"{path}: changes up to {lost_until(gap)} are lost ({gap['reason']}), and the snapshot's "
                f"position is {manifest['cluster_time']}: a later snapshot is needed")


def lost_until(gap):
    if gap["reason"] == "tooLarge":
        return gap["cluster_time"]
    recorded = datetime.fromisoformat(gap["recorded_at"].replace("Z", "+00:00"))
    return gap["until_cluster_time"] or Timestamp(int(recorded.timestamp()) + 1, 0)


def operation(change, missing):
    """The operation that applies a change. `missing` keeps updates without a document until a later change brings or deletes it."""
    kind = change["operationType"]
    if kind in ("drop", "rename", "dropDatabase"):
        raise SystemExit(f"{kind} at {change['clusterTime']}: decide how to continue, and apply it by hand")
    if kind not in ("insert", "replace", "update", "delete"):
        return None
    key, document = change["documentKey"], change.get("fullDocument")
    known_as = key.raw if isinstance(key, RawBSONDocument) else encode(key)
    if kind == "delete":
        missing.pop(known_as, None)
        return DeleteOne(key)
    if document is None:
        missing[known_as] = (kind, key, change["clusterTime"])
        return None
    missing.pop(known_as, None)
    return ReplaceOne(key, document, upsert=True)


def write(collection, operations, at_once=1000):
    batch = []
    for one in operations:
        batch.append(one)
        if len(batch) == at_once:
            collection.bulk_write(batch)
            batch = []
    if batch:
        collection.bulk_write(batch)


if __name__ == "__main__":
    folder, uri, database, name = sys.argv[1:]
    rebuild(Path(folder).resolve(), MongoClient(uri)[database][name])
