#!/usr/bin/env python3
"""rebuild.py FOLDER URI DATABASE COLLECTION

Fills an empty collection with a snapshot and the changes that follow it, up to the last that the lake holds.
FOLDER is the collection's folder, downloaded, with JSON_MODE=canonical. Needs pymongo.
"""

import gzip
import re
import sys
from pathlib import Path

from bson import json_util
from bson.datetime_ms import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, MongoClient, ReplaceOne

OPTIONS = json_util.CANONICAL_JSON_OPTIONS.with_options(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
HOUR_FILE = re.compile(r"(\d{4}-\d\d-\d\d-\d\d)(?:\.part(\d+))?\.(nd)?json(\.gz)?")


def changes(path):
    """The changes of a file, whatever its format."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    if ".ndjson" in path.name:
        lines = map(load, text.splitlines())
    else:
        lines = load(text)["changes"]
    for line in lines:
        change = line["change"]
        # What JSON can't say: the whole event, as it was.
        yield RawBSONDocument(bytes(change["siltRawEvent"])) if "siltRawEvent" in change else change


def load(text):
    return json_util.loads(text, json_options=OPTIONS)


def hour_files(folder):
    """In order: by hour, then by part."""
    found = ((HOUR_FILE.fullmatch(path.name), path) for path in folder.iterdir())
    return [path for match, path in sorted((match and (match[1], int(match[2] or 1)), path)
                                           for match, path in found if match)]


def newest_snapshot(folder):
    """The newest that is finished."""
    return max(folder.glob("snapshot-*/manifest.json")).parent


def rebuild(folder, collection):
    snapshot = newest_snapshot(folder)
    manifest = load((snapshot / "manifest.json").read_text())
    for part in manifest["parts"]:
        write(collection, (InsertOne(read["fullDocument"]) for read in changes(snapshot / part["name"])))
    for path in hour_files(folder):
        later = (change for change in changes(path) if change["clusterTime"] >= manifest["cluster_time"])
        write(collection, filter(None, (operation(change) for change in later)))


def operation(change):
    kind, key = change["operationType"], change.get("documentKey")
    if kind == "delete":
        return DeleteOne(key)
    if kind in ("insert", "replace", "update") and change.get("fullDocument"):
        return ReplaceOne(key, change["fullDocument"], upsert=True)
    if kind in ("drop", "rename", "dropDatabase"):
        raise SystemExit(f"{kind} at {change['clusterTime']}: decide by hand what it means to you")
    # An update of a document that had gone when the server looked it up: its deletion follows.
    return None


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
    rebuild(Path(folder), MongoClient(uri)[database][name])
