"""What the site does to docstrings: their lines "Shape:" and "Source:" become paragraphs."""

import re
from typing import Any

from griffe import Extension, Object


class OwnLines(Extension):
    """Give "Shape: ..." and "Source: ..." a paragraph each, with the word in bold."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the text of one object's docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"(?m)^(Shape|Source): ", r"\n**\1**: ", obj.docstring.value
            )
