"""Commands that take each option once: of two values the last would count, and the first be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from gradlaw.errors import ConfigurationError

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses an option given twice, but for those that gather what they are given."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Looks at all that was given before the last of each is taken.

        Raises:
            ConfigurationError: Options were given more than once, all of them.
        """
        if faults := list(self._repeated(ctx, args)):
            raise ConfigurationError(faults)
        return super().parse_args(ctx, args)

    def _repeated(self, ctx: Any, args: list[str]) -> Iterator[str]:
        options = [item for item in self.params if item.param_type_name == "option"]
        single: list[Any] = [item for item in options if not getattr(item, "multiple", False)]
        parser: Any = self.make_parser(ctx)
        for option in single:
            gathering = copy(option)
            gathering.multiple = True
            gathering.add_to_parser(parser, ctx)  # in the option's own place
        given, _, _ = parser.parse_args(list(args))
        for option in single:
            values = given.get(option.name, ())
            if len(values) > 1:
                got = " and ".join(str(_typed(option, value)) for value in values)
                yield f"{option.opts[0]}: got {got}, allowed once; leave all but one out"


def _typed(option: Any, value: Any) -> Any:
    """What was typed: of a flag its name."""
    return (option.opts if value else option.secondary_opts)[0] if option.is_flag else value


class Application(typer.Typer):
    """An application of such commands."""

    def command(self, *words: Any, **settings: Any) -> Callable[[Function], Function]:
        """As of its base, with :class:`Command` for the class of commands that name none."""
        return super().command(*words, **{"cls": Command, **settings})
