"""Old bundles still play and measure as they did: samples and figures from before."""

import json

import numpy as np
from golden import make_samples


def kept(name):
    return json.loads((make_samples.GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def numbers_in(content):
    """All numbers in nested lists and dictionaries, in order, without NaN and texts."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        return [number for inside in content for number in numbers_in(inside)]
    return [] if isinstance(content, str) or np.isnan(content) else [float(content)]


def test_transfers_sound_as_before():
    with np.load(make_samples.GOLDEN / "transfers.npz") as before:
        for title, played in make_samples.transfers().items():
            np.testing.assert_allclose(played, before[title], rtol=0, atol=1e-5, err_msg=title)


def test_figures_are_those_of_before():
    now, before = make_samples.figures(), kept("figures")
    assert now.pop("doctor") == before.pop("doctor")
    np.testing.assert_allclose(numbers_in(now), numbers_in(before), atol=1e-3)


def test_a_training_comes_to_the_same():
    now, before = make_samples.training(), kept("training")
    assert (now["n_train"], now["n_heldout"]) == (before["n_train"], before["n_heldout"])
    statistics = (numbers_in(content["statistics"]) for content in (now, before))
    np.testing.assert_allclose(*statistics, atol=1e-3)
    for name in ("train_loss", "heldout_loss", "played"):
        np.testing.assert_allclose(now[name], before[name], rtol=1e-5, atol=1e-5, err_msg=name)
