"""Reads a lake as silt leaves it: one file per collection and hour, in any of its formats.

    for file in Lake(folder).files():
        for change in file.changes():
            print(file.collection, file.hour, token(change), change["operationType"])

`file.changes()` raises LakeError where the file is not whole, doesn't count what it holds, or holds a change
of another hour. Knows nothing of silt's code: what it understands is what docs/files.md promises.
"""

import gzip
import json
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote

FILE_NAME = re.compile(r"(\d{4}-\d\d-\d\d-\d\d)(?:\.part(\d+))?\.(json|ndjson)(\.gz)?")


class LakeError(Exception):
    """A file in the lake that is not what it should be."""


@dataclass(frozen=True, order=True)
class HourFile:
    collection: str
    hour: str
    part: int
    path: Path

    def changes(self):
        """The change events of this file, in its order."""
        return self.parse(self.path.read_bytes())

    def parse(self, data):
        """The change events in `data`, which is what a reader got when downloading this file."""
        changes = [record["change"] for record in records(str(self), data)]
        for change in changes:
            if hour(change) != self.hour:
                raise LakeError(f"{self} holds a change of hour {hour(change)}: {token(change)}")
        return changes

    def __str__(self):
        return f"{self.path.parent.name}/{self.path.name}"


class Lake:
    """A folder that silt writes to."""

    def __init__(self, root):
        self.root = Path(root)

    def files(self):
        """All hour files, by collection, then time, then part."""
        return sorted(filter(None, map(self._hour_file, self.root.glob("*/*"))))

    def newest(self):
        """The last hour file of each collection."""
        return list({file.collection: file for file in self.files()}.values())

    def strangers(self):
        """Visible files that are not hour files."""
        visible = (path for path in self.root.rglob("*") if path.is_file() and not _hidden(path, self.root))
        return sorted(path for path in visible if not self._hour_file(path))

    def _hour_file(self, path):
        match = FILE_NAME.fullmatch(path.name)
        if not match or path.parent.parent != self.root or _hidden(path, self.root):
            return None
        return HourFile(unquote(path.parent.name), match[1], int(match[2] or 1), path)


def _hidden(path, root):
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def records(name, data):
    """The records of a file, `{"timestamp": …, "change": …}` each; `name` tells the format."""
    try:
        text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
        if ".ndjson" in name:
            return [_json(line) for line in text.removesuffix("\n").split("\n")]  # not at what Unicode calls a line
        document = _json(text)
        promised, found = document["metadata"]["count"], document["changes"]
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error) as error:
        raise LakeError(f"{name}, {len(data):,} bytes, can't be read: {error!r}") from error
    if promised != len(found):
        raise LakeError(f"{name} says it holds {promised} changes and holds {len(found)}")
    return found


def _json(text):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def token(change):
    """What identifies a change: the server's resume token."""
    return change["_id"]["_data"]


def hour(change):
    """The hour, UTC, that a change belongs to, as file names write it."""
    seconds = change["clusterTime"]["$timestamp"]["t"]
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d-%H")
