#!/usr/bin/env python3
"""`make dist`: what users install, made of a built binary.

    python3 dev/dist.py target/release/silt target/dist

The folder then holds a tarball (binary, manual pages, completions, systemd unit, licences, checksums), a Debian package
with the same, and SHA256SUMS of both. Equal sources and an equal binary make an equal tarball.
"""

import argparse
import gzip
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import tools
from deploy import project

ROOT = Path(__file__).resolve().parent.parent
STAGE = ROOT / "target" / "package"  # where Cargo.toml looks for the package's files
SHELLS = {"bash": "silt.bash", "zsh": "_silt", "fish": "silt.fish"}
COPIES = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "systemd/silt.service"]
LICENCES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
BUILT = ("normal",)  # kinds of dependencies of which the binary has code


def stage(binary):
    """Fills the folder of everything that is packed."""
    shutil.rmtree(STAGE, ignore_errors=True)
    (STAGE / "completions").mkdir(parents=True)
    (STAGE / "man").mkdir()
    (STAGE / "debian").mkdir()
    shutil.copy(binary, STAGE / "silt")
    for shell, name in SHELLS.items():
        (STAGE / "completions" / name).write_text(said(binary, "completions", shell))
    (STAGE / "man" / "silt.1").write_text(said(binary, "man"))
    for command in commands(binary):
        (STAGE / "man" / f"silt-{command}.1").write_text(said(binary, "man", command))
    for name in COPIES:
        shutil.copy(ROOT / name, STAGE)
    # The template is that of the settings' table; a file of settings isn't for every user's eyes.
    shutil.copy(ROOT / ".env.template", STAGE / "silt.env")
    (STAGE / "silt.env").chmod(0o600)
    (STAGE / "LICENSES-OF-DEPENDENCIES").write_text(licences_of_dependencies())
    unit = project.text("systemd/silt.service")
    (STAGE / "debian" / "silt.service").write_text(unit_of_package(unit))


def unit_of_package(unit):
    """The unit for the place where packages put programs, without the comment that is for installing by hand."""
    by_hand = "# /etc/systemd/system/silt.service, for the binary in /usr/local/bin. See docs/deploying.md. Needs systemd 250."
    for part in (by_hand, "ExecStart=/usr/local/bin/silt\n"):
        assert unit.count(part) == 1, part
    unit = unit.replace(by_hand, "# `systemctl edit silt` changes it. Settings: /etc/silt/silt.env; secrets: /etc/silt/secrets. Needs systemd 250.")
    return unit.replace("/usr/local/bin/silt", "/usr/bin/silt")


def said(binary, *arguments):
    """What the binary prints, whatever the settings around it are."""
    done = subprocess.run([binary, *arguments], stdout=subprocess.PIPE, check=True, text=True, env={})
    return done.stdout


def commands(binary):
    """The commands that `silt --help` lists, of which each has a page."""
    listed = said(binary, "--help").split("\nCommands:\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " " and line.split()[0] != "help"]


def licences_of_dependencies():
    """The licence texts of all crates of which the binary has code, each once with the crates that have it."""
    target = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, check=True, text=True).stdout.split("host: ")[1].split()[0]
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={target}"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (silt,) = [name for name in metadata["workspace_members"] if packages[name]["name"] == "silt"]
    found, waiting = set(), [silt]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            kinds = lambda dependency: {kind["kind"] or "normal" for kind in dependency["dep_kinds"]}
            waiting += [dep["pkg"] for dep in nodes[one]["deps"] if kinds(dep) & set(BUILT)]
    texts, without = {}, []
    for package in sorted((packages[one] for one in found if packages[one]["source"]), key=lambda one: (one["name"], one["version"])):
        name = f"{package['name']} {package['version']} ({package['license'] or 'see its text'})"
        folder = Path(package["manifest_path"]).parent
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name.upper().startswith(LICENCES)]
        for file in files:
            texts.setdefault(file.read_text(errors="replace").strip(), []).append(name)
        if not files:
            without.append(name)
    rule = "\n\n" + "-" * 80 + "\n\n"
    parts = [", ".join(dict.fromkeys(names)) + ":\n\n" + text for text, names in texts.items()]
    parts.append("Without a text of its own: " + ", ".join(without))
    return "silt contains code of these crates, under these licences." + rule + rule.join(parts) + "\n"


def tarball(folder, name, seconds, level):
    """Packs the staged files under one folder, with their checksums; the tarball's path."""
    files = [path for path in sorted(STAGE.rglob("*")) if path.is_file() and path.parent.name != "debian"]
    sums = "".join(f"{tools.digest(path)}  {path.relative_to(STAGE)}\n" for path in files)
    target = folder / f"{name}.tar.gz"
    with open(target, "wb") as raw, gzip.GzipFile("", "wb", level, raw, mtime=seconds) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for path in [*files, None]:
            content = path.read_bytes() if path else sums.encode()
            inside = path.relative_to(STAGE) if path else "SHA256SUMS"
            member = tarfile.TarInfo(f"{name}/{inside}")
            member.size, member.mtime = len(content), seconds
            member.mode = (path.stat().st_mode & 0o777) if path else 0o644
            member.uname = member.gname = "root"
            tar.addfile(member, io.BytesIO(content))
    return target


def debian_package(folder, options):
    """Makes the Debian package; its path."""
    for left in folder.glob("*.deb"):
        left.unlink()
    command = [tools.cargo_deb(), "--no-build", "--no-strip", "--locked", "--quiet", "--output", str(folder), *options]
    tools.run(command, "read what cargo-deb says of [package.metadata.deb] in Cargo.toml", cwd=ROOT)
    (package,) = folder.glob("*.deb")
    return package


def dist(binary, folder, level=9, options=()):
    """Makes everything, with gzip's level and cargo-deb's options; the tarball's and the package's paths."""
    binary, folder = Path(binary).resolve(), Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    stage(binary)
    committed = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    name = f"silt-{project.package_version()}-{platform.machine()}-linux"
    made = [tarball(folder, name, int(committed.stdout), level), debian_package(folder, options)]
    (folder / "SHA256SUMS").write_text("".join(f"{tools.digest(path)}  {path.name}\n" for path in made))
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", help="the built silt")
    parser.add_argument("folder", help="where the packages go")
    arguments = parser.parse_args()
    try:
        for path in dist(arguments.binary, arguments.folder):
            print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    except tools.ToolError as error:
        sys.exit(f"dist.py: {error}")


if __name__ == "__main__":
    main()
