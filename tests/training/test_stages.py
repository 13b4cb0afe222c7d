"""A training in two stages, on tones whose powers are known: learned, stopped, gone on with."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_analysis
from test_loop import assert_equal_weights, checkpoint_names, stop_at
from tiny_analysis import EXAMPLES, N_KNOWN

from helpers.instruments import configurations
from helpers.synthesis import xla
from helpers.training import dataset, loop, objectives, recipe, steps

STEPS, EVERY = 30, 4  # of which the second stage has 6
FIRST, SECOND = "Stage 1 of 2, the analysis", "Stage 2 of 2, by ear"
MEANS = np.full(8, -3.0), np.full(17, tiny_analysis.FLOOR)


@pytest.fixture(autouse=True, scope="module")
def _quick():
    """Steps that are not compiled as a whole, which would take longer than all of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(steps, "xla", SimpleNamespace(available=lambda: False))
        monkeypatch.setattr(loop, "EVALUATE_EVERY", EVERY)
        monkeypatch.setattr(objectives, "EAR_SHARE", 0.2)
        monkeypatch.setattr(configurations, "build", lambda *_, **__: tiny_analysis.build())
        monkeypatch.setattr(dataset, "mean_targets", lambda group: MEANS)
        monkeypatch.setattr(recipe.Training, "description", lambda training: {})
        yield


def begun(folder, **options):
    """A `Training` whose dataset is prepared."""
    options = {"steps": STEPS, "learning_rate": 0.01, **options}
    training = recipe.Training(
        recipe.Recipe(recordings=folder / "no", folder=folder / "flute", **options)
    )
    (folder / "flute").mkdir(exist_ok=True)
    training.dataset = EXAMPLES
    return training


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A training to the end, and its reports."""
    training, reports = begun(tmp_path_factory.mktemp("run")), []
    training.train(reports.append)
    return training, reports


def checkpoints(training):
    """The names of the checkpoints of both stages, those of the first stage first."""
    folders = sorted(training.recipe.folder.glob("checkpoints_*"), key=lambda path: len(path.name))
    return [checkpoint_names(folder) for folder in folders]


def test_all_is_learned_in_both_stages(undisturbed):
    training, _ = undisturbed
    first, second = training.histories.values()
    assert list(training.histories) == [FIRST, SECOND]
    assert first.step == [4, 8, 12, 16, 20, 24] and second.step == [4, 6]
    assert training.is_done and training.history is second
    assert first.heldout_loss[-1] < 0.7 * first.heldout_loss[0]
    assert checkpoints(training) == [{"step-20", "step-24"}, {"step-4", "step-6"}]


@pytest.mark.slow
def test_harmonics_are_learned_as_they_are(tmp_path):
    """The powers of those that are known, of the notes that were played, against the true ones."""
    training = begun(tmp_path, steps=200)
    training.train()
    network, played = training.instrument.network, EXAMPLES.train
    features = network.encode({n: played[n][:, 25:] for n in ("f0_hz", "loudness_db")})
    found = network.decoder.powers(features)[0].numpy()[..., :N_KNOWN]
    true = played["harmonic_log_power"][:, 25:, :N_KNOWN]
    error_db = 10 / np.log(10) * (found - true.astype(np.float32))
    assert np.median(np.abs(error_db)) < 1.0


def test_progress_tells_the_stage(undisturbed):
    _, reports = undisturbed
    assert [report.steps_done for report in reports] == [4, 8, 12, 16, 20, 24, 28, 30]
    assert [list(report.stages) for report in reports[5:7]] == [[FIRST], [FIRST, SECOND]]
    assert reports[0].summary.startswith(f"{FIRST}. Step 4 of 24, ")
    assert reports[-1].summary.startswith(f"{SECOND}. Step 6 of 6, ")
    for report in reports:
        assert len(report.resynthesis) == len(report.original)
        assert report.resynthesis.std() > 0.01


@pytest.mark.parametrize(
    "stage, step",
    [
        (0, 10),
        pytest.param(0, 2, marks=pytest.mark.slow),
        pytest.param(1, 5, marks=pytest.mark.slow),
        (1, 2),
    ],
)
def test_a_stopped_training_ends_as_the_undisturbed(
    undisturbed, tmp_path, monkeypatch, stage, step
):
    """In either stage, before and after its first evaluation."""
    with monkeypatch.context() as patch:
        stop_at(step, patch, stage)
        stopped = begun(tmp_path)
        stopped.train()
    assert not stopped.is_done and len(stopped.histories) == stage + 1
    gone_on = begun(tmp_path)
    gone_on.train()
    assert gone_on.is_done and gone_on.histories == undisturbed[0].histories
    assert_equal_weights(gone_on.instrument.network, undisturbed[0].instrument.network)


def test_a_finished_training_is_left_as_it_is(undisturbed, capsys):
    training, reports = undisturbed[0], []
    again = begun(training.recipe.folder.parent)
    again.train(reports.append)
    assert_equal_weights(again.instrument.network, training.instrument.network)
    assert [report.title for report in reports] == [SECOND]
    assert "".join(capsys.readouterr()).count("steps already") == 1


@pytest.mark.slow
def test_with_more_steps_the_second_stage_begins_anew(tmp_path, monkeypatch):
    begun(tmp_path, steps=5).train()
    reports = []
    more = begun(tmp_path, steps=20)
    more.train(reports.append)
    assert [report.steps_done for report in reports] == [8, 12, 16, 20]
    assert len(checkpoints(more)) == 3 and more.is_done


@pytest.mark.slow
def test_a_seed_gives_the_same_training(undisturbed, tmp_path):
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        training = begun(tmp_path / str(seed), seed=seed, steps=STEPS)
        training.train()
        assert (training.histories == undisturbed[0].histories) == (seed == 0)


@pytest.mark.slow
def test_compiled_steps_come_to_the_same(undisturbed, tmp_path, monkeypatch):
    """Nearly, since XLA draws other random numbers; and a stopped training exactly."""
    monkeypatch.setattr(steps, "xla", xla)
    at_once, stopped = (tmp_path / name for name in ("at once", "stopped"))
    for folder in (at_once, stopped):
        folder.mkdir()
    whole = begun(at_once)
    whole.train()
    losses = (training.histories[FIRST].heldout_loss for training in (whole, undisturbed[0]))
    np.testing.assert_allclose(*losses, rtol=0.1)
    with monkeypatch.context() as patch:
        stop_at(10, patch)
        begun(stopped).train()
    gone_on = begun(stopped)
    gone_on.train()
    assert gone_on.histories == whole.histories


def test_the_steps_of_each_kind_of_instrument(tmp_path):
    assert begun(tmp_path, steps=None).steps == recipe.STEPS
    assert begun(tmp_path, steps=70).steps == 70


def test_a_new_instrument_starts_at_the_means_of_the_recordings(tmp_path, monkeypatch):
    means = np.full(8, -9.0), np.full(17, -20.0)
    monkeypatch.setattr(dataset, "mean_targets", lambda group: means)
    training = begun(tmp_path)
    training.dataset = replace(EXAMPLES, statistics=EXAMPLES.statistics | {"band_edge_hz": 4000.0})
    stop_at(0, monkeypatch)
    training.train()
    found = training.instrument.network.decoder
    np.testing.assert_array_equal(found._harmonic_means, -9.0)
    assert found._band_edge_khz == 4.0
    assert found._mean_loudness_db == -20.0
