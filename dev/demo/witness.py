"""A second change stream, read by MongoDB's own client: what really happened, in which order."""

import threading

from .writer import LAST_ID


class Witness(threading.Thread):
    """Notes every change of a collection from a moment on, up to the writer's last."""

    def __init__(self, collection, start, wake):
        super().__init__(name=f"second stream of {collection.name}", daemon=True)
        self.operations = []  # (operation type, id), to compare with the ledger
        self.tokens = []  # to compare with the lake
        self.failure = None
        self._collection, self._start, self._wake = collection, start, wake

    def run(self):
        slim = [{"$project": {"operationType": 1, "documentKey": 1}}]
        try:
            with self._collection.watch(slim, start_at_operation_time=self._start) as stream:
                for change in stream:
                    self.operations.append((change["operationType"], change["documentKey"]["_id"]))
                    self.tokens.append(change["_id"]["_data"])
                    if change["documentKey"]["_id"] == LAST_ID:
                        break
        except Exception as error:  # told by the main thread
            self.failure = error
        self._wake.set()
