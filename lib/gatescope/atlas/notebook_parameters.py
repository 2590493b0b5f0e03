"""Parameters of a notebook: the cell that sets them, parsed and held to one plain form."""

import ast
import io
import math
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

from nbformat import NotebookNode

Value = bool | int | float | str | list

SCALARS = {"bool": bool, "int": int, "float": float, "str": str}
TYPES = [*SCALARS, *(f"list[{name}]" for name in SCALARS)]
# What the parser and `literal_eval` raise; the last two where it is nested too deeply.
_NO_LITERAL = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


class ParameterError(ValueError):
    """Raised for a parameters cell in another form, or a name or value that it has no place for."""


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell."""

    name: str
    type: str  # bool, int, float, str, or list[...] of one of them
    default: Value

    def check(self, value: object) -> Value:
        """Return `value` as this parameter holds it, an int as float.

        Raises ParameterError for another type, a float that is not finite, and fewer than one where the name begins
        with `num_`.
        """
        if self.type.startswith("list[") and isinstance(value, list):
            element = Parameter(f"an element of {self.name}", self.type[5:-1], "")
            return [element.check(item) for item in value]
        if self.type == "float" and type(value) is int and abs(value) < 1 << 1000:
            return float(value)
        # Not isinstance, which takes a bool for an int.
        if type(value) is not SCALARS.get(self.type):
            raise ParameterError(f"{self.name} must be a {self.type}; got {value!r}")
        if self.type == "int" and self.name.startswith("num_") and value < 1:
            raise ParameterError(f"{self.name} is a number of things, so 1 or more; got {value!r}")
        if self.type == "float" and not math.isfinite(value):
            raise ParameterError(f"{self.name} must be a finite number; got {value!r}")
        return value

    def parse(self, text: str) -> Value:
        """Return the value that `text` from a command line stands for; raises ParameterError for another type."""
        if self.type == "str":
            return text
        try:
            value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
        except _NO_LITERAL:
            raise ParameterError(f"{self.name} must be a {self.type}; got {text[:200]!r}") from None
        return self.check(value)


def read_parameters(notebook: NotebookNode) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name; raises ParameterError for a cell in another form.

    Papermill silently drops or overwrites what it cannot read. So this refuses no tagged cell or several, a `|` in a
    type, a `=` in a comment and a value that is computed.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ParameterError(f"a notebook needs one code cell tagged `parameters`; this one has {len(cells)}")
    source = cells[0].source
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ParameterError(f"the parameters cell does not parse: {error}") from None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and "=" in token.string:
            raise ParameterError(f"line {token.start[0]} of the parameters cell has a `=` in its comment")
    parameters: dict[str, Parameter] = {}
    for statement in statements:
        parameter = _read_line(statement)
        if parameter.name in parameters:
            raise ParameterError(f"{parameter.name} stands twice in the parameters cell")
        parameters[parameter.name] = parameter
    return parameters


def check_values(parameters: Mapping[str, Parameter], given: Mapping[str, object]) -> dict[str, Value]:
    """Return the given values, checked; raises ParameterError for an unknown name or another type."""
    return {name: _named(parameters, name).check(value) for name, value in given.items()}


def parse_values(parameters: Mapping[str, Parameter], given: Mapping[str, str]) -> dict[str, Value]:
    """Return the values that texts from a command line stand for; raises ParameterError as `check_values` does."""
    return {name: _named(parameters, name).parse(text) for name, text in given.items()}


def _named(parameters: Mapping[str, Parameter], name: str) -> Parameter:
    if name not in parameters:
        raise ParameterError(f"no parameter {name}; this notebook has {', '.join(parameters) or 'none'}")
    return parameters[name]


def _read_line(statement: ast.stmt) -> Parameter:
    where = f"line {statement.lineno} of the parameters cell"
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as written):
            kind = ast.unparse(annotation)
        case _:
            raise ParameterError(f"{where} must read `name: type = literal  # unit and meaning`")
    if kind not in TYPES:
        raise ParameterError(f"{where}: a type is one of {', '.join(SCALARS)} or a list[...] of one; got {kind}")
    try:
        value = ast.literal_eval(written)
    except _NO_LITERAL:
        reason = f"{ast.unparse(written)} is computed; a value is a literal, and what follows belongs in the next cell"
        raise ParameterError(f"{where}: {reason}") from None
    return Parameter(name, kind, Parameter(name, kind, value).check(value))
