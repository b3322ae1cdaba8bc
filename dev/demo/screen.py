"""What the demo shows: notes, and one line of progress, refreshed on a terminal and repeated elsewhere."""

import os
import shutil
import sys
import time

PLAIN_LINE_SECONDS = 5
WIDEST = 160


def width():
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)


def cut(text, room=None):
    room = room or width()
    return text if len(text) <= room else text[: room - 1] + "…"


def near(path):
    """The path as one would type it here."""
    return os.path.relpath(path)


class Screen:
    def __init__(self):
        self._terminal = sys.stdout.isatty()
        self._plain_due = 0.0

    def progress(self, text):
        if self._terminal:
            print(f"\r\033[K{cut(text, width() - 1)}", end="", flush=True)
        elif time.monotonic() >= self._plain_due:
            self._plain_due = time.monotonic() + PLAIN_LINE_SECONDS
            print(text, flush=True)

    def note(self, text=""):
        print(f"\r\033[K{text}" if self._terminal else text, flush=True)


def tree(lake, counts):
    """The lake as lines, as `tree` would draw it, with the size and number of changes of each file."""
    lines = [near(lake.root)]
    folders = {}
    for file in lake.files():
        folders.setdefault(file.path.parent.name, []).append(file)
    for folder, files in folders.items():
        last = folder == list(folders)[-1]
        lines.append(("└── " if last else "├── ") + folder)
        for file in files:
            stem = ("    " if last else "│   ") + ("└── " if file is files[-1] else "├── ")
            megabytes = file.path.stat().st_size / 1e6
            lines.append(f"{stem}{file.path.name:24} {megabytes:6.1f} MB {counts.get(file, 0):8,} changes")
    return lines


def head(path, lines=4):
    with open(path, encoding="utf-8") as file:
        return [cut(file.readline().rstrip("\n")) for _ in range(lines)]
