"""read_file.py FILE: count and sum of fullDocument.number, as Python's json, DuckDB and jq see them."""
import gzip
import json
import sys

import duckdb
import jq

path = sys.argv[1]
raw = open(path, "rb").read()
text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode()
lines = ".ndjson" in path

changes = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)["changes"]
numbers = [change["change"]["fullDocument"]["number"] for change in changes]
print("python", len(numbers), sum(numbers))

options = "format = 'newline_delimited'" if lines else "format = 'auto', maximum_object_size = 100000000"
source = f"read_json('{path}', {options})"
rows = source if lines else f"(SELECT unnest(changes, recursive := false) AS row FROM {source})"
change = "change" if lines else "row.change"
query = f"SELECT count(*), sum({change}.fullDocument.number) FROM {rows}"
count, total = duckdb.sql(query).fetchone()
print("duckdb", count, int(total))

program = "[.[].change.fullDocument.number] | [length, add]" if lines else (
    "[.changes[].change.fullDocument.number] | [length, add]")
program = jq.compile(program)
found = (program.input_value(changes) if lines else program.input_text(text)).first()
print("jq", *found)
