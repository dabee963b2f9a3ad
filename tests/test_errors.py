"""Messages for the person who reads them."""

from __future__ import annotations

from analogdfc.errors import ConvergenceError, UserError, shown


def test_a_message_is_one_line_in_which_nothing_is_hidden() -> None:
    quoted = "mine.toml: \x1b[2J\u202eyek\r\n\tline"
    for kind in (UserError, ConvergenceError):
        assert str(kind(quoted)) == "mine.toml: \\x1b[2J\\u202eyek   line"


def test_a_message_keeps_every_character_that_can_be_read() -> None:
    assert str(UserError("Größe in µm², 10 Ω")) == "Größe in µm², 10 Ω"


def test_a_message_that_quotes_something_long_keeps_its_start_and_its_end() -> None:
    message = str(UserError(f"mine.toml: unknown {'a' * 10**6!r}; there are b and c"))
    assert message.startswith("mine.toml: unknown 'aaa")
    assert message.endswith("; there are b and c")
    assert len(message) < 1300


def test_what_a_message_quotes_is_short_and_readable() -> None:
    assert shown("a\x1b") == "'a\\x1b'"
    assert len(shown("a" * 5000)) < 100
    assert shown(10**5000) == "a number of thousands of digits"
