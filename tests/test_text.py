"""Text from outside shows what it is and commands nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlifq._text import one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain θ ⟩ ✓ 量子", "plain θ ⟩ ✓ 量子"),
        ("a\x1b[2J\x1b[1;31mb\x1b[0mc", "abc"),
        ("\x1b]0;new title\x07left", "left"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r0m\x1b\\dcs", "dcs"),
        ("\x9b31mC1\x9d0;t\x9c", "C1"),
        ("\x1bc\x1b7reset", "reset"),
        ("user\u202egnp.exe\u2066x\u2069\u200b", "usergnp.exex"),
        ("tab\tline\nnext\r\x08\x7f", "tab\tline\nnext "),
        ("half \ud800 character\u2028after", "half  character after"),
        ("ends in \x1b", "ends in "),
        ("", ""),
    ],
)
def test_what_a_terminal_obeys_is_left_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(codec=None), max_size=80))
def test_what_is_printable_stays_so_and_is_all_shown(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert shown.replace("\n", "").replace("\t", "").isprintable()
    shown.encode()


def test_one_line_is_cut_to_its_length() -> None:
    assert one_line(" a \n\x1b[31m b\t c ") == "a b c"
    assert one_line("abcdef", 6) == "abcdef"
    assert one_line("abcdefg", 6) == "abcde…"
