"""The colours of a picture swap where the reader asks for dark, and only those."""

import re

from convgate.studies.theme import DARK, GROUND, INK, follow_reader


def test_every_known_colour_has_a_dark_one_for_fill_and_stroke():
    svg = follow_reader(f'<svg><defs></defs><path style="fill: {INK}"/></svg>')
    style = re.search(r"<style>(.*?)</style>", svg)[1]
    for light, dark in DARK.items():
        for part in ("fill", "stroke"):
            assert f'[style*="{part}: {light}"]{{{part}:{dark}!important}}' in style
    assert style.count("{") == style.count("}")


def test_text_is_readable_on_both_grounds():
    """WCAG's contrast of text and ground is above 7 in light and in dark."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ground, ink in ((GROUND, INK), (DARK[GROUND], DARK[INK])):
        low, high = sorted((luminance(ground), luminance(ink)))
        assert (high + 0.05) / (low + 0.05) > 7
