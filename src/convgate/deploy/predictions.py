"""What was seen in pictures: classes, objects or shares, as a table, as rows, as JSON types."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convgate.errors import printable
from convgate.tables import Table
from convgate.train.drawing import Found


@dataclass(frozen=True)
class Guess:
    """One class, in words where ImageNet has them, and its probability, 0 to 1."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was seen in one picture.

    Attributes:
        image: The picture's file, or its place in an archive.
        classes: The most probable classes, the best first, of a classifier.
        objects: What a detector found, the best first.
        shares: Of a segmenter: class -> share of the pixels in percent, background left out.
        drawing: The file that shows it, if one was asked for.
    """

    image: str
    classes: tuple[Guess, ...] = ()
    objects: tuple[Found, ...] = ()
    shares: dict[str, float] | None = None
    drawing: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types, without what the network's task does not give."""
        table = asdict(self)
        if self.classes:
            return {"image": self.image, "classes": table["classes"]}
        kept = "objects" if self.shares is None else "shares"
        drawing = None if self.drawing is None else str(self.drawing)
        return {"image": self.image, kept: table[kept], "drawing": drawing}

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of a table: picture, what, how sure or how much, where."""
        found = [(guess.label, f"{guess.probability:.1%}", "") for guess in self.classes]
        for seen in self.objects:
            box = ", ".join(f"{side:.0f}" for side in seen.box)
            found.append((seen.label, f"{seen.score:.1%}", box))
        found += [(name, f"{share:.1f} %", "") for name, share in (self.shares or {}).items()]
        found = found or [("nothing", "", "")]
        name = Path(self.image).name
        rows = [(name if i == 0 else "", *row) for i, row in enumerate(found)]
        return [tuple(map(printable, row)) for row in rows]


class Predictions(tuple[Prediction, ...]):
    """Predictions, one a picture; prints as a table."""

    def table(self) -> Table:
        """Return one row for everything that was seen."""
        rows = [row for prediction in self for row in prediction.rows()]
        boxed = any(row[3] for row in rows)
        shared = any(prediction.shares is not None for prediction in self)
        head = ("image", "class", "share" if shared else "probability", "box")
        width = 4 if boxed else 3
        return Table(head[:width], tuple(row[:width] for row in rows))

    def __str__(self) -> str:
        return self.table().text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.table().html()
