"""read_back.py EVENTS FILE…: whether each line of the ndjson files reads back as the BSON of its event, for pymongo."""
import json
import sys

import bson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.son import SON

# Types of their own in BSON, but not in pymongo.
OTHER_IN_PYMONGO = ('{"$symbol":', '{"$undefined":', '{"$dbPointer":')
CODEC = CodecOptions(document_class=SON, datetime_conversion=DatetimeConversion.DATETIME_MS)
OPTIONS = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, document_class=SON,
                                datetime_conversion=DatetimeConversion.DATETIME_MS)


def events(path):
    raw = open(path, "rb").read()
    while raw:
        size = int.from_bytes(raw[:4], "little")
        yield raw[:size]
        raw = raw[size:]


def lines(paths):
    for path in paths:
        with open(path, encoding="utf-8", newline="\n") as file:
            yield from file


count = 0
for event, line in zip(events(sys.argv[1]), lines(sys.argv[2:])):
    change = json.loads(line)["change"]
    if "siltRawEvent" in change:
        read = json_util.loads(json.dumps(change["siltRawEvent"]), json_options=OPTIONS)
    else:
        read = bson.encode(json_util.loads(line, json_options=OPTIONS)["change"], codec_options=CODEC)
        if any(spelling in line for spelling in OTHER_IN_PYMONGO):
            event = bson.encode(bson.decode(event, CODEC), codec_options=CODEC)
    assert read == event, f"{line}\n{read}\n{event}"
    count += 1
print(count, "lines")
