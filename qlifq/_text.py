"""Text from outside the library, made safe for a terminal."""

import re
import unicodedata

__all__ = ["one_line", "printable"]

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


def _shown(character: str) -> str:
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    if category in _SEPARATORS or character.isspace():
        return " "
    return "" if category in _HIDDEN else character
