#!/usr/bin/env python3
"""`make mutants`: breaks the pure core in every small way that cargo-mutants knows; a test must fail for each.

    python3 dev/mutants.py                                          all of crates/core
    python3 dev/mutants.py --file crates/core/src/machine/lane.rs   further arguments go to cargo mutants

Only the core's own tests run, the model's among them. Seeds are fixed, so that two runs agree.
.cargo/mutants.toml says what is left out and why. The exit status is 0 only if enough mutants are caught;
target/mutants/mutants.out holds the log of each.
"""

import json
import os
import resource
import shutil
import subprocess
import sys

import tools

VERSION = "27.1.0"
CAUGHT_PERCENT_MIN = 90

REPOSITORY = tools.HERE.parent
FOLDER = REPOSITORY / "target" / "mutants"
OUTCOMES = FOLDER / "mutants.out" / "outcomes.json"

ENVIRONMENT = {
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "SILT_MODEL_SEED": "1",
    "PROPTEST_RNG_SEED": "1",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
    "PROPTEST_MAX_SHRINK_ITERS": "0",
}
HANGS_AFTER_SECONDS = 120  # the tests take ten
MEMORY_BYTES = 4 << 30  # for a mutant that fills it
RAN = {0, 2, 3}  # exit statuses of cargo mutants: all caught, some missed, some hung


def program():
    """cargo-mutants, whose subcommand `mutants` it is."""
    on_path = shutil.which("cargo-mutants")
    if on_path:
        return on_path
    folder = tools.DEV / "cargo-mutants"
    tools.fetch(folder, VERSION, f"cargo-mutants {VERSION}", _install)
    return str(folder / "bin" / "cargo-mutants")


def _install(folder):
    command = ["cargo", "install", "cargo-mutants", "--version", VERSION, "--locked", "--root", str(folder)]
    tools.run(command, "check cargo's access to its registry, or put a cargo-mutants on PATH")


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def test(arguments):
    command = [
        program(), "mutants", "--package", "silt-core", "--test-package", "silt-core",
        "--output", str(FOLDER), "--timeout", str(HANGS_AFTER_SECONDS), *arguments,
    ]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, preexec_fn=limit_memory)
    if done.returncode not in RAN:
        sys.exit(done.returncode)


def report():
    """Prints the survivors and the score. Returns whether that is good enough."""
    outcomes = json.loads(OUTCOMES.read_text())
    caught, missed, hung = (outcomes[kind] for kind in ("caught", "missed", "timeout"))
    viable = caught + missed + hung
    if not viable:
        sys.exit("mutants: there are no mutants here")
    for kind in ("MissedMutant", "Timeout"):
        for outcome in outcomes["outcomes"]:
            if outcome["summary"] == kind:
                print(f"{kind}: {outcome['scenario']['Mutant']['name']}")
    percent = 100 * caught / viable
    unviable = outcomes["unviable"]
    print(f"{viable} mutants: {caught} caught, {missed} missed, {hung} hung; {unviable} more don't compile")
    print(f"caught: {percent:.1f} % (at least {CAUGHT_PERCENT_MIN} %)")
    return percent >= CAUGHT_PERCENT_MIN


def main(arguments):
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        test(arguments)
    except tools.ToolError as error:
        sys.exit(f"mutants: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(not report())


if __name__ == "__main__":
    main(sys.argv[1:])
