"""A config's values as JSON keeps them, checked against what the config has."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def check_fields(kind: type, values: Mapping[str, Any], what: str) -> None:
    """Raise ValueError unless `values` are exactly the fields of the dataclass `kind`, the config of `what`."""
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        raise ValueError(
            f"the config of {what} has {', '.join(sorted(names))}; this one lacks {sorted(names - set(values))} "
            f"and has {sorted(set(values) - names)} besides"
        )
