"""What was folded in a network, what was left as it was and why, and the bytes it saves."""

from dataclasses import dataclass

from convgate.tables import Readable, Table

MIB = 2**20


@dataclass(frozen=True)
class Fold(Readable):
    """One identity applied at one place."""

    path: str  # the module that it was applied to
    identity: str  # what was done, in words
    before: int  # bytes of feature maps that the operators it touches read and wrote for one image
    after: int  # the same of what took their place


@dataclass(frozen=True)
class Kept(Readable):
    """A gate, or a norm behind one, that stayed as it was."""

    path: str  # the module
    reason: str  # why, in words


@dataclass(frozen=True, repr=False)
class FoldReport(Readable):
    """All folds of a network; prints as a table."""

    model: str  # the class of the network
    folds: tuple[Fold, ...]  # in the order of their application
    kept: tuple[Kept, ...]  # gates and norms that no identity holds for
    difference: float  # norm of the outputs' difference over the norm of the output, as verified

    @property
    def before(self) -> int:
        """Bytes of feature maps moved for one image by what was folded."""
        return sum(fold.before for fold in self.folds)

    @property
    def after(self) -> int:
        return sum(fold.after for fold in self.folds)

    def table(self) -> Table:
        rows = []
        for identity in dict.fromkeys(fold.identity for fold in self.folds):
            same = [fold for fold in self.folds if fold.identity == identity]
            before, after = sum(f.before for f in same), sum(f.after for f in same)
            rows.append((identity, str(len(same)), _mib(before), _mib(after)))
        total = ("total", str(len(self.folds)), _mib(self.before), _mib(self.after))
        return Table(
            head=("fold", "places", "MiB before", "after"),
            rows=[*rows, total],
            align="lrrr",
            title=f"{self.model}: output differs by {self.difference:.1e} of its norm",
            notes=self._reasons(),
        )

    def _reasons(self) -> list[str]:
        lines = []
        for reason in dict.fromkeys(kept.reason for kept in self.kept):
            paths = [kept.path for kept in self.kept if kept.reason == reason]
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            lines += [f"kept {paths[0]}{more}:", f"    {reason}"]
        return lines


def _mib(count: int) -> str:
    return f"{count / MIB:.2f}"
