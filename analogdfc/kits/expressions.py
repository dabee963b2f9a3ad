"""Numbers and expressions as SPICE writes them, evaluated: data, never code."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping

from analogdfc.errors import UserError, shown

__all__ = ["Scope", "spice_number"]

# fmt: off
_SUFFIXES = {
    "t": 12, "g": 9, "meg": 6, "k": 3, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "ln": math.log, "abs": abs, "min": min,
    "max": max, "pow": pow, "int": lambda x: float(int(x)),
}
_LEVELS: tuple[dict[str, Callable[[float, float], float]], ...] = (
    {"||": lambda a, b: float(bool(a) or bool(b))},
    {"&&": lambda a, b: float(bool(a) and bool(b))},
    {"==": operator.eq, "!=": operator.ne},
    {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
)
# fmt: on
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([a-z]*)", re.IGNORECASE)
_TOKEN = re.compile(
    r"\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?[a-z]*|[a-z_]\w*|\*\*|[=!<>]=|&&|\|\||[-+*/^()<>?:,!])"
)
_DEEPEST = 20
"""Parameters, or brackets, of which each needs the next."""


def spice_number(text: str) -> float | None:
    """The value of a number as SPICE writes it, e.g. '1.5meg', '10us'; None if it isn't one."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    letters = match[2].lower()
    if letters.startswith("mil"):
        return float(match[1]) * 25.4e-6
    exponent = _SUFFIXES.get("meg" if letters.startswith("meg") else letters[:1], 0)
    return float(match[1]) * 10.0**exponent


class Scope:
    """Parameters by their names, each evaluated when it is asked for.

    A random draw, `agauss(mean, deviation, sigmas)`, counts as its mean plus `draws` of its
    standard deviations.

    Args:
        texts: numbers or expressions by names in lower case.
        draws: standard deviations that each random draw is away from its mean.
    """

    def __init__(self, texts: Mapping[str, str], draws: float = 0.0) -> None:
        self._texts = texts
        self._draws = draws
        self._depth = 0

    def __getitem__(self, name: str) -> float:
        """The value of a parameter.

        Raises:
            UserError: there is no such parameter, or it isn't a number that can be found.
        """
        if name not in self._texts:
            raise UserError(f"the parameter {shown(name)} is missing")
        return self.value(self._texts[name])

    def value(self, text: str) -> float:
        """The value of a number or an expression, in braces or quotes or without.

        Args:
            text: what is evaluated.

        Raises:
            UserError: it can't be evaluated.
        """
        text = text.strip().strip("{}'\"").strip().lower()
        number = spice_number(text)
        if number is not None and math.isfinite(number):
            return number
        self._depth += 1
        try:
            if self._depth > _DEEPEST:
                raise UserError(f"{shown(text)} depends on itself")
            found = _Reader(text, self, self._draws).all()
        except (ArithmeticError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{shown(text)}: {error}") from error
        finally:
            self._depth -= 1
        if not math.isfinite(found):
            raise UserError(f"{shown(text)} is {found}")
        return found


class _Reader:
    """Evaluates one expression while it reads it."""

    def __init__(self, text: str, scope: Scope, draws: float) -> None:
        self._scope, self._draws, self._brackets = scope, draws, 0
        self._words: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ValueError(f"{text[at:][:20]!r} isn't understood")
            self._words.append(match[1])
            at = match.end()

    def all(self) -> float:
        found = self._choice()
        if self._words:
            raise ValueError(f"{self._words[0]!r} is too much")
        return float(found)

    def _next(self, *wanted: str) -> str | None:
        """The next word, taken, if it is one of these."""
        return self._words.pop(0) if self._words and self._words[0] in wanted else None

    def _need(self, word: str) -> None:
        if self._next(word) is None:
            raise ValueError(f"{word!r} is missing")

    def _choice(self) -> float:
        self._brackets += 1
        if self._brackets > _DEEPEST:
            raise ValueError("too many brackets")
        condition = self._binary(0)
        if self._next("?"):
            yes = self._choice()
            self._need(":")
            no = self._choice()
            condition = yes if condition else no
        self._brackets -= 1
        return condition

    def _binary(self, level: int) -> float:
        if level == len(_LEVELS):
            return self._sign()
        left = self._binary(level + 1)
        while (word := self._next(*_LEVELS[level])) is not None:
            left = float(_LEVELS[level][word](left, self._binary(level + 1)))
        return left

    def _sign(self) -> float:
        sign = 1.0
        while (word := self._next("+", "-")) is not None:
            sign = -sign if word == "-" else sign
        if self._next("!"):
            return sign * float(not self._sign())
        base = self._atom()
        if self._next("**", "^"):
            base = float(base ** self._sign())
        return sign * base

    def _atom(self) -> float:
        if not self._words:
            raise ValueError("it ends too soon")
        word = self._words.pop(0)
        if word == "(":
            found = self._choice()
            self._need(")")
            return found
        number = spice_number(word)
        if number is not None:
            return number
        if not (word[0].isalpha() or word[0] == "_"):
            raise ValueError(f"{word!r} is out of place")
        if self._next("("):
            return self._called(word)
        return self._scope[word]

    def _called(self, name: str) -> float:
        given = [self._choice()]
        while self._next(","):
            given.append(self._choice())
        self._need(")")
        if name == "agauss":
            mean, deviation, sigmas = given
            return mean + self._draws * deviation / sigmas
        if name not in _FUNCTIONS:
            raise ValueError(f"the function {name!r} is unknown")
        return float(_FUNCTIONS[name](*given))
