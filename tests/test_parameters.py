"""A parameters cell is read by its syntax, and whatever papermill could misread is refused."""

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from gatescope.atlas.notebook_parameters import ParameterError, check_values, parse_values, read_parameters


def read(source, tags=("parameters",)):
    return read_parameters(new_notebook(cells=[new_code_cell(source, metadata={"tags": list(tags)})]))


def test_each_line_gives_name_type_and_default():
    known = read(
        "num_clips: int = 600  # clips of the set\n"
        "rate: float = 1  # frames a second\n"
        'clip: str = ""  # a video file; empty: none\n'
        "noise: bool = True\n"
        "# a line of its own\n"
        "sizes: list[int] = [56, -112]  # px\n"
    )
    assert {name: (parameter.type, parameter.default) for name, parameter in known.items()} == {
        "num_clips": ("int", 600),
        "rate": ("float", 1.0),
        "clip": ("str", ""),
        "noise": ("bool", True),
        "sizes": ("list[int]", [56, -112]),
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("clip: str | None = None  # a file", "type"),
        ("clip: Optional[str] = None  # a file", "type"),
        ("size: int = 56  # px, size=112 for the paper", "=.*comment"),
        ("size: int = 2 * 56  # px", "computed"),
        ("size: int = 56\nhalf: int = size  # px", "computed"),
        ("size: int = float(56)  # px", "computed"),
        ("size = 56  # px", "must read"),
        ("size: int  # px", "must read"),
        ("import math", "must read"),
        ("size: int = 56.0  # px", "must be a int"),
        ("size: int = True  # px", "must be a int"),
        ("sizes: list[int] = ['a']", "must be a int"),
        ("size: int = 1\nsize: int = 2", "twice"),
        ("size: int = ", "parse"),
        ("num_clips: int = 0", "1 or more"),
        ("margin: float = 1e999", "finite"),
    ],
)
def test_a_cell_out_of_form_is_refused(source, reason):
    with pytest.raises(ParameterError, match=reason):
        read(source)


def test_a_notebook_without_a_tagged_cell_or_with_two_is_refused():
    with pytest.raises(ParameterError, match="has 0"):
        read("size: int = 56", tags=())
    cells = [new_code_cell("size: int = 56", metadata={"tags": ["parameters"]}) for _ in range(2)]
    with pytest.raises(ParameterError, match="has 2"):
        read_parameters(new_notebook(cells=cells))


def test_a_misspelt_name_is_refused_with_those_that_exist():
    known = read("num_clips: int = 600\nsize: int = 56")
    with pytest.raises(ParameterError, match="num_clip; .* num_clips, size"):
        check_values(known, {"num_clip": 3})
    with pytest.raises(ParameterError, match="num_clip; .* num_clips, size"):
        parse_values(known, {"num_clip": "3"})


def test_a_value_of_another_type_is_refused():
    known = read("size: int = 56\nrate: float = 12.0\nnoise: bool = True\nclip: str = ''\nsizes: list[int] = []")
    for name, value in {"size": 5.5, "rate": "12", "noise": 1, "clip": 3, "sizes": [True]}.items():
        with pytest.raises(ParameterError, match=f"{name} must be"):
            check_values(known, {name: value})
    assert check_values(known, {"rate": 12}) == {"rate": 12.0}


def test_texts_become_values_by_the_declared_type():
    known = read("size: int = 56\nrate: float = 12.0\nnoise: bool = True\nclip: str = ''\nsizes: list[int] = []")
    given = {"size": "112", "rate": "30", "noise": "false", "clip": "12", "sizes": "[1, 2]"}
    expected = {"size": 112, "rate": 30.0, "noise": False, "clip": "12", "sizes": [1, 2]}
    assert parse_values(known, given) == expected
    for name, text in {"size": "many", "rate": "__import__('os')", "noise": "no", "sizes": "[1,"}.items():
        with pytest.raises(ParameterError, match=f"{name} must be"):
            parse_values(known, {name: text})
