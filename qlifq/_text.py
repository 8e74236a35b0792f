"""Text from outside the library: made safe for a terminal, and a name that nobody knows beside the one that was meant."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["one_line", "printable", "similar"]

#: Sequences that terminals obey: CSI, the strings of OSC, DCS, SOS, PM and APC, and what else begins with an escape.
_SEQUENCES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    "|(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
#: Categories of characters that show nothing and may turn or hide what stands beside them, and halves of characters.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_SEPARATORS = frozenset({"Zl", "Zp"})


def printable(text: str) -> str:
    r"""The text without what a terminal obeys instead of showing it; lines and tabs stay.

    Example:
        >>> printable("a \x1b[31mred\x1b[0m \u202eword")
        'a red word'
    """
    return "".join(map(_shown, _SEQUENCES.sub("", text)))


def one_line(text: str, longest: int | None = None) -> str:
    r"""The printable text in one line, cut to `longest` characters.

    Example:
        >>> one_line("  two\n\x1b]0;title\x07lines ")
        'two lines'
    """
    line = " ".join(printable(text).split())
    return line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…"


def similar(given: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, whatever its case, hyphens and underscores; None where none is close.

    Example:
        >>> similar("vth", ["V_th", "V_reset"])
        'V_th'
        >>> similar("torus", ["V_th", "V_reset"]) is None
        True
    """
    names = {_folded(name): name for name in known}
    found = get_close_matches(_folded(given), names, n=1)
    return names[found[0]] if found else None


def _folded(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def _shown(character: str) -> str:
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category in _SEPARATORS or character.isspace():
        return " "
    return "" if category in _HIDDEN else character
