#!/usr/bin/env python3
"""Starts real servers, MongoDB replica sets and Azurite, and leaves nothing behind.

    servers.py run [--version V] [--oplog-mb N] [--cache-mb N] -- cargo test
                                    both servers for the time of one command, whose exit status it takes over
    servers.py mongod [--version V] [--members N] [--port P,…] [--data DIR] [--keep-data] [--oplog-mb N] [--cache-mb N]
                      [--sync-seconds N] [--auth] [--lone KIND]
    servers.py azurite [--port P] [--location DIR] [--keep-data]

`mongod` and `azurite` print one line of JSON when the server is ready, stay until their standard input closes
(or SIGTERM, SIGINT, SIGHUP), then end the server and remove its data. To stop a server and start it again with
the same data, give both starts the same --port and a folder, and the first --keep-data. A folder that was
there before is never removed. Ports come from outside the kernel's own range, so no outgoing connection can
take one while its server is down. One member of a replica set is stopped by a signal to its process; a line
`start N` on standard input starts member N (from 0) again, and the line of JSON is printed anew when it is ready.

A version is one of those that tools.py can fetch; without one it is the mongod on PATH, or the default of tools.py.
`run` hands its own on: a server that its command starts is of the same, unless it asks for another.

`run` gives its command:

    SILT_TEST_MONGODB_URI   a replica set of one; $MONGODB_URI where that is set and no version is asked for
                            (the command doesn't see it)
    SILT_TEST_VERSION       the version of mongod that was asked for, if one was
    SILT_TEST_AZURITE       http://127.0.0.1:PORT/devstoreaccount1, held in memory
    SILT_TEST_CHROMIUM      a Chromium, for the page
    SILT_TEST_BSON_CORPUS   folder of the BSON corpus
    SILT_TEST_PYTHON        this Python; PYTHONPATH holds pymongo, duckdb and azure-storage-blob
    SILT_TEST_SERVERS       this file, for tests that need servers of their own

How nothing is left behind: see nest.py.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import tools
from nest import READY_SECONDS, STOP_SECONDS, Nest, ServerError, Stop, ready, stop_on_signals

OPLOG_MB = 256
CACHE_MB = 1024  # In 256 MB, an update of 6 MB can wait for half a minute until MongoDB 4.4 has room for it.
REPLICA_SET = "rs0"
ALREADY_INITIALIZED, UNAUTHORIZED = 23, 13  # MongoDB's error codes
VERSION = "SILT_TEST_VERSION"
ROOT = "root"  # name and password of the user who may do everything, where there are users

AZURITE_ACCOUNT = "devstoreaccount1"
# Not a secret: the one key of every emulator, published in Microsoft's documentation.
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def start_mongod(nest, members=1, ports=None, data=None, keep=False, oplog_mb=OPLOG_MB, sync_seconds=60,
                 auth=False, standalone=False, cache_mb=CACHE_MB, version=None):
    """Launches the members of a replica set: a list of processes, for `replica_set`. A standalone server is no member."""
    tools.python()
    program = tools.mongod(version)
    ports = ports or [nest.port() for _ in range(members)]
    folder = nest.data("mongod", data, keep)
    login = ["--auth", "--keyFile", str(_key_file(folder))] if auth else []
    processes = []
    for number, port in enumerate(ports):
        (folder / str(number)).mkdir(exist_ok=True)
        command = [
            program, "--dbpath", str(folder / str(number)), "--port", str(port), "--bind_ip", "127.0.0.1",
            *([] if standalone else ["--replSet", REPLICA_SET, "--oplogSize", str(oplog_mb)]), "--wiredTigerCacheSizeGB", str(cache_mb / 1024),
            "--nounixsocket", "--quiet", "--syncdelay", str(sync_seconds), *login,
        ]
        for parameter in MONGOD_PARAMETERS + ([] if version and version.startswith("4.") else [SHORT_GOODBYE]):
            command += ["--setParameter", parameter]
        processes.append(nest.server("mongod", command, port, graceful=keep))
    return processes


MONGOD_PARAMETERS = [
    "diagnosticDataCollectionEnabled=false",
    "enableTestCommands=1",  # failpoints: a test makes the server fail as it wishes
    "periodicNoopIntervalSecs=1",  # the cluster time of an idle server moves on every second, not every ten
]
SHORT_GOODBYE = "shutdownTimeoutMillisForSignaledShutdown=100"  # 4.4 has none, and no name for it


def _key_file(folder):
    """The file by which members know each other, which mongod wants to be its user's alone."""
    path = folder / "key"
    path.touch(mode=0o600)
    path.write_text("theKeyOfATest\n")
    return path


def replica_set(processes, auth=False):
    """Makes the launched members a replica set with a primary, all of them in step: its connection string.

    With `auth` it has a user, who may do everything.
    """
    from pymongo.errors import PyMongoError

    for process in processes:
        ready(process)
    hosts = [f"127.0.0.1:{process.port}" for process in processes]
    login = f"{ROOT}:{ROOT}@" if auth else ""
    uri = f"mongodb://{login}{','.join(hosts)}/?replicaSet={REPLICA_SET}"
    try:
        _initiate(hosts)
        if auth:
            _create_root(hosts[0])
        _await_all_members(uri, len(hosts))
    except PyMongoError as error:
        raise ServerError(f"mongod on {', '.join(hosts)} does not become a replica set: {error}") from error
    return uri


def _initiate(hosts):
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

    config = {
        "_id": REPLICA_SET,
        "members": [{"_id": number, "host": host} for number, host in enumerate(hosts)],
        "settings": {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500},
    }
    with MongoClient(hosts[0], directConnection=True) as first:
        try:
            first.admin.command("replSetInitiate", config)
        except OperationFailure as error:
            if error.code != ALREADY_INITIALIZED:  # which it is with the data of a former run
                raise


def _create_root(host):
    """Creates the first user, which anybody on the server's own machine may do."""
    from pymongo import MongoClient
    from pymongo.errors import NotPrimaryError, OperationFailure

    deadline = time.monotonic() + READY_SECONDS
    with MongoClient(host, directConnection=True) as first:
        while True:
            try:
                first.admin.command("createUser", ROOT, pwd=ROOT, roles=["root"])
                return
            except OperationFailure as error:
                if error.code == UNAUTHORIZED:  # with the data of a former run there is one already
                    return
                raise
            except NotPrimaryError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def _await_all_members(uri, members):
    """Waits for a primary, and for all members to have a write that it takes."""
    from pymongo import MongoClient

    with MongoClient(uri, serverSelectionTimeoutMS=READY_SECONDS * 1000) as client:
        concern = {"w": members, "wtimeout": READY_SECONDS * 1000}
        client.admin.command("appendOplogNote", 1, data={"note": "ready"}, writeConcern=concern)


def start_azurite(nest, port=None, location=None, keep=False):
    """Launches Azurite, in memory unless a folder is given: its process, for `blob_endpoint`."""
    program = tools.azurite()
    port = port or nest.port()
    persistence = ["--inMemoryPersistence"]
    if location:
        persistence = ["--location", str(nest.data("azurite", location, keep))]
    command = [
        *program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *persistence,
        "--skipApiVersionCheck", "--disableTelemetry", "--silent",
    ]
    return nest.server("azurite", command, port, graceful=keep)


def blob_endpoint(process):
    ready(process)
    return f"http://127.0.0.1:{process.port}/{AZURITE_ACCOUNT}"


def serve_mongod(nest, options):
    ports = [int(port) for port in options.port.split(",")] if options.port else None
    members = len(ports) if ports else options.members
    processes = start_mongod(nest, members, ports, options.data, options.keep_data, options.oplog_mb,
                             options.sync_seconds, options.auth, options.lone == "standalone",
                             options.cache_mb, options.version)
    if options.lone:
        ready(processes[0])
        return serve(nest, processes, {"uri": f"mongodb://127.0.0.1:{processes[0].port}/"})
    serve(nest, processes, {"uri": replica_set(processes, options.auth), "replica_set": REPLICA_SET})


def serve_azurite(nest, options):
    process = start_azurite(nest, options.port, options.location, options.keep_data)
    serve(nest, [process], {"endpoint": blob_endpoint(process), "account": AZURITE_ACCOUNT, "key": AZURITE_KEY})


def serve(nest, processes, facts):
    """Prints the facts, then starts again what it is told to until standard input closes."""
    announce(processes, facts)
    while line := sys.stdin.readline():
        order, _, number = line.strip().partition(" ")
        if order != "start" or not number.isdigit() or int(number) >= len(processes):
            raise ServerError(f"`{line.strip()}` is no order: `start N` is, N from 0 to {len(processes) - 1}")
        processes[int(number)] = nest.again(processes[int(number)])
        ready(processes[int(number)])
        announce(processes, facts)


def announce(processes, facts):
    ports, pids = [process.port for process in processes], [process.pid for process in processes]
    print(json.dumps({**facts, "ports": ports, "pids": pids}), flush=True)


def run(nest, options):
    """Runs the command beside both servers: its exit status."""
    given = None if options.version else os.environ.get("MONGODB_URI")
    mongod = [] if given else start_mongod(
        nest, oplog_mb=options.oplog_mb, cache_mb=options.cache_mb, version=options.version)
    azurite = start_azurite(nest)
    environment = {
        **os.environ,
        "SILT_TEST_CHROMIUM": tools.browser(),
        "SILT_TEST_BSON_CORPUS": tools.corpus(),
        "SILT_TEST_PYTHON": sys.executable,
        "SILT_TEST_SERVERS": str(Path(__file__).resolve()),
        "SILT_TEST_AZURITE": blob_endpoint(azurite),
        "SILT_TEST_MONGODB_URI": given or replica_set(mongod),
        "PYTHONPATH": os.pathsep.join(filter(None, [tools.python(), os.environ.get("PYTHONPATH")])),
    }
    environment.pop("MONGODB_URI", None)
    if options.version:
        environment[VERSION] = options.version
    try:
        process = nest.spawn(options.command, environment)
    except OSError as error:
        raise ServerError(f"can't run `{options.command[0]}`: {error.strerror}") from error
    try:
        status = process.wait()
    except Stop as stop:  # pass it on, and let the command end in its own way
        process.send_signal(stop.number)
        process.wait(STOP_SECONDS)
        raise
    return status if status >= 0 else 128 - status


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="run|mongod|azurite")
    command = commands.add_parser("run")
    command.add_argument("--oplog-mb", type=int, default=OPLOG_MB)
    command.add_argument("command", nargs=argparse.REMAINDER)
    command.set_defaults(start=run)
    mongod = commands.add_parser("mongod")
    mongod.add_argument("--members", type=int, default=1)
    mongod.add_argument("--port", help="one port a member, with commas between them")
    mongod.add_argument("--data", help="folder of the data")
    mongod.add_argument("--oplog-mb", type=int, default=OPLOG_MB)
    mongod.add_argument("--sync-seconds", type=int, default=60, help="the oplog is cut off this often")
    mongod.add_argument("--auth", action="store_true", help="ask for a login; its first user is root, password root")
    mongod.add_argument("--lone", choices=["standalone", "uninitiated"], help="a server without change streams")
    mongod.set_defaults(start=serve_mongod)
    azurite = commands.add_parser("azurite")
    azurite.add_argument("--port", type=int)
    azurite.add_argument("--location", help="folder of the data; without it they are held in memory")
    azurite.set_defaults(start=serve_azurite)
    for starter in (command, mongod):
        starter.add_argument("--cache-mb", type=int, default=CACHE_MB, help="of mongod's storage engine")
        starter.add_argument("--version", default=os.environ.get(VERSION), help=f"of mongod: {', '.join(tools.MONGODS)}")
    for server in (mongod, azurite):
        server.add_argument("--keep-data", action="store_true", help="stop in good order and keep the folder")
    options = parser.parse_args(arguments)
    if options.start is run:
        options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
        if not options.command:
            parser.error("run needs a command")
    return options


def main(arguments):
    options = parse(arguments)
    stop_on_signals()
    try:
        with Nest() as nest:
            return options.start(nest, options) or 0
    except Stop as stop:
        return 128 + stop.number if options.start is run else 0
    except (ServerError, tools.ToolError) as error:
        print(f"servers.py: {error}", file=sys.stderr)
        return 1
    except subprocess.TimeoutExpired:
        return 128 + signal.SIGKILL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
