"""Tables of text on the screen, no wider than it is."""

from collections.abc import Sequence

from qlifq._text import one_line

__all__ = ["show_table"]


def show_table(rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns, the first row as their heading; a cell that is too wide goes on in further lines.

    Args:
        rows: of equal length; None stands for what there is none of.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    heading, *others = rows
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for cell in heading:
        table.add_column(Text(one_line(str(cell))), overflow="fold")
    for row in others:
        # Paths and settings are nobody's markup.
        table.add_row(*(Text("none" if cell is None else one_line(str(cell))) for cell in row))
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(table)
    # Rich fills every line up to the width of the table.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
