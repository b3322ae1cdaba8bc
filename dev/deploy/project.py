"""What the project says of itself: its settings, metrics, versions. The manifests are held against it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def settings():
    """Name and default of every setting, NAME_FILE of secrets included; None where it has no default."""
    found = {}
    for name, row in re.findall(r"^    ([A-Z][A-Z0-9_]+) \{\n(.*?)^    \}", text("src/settings/table.rs"), re.M | re.S):
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
    """The names that /metrics may show."""
    return METRICS


HISTOGRAMS = ["silt_commit_seconds", "silt_upload_seconds"]
METRICS = {
    "silt_changes_read_total", "silt_changes_archived_total", "silt_changes_skipped_total", "silt_read_bytes_total",
    "silt_encoded_bytes_total", "silt_uploaded_bytes_total", "silt_flushes_total", "silt_retries_total",
    "silt_reconnects_total", "silt_reloads_total", "silt_gaps_total", "silt_buffered_changes", "silt_buffered_bytes",
    "silt_feed_state", "silt_feed_ready", "silt_lag_seconds", "silt_oplog_runway_seconds",
    "silt_last_commit_timestamp_seconds", "silt_oplog_window_seconds", "silt_buffer_used_bytes",
    "silt_buffer_limit_bytes", "silt_build_info", "process_start_time_seconds", "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    *(f"{name}{suffix}" for name in HISTOGRAMS for suffix in ("_bucket", "_sum", "_count")),
}
