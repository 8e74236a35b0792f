"""Write the table of parameters into docs/neuron.md; `make readme` calls it."""

import re
from pathlib import Path

from qlifq.neurons.parameter_table import markdown_table

PAGE = Path(__file__).resolve().parent / "neuron.md"
SECTION = re.compile(r"(<!-- parameters: [^\n]* -->\n).*?(<!-- end of parameters -->)", re.DOTALL)


def with_table(text: str) -> str:
    """The text with the table that the code gives now between its markers."""
    written, found = SECTION.subn(lambda markers: f"{markers[1]}\n{markdown_table()}\n{markers[2]}", text)
    if found != 1:
        raise SystemExit(f"{PAGE.name} must hold the markers of the table of parameters once, but holds them {found} times.")
    return written


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
