"""The outline of a method's file says what its module says, and is read without running it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import AliasChoices

from vedit import methods
from vedit.errors import UsageError
from vedit.jobs.edit.settings import method_params
from vedit.methods.outline import outline


@pytest.mark.parametrize("name", methods.registry._own())
def test_the_outline_has_the_fields_the_other_names_and_the_needs_of_the_module(name: str) -> None:
    module, found = methods.load(name), outline(name)
    assert found is not None
    assert found.needs == module.NEEDS
    assert set(found.fields) == set(module.Params.model_fields)
    for key, field in module.Params.model_fields.items():
        alias = field.validation_alias
        assert list(found.fields[key]) == (alias.choices if isinstance(alias, AliasChoices) else [])


def test_a_method_that_is_not_there_has_none() -> None:
    assert outline("p2q") is None


@pytest.mark.parametrize("key", ["featureuntil", "step", "n-stepz"])
def test_a_wrong_key_is_refused_in_the_words_of_the_class(key: str) -> None:
    from vedit.methods.params import read_params

    with pytest.raises(UsageError) as by_class:
        read_params(methods.load("pnp").Params, {key: 3}, "pnp parameters")
    with pytest.raises(UsageError) as by_outline:
        method_params("pnp", None, {key: 3}, "shapes")
    assert str(by_outline.value) == str(by_class.value)


def test_the_names_of_published_code_are_known() -> None:
    found = outline("pnp")
    assert found is not None
    assert [found.field(key) for key in ("pnp_f_t", "pnp-f-t", "n_steps", "tau")] == [
        "feature_until",
        "feature_until",
        "steps",
        None,
    ]


def test_reading_one_imports_neither_torch_nor_pydantic() -> None:
    code = "import sys; from vedit.methods.outline import outline; outline('combine');" + (
        " print(sorted({'torch', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
