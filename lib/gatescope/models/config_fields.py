"""Common parts of all networks' configs: fields that pydantic checks, and their JSON."""

import json
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import to_jsonable_python

STRICT = ConfigDict(strict=True, extra="forbid")  # neither True nor "3" is an int; unknown fields are refused

Count = Annotated[int, Field(ge=1, lt=1 << 31)]
Few = Annotated[int, Field(ge=1, le=100)]  # parts of a network, each of which takes time to make
Finite = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


def one_of(names: Collection[str]) -> AfterValidator:
    """Make the check of a field that takes one of these names; it raises LookupError, with the list, for another."""

    def check(value: Any, info: Any) -> Any:
        if value not in names:
            raise LookupError(f"no {info.field_name} {value!r}; there are {', '.join(names)}")
        return value

    return AfterValidator(check)


class Config:
    """Base class of configs: their JSON."""

    ADDED: ClassVar[Mapping[str, Any]] = {}  # fields that older JSON lacks, with the value that was meant before them

    def to_json(self) -> dict[str, Any]:
        """Return the config in JSON's types; `from_json` reads it back."""
        return to_jsonable_python(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Config":
        """Return the config that `to_json` gave these values for, also before the fields `ADDED`.

        Raises ValueError unless they are exactly its fields: with a default for a missing one, a network could change.
        """
        values = {**cls.ADDED, **values}
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ValueError(
                f"a {cls.__name__} has {', '.join(sorted(names))}; this one lacks {sorted(names - set(values))} "
                f"and has {sorted(set(values) - names)} besides"
            )
        return TypeAdapter(cls).validate_json(json.dumps(values))  # strict JSON may put lists for tuples
