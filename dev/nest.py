"""Processes that leave nothing behind: what the programs of this folder start, and how it ends with them.

Whatever a `Nest` starts carries a mark in its environment. A guard process, forked at the start, waits for the
end of the program, however it ends, SIGKILL included; then it ends all that carries the mark, grandchildren
too (on Linux), and removes the data. If even the guard is killed, the next program sweeps its folder up.
"""

import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tools

RUNS = tools.DEV / "run"
MARK = "SILT_DEV_RUN"
READY_SECONDS = 60
STOP_SECONDS = 10
POLL_SECONDS = 0.02
FIRST_PORT, LAST_PORT = 20_000, 32_000  # below the kernel's own range
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServerError(Exception):
    """A process that did not do what it was started for, with its last words."""


class Stop(BaseException):
    """A signal asks this program to end."""

    def __init__(self, number, _frame=None):
        super().__init__(number)
        self.number = number


def stop_on_signals():
    def handle(number, frame):
        raise Stop(number, frame)

    for number in STOP_SIGNALS:
        signal.signal(number, handle)


def ignore_signals():
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class Nest:
    """Everything that one program has started, the folder of its data, and the guard that outlives it."""

    def __init__(self):
        (RUNS / "ports").mkdir(parents=True, exist_ok=True)
        with _lock(RUNS / "lock"):
            _sweep()
            self.folder = Path(tempfile.mkdtemp(dir=RUNS))
            self._lock = _lock(self.folder / "lock")
        self._port_locks = []
        self._graceful, self._processes = [], []
        self._guard, self._line_to_guard = _fork_guard(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ignore_signals()
        for process in self._graceful:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._graceful:
            try:
                process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                pass
        for process in self._processes:
            process.kill()
            process.wait()
        os.close(self._line_to_guard)
        os.waitpid(self._guard, 0)

    def spawn(self, command, environment=None, **options):
        """A process that cannot outlive this program."""
        mark = ":".join(filter(None, [os.environ.get(MARK), str(self.folder)]))
        process = subprocess.Popen(command, env={**(environment or os.environ), MARK: mark}, **options)
        self._processes.append(process)
        return process

    def server(self, name, command, port, graceful=False):
        """A server in the background, out of reach of the terminal's Ctrl-C. Not ready yet: see `ready`."""
        if not _is_free(port):
            raise ServerError(f"{name} can't have port {port}: another program has it")
        log = self.folder / f"{name}-{port}.log"
        with open(log, "ab") as output:
            process = self.spawn(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )
        process.name, process.port, process.log = name, port, log
        if graceful:
            self._graceful.append(process)
        return process

    def again(self, process):
        """Launches a server that has ended once more: same port, same data."""
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{process.name} on port {process.port} has not ended") from None
        self._processes.remove(process)
        graceful = process in self._graceful
        if graceful:
            self._graceful.remove(process)
        return self.server(process.name, process.args, process.port, graceful)

    def port(self):
        """A free port that no other program of this kind will choose while this one runs."""
        while True:
            port = random.randint(FIRST_PORT, LAST_PORT)
            lock = _lock(RUNS / "ports" / str(port), wait=False)
            if lock is not None and _is_free(port):
                self._port_locks.append(lock)
                return port

    def data(self, name, given=None, keep=False):
        """The folder of a server's data: the given one, or a new one. What is made here is removed in the end."""
        folder = Path(given).resolve() if given else self.folder / name
        if not folder.exists() and not keep:
            os.write(self._line_to_guard, f"{folder}\n".encode())
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _fork_guard(folder):
    """The guard's pid, and the pipe whose closing wakes it. Each line on the pipe names a folder to remove."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(reading)
        return pid, writing
    try:
        os.setsid()
        ignore_signals()
        os.close(writing)
        with open(reading, encoding="utf-8") as pipe:
            folders = pipe.read().splitlines()
        _end_marked(str(folder))
        for left in [*folders, folder]:
            shutil.rmtree(left, ignore_errors=True)
        with _lock(RUNS / "lock"):
            _sweep()
    finally:
        os._exit(0)


def _end_marked(mark):
    """Ends every process that carries the mark, and says which it had to end."""
    said = set()
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        found = list(_marked(mark))
        if not found:
            return
        for pid, command in found:
            if pid not in said:
                said.add(pid)
                os.write(2, f"servers.py: ended what was left running: {pid} {command}\n".encode())
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(POLL_SECONDS)


def _marked(mark):
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and mark.encode() in (folder / "environ").read_bytes():
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:100]
        except OSError:  # ended meanwhile, or another user's
            pass


def _sweep():
    """Removes the folders of programs that ended without a guard's help: those whose lock is free."""
    for held in RUNS.glob("*/lock"):
        lock = _lock(held, wait=False)
        if lock is not None:
            shutil.rmtree(held.parent, ignore_errors=True)
            lock.close()


def _lock(path, wait=True):
    """An open, locked file, held as long as it or a forked copy of it is open. None: another has it."""
    file = open(path, "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def ready(process):
    """Waits until a server takes connections."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", process.port), 1).close()
            return
        except OSError:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
        how = f"ended with status {process.poll()}" if process.poll() is not None else "takes no connections"
        last = process.log.read_text(errors="replace").splitlines()[-5:]
        raise ServerError(f"{process.name} on port {process.port} {how}; its last words:\n" + "\n".join(last))
