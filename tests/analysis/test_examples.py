"""The examples in the docstrings that a reader meets first."""

import doctest

import pytest

from helpers.analysis import audio, crepe, features


@pytest.mark.parametrize("module", [audio, crepe, features], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
