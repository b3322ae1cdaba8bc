"""Readers of the lake who download its newest files again and again while silt writes them."""

import threading
import time

from lakefile import LakeError

from .writer import LAST_ID

PIECES = 8


class Reader(threading.Thread):
    """Every download must be a whole, valid file, at whatever moment and speed it is read."""

    def __init__(self, lake, wake, download_seconds=0.0, pause_seconds=0.2):
        super().__init__(name="slow reader" if download_seconds else "reader", daemon=True)
        self.downloads = 0
        self.counts = {}  # file: changes in it when last read
        self.finished = set()  # collections whose last change has been seen
        self.failure = None
        self._lake, self._wake = lake, wake
        self._download_seconds, self._pause_seconds = download_seconds, pause_seconds
        self._enough = threading.Event()

    def finish(self):
        self._enough.set()
        self.join()

    def run(self):
        while not self._enough.is_set():
            began = time.monotonic()
            for file in self._lake.newest():
                try:
                    self._look(file, file.parse(self._download(file.path)))
                except (LakeError, OSError) as error:
                    self.failure = error
                    self._wake.set()
                    return
            # Big files are read less often: the writers share this interpreter.
            self._enough.wait(max(self._pause_seconds, 3 * (time.monotonic() - began)))

    def _download(self, path):
        with open(path, "rb", buffering=0) as file:
            size = max(1, path.stat().st_size // PIECES)
            data = b""
            while self._download_seconds and len(data) < size * (PIECES - 1) and not self._enough.is_set():
                data += file.read(size)
                self._enough.wait(self._download_seconds / PIECES)
            return data + file.readall()

    def _look(self, file, changes):
        self.downloads += 1
        self.counts[file] = len(changes)
        if changes and changes[-1].get("documentKey", {}).get("_id") == LAST_ID:
            self.finished.add(file.collection)
            self._wake.set()
