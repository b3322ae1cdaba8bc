"""silt itself as a process: started, signalled, killed; its log read as it comes."""

import os
import signal
import subprocess
import threading

LAST_LINE_SECONDS = 5
PASSED_ON = ("PATH", "HOME", "LANG", "RUST_BACKTRACE")


class Archiver:
    def __init__(self, nest, binary, settings, log_path, wake):
        self.starts = 0
        self.lines = []  # of the log, over all starts
        self.watching = set()  # collections that the running silt said it watches
        self._nest, self._binary, self._settings, self._wake = nest, binary, settings, wake
        self._log_path = log_path
        self._process = self._pump = None

    def start(self):
        self.starts += 1
        self.watching = set()
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        self._process = self._nest.spawn(
            [str(self._binary)], {**environment, **self._settings}, cwd=self._log_path.parent,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        self._pump = threading.Thread(target=self._read_log, args=[self._process.stdout], daemon=True)
        self._pump.start()

    def _read_log(self, pipe):
        names = self._settings["MONGODB_COLLECTIONS"].split(",")
        with open(self._log_path, "ab") as log:
            for line in pipe:
                log.write(line)
                log.flush()
                text = line.decode(errors="replace").rstrip()
                self.lines.append(text)
                if "watching" in text:
                    self.watching.update(name for name in names if name in text)
                    self._wake.set()
        self._wake.set()

    @property
    def status(self):
        """None while it runs; then what it ended with."""
        return self._process.poll()

    def flush(self):
        self._process.send_signal(signal.SIGUSR1)

    def drain(self):
        self._process.send_signal(signal.SIGTERM)

    def kill(self):
        self._process.kill()
        self._process.wait()
        self.read_to_the_end()

    def read_to_the_end(self):
        """Once it has ended: waits for the last line of its log."""
        self._pump.join(LAST_LINE_SECONDS)
