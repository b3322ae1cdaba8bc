"""What the project says of itself: its settings, metrics, versions. The manifests are held against it."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def where(tool, shows):
    """A test that needs a tool which no package brings along: it is there where the tool is, and said to be missing elsewhere."""
    if shutil.which(tool):
        return lambda test: test
    print(f"unproven on this machine, for want of {tool}: {shows}", file=sys.stderr)
    return lambda test: None


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def settings():
    """Name and default of every setting, NAME_FILE of secrets included; None where it has no default."""
    found = {}
    for name, row in re.findall(r"^    ([A-Z][A-Z0-9_]+) \{\n(.*?)^    \}", text("src/settings/table/mod.rs"), re.M | re.S):
        default = re.search(r'fallback: Fallback::Value\("([^"]*)"\)', row)
        found[name] = default.group(1) if default else None
        if "Secrecy::Secret" in row:
            found[f"{name}_FILE"] = None
    return found


def secrets():
    return {name[: -len("_FILE")] for name in settings() if name.endswith("_FILE") and name[: -len("_FILE")] in settings()}


def shutdown_seconds(environment=None):
    """How long a drain may take, with these settings."""
    return int((environment or {}).get("SHUTDOWN_TIMEOUT_SECONDS", settings()["SHUTDOWN_TIMEOUT_SECONDS"]))


def package_version():
    return re.search(r'^version = "(.+)"$', text("Cargo.toml"), re.M).group(1)


def compiler_version():
    return re.search(r'^channel = "(.+)"$', text("rust-toolchain.toml"), re.M).group(1)


def env_lines(path):
    """Names and values of a file of NAME=value lines, as Docker, Kustomize and systemd read it: no quotes, no comments behind."""
    lines = [line for line in text(path).splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def silts_metrics():
    """The names that /metrics may show: those of docs/metrics.md, which silt's own tests hold to what it shows."""
    found = set()
    for name, kind in re.findall(r"^\| `(\w+)[^`]*` \| (\w+) \|", text("docs/metrics.md"), re.M):
        found.update({f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name})
    return found
