"""Reads the Dockerfile and .dockerignore, as far as ours go."""

import fnmatch
import json
import re

from deploy import project


class Stage:
    def __init__(self, base, name):
        self.base, self.name, self.instructions = base, name, []

    def all(self, instruction):
        return [arguments for name, arguments in self.instructions if name == instruction]

    def last(self, instruction):
        return self.all(instruction)[-1]

    def command(self, instruction):
        """The words of an instruction in exec form; in shell form it would need a shell, which would swallow signals."""
        words = json.loads(self.last(instruction))
        if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise ValueError(f"{instruction} is not in exec form")
        return words

    def pairs(self, instruction):
        """The NAME=value pairs of ENV and LABEL."""
        pattern = r'([^\s=]+)=(?:"([^"]*)"|(\S*))'
        found = [match for arguments in self.all(instruction) for match in re.findall(pattern, arguments)]
        return {name: quoted or plain for name, quoted, plain in found}


class Dockerfile:
    def __init__(self, text):
        self.stages = []
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for statement in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
            if statement.strip():
                name, arguments = statement.split(None, 1)
                self._add(name.upper(), arguments.strip())

    def _add(self, name, arguments):
        if name == "FROM":
            base, _, stage = re.fullmatch(r"(\S+)( AS (\S+))?", arguments, re.I).groups()
            self.stages.append(Stage(base, stage))
        else:
            self.stages[-1].instructions.append((name, arguments))

    @property
    def final(self):
        return self.stages[-1]


def read():
    return Dockerfile(project.text("Dockerfile"))


def ignored(path):
    """Does .dockerignore keep this file or folder out? The last pattern that fits decides."""
    out = False
    for line in project.text(".dockerignore").splitlines():
        if line.strip() and not line.startswith("#"):
            pattern = line.lstrip("!").strip("/")
            parents = ["/".join(path.split("/")[: depth + 1]) for depth in range(path.count("/") + 1)]
            if any(fnmatch.fnmatchcase(parent, pattern) for parent in parents):
                out = not line.startswith("!")
    return out
