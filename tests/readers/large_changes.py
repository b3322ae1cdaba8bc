"""large_changes.py FILE…: of each change its token, its kind, and how long its text is (-1: not all x)."""
import json
import sys

for path in sys.argv[1:]:
    with open(path) as file:
        for line in file:
            change = json.loads(line)["change"]
            text = change["fullDocument"]["text"]
            whole = text.count("x") == len(text)
            print(change["_id"]["_data"], change["operationType"], len(text) if whole else -1)
