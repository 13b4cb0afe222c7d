import contextlib
import os
import shutil

import gin
import pytest

from helpers import config
from helpers.errors import InputError


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Tests neither read nor fill the user's cache of pitch."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(config, "CACHE", tmp_path_factory.mktemp("cache"))
        yield


def need(condition, reason):
    """Skips a test where a part of the system is missing; in CI that is a failure."""
    if not condition:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture
def refused():
    """Expects an InputError of one sentence: `with refused("what it has to say"):`."""

    @contextlib.contextmanager
    def expect(match=""):
        with pytest.raises(InputError, match=match) as caught:
            yield
        sentence = str(caught.value)
        assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 300, sentence

    return expect


@pytest.fixture
def nothing_is_built(monkeypatch):
    """Fails a test that comes as far as giving a configuration to gin."""
    monkeypatch.setattr(gin, "parse_config", lambda *_: pytest.fail("built"))


@pytest.fixture(scope="session")
def saved_tiny(tmp_path_factory):
    """A saved bundle, not to be changed."""
    import tiny_instrument  # slow: TensorFlow, which many tests do without

    from helpers.instruments import bundles

    folder = tmp_path_factory.mktemp("saved") / "tiny"
    bundles.save(tiny_instrument.build(), folder)
    return folder


@pytest.fixture
def tiny_bundle(saved_tiny, tmp_path):
    """A copy of the saved bundle, to be spoilt."""
    return shutil.copytree(saved_tiny, tmp_path / "tiny")


@pytest.fixture
def shown(monkeypatch):
    """The figures that `widgets` displayed, or updated in their place."""
    from helpers.interface import widgets  # here, since few tests need it

    figures = []

    class Handle:
        def update(self, figure):
            figures.append(figure)

    def display(figure, display_id):
        assert display_id and not figures
        figures.append(figure)
        return Handle()

    monkeypatch.setattr(widgets, "display", display)
    return figures
