#!/usr/bin/env python3
"""`make demo`: silt archives a busy database for a minute, is killed on the way, and loses nothing.

    python3 dev/demo.py [--binary PATH] [--seconds N]

A replica set of its own, three collections under load, silt writing to .dev/demo/lake. On the way silt gets
SIGKILL, SIGUSR1, SIGTERM under load as in a rollout, and SIGTERM in the end. Meanwhile two readers download
the newest files, one of them slowly; each download must be whole. What was made is known twice over, from the
writer's ledger and from a second change stream, and compared with the lake, change by change. The exit status
is 0 only if all agree. The parts are in demo/.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import tools
from nest import Nest, ServerError, Stop, stop_on_signals

FOLDER = tools.DEV / "demo"
LOAD_SECONDS = 42


def release_build():
    root = tools.HERE.parent
    return Path(os.environ.get("CARGO_TARGET_DIR") or root / "target") / "release" / "silt"


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=release_build(), help="the silt to run")
    parser.add_argument("--seconds", type=int, default=LOAD_SECONDS, help="how long the load lasts")
    options = parser.parse_args(arguments)
    if not options.binary.exists():
        sys.exit(f"demo: there is no {options.binary}\nfix: make build")
    stop_on_signals()
    try:
        tools.python()
        tools.mongod()
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        from demo.play import Failure, Play  # needs pymongo, which is there only now
    except tools.ToolError as error:
        sys.exit(f"demo: {error}")
    try:
        with Nest() as nest:
            clean = Play(nest, options.binary.resolve(), FOLDER, options.seconds).run()
    except Stop as stop:
        print("\ndemo: stopped")
        return 128 + stop.number
    except (Failure, ServerError, subprocess.SubprocessError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
