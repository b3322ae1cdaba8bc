#!/usr/bin/env python3
"""`make mutants`: breaks the pure core in every small way that cargo-mutants knows; its tests must see each.

    python3 dev/mutants.py                               all of src/archive/: some minutes
    python3 dev/mutants.py --file crates/core/src/file/gzip.rs   what follows goes to cargo mutants

The core needs nothing else of silt, so it is copied into a package of its own, target/mutants/core, which builds
in seconds; what must see a mutant is the core's own tests, the model's among them. Seeds are fixed, so that
two runs agree. What is left out, and why, stands in .cargo/mutants.toml. The exit status is 0 only if enough
mutants are caught; what was said about each lies in target/mutants/mutants.out.
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
CORE = FOLDER / "core"
OUTCOMES = FOLDER / "mutants.out" / "outcomes.json"

# What src/archive/ and its tests use.
CRATES = {"anyhow", "bytes", "chrono", "fastrand", "flate2", "proptest", "regex", "serde", "serde_json", "sha2", "thiserror"}
SECTIONS = {"package", "dependencies", "dev-dependencies", "lints.rust", "lints.clippy"}
PROFILE = """\
[profile.dev]
debug = false

[profile.dev.package."*"]
opt-level = 1
"""
LIB = "//! The pure core of silt, for mutation testing.\n\npub mod archive;\n"

ENVIRONMENT = {
    "SILT_MODEL_SEED": "1",
    "PROPTEST_RNG_SEED": "1",
    "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
    "PROPTEST_MAX_SHRINK_ITERS": "0",
}
HANGS_AFTER_SECONDS = 120  # the tests take three
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


def prepare():
    """The core as a package. Its files get new times, so cargo never takes an old build for theirs."""
    source = CORE / "src"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    shutil.copytree(REPOSITORY / "src" / "archive", source / "archive", copy_function=shutil.copy)
    (source / "lib.rs").write_text(LIB)
    (CORE / "Cargo.toml").write_text(manifest((REPOSITORY / "Cargo.toml").read_text()))
    shutil.copy(REPOSITORY / "Cargo.lock", CORE)


def manifest(whole):
    """The manifest of silt without what the core has no use for."""
    kept, section = [], ""
    for line in whole.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        is_unused = " = " in line and section.endswith("dependencies") and line.split(" = ")[0] not in CRATES
        if section in SECTIONS and not is_unused:
            kept.append(line)
    return "\n".join(kept) + "\n" + PROFILE


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def test(arguments):
    command = [
        program(), "mutants", "--in-place", "--config", str(REPOSITORY / ".cargo" / "mutants.toml"),
        "--output", str(FOLDER), "--timeout", str(HANGS_AFTER_SECONDS), *arguments,
    ]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, cwd=CORE, env=environment, preexec_fn=limit_memory)
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
        prepare()
        test(arguments)
    except tools.ToolError as error:
        sys.exit(f"mutants: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(not report())


if __name__ == "__main__":
    main(sys.argv[1:])
