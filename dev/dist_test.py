"""What `make dist` makes: the tarball unpacked, and the Debian package installed, run and purged by dpkg in a root of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import dist
import docs_test
import tools
from deploy import project

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
LEVEL = 1  # of gzip: the binary with which this is tested is large
# What the maintainer scripts call. dpkg itself runs outside of the root.
PROGRAMS = ["sh", "getent", "useradd", "userdel", "chmod", "mkdir", "rm"]
# What dpkg and the programs that change users keep for themselves.
OTHERS_OWN = re.compile(r"(var/lib/dpkg|var/log)(/.*)?|etc/(\.pwd\.lock|(passwd|group|shadow|gshadow|subuid|subgid)-?)")

made = None


def setUpModule():
    global made
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    # The test's binary: a release build takes minutes. Compressed fast, because it is large.
    made = dist.dist(docs_test.silt(), folder.name, LEVEL, ["--fast"])


class TarballTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with tarfile.open(made[0]) as tar:
            tar.extractall(folder.name, filter="data")
        (self.folder,) = Path(folder.name).iterdir()

    def said(self, *command):
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return done.stdout

    def test_it_has_everything_and_the_checksums_are_right(self):
        files = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}
        listed = {line.split("  ")[1] for line in self.said("cat", "SHA256SUMS").splitlines()}
        self.assertEqual(files - {"SHA256SUMS"}, listed)
        self.said("sha256sum", "--check", "--quiet", "SHA256SUMS")
        completions = {f"completions/{name}" for name in dist.SHELLS.values()}
        others = {"silt", "silt.service", "silt.env", "man/silt.1", "man/silt-watch.1", "LICENSE-MIT", "LICENSE-APACHE", "LICENSES-OF-DEPENDENCIES"}
        self.assertLessEqual(completions | others, files)
        self.assertIn("tokio", (self.folder / "LICENSES-OF-DEPENDENCIES").read_text())
        beside = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=made[0].parent)
        self.assertEqual(beside.returncode, 0)

    def test_the_binary_runs_and_each_of_its_commands_has_a_page(self):
        self.assertEqual(self.said("./silt", "--version"), f"silt {project.package_version()}\n")
        pages = {path.stem for path in (self.folder / "man").iterdir()}
        named = re.findall(r"^silt\\-(\w+)\(1\)", (self.folder / "man/silt.1").read_text(), re.M)
        self.assertEqual(pages, {"silt", *(f"silt-{name}" for name in named)})
        self.assertIn("silt-watch", pages)

    def completed(self, *words):
        """What bash offers for the last word."""
        script = "source completions/silt.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); " \
            "_silt silt \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; echo \"${COMPREPLY[*]}\""
        return self.said("bash", "-c", script, "bash", *words).split()

    def test_bash_completes_commands_flags_and_words(self):
        self.assertEqual(self.completed("silt", "wa"), ["watch"])
        self.assertEqual(self.completed("silt", "watch", "--lim"), ["--limit"])
        self.assertEqual(self.completed("silt", "--batch-s"), ["--batch-size"])
        self.assertEqual(self.completed("silt", "completions", "z"), ["zsh"])
        self.assertEqual(self.completed("silt", "--azure-storage-account-k"), ["--azure-storage-account-key-file"])
        self.assertEqual(self.completed("silt", "ma"), [])

    def test_an_equal_binary_makes_an_equal_tarball(self):
        before = made[0].read_bytes()
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(made[0]) as tar:
                seconds = int(tar.next().mtime)
            again = dist.tarball(Path(folder), made[0].name.removesuffix(".tar.gz"), seconds, LEVEL)
            self.assertEqual(again.read_bytes(), before)


class Root:
    """A folder with what a Debian system needs for dpkg to install a package there: its packages' list, and a few programs."""

    def __init__(self, path):
        self.path = path
        for folder in ["usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "dev", "var/lib/dpkg/info", "var/lib/dpkg/updates"]:
            (path / folder).mkdir(parents=True)
        for link in ["bin", "lib", "lib64"]:
            (path / link).symlink_to(f"usr/{link}")
        (path / "usr/sbin").symlink_to("bin")
        (path / "sbin").symlink_to("usr/sbin")
        # Its dependencies count as they do on this machine.
        shutil.copy("/var/lib/dpkg/status", path / "var/lib/dpkg/status")
        (path / "dev/null").touch()
        (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (path / "etc/group").write_text("root:x:0:\n")
        (path / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        for program in PROGRAMS:
            found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
            self.copy(found, f"/usr/bin/{program}")
            self.copy_libraries(found)
        # What the package depends on.
        self.copy_libraries(docs_test.silt())

    def copy_libraries(self, program):
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, check=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            self.copy(library, library)

    def copy(self, source, target):
        target = self.path / target.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    def dpkg(self, *arguments):
        """Runs dpkg, which runs the package's scripts inside of the root; what it said."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
        command = ["dpkg", f"--root={self.path}", "--force-confold", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}")
        return done.stdout

    def files(self):
        """Every path with its mode and owner, except for what isn't the package's."""
        found = {}
        for path in self.path.rglob("*"):
            name = str(path.relative_to(self.path))
            if not OTHERS_OWN.fullmatch(name):
                status = path.lstat()
                found[name] = (oct(status.st_mode), status.st_uid, status.st_gid)
        return found

    def user(self):
        """User and group id of silt's user, if there is one."""
        for line in (self.path / "etc/passwd").read_text().splitlines():
            name, _, uid, gid, _, _, shell = line.split(":")
            if name == "silt":
                assert shell == "/usr/sbin/nologin", line
                return int(uid), int(gid)
        return None

    def start(self, command, environment):
        """Starts a program inside of the root, as silt's user."""
        uid, gid = self.user()

        def enter():
            os.chroot(self.path)
            os.chdir("/")
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)

        return subprocess.Popen(command, env=environment, preexec_fn=enter, stderr=subprocess.PIPE, text=True)


def as_root(test):
    """dpkg and chroot are root's."""
    if os.geteuid() == 0 and shutil.which("dpkg"):
        return test
    print("unproven on this machine, for want of root and dpkg: that the Debian package can be installed, run and purged", file=sys.stderr)
    return None


@as_root
class PackageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.root = Root(Path(folder.name) / "root")
        self.path = self.root.path
        self.before = self.root.files()

    def install(self):
        return self.root.dpkg("--install", str(made[1]))

    def test_it_installs_what_it_should_and_purges_all_of_it(self):
        self.install()
        for name, mode in [("usr/bin/silt", "755"), ("usr/lib/systemd/system/silt.service", "644"), ("etc/silt", "700"),
                           ("etc/silt/silt.env", "600"), ("etc/silt/secrets", "700"), ("usr/share/man/man1/silt.1.gz", "644"),
                           ("usr/share/man/man1/silt-watch.1.gz", "644"), ("usr/share/bash-completion/completions/silt", "644"),
                           ("usr/share/zsh/vendor-completions/_silt", "644"), ("usr/share/fish/vendor_completions.d/silt.fish", "644"),
                           ("usr/share/doc/silt/copyright", "644"), ("usr/share/doc/silt/LICENSES-OF-DEPENDENCIES", "644")]:
            with self.subTest(name=name):
                status = (self.path / name).stat()
                self.assertEqual((oct(status.st_mode & 0o777), status.st_uid), (f"0o{mode}", 0))
        self.assertGreater(self.root.user()[0], 0)
        depends = subprocess.run(["dpkg-deb", "--field", str(made[1]), "Depends"], stdout=subprocess.PIPE, check=True, text=True).stdout
        self.assertIn("libc6", depends)
        # A setting of the administrator's, and a secret.
        settings, secret = self.path / "etc/silt/silt.env", self.path / "etc/silt/secrets/MONGODB_URI"
        settings.write_text("LAKE_URL=file:///lake\n")
        secret.write_text("mongodb://host")
        user = self.root.user()
        self.install()
        self.assertEqual(settings.read_text(), "LAKE_URL=file:///lake\n")
        self.root.dpkg("--remove", "silt")
        self.assertFalse((self.path / "usr/bin/silt").exists())
        self.assertTrue(settings.exists() and secret.exists())
        self.assertEqual(self.root.user(), user)
        self.root.dpkg("--purge", "silt")
        self.assertIsNone(self.root.user())
        self.assertEqual(self.root.files(), self.before)

    def test_what_it_installs_runs_as_its_unit_says(self):
        self.install()
        mongod = subprocess.Popen([sys.executable, str(ROOT / "dev/servers.py"), "mongod"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(mongod.stdout.close)
        self.addCleanup(mongod.communicate)
        uri = json.loads(mongod.stdout.readline())["uri"]
        unit = (self.path / "usr/lib/systemd/system/silt.service").read_text()
        option = lambda name: re.search(rf"^{name}=(.*)$", unit, re.M).group(1)
        # What systemd does before it starts the unit: credentials, the folder of its state, the environment.
        (self.path / "etc/silt/secrets/MONGODB_URI").write_text(uri)
        name, secret = option("LoadCredential").split(":")
        credentials, state = self.path / "run/credentials/silt.service", self.path / "var/lib/silt"
        credentials.mkdir(parents=True)
        state.mkdir()
        shutil.copy(self.path / secret.lstrip("/"), credentials / name)
        for path in (state, credentials, credentials / name):
            os.chown(path, *self.root.user())
        template = (self.path / option("EnvironmentFile").lstrip("/")).read_text()
        lines = [line for line in template.splitlines() if line and not line.startswith("#")]
        port = docs_test.free_port()
        environment = {key: value for key, value in (line.split("=", 1) for line in lines) if value}
        environment |= {"LAKE_URL": "file:///var/lib/silt", "HTTP_ADDR": f"127.0.0.1:{port}"}
        variable, value = option("Environment").split("=", 1)
        environment[variable] = value.replace("%d", "/run/credentials/silt.service")
        silt = self.root.start([option("ExecStart")], environment)
        self.addCleanup(silt.stderr.close)
        self.addCleanup(silt.kill)
        self.wait_until_ready(silt, f"http://127.0.0.1:{port}/readyz")
        tools.python()
        import pymongo
        with pymongo.MongoClient(uri) as client:
            client.mydb.users.insert_one({"name": "Ada"})
        silt.send_signal(signal.SIGTERM)
        _, log = silt.communicate(timeout=READY_SECONDS)
        self.assertEqual(silt.returncode, 0, log)
        (file,) = (state / "users").glob("*.json")
        (change,) = json.loads(file.read_text())["changes"]
        self.assertEqual(change["change"]["fullDocument"]["name"], "Ada")
        # The lake is data: it stays, and its user with it.
        user = self.root.user()
        self.root.dpkg("--purge", "silt")
        self.assertTrue(file.exists())
        self.assertEqual(self.root.user(), user)
        self.assertFalse((self.path / "etc/silt").exists())

    def wait_until_ready(self, silt, url):
        end = time.monotonic() + READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=READY_SECONDS):
                    return
            except (urllib.error.URLError, ConnectionError):
                self.assertIsNone(silt.poll(), "silt ended")
                self.assertLess(time.monotonic(), end, "silt isn't ready")
                time.sleep(0.05)

    @project.where("systemd-analyze", "that systemd takes the package's unit")
    def test_systemd_takes_its_unit(self):
        self.install()
        unit = (self.path / "usr/lib/systemd/system/silt.service").read_text()
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "silt.service"
            # The binary is installed elsewhere.
            copy.write_text(unit.replace("ExecStart=/usr/bin/silt\n", "ExecStart=/bin/true\n"))
            done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
        said = [line for line in done.stderr.splitlines() if "silt.service" in line]
        self.assertEqual((done.returncode, said), (0, []), done.stderr)


if __name__ == "__main__":
    unittest.main()
