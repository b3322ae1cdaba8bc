"""The load: one writer a collection, with a ledger of every operation that the server acknowledged."""

import random
import threading
import time
from datetime import datetime, timezone

from bson import Decimal128, ObjectId
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

BULK_SECONDS = 0.05
LAST_ID = "the last of the demo"

# Collection: operations a second, and how many of a hundred are inserts, updates, replaces, deletes.
LOADS = {
    "users": (250, (30, 45, 15, 10)),
    "orders": (450, (35, 50, 5, 10)),
    "events": (550, (80, 5, 0, 15)),
}


def document(collection, dice, serial):
    """A document as a shop would have it."""
    now = datetime.now(timezone.utc)
    if collection == "users":
        name = dice.choice(["Ada", "Björn", "Chloé", "Dmitri", "Emeka", "Fatima", "顾"])
        address = {"city": dice.choice(["Lyon", "Kraków", "Osaka"]), "zip": f"{dice.randrange(99999):05}"}
        return {"name": name, "email": f"{serial}@example.org", "address": address, "since": now, "visits": 0}
    if collection == "orders":
        price = Decimal128(f"{dice.randrange(100, 99_999) / 100:.2f}")
        items = [{"sku": f"S-{dice.randrange(9999)}", "qty": dice.randrange(1, 5)} for _ in range(dice.randrange(1, 6))]
        return {"number": serial, "items": items, "total": price, "status": "new", "at": now}
    return {"kind": dice.choice(["view", "click", "buy"]), "path": f"/p/{serial}", "ms": dice.random() * 900, "at": now}


class Writer(threading.Thread):
    def __init__(self, collection, rate, shares, wake):
        super().__init__(name=f"writer of {collection.name}", daemon=True)
        self.collection = collection
        self.ledger = []  # (operation type, id), in the order of the server's acknowledgements
        self.failure = None
        self._rate, self._shares, self._wake = rate, shares, wake
        self._dice = random.Random(collection.name)
        self._ids, self._serial = [], 0
        self._enough = threading.Event()

    def finish(self):
        """Asks for the end: one last insert, by which everybody knows that nothing follows."""
        self._enough.set()

    def run(self):
        try:
            due = time.monotonic()
            while not self._enough.is_set():
                self._write([self._operation() for _ in range(round(self._rate * BULK_SECONDS))])
                due = max(due + BULK_SECONDS, time.monotonic())
                self._enough.wait(due - time.monotonic())
            self._write([("insert", LAST_ID, InsertOne({"_id": LAST_ID}))])
        except Exception as error:  # told by the main thread
            self.failure = error
            self._wake.set()

    def _operation(self):
        (kind,) = self._dice.choices(["insert", "update", "replace", "delete"], self._shares)
        self._serial += 1
        fresh = document(self.collection.name, self._dice, self._serial)
        if kind == "insert" or not self._ids:
            self._ids.append(ObjectId())
            return "insert", self._ids[-1], InsertOne({"_id": self._ids[-1], **fresh})
        at = self._dice.randrange(len(self._ids))
        key = {"_id": self._ids[at]}
        if kind == "delete":
            self._ids[at] = self._ids[-1]
            self._ids.pop()
            return "delete", key["_id"], DeleteOne(key)
        if kind == "replace":
            return "replace", key["_id"], ReplaceOne(key, {**fresh, "revision": self._serial})
        return "update", key["_id"], UpdateOne(key, {"$set": {"revision": self._serial}, "$inc": {"visits": 1}})

    def _write(self, operations):
        done = self.collection.bulk_write([request for _, _, request in operations], ordered=True)
        kinds = [kind for kind, _, _ in operations]
        changed = kinds.count("update") + kinds.count("replace")
        expected = (kinds.count("insert"), changed, kinds.count("delete"))
        if (done.inserted_count, done.modified_count, done.deleted_count) != expected:
            raise RuntimeError(f"{self.name}: the server did {done.bulk_api_result}, not {expected}")
        self.ledger += [(kind, identity) for kind, identity, _ in operations]
