"""Cards of all kinds: found, read, checked and listed in one way."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from analogdfc.cards.entries import Identity, Section
from analogdfc.cards.problems import first_problem
from analogdfc.errors import UserError, shown
from analogdfc.files import exists, read_whole

_UNMARKED = "circuit"
"""Kind of a card whose section [card] names none."""

_LARGEST = 2**20
"""Bytes of the largest card."""

_KINDS: dict[str, type[BaseCard]] = {}


class BaseCard(Section):
    """A card: a TOML file whose section [card] says what it describes and where that comes from.

    A kind of cards is a class that derives from this one, with its sections as fields.

    Attributes:
        kind: the kind's name, which `[card] kind` gives.
        of: what a card of this kind describes, as messages say it.
        what: what messages call a card.
        file: what they call its file.
        folder: folder of `calibration` with those that come with the package; None for none.
        card: what the card describes, and its source.
        text: the card as it was written.
    """

    kind: ClassVar[str]
    of: ClassVar[str]
    what: ClassVar[str]
    file: ClassVar[str]
    folder: ClassVar[str | None] = None

    card: Identity
    text: str = Field(default="", exclude=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Make the kind known, for those who give its card to another."""
        super().__pydantic_init_subclass__(**options)
        _KINDS.setdefault(cls.kind, cls)

    @property
    def technology(self) -> str:
        """Short name of what the card describes."""
        return self.of.split(maxsplit=1)[-1]

    @property
    def window(self) -> tuple[float, float] | None:
        """Lowest and highest conductance of its devices, in siemens; None without devices."""
        return None

    @property
    def sha256(self) -> str:
        """What tells it from other cards: of its entries, without comments, in hexadecimal."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is unusual about the card, a sentence each."""
        return ()

    def check(self) -> None:
        """Make sure that the numbers of different sections go together.

        Raises:
            UserError: they don't.
        """

    @classmethod
    def parse(cls, text: str, where: str | None = None) -> Self:
        """The card written in a TOML text.

        Args:
            text: the content of a card file.
            where: what error messages call it.

        Raises:
            UserError: not TOML, a card of another kind, an unknown key, a missing key, unit or
                source, a value out of range, numbers that don't go together; the message names the
                file, the key and what is allowed.
        """
        where = where or cls.what
        data = parse_toml(text, where)
        if (kind := kind_of(data)) != cls.kind:
            known = f"a card of kind {shown(kind)}"
            if kind in _KINDS:
                known = f"the card of {_KINDS[kind].of}"
            mark = "" if cls.kind == _UNMARKED else f'; [card] kind = "{cls.kind}" marks one'
            raise UserError(f"{where}: this is {known}, not the card of {cls.of}{mark}")
        if isinstance(identity := data.get("card"), dict):
            identity.pop("kind", None)  # it has said what it has to say
        try:
            card = cls.model_validate({**data, "text": text})
            card.check()
        except ValidationError as error:
            raise UserError(f"{where}: {first_problem(error, cls)}") from error
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        return card

    @classmethod
    def load(cls, name: str | Path) -> Self:
        """A card by path, or a card that comes with the package by name (without `.toml`).

        Args:
            name: path of a file, or a name without `.toml`.

        Raises:
            UserError: no such file or name, or a file that isn't a valid card.
        """
        if is_path(name):
            return cls.parse(read_text(Path(name), cls.file), str(name))
        cards = _texts(cls.folder)
        if str(name) not in cards:
            raise UserError(_unknown(cls.what, str(name), cards))
        return cls.parse(cards[str(name)], str(name))

    @classmethod
    def builtin(cls) -> tuple[str, ...]:
        """Names of the cards of this kind that come with the package."""
        return tuple(_texts(cls.folder))


def find(name: str | Path, kinds: Sequence[type[BaseCard]]) -> BaseCard:
    """A card of one of several kinds, by path or by the name of one that comes with the package.

    Args:
        name: a path, or a name without `.toml`.
        kinds: the kinds that are looked through; a file without a mark is of the first.

    Raises:
        UserError: no such file or name, or a file that isn't a valid card.
    """
    if is_path(name):
        kind = kind_of(parse_toml(read_text(Path(name), "card"), str(name)))
        return next((k for k in kinds if k.kind == kind), kinds[0]).load(name)
    for known in kinds:
        if str(name) in known.builtin():
            return known.load(name)
    raise UserError(_unknown("card", str(name), [n for known in kinds for n in known.builtin()]))


def is_path(name: str | Path) -> bool:
    """Whether a card is meant by its path, not by its name."""
    return Path(name).suffix == ".toml" or exists(Path(name))


def read_text(path: Path, what: str) -> str:
    """The text of a card file.

    Raises:
        UserError: it can't be read; the message calls it `what`.
    """
    try:
        text = read_whole(path, _LARGEST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't read the {what}: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a card.

    Raises:
        UserError: not TOML.
    """
    try:
        data = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not a TOML file: {error}") from error
    except RecursionError as error:
        raise UserError(f"{where}: tables and lists are nested too deeply for a card") from error
    except ValueError as error:  # an integer of thousands of digits
        raise UserError(f"{where}: not a TOML file: {str(error).partition(';')[0]}") from error
    if "text" in data:
        raise UserError(f"{where}: unknown key 'text'")
    return data


def kind_of(data: dict[str, Any]) -> str:
    """The kind that the tables of a card are of."""
    identity = data.get("card")
    kind = identity.get("kind", _UNMARKED) if isinstance(identity, dict) else _UNMARKED
    return str(kind)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"unknown {what} {shown(name)}; give the path of a TOML file or one of {names}"


@cache
def _texts(folder: str | None) -> dict[str, str]:
    """Texts of the cards that come with the package, by name, of one folder of `calibration`."""
    if folder is None:
        return {}
    place = resources.files("analogdfc._calibration").joinpath(folder)
    files = {f.name[:-5]: f for f in place.iterdir() if f.name.endswith(".toml")}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}
