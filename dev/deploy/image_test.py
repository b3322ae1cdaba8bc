"""The Dockerfile as it stands, and the image that a builder makes of it, where there is a builder."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

from deploy import dockerfile, project

IMAGE = "silt-test"
# What a registry or the network says where a base image can't be had. That the image isn't there is no such thing.
UNREACHABLE = re.compile(r"no such host|dial tcp|i/o timeout|connection refused|network is unreachable|TLS handshake|toomanyrequests")


class DockerfileTest(unittest.TestCase):
    def setUp(self):
        self.file = dockerfile.read()
        self.build, self.final = self.file.stages[0], self.file.final

    def test_the_compiler_is_the_projects(self):
        self.assertEqual(self.build.base, f"rust:{project.compiler_version()}-bookworm")

    def test_what_is_copied_is_there_and_not_ignored(self):
        for arguments in self.build.all("COPY"):
            *sources, _ = arguments.split()
            for source in sources:
                self.assertTrue((project.ROOT / source).exists(), source)
                self.assertFalse(dockerfile.ignored(source), source)

    def test_what_the_source_needs_is_copied(self):
        copied = {source for arguments in self.build.all("COPY") for source in arguments.split()[:-1]}
        self.assertFalse((project.ROOT / "build.rs").exists() and "build.rs" not in copied, "build.rs is not copied")
        shipped = [path for path in (project.ROOT / "src").rglob("*.rs") if "tests" not in path.parts]
        for source in shipped:
            code = source.read_text(encoding="utf-8").split("#[cfg(test)]\nmod tests {")[0]
            for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', code):
                included = (source.parent / path).resolve().relative_to(project.ROOT).as_posix()
                self.assertTrue(included.split("/")[0] in copied, f"{source.name} includes {included}")

    def test_no_secret_and_no_rubbish_gets_into_the_context(self):
        for path in [".env", ".git", ".dev", "target", "tests", "dev", "k8s", "README.md"]:
            self.assertTrue(dockerfile.ignored(path), path)

    def test_the_dependencies_layer_knows_no_source(self):
        steps = self.build.instructions
        builds = [at for at, (name, words) in enumerate(steps) if name == "RUN" and "cargo build" in words]
        sources = steps.index(("COPY", "src src"))
        self.assertEqual(len(builds), 2)
        self.assertTrue(builds[0] < sources < builds[1])
        # Else Cargo could take the stand-in, which is newer than the source, for silt.
        self.assertIn("cargo clean --release --locked --package silt", steps[builds[0]][1])

    def test_the_final_image_needs_no_shell(self):
        self.assertEqual(self.final.base, "scratch")
        self.assertEqual([name for name, _ in self.final.instructions if name in ("RUN", "SHELL", "CMD")], [])
        self.assertEqual(self.final.command("ENTRYPOINT"), ["/usr/local/bin/silt"])
        options, check = self.final.last("HEALTHCHECK").split("CMD ", 1)
        self.assertEqual(json.loads(check), ["/usr/local/bin/silt", "healthcheck"])
        self.assertIn("--start-period=", options)

    def test_the_user_is_a_number_and_not_root(self):
        self.assertRegex(self.final.last("USER"), r"^[1-9]\d*:[1-9]\d*$")

    def test_signals_and_probes_reach_silt(self):
        self.assertEqual(self.final.last("STOPSIGNAL"), "SIGTERM")
        environment = self.final.pairs("ENV")
        self.assertLessEqual(environment.keys() - {"PATH"}, project.settings().keys())
        self.assertEqual(environment["HTTP_ADDR"], f"0.0.0.0:{self.final.last('EXPOSE')}")

    def test_labels_say_what_it_is(self):
        labels = self.final.pairs("LABEL")
        prefix = "org.opencontainers.image."
        self.assertLessEqual({prefix + name for name in ("title", "description", "version", "revision", "licenses")},
                             labels.keys())
        self.assertEqual(labels[prefix + "version"], project.package_version())


class ImageTest(unittest.TestCase):
    """Builds the image and looks into it, where there is a builder and the base image can be had."""

    def test_what_is_in_it(self):
        self.builder = builder()
        if not self.builder:
            return unproven("there is no docker with a daemon, no podman and no buildah")
        base = dockerfile.read().stages[0].base
        if run(self.builder, "inspect", base).returncode != 0:
            pulled = run(self.builder, "pull", f"docker.io/library/{base}")
            if pulled.returncode != 0 and UNREACHABLE.search(pulled.stderr):
                return unproven(f"{base} can't be fetched")
            self.assertEqual(pulled.returncode, 0, pulled.stderr)
        options = {"buildah": ["bud", "--format", "docker", "--layers", *isolation()],
                   "podman": ["build", "--format", "docker"], "docker": ["build"]}
        must(self.builder, *options[self.builder], "-t", IMAGE, str(project.ROOT))
        if self.builder == "buildah":
            self.look_into_it()
        else:
            self.run_it()

    def look_into_it(self):
        """buildah builds and runs no daemon: the files are looked at, and silt is run once."""
        name = must("buildah", "from", "--pull-never", IMAGE).strip()
        try:
            root = must("buildah", "mount", name).strip()
            programs = [os.path.join(folder, file)[len(root):] for folder, _, files in os.walk(root) for file in files
                        if os.access(os.path.join(folder, file), os.X_OK) and ".so" not in file]
            self.assertEqual(programs, ["/usr/local/bin/silt"])
            config = json.loads(must("buildah", "inspect", "--type", "image", IMAGE))["Docker"]["config"]
            self.looks_right(config)
            said = must("buildah", "run", *isolation(), name, "--", "silt", "--version")
            self.assertEqual(said.strip(), f"silt {project.package_version()}")
        finally:
            run("buildah", "rm", name)

    def looks_right(self, config):
        final = dockerfile.read().final
        self.assertEqual(config["User"], final.last("USER"))
        self.assertEqual(config["Entrypoint"], final.command("ENTRYPOINT"))
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/local/bin/silt", "healthcheck"])

    def run_it(self):
        """Runs as in Kubernetes: read-only, without capabilities, and with a MongoDB that isn't there."""
        (config,) = json.loads(must(self.builder, "image", "inspect", IMAGE))
        self.looks_right(config["Config"])
        self.assertNotEqual(run(self.builder, "run", "--rm", "--entrypoint", "/bin/sh", IMAGE).returncode, 0)
        settings = ["MONGODB_URI=mongodb://127.0.0.1:9/?replicaSet=rs0", "LAKE_URL=file:///lake", "HTTP_TOKEN=0123456789abcdef"]
        options = [word for pair in settings for word in ("--env", pair)]
        name = must(self.builder, "run", "--detach", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/lake:mode=1777",
                    *options, IMAGE).strip()
        try:
            self.wait_until_it_listens(name)
            self.assertEqual(run(self.builder, "exec", name, "silt", "healthcheck").returncode, 1)
            must(self.builder, "stop", "--time", "30", name)
            self.assertEqual(must(self.builder, "inspect", "--format", "{{.State.ExitCode}}", name).strip(), "0")
        finally:
            run(self.builder, "rm", "--force", name)

    def wait_until_it_listens(self, name):
        while run(self.builder, "exec", name, "silt", "healthcheck", "--live").returncode != 0:
            state = must(self.builder, "inspect", "--format", "{{.State.Running}}", name).strip()
            self.assertEqual(state, "true", run(self.builder, "logs", name).stderr)


def builder():
    """docker where its daemon answers, else podman or buildah."""
    if shutil.which("docker") and run("docker", "info").returncode == 0:
        return "docker"
    return next((name for name in ("podman", "buildah") if shutil.which(name)), None)


def isolation():
    """Inside a container buildah can't make another one; a plain chroot will do for a build."""
    return ["--isolation", "chroot", "--network", "host"]


def unproven(why):
    print(f"the image's build is unproven on this machine: {why}", file=sys.stderr)


def run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def must(*command):
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


if __name__ == "__main__":
    unittest.main()
