"""The recipes of docs/reading*.md, run as they stand there by the tools that they are for, on a lake that silt wrote.

What they must find comes from what was written to MongoDB, never from the lake.
"""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import warnings
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import tools

tools.python()
tools.readers()

import duckdb
import jq
import pandas
import polars
from azure.core.exceptions import ResourceModifiedError
from azure.storage.blob import BlobServiceClient
from bson import Decimal128, Int64, ObjectId, Timestamp, json_util
from pymongo import MongoClient

import docs_test
from deploy import project
from servers import AZURITE_ACCOUNT, AZURITE_KEY

DOCS = docs_test.ROOT / "docs"
WAIT_SECONDS = 90
HOUR = 3600
# DuckDB looks at 20,480 lines to infer a schema.
DOCUMENTS, LATE_FROM, SNAPSHOT_DOCUMENTS = 21_000, 20_600, 50
FORMATS = [("ndjson", "none"), ("ndjson", "gzip"), ("json", "none"), ("json", "gzip")]
# What the pages have in the place of what differs from lake to lake.
FOLDER, SNAPSHOT, UNTIL, DOCUMENT = "lake/users", "snapshot-2024-01-15-14-15-23", "2024-01-15T15:30:00Z", "65a53f2b9d3c4e0001a1b2c3"


def recipes(tool, output):
    """The blocks of a tool for a format, joined in their order."""
    other = {"json": "ndjson", "ndjson": "json"}[output]
    kinds = [(kind.split()[1:], text) for page in sorted(DOCS.glob("reading*.md")) for kind, text in docs_test.blocks(page)]
    found = [text for words, text in kinds if tool in words and other not in words]
    if not found:
        raise AssertionError(f"no page has a recipe for {tool}")
    return "\n".join(found)


def until(what, is_so):
    """Waits until something is so; what it returned then."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := is_so()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.05)
    return found


class Server:
    """A server that servers.py starts, and ends with the test."""

    def __init__(self, stack, *arguments):
        self.process = subprocess.Popen([sys.executable, docs_test.ROOT / "dev/servers.py", *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(self.process.communicate)
        self.facts = json.loads(self.process.stdout.readline())


class Clock:
    """The cluster time of a server of one's own, which believes a client who says that it is later."""

    def __init__(self, client):
        self.client = client

    def advance(self, seconds):
        signature = {"hash": b"\0" * 20, "keyId": Int64(0)}
        with self.client.start_session() as session:
            session.advance_cluster_time({"clusterTime": Timestamp(seconds, 1), "signature": signature})
            self.client.admin.command("ping", session=session)

    def next_hour(self):
        """The beginning of the hour after the current one."""
        return (self.client.admin.command("hello")["lastWrite"]["opTime"]["ts"].time // HOUR + 1) * HOUR


class Silt:
    """A running silt."""

    def __init__(self, stack, uri, **settings):
        self.environment = {
            **os.environ, "MONGODB_URI": uri, "MONGODB_DATABASE": "mydb", "MONGODB_COLLECTIONS": "users", "CHECKPOINT_STORE": "lake",
            "HTTP_ADDR": f"127.0.0.1:{docs_test.free_port()}", "FULL_DOCUMENT": "required", **settings,
        }
        self.log = stack.enter_context(tempfile.TemporaryFile())
        self.process = subprocess.Popen([docs_test.silt()], env=self.environment, stderr=self.log)
        stack.callback(self.stop)
        until("silt to be ready", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"silt ended:\n{self.read_log()}")
        return subprocess.run([docs_test.silt(), "healthcheck"], env=self.environment, capture_output=True).returncode == 0

    def flush_until(self, what, is_so):
        """Flushes until something is in the lake."""
        def flushed():
            self.process.send_signal(signal.SIGUSR1)
            return is_so()
        until(what, flushed)

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode()

    def stop(self):
        self.process.terminate()
        return self.process.wait(WAIT_SECONDS)


def relaxed(value):
    """A value of MongoDB as it stands in the lake, by MongoDB's own library for Python."""
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


class History:
    """What is written to a collection, and what follows from it."""

    def __init__(self, collection):
        self.collection = collection
        self.hour = None
        self.documents = {}
        self.changes = []  # hour, type, _id, document after it
        self.expected_state = None

    def note(self, kind, key, document=None):
        self.changes.append((self.hour, kind, key, document))
        self.documents.pop(key, None)
        if document is not None:
            self.documents[key] = document

    def insert(self, documents):
        self.collection.insert_many(documents)
        for document in documents:
            self.note("insert", document["_id"], dict(document))

    def update(self, key, session=None, **fields):
        self.collection.update_one({"_id": key}, {"$set": fields}, session=session)
        self.note("update", key, {**self.documents[key], **fields})

    def replace(self, key, document):
        self.collection.replace_one({"_id": key}, document)
        self.note("replace", key, {"_id": key, **document})

    def delete(self, key):
        self.collection.delete_one({"_id": key})
        self.note("delete", key)


def user(number):
    """A user; every third has a decimal where others have an integer."""
    document = {
        "_id": ObjectId(), "name": f"näme \"{number}\"", "balance": Decimal128(f"{number}.10") if number % 3 == 0 else number,
        "visits": Int64(2**53 + 1 + number), "joined": datetime(2024, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=number),
        "ratio": number / 3,
    }
    return {**document, "note": "late"} if number > LATE_FROM else document


class World:
    """A history of four hours, of which one is without changes and the last one is running, in a lake of each format."""

    def __init__(self, stack):
        uri = Server(stack, "mongod").facts["uri"]
        client = stack.enter_context(MongoClient(uri))
        clock = Clock(client)
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.first = clock.next_hour()
        clock.advance(self.first + 60)
        users = client.mydb.create_collection("users", changeStreamPreAndPostImages={"enabled": True})
        self.history = History(users)
        before = [{**user(number), "_id": number} for number in range(SNAPSHOT_DOCUMENTS)]
        users.insert_many(before)
        self.history.documents = {document["_id"]: document for document in before}
        with ExitStack() as silts:
            running = [self.archive(silts, uri, *how) for how in FORMATS]
            self.write(client, clock)
            for silt, lake in zip(running, self.lakes()):
                silt.flush_until("the last change", lambda: self.has_last(lake))
                until("the hours to be closed", lambda: self.is_closed(lake))

    def archive(self, silts, uri, output, compression):
        lake = self.lake(output, compression)
        limits = {"BATCH_SIZE": "1500", "MAX_FILE_SIZE": "1200KiB", "BATCH_BYTES": "1MiB"}
        silt = Silt(silts, uri, LAKE_URL=f"file://{lake}", OUTPUT_FORMAT=output, COMPRESSION=compression, SNAPSHOT="initial", **limits)
        until("the snapshot", lambda: list(lake.glob("users/snapshot-*/_manifest.json")))
        return silt

    def lake(self, output, compression):
        return self.folder / f"{output}-{compression}"

    def lakes(self):
        return [self.lake(*how) for how in FORMATS]

    def write(self, client, clock):
        """What happens to the collection. The document in the middle has a history over many parts and hours."""
        history = self.history
        history.hour = self.first
        users = [user(number) for number in range(DOCUMENTS)]
        self.known = users[0]["_id"]
        for number in range(0, DOCUMENTS, 1500):
            history.insert(users[number : number + 1500])
            history.update(self.known, name=f"after {number}")
        history.update(7, name="seven")
        history.hour = self.first + HOUR
        clock.advance(history.hour + 60)
        for one in users[10:40]:
            history.update(one["_id"], name="changed", balance=Decimal128("0.01"))
        for one in users[30:60]:
            history.delete(one["_id"])
        history.delete(8)
        self.until = history.hour + 1800
        self.state = dict(history.documents)
        clock.advance(self.until)
        with client.start_session() as session, session.start_transaction():
            for step in range(12):
                history.update(self.known, session, name=f"step {step}")
        for one in users[100:110]:
            history.replace(one["_id"], {"name": "replaced"})
        history.hour = self.first + 3 * HOUR
        clock.advance(history.hour + 60)
        history.delete(self.known)
        history.hour = self.first + 4 * HOUR
        clock.advance(history.hour + 60)
        history.insert([{"_id": "running"}])

    def has_last(self, lake):
        return any(b'"running"' in content(path) for path in (lake / "users").glob(f"{name_of(self.history.hour)}.*"))

    def is_closed(self, lake):
        """Whether silt has closed all hours with changes but the running one."""
        return all((lake / f"users/_closed/{name_of(hour)}.json").exists() for hour, *_ in self.closed_changes())

    def closed_changes(self):
        return [change for change in self.history.changes if change[0] != self.history.hour]

    def expected(self):
        """What every tool must find."""
        changes = self.closed_changes()
        known = [(kind, relaxed(document)) for _, kind, key, document in changes if key == self.known]
        counts = {}
        for hour, kind, *_ in changes:
            counts[hour, kind] = counts.get((hour, kind), 0) + 1
        return {
            "state": {json.dumps(relaxed(key)): relaxed(document) for key, document in self.state.items()},
            "history": known,
            "by_hour": counts,
        }

    def expected_types(self):
        return {
            json.dumps(relaxed(key)): (
                document["name"],
                document["balance"].to_decimal() if isinstance(document["balance"], Decimal128) else Decimal(document["balance"]),
                int(document["visits"]), document["joined"],
            )
            for key, document in self.state.items()
        }

    def adapted(self, recipe, lake):
        """A recipe with this lake's folder, times and ids, and nothing else changed."""
        (snapshot,) = (path.name for path in (lake / "users").glob("snapshot-*"))
        at = datetime.fromtimestamp(self.until, timezone.utc)
        places = {
            FOLDER: f"{lake}/users", SNAPSHOT: snapshot, UNTIL: f"{at:%Y-%m-%dT%H:%M:%SZ}", DOCUMENT: str(self.known),
            UNTIL.replace("T", " ").rstrip("Z"): f"{at:%Y-%m-%d %H:%M:%S}",
        }
        for place, ours in places.items():
            recipe = recipe.replace(place, ours)
        return recipe


def name_of(hour):
    return f"{datetime.fromtimestamp(hour, timezone.utc):%Y-%m-%d-%H}"


def part_number(path):
    part = re.search(r"\.part(\d+)\.", path.name)
    return int(part[1]) if part else 1


def content(path):
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def loaded(document):
    return json.loads(document) if isinstance(document, str) else document


def state_of(documents):
    found = [loaded(document) for document in documents]
    keyed = {json.dumps(document["_id"]): document for document in found}
    if len(keyed) != len(found):
        raise AssertionError("a document is there twice")
    return keyed


def seconds(moment):
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return int(moment.timestamp())


class RecipeTest(unittest.TestCase):
    maxDiff = 2000

    @classmethod
    def setUpClass(cls):
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.world = World(stack)

    def each_lake(self, tool, test, formats=FORMATS):
        """Tests a tool's recipes on the lakes of these formats."""
        for lake in (self.world.lake(*how) for how in formats):
            with self.subTest(lake=lake.name):
                test(lake, self.world.adapted(recipes(tool, lake.name.split("-")[0]), lake))

    def found(self, state, history, by_hour):
        """Compares what a tool found with what was written."""
        expected = self.world.expected()
        self.assertEqual(by_hour, expected["by_hour"])
        self.assertEqual([(kind, loaded(document)) for kind, document in history], expected["history"])
        self.same(state_of(state), expected["state"])

    def same(self, found, expected):
        """Compares what there is by key. unittest's own comparison takes minutes to show how many documents differ."""
        wrong = {key: (found.get(key), expected.get(key)) for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)}
        if wrong:
            key, (ours, theirs) = next(iter(wrong.items()))
            self.fail(f"{len(wrong)} of {len(expected)} differ, such as {key}: found {ours!r}, expected {theirs!r}")

    def typed(self, rows):
        found = {key: row for key, *row in rows}
        self.same({key: tuple(row) for key, row in found.items()}, self.world.expected_types())

    def test_the_lake_is_one_that_can_mislead(self):
        files = sorted((self.world.lakes()[0] / "users").glob("*.ndjson"))
        self.assertTrue(any(".part10." in path.name for path in files))
        self.assertEqual(len({path.name[:13] for path in files}), 4)
        self.assertGreater(len(self.world.closed_changes()), DOCUMENTS)

    def test_the_traps_are_there(self):
        lake = self.world.lakes()[0] / "users"
        parts = lake.glob(f"{name_of(self.world.first)}*.ndjson")
        hour = self.world.folder / "hour.ndjson"
        hour.write_bytes(b"".join(part.read_bytes() for part in sorted(parts, key=part_number)))
        inferred = duckdb.sql(f"SELECT json_keys(to_json(change.fullDocument)) FROM read_json('{hour}') LIMIT 1").fetchone()[0]
        self.assertTrue("balance" in inferred and "note" not in inferred, inferred)
        (part, *_) = lake.glob(f"{name_of(self.world.first)}.ndjson")
        self.assertRaisesRegex(polars.exceptions.SchemaError, "unexpected value while building Series", polars.read_ndjson, part)
        documents = [json.loads(line)["change"]["fullDocument"] for line in part.read_bytes().splitlines()]
        ratios = [document["ratio"] for document in documents]
        read = pandas.read_json(part, lines=True)["change"]
        self.assertNotEqual([change["fullDocument"]["ratio"] for change in read], ratios)
        matched = polars.read_lines(part, name="line")["line"].str.json_path_match("$.change.fullDocument.ratio")
        self.assertNotEqual([float(text) for text in matched], ratios)
        extracted = polars.read_lines(part, name="line")["line"].str.extract(r'"ratio":([-+.\deE]+)')
        self.assertEqual([float(text) for text in extracted], ratios)
        self.assertLessEqual({"balance", "balance.$numberDecimal"}, set(pandas.json_normalize(documents).columns))
        self.assertEqual(pandas.DataFrame([{"visits": 2**53 + 1}, {}])["visits"][0], 2**53)
        self.assertEqual(jq.compile(". + 0").input_text(str(2**53 + 1)).first(), 2**53)

    def test_duckdb(self):
        self.each_lake("duckdb", self.duckdb)

    def duckdb(self, _, recipe):
        with duckdb.connect() as database:
            database.execute(recipe)
            rows = lambda query: database.execute(query).fetchall()
            by_hour = {(seconds(hour), kind): count for hour, kind, count in rows("FROM by_hour")}
            self.found([document for _, document in rows("FROM state")], [row[1:] for row in rows("FROM history")], by_hour)
            typed = rows("SELECT id, name, balance, visits, epoch_us(joined) FROM typed")
            self.typed((as_json(key), *row, microseconds(joined)) for key, *row, joined in typed)

    def test_pandas(self):
        self.each_lake("pandas", self.pandas)

    def pandas(self, _, recipe):
        made = {}
        exec(recipe, made)
        by_hour = {(seconds(hour), kind): count for (hour, kind), count in made["by_hour"].items()}
        history = made["history"][["type", "document"]].itertuples(index=False)
        history = [(kind, document if isinstance(document, dict) else None) for kind, document in history]
        self.found(made["state"]["document"], history, by_hour)
        columns = made["typed"][["_id", "name", "balance", "visits", "joined"]]
        self.typed((json.dumps(relaxed(key)), *row) for key, *row in columns.itertuples(index=False))

    def test_polars(self):
        self.each_lake("polars", self.polars)

    def polars(self, _, recipe):
        made = {}
        exec(recipe, made)
        document = lambda line: json.loads(line)["change"].get("fullDocument")
        by_hour = {(seconds(hour), kind): count for hour, kind, count in made["by_hour"].rows()}
        history = [(kind, document(line)) for kind, line in made["history"].select("type", "line").rows()]
        self.found([document(line) for line in made["state"]["line"]], history, by_hour)
        self.typed((as_json(key), *row) for key, *row in made["typed"].rows())

    @unittest.skipUnless(tools.spark(), "no Java to run Spark")
    def test_spark(self):
        options = ["spark.ui.enabled=false", "spark.ui.showConsoleProgress=false", "spark.log.level=ERROR", "spark.sql.shuffle.partitions=4", "spark.driver.host=127.0.0.1",
                   f"spark.local.dir={self.world.folder}", f"spark.sql.warehouse.dir={self.world.folder}/warehouse"]
        os.environ["PYSPARK_SUBMIT_ARGS"] = " ".join(f"--conf {option}" for option in options) + " pyspark-shell"
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        self.addCleanup(os.environ.pop, "PYSPARK_SUBMIT_ARGS")
        self.addCleanup(os.environ.pop, "SPARK_LOCAL_IP")
        warnings.simplefilter("ignore", ResourceWarning)  # PySpark leaves its sockets to the garbage collector
        self.each_lake("spark", self.spark, [FORMATS[0], FORMATS[-1]])  # it is slow

    def spark(self, lake, recipe):
        made = {}
        exec(recipe, made)
        (snapshot,) = lake.glob("users/snapshot-*")
        # Spark skips plan and manifest.
        self.assertEqual(made["spark"].read.text(str(snapshot)).where("value LIKE '%plan%' OR value LIKE '%complete_cluster_time%'").count(), 0)
        self.assertEqual(made["spark"].read.text(str(snapshot)).where("value LIKE '{\"timestamp\"%'").count(), SNAPSHOT_DOCUMENTS)
        by_hour = {(seconds(row.hour), row.type): row.changes for row in made["by_hour"].collect()}
        history = [(row.type, row.document) for row in made["history"].collect()]
        self.found([row.document for row in made["state"].collect()], history, by_hour)
        typed = made["typed"].selectExpr("id", "name", "balance", "visits", "unix_micros(joined)").collect()
        self.typed((as_json(key), *row, microseconds(joined)) for key, *row, joined in typed)

    @project.where("jq", "that the recipes for jq find what was written")
    def test_jq(self):
        self.each_lake("jq", self.jq)

    def jq(self, lake, recipe):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", recipe], cwd=lake, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = [line.split() for line in (lake / "by_hour.txt").read_text().splitlines()]
        by_hour = {(seconds(datetime.fromisoformat(hour)), kind): int(count) for count, hour, kind in lines}
        history = [json.loads(line)["change"] for line in (lake / "history.ndjson").read_text().splitlines()]
        state = [json.loads(line) for line in (lake / "state.ndjson").read_text().splitlines()]
        expected = self.world.expected()
        self.assertEqual(by_hour, expected["by_hour"])
        self.assertEqual([(change["operationType"], as_doubles(change.get("fullDocument"))) for change in history],
                         [(kind, as_doubles(document)) for kind, document in expected["history"]])
        self.same(as_doubles(state_of(state)), as_doubles(expected["state"]))


def microseconds(since_1970):
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=since_1970)


def as_json(key):
    """An id of which a tool shows texts without quotation marks, spelled as Python's json does."""
    return json.dumps(json.loads(key))


def as_doubles(value):
    """What is left of numbers in a program that computes with doubles."""
    if isinstance(value, dict):
        return {name: as_doubles(inner) for name, inner in value.items()}
    return float(value) if isinstance(value, int) else value


class AzureTest(unittest.TestCase):
    """What docs/reading.md says of Azure's clients and of the running hour, in Azurite."""

    @classmethod
    def setUpClass(cls):
        stack = ExitStack()
        cls.addClassCleanup(stack.close)
        cls.uri = Server(stack, "mongod").facts["uri"]
        cls.endpoint = Server(stack, "azurite").facts["endpoint"]
        cls.client = stack.enter_context(MongoClient(cls.uri))
        cls.clock = Clock(cls.client)

    def archive(self, name, **settings):
        """A silt that archives a database of this name, which is that of the container too, into the middle of an hour."""
        self.hour = self.clock.next_hour()
        self.clock.advance(self.hour + 60)
        self.users = self.client[name].create_collection("users", changeStreamPreAndPostImages={"enabled": True})
        account = {"AZURE_STORAGE_ACCOUNT_NAME": AZURITE_ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": AZURITE_KEY, "AZURE_STORAGE_ENDPOINT": self.endpoint}
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.silt = Silt(stack, self.uri, MONGODB_DATABASE=name, AZURE_ADLS_FILESYSTEM=name, **account, **settings)
        self.connection = (f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};"
                           f"BlobEndpoint={self.endpoint};")
        service = stack.enter_context(BlobServiceClient.from_connection_string(self.connection))
        self.container = stack.enter_context(service.get_container_client(name))
        self.written = []

    def write(self, *documents):
        """Inserts documents, and waits until the lake has them."""
        before = self.etags()
        self.users.insert_many(documents)
        self.written += [document["_id"] for document in documents]
        self.silt.flush_until("the documents", lambda: self.etags() != before and set(self.written) <= self.archived())

    def etags(self):
        return {blob.name: blob.etag for blob in self.container.list_blobs("users/20")}

    def archived(self):
        return {key for name in self.etags() for key in keys_in(name, self.container.download_blob(name).readall())}

    def test_the_recipes_read_closed_hours_and_the_running_one(self):
        self.archive("recipes", OUTPUT_FORMAT="json")
        self.write({"_id": "closed"})
        closed = f"users/{name_of(self.hour)}.json"
        self.hour += HOUR
        self.clock.advance(self.hour + 60)
        self.write({"_id": "large", "text": LARGE}, {"_id": "larger", "text": LARGE}, {"_id": "largest", "text": LARGE})
        record = self.container.get_blob_client(f"users/_closed/{name_of(self.hour - HOUR)}.json")
        until("the hour to be closed", record.exists)
        recipe = recipes("azure", "json").replace('"lake"', '"recipes"').replace("2024-01-15-15", name_of(self.hour))
        made = {"connection": self.connection}
        exec(recipe, made)
        self.assertEqual({name: keys_in(name, content) for name, content in made["closed"].items()}, {closed: ["closed"]})
        self.assertGreater(len(made["running"]), SINGLE_GET_BYTES)
        self.assertEqual(keys_in("x.json", made["running"]), ["large", "larger", "largest"])

    def test_above_32_mib_the_client_asks_in_ranges_and_gets_412_if_the_file_changes(self):
        for output in ("json", "ndjson"):
            with self.subTest(output):
                self.archive(f"pinned-{output}", OUTPUT_FORMAT=output)
                self.write(*({"_id": number, "text": LARGE} for number in range(3)))
                (name,) = self.etags()
                begun = self.container.download_blob(name)
                self.write({"_id": "later"})
                with self.assertRaises(ResourceModifiedError) as refused:
                    begun.readall()
                self.assertEqual((refused.exception.status_code, refused.exception.error_code), (412, "ConditionNotMet"))
                self.assertEqual(keys_in(name, self.container.download_blob(name).readall()), self.written)

    def test_up_to_32_mib_the_client_asks_once_and_gets_one_state(self):
        self.archive("single", OUTPUT_FORMAT="json")
        self.write({"_id": "first"})
        (name,) = self.etags()
        begun = self.container.download_blob(name)
        self.write({"_id": "later"})
        self.assertEqual(keys_in(name, begun.readall()), ["first"])

    def test_ranges_without_an_etag_tear_json_but_not_the_lines_of_ndjson(self):
        for output, compression in FORMATS:
            with self.subTest(output=output, compression=compression):
                self.archive(f"torn-{output}-{compression}", OUTPUT_FORMAT=output, COMPRESSION=compression)
                self.write({"_id": "first"}, {"_id": "second"})
                (name,) = self.etags()
                length = self.container.get_blob_client(name).get_blob_properties().size
                half = length // 2
                # As adlfs and pyarrow do: the length at first, then range by range.
                head = self.container.download_blob(name, offset=0, length=half).readall()
                self.write({"_id": "later"})
                mixed = head + self.container.download_blob(name, offset=half, length=length - half).readall()
                if output == "ndjson":
                    self.assertEqual(keys_in(name, mixed), ["first", "second"])
                else:
                    self.assertRaises((json.JSONDecodeError, gzip.BadGzipFile, EOFError), keys_in, name, mixed)


LARGE = "x" * (12 << 20)
SINGLE_GET_BYTES = 32 << 20  # what azure-storage-blob asks for at once, unless max_single_get_size says otherwise


def keys_in(name, content):
    """The `_id`s of an hour file."""
    content = gzip.decompress(content) if name.endswith(".gz") else content
    lines = map(json.loads, content.splitlines()) if ".ndjson" in name else json.loads(content)["changes"]
    return [line["change"]["documentKey"]["_id"] for line in lines]


if __name__ == "__main__":
    unittest.main()
