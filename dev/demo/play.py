"""The order of events of the demo."""

import threading
import time

from lakefile import Lake
from pymongo import MongoClient

import servers

from .archiver import Archiver
from .reader import Reader
from .screen import Screen, cut, head, near, tree
from .verdict import judge
from .witness import Witness
from .writer import LOADS, Writer

DATABASE = "shop"
SLOW_DOWNLOAD_SECONDS = 3.0
TICK_SECONDS = 0.2
PATIENCE_SECONDS = 40
# When, as a share of the load's time, silt gets which signal.
SIGKILL_AT, SIGUSR1_AT, SIGTERM_AT = 0.35, 0.55, 0.75


class Failure(Exception):
    """The demo can't go on."""


class Timeout(Failure):
    """Something did not happen in time."""


class Play:
    def __init__(self, nest, binary, folder, load_seconds):
        self.nest, self.load_seconds = nest, load_seconds
        self.log_path = folder / "silt.log"
        self.lake = Lake(folder / "lake")
        self.screen = Screen()
        self.wake = threading.Event()  # something happened that the main thread may wait for
        self.began = time.monotonic()
        self.binary = binary
        self.writers, self.witnesses, self.readers = {}, {}, []
        self.address = f"127.0.0.1:{nest.port()}"
        self.silt = None

    def run(self):
        """Plays it all; whether the end is clean."""
        self.screen.note("starting a replica set …")
        self.prepare(servers.replica_set(servers.start_mongod(self.nest)))
        self.start_silt("silt watches users, orders and events; the load begins")
        self.screen.note(f"see it live for a minute: http://{self.address}/")
        for thread in [*self.writers.values(), *self.readers]:
            thread.start()
        self.trouble()
        self.end_load()
        verdict = judge(self.lake, {name: writer.ledger for name, writer in self.writers.items()}, self.witnesses)
        self.show(verdict)
        return verdict.clean

    def prepare(self, uri):
        """All but silt: the collections, the writers, the second streams (started before silt), the readers."""
        self.lake.root.mkdir()
        database = MongoClient(uri)[DATABASE]
        for name in LOADS:
            database.create_collection(name)
        start = database.command("ping")["operationTime"]
        for name, (rate, shares) in LOADS.items():
            self.writers[name] = Writer(database[name], rate, shares, self.wake)
            self.witnesses[name] = Witness(database[name], start, self.wake)
            self.witnesses[name].start()
        self.readers = [Reader(self.lake, self.wake), Reader(self.lake, self.wake, SLOW_DOWNLOAD_SECONDS)]
        settings = {
            "MONGODB_URI": uri,
            "MONGODB_DATABASE": DATABASE,
            "MONGODB_COLLECTIONS": ",".join(LOADS),
            "HTTP_ADDR": self.address,
            "LAKE_URL": self.lake.root.as_uri(),
            "DUMP_SCHEDULE": "*/5 * * * * *",
            "BATCH_SIZE": "500",
            "LOG_FORMAT": "text",
        }
        self.silt = Archiver(self.nest, self.binary, settings, self.log_path, self.wake)

    def trouble(self):
        """The load's time, with a signal to silt now and then."""
        end = time.monotonic() + self.load_seconds
        begin = end - self.load_seconds

        def load_until(share):
            moment = begin + share * self.load_seconds
            self.until(lambda: time.monotonic() >= moment, self.load_seconds + 1, "the load")

        load_until(SIGKILL_AT)
        self.silt.kill()
        self.start_silt("SIGKILL to silt; a new one took over")
        load_until(SIGUSR1_AT)
        self.silt.flush()
        self.screen.note("SIGUSR1 to silt: flush now")
        load_until(SIGTERM_AT)
        self.drain_silt()
        self.start_silt("SIGTERM to silt under load, as in a rollout: drained, exit 0; a new one took over")
        load_until(1)

    def end_load(self):
        """Ends the load, waits until all of it is in the lake, ends silt."""
        for writer in self.writers.values():
            writer.finish()
        threads = [*self.writers.values(), *self.witnesses.values()]
        self.until(lambda: not any(thread.is_alive() for thread in threads), PATIENCE_SECONDS, "the second stream")
        self.screen.note("the load is over; silt catches up")
        try:
            seen = self.readers[0].finished
            self.until(lambda: len(seen) == len(LOADS), PATIENCE_SECONDS, "the last change to reach the lake")
        except Timeout as error:  # the verdict will say what is missing
            self.screen.note(str(error))
        self.drain_silt()
        self.screen.note("SIGTERM to silt: drained, exit 0")
        for reader in self.readers:
            reader.finish()
        self.check()

    def start_silt(self, note):
        self.silt.start()
        all_watched = "silt to log `watching` for each collection"
        self.until(lambda: self.silt.watching == set(LOADS), PATIENCE_SECONDS, all_watched)
        self.screen.note(note)

    def drain_silt(self):
        self.silt.drain()
        self.until(lambda: self.silt.status is not None, PATIENCE_SECONDS, "silt to drain", may_end=True)
        self.silt.read_to_the_end()
        if self.silt.status != 0:
            raise Failure(f"silt ended with status {self.silt.status} after SIGTERM\n{self.last_words()}")

    def until(self, condition, seconds, what, may_end=False):
        """Shows progress until the condition holds. Trouble of any part ends the demo."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check(may_end)
            if time.monotonic() > deadline:
                raise Timeout(f"waited {seconds:.0f} s for {what}")
            self.screen.progress(self.progress())
            self.wake.wait(TICK_SECONDS)
            self.wake.clear()

    def check(self, may_end=True):
        for part in [*self.writers.values(), *self.witnesses.values(), *self.readers]:
            if part.failure:
                raise Failure(f"{part.name}: {part.failure}")
        if not may_end and self.silt.status is not None:
            raise Failure(f"silt ended by itself with status {self.silt.status}\n{self.last_words()}")

    def progress(self):
        made = sum(len(writer.ledger) for writer in self.writers.values())
        archived = sum(self.readers[0].counts.values())
        downloads = sum(reader.downloads for reader in self.readers)
        seconds = time.monotonic() - self.began
        return f"{seconds:3.0f} s · made {made:,} · in the lake {archived:,} · {downloads} downloads, all whole"

    def last_words(self):
        return "\n".join(f"  {line}" for line in self.silt.lines[-6:]) + f"\n  (all of it: {self.log_path})"

    def show(self, verdict):
        note = self.screen.note
        note(f"\nThe log, {near(self.log_path)}:")
        lines = self.silt.lines
        for line in [*lines[:5], "…", *lines[-5:]] if len(lines) > 10 else lines:
            note("  " + cut(line))
        note("\nThe lake:")
        for line in tree(self.lake, verdict.counts):
            note("  " + line)
        files = self.lake.files()
        if files:
            note(f"\nThe head of {files[-1]}:")
            for line in head(files[-1].path):
                note(line)
            path = near(files[-1].path)
            listing = f"{near(self.binary)} ls --lake-url {self.lake.root.as_uri()}"
            note(f"\nLook for yourself:\n  {listing}\n  head -3 {path}\n  jq .metadata {path}")
        for problem in verdict.problems:
            note(f"not clean: {cut(problem, 400)}")
        note(f"\n{verdict}")
