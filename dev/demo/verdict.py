"""Do the ledger, the second stream and the lake agree? An independent count: nothing here comes from silt."""

from collections import Counter
from dataclasses import dataclass, field

from lakefile import LakeError, token


@dataclass
class Verdict:
    made: int = 0
    archived: int = 0
    lost: int = 0
    twice: int = 0
    problems: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)  # file: changes in it

    def __str__(self):
        return f"made {self.made} · archived {self.archived} · lost {self.lost} · twice {self.twice}"

    @property
    def clean(self):
        return self.made == self.archived > 0 and not (self.lost or self.twice or self.problems)


def judge(lake, ledgers, witnesses):
    """`ledgers`: collection → operations; `witnesses`: collection → Witness."""
    verdict = Verdict()
    archived = _read(lake, verdict)
    for name, witness in witnesses.items():
        _compare(verdict, f"{name}: ledger and second stream differ", ledgers[name], witness.operations)
        found = archived.pop(name, [])
        made, held = Counter(witness.tokens), Counter(found)
        verdict.made += len(witness.tokens)
        verdict.archived += len(found)
        verdict.lost += sum((made - held).values())
        verdict.twice += sum(times - 1 for times in held.values() if times > 1)
        unknown = held.keys() - made.keys()
        if unknown:
            verdict.problems.append(f"{name}: {len(unknown)} in the lake that never happened, as {min(unknown)}")
        _compare(verdict, f"{name}: second stream and lake differ", witness.tokens, found)
    verdict.problems += [f"{name}: a collection that silt was not asked for" for name in archived]
    return verdict


def _read(lake, verdict):
    """Collection → tokens in the lake's order. What can't be read is a problem."""
    archived = {}
    for file in lake.files():
        try:
            changes = file.changes()
        except LakeError as error:
            verdict.problems.append(str(error))
            continue
        verdict.counts[file] = len(changes)
        archived.setdefault(file.collection, []).extend(map(token, changes))
    verdict.problems += [f"{path}: what is this doing in the lake?" for path in lake.strangers()]
    return archived


def _compare(verdict, what, one, other):
    if one == other:
        return
    at = next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    here = [side[at] if at < len(side) else "nothing" for side in (one, other)]
    verdict.problems.append(f"{what} from number {at + 1} on ({len(one)} and {len(other)}): {here[0]} and {here[1]}")
