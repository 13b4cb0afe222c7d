"""The metrics of the DDSP paper against cases whose answer is known, and against mir_eval."""

import dataclasses
import itertools
from types import SimpleNamespace

import mir_eval
import numpy as np
import pytest
import scipy.stats
import tiny_instrument

from helpers.analysis import pitch
from helpers.analysis.features import Features
from helpers.evaluation import metrics

FRAME_RATE = 125
N_FRAMES = 250


@pytest.fixture
def original():
    """A vibrato that is certain, with a rest in it."""
    times_s = np.arange(N_FRAMES) / FRAME_RATE
    f0_hz = 440 * 2 ** (0.5 * np.sin(2 * np.pi * 5 * times_s) / 12)
    confidence = np.full(N_FRAMES, 0.95)
    f0_hz[100:120], confidence[100:120] = np.nan, 0.1
    return Features(times_s, f0_hz, confidence, -30 + 10 * np.cos(times_s), FRAME_RATE)


def changed(curves, **curves_of):
    return dataclasses.replace(curves, **curves_of)


def test_f0_is_crepes_own():
    """As others measured it; what is learned from is refined."""
    f0_hz = 440 * 2 ** (0.5 * np.sin(2 * np.pi * 5 * np.arange(8000) / 16000) / 12)
    audio = np.sin(2 * np.pi * np.cumsum(f0_hz) / 16000).astype(np.float32)
    by_crepe, _ = pitch.track(audio, 16000, FRAME_RATE)
    found = metrics.measure(audio, 16000, FRAME_RATE).f0_hz
    np.testing.assert_allclose(found, by_crepe, rtol=2e-4)  # refined: 2e-3 apart


def test_the_same_is_perfect(original):
    assert metrics.compare(original, original) == {
        "loudness_l1_db": 0.0,
        "f0_l1_semitones": 0.0,
        "f0_outlier": False,
    }


@pytest.mark.parametrize("semitones", [-11.9, -1.0, 0.1, 1.0, 11.9])
def test_semitones_off(original, semitones):
    scores = metrics.compare(
        original, changed(original, f0_hz=original.f0_hz * 2 ** (semitones / 12))
    )
    assert scores["f0_l1_semitones"] == pytest.approx(abs(semitones))
    assert scores["loudness_l1_db"] == 0.0 and not scores["f0_outlier"]


def test_louder_and_softer_is_as_far(original):
    louder = changed(original, loudness_db=original.loudness_db + 3)
    assert metrics.compare(original, louder)["loudness_l1_db"] == pytest.approx(3.0)
    turns = np.where(np.arange(N_FRAMES) % 2, 3.0, -3.0)
    uneven = changed(original, loudness_db=original.loudness_db + turns)
    assert metrics.compare(original, uneven)["loudness_l1_db"] == pytest.approx(3.0)


@pytest.mark.parametrize("semitones", [-24, -12.5, 12.5, 24])
def test_more_than_an_octave_off_is_an_outlier(original, semitones):
    off = changed(original, f0_hz=original.f0_hz * 2 ** (semitones / 12))
    assert metrics.compare(original, off)["f0_outlier"] is True


@pytest.mark.parametrize(
    "lost",
    [
        {"f0_hz": np.full(N_FRAMES, np.nan)},
        {"confidence": np.full(N_FRAMES, 0.2)},
    ],
    ids=["unvoiced", "unsure"],
)
def test_what_cannot_be_tracked_is_an_outlier(original, lost):
    scores = metrics.compare(original, changed(original, **lost))
    assert scores["f0_outlier"] is True and np.isnan(scores["f0_l1_semitones"])


def test_only_what_is_certain_in_the_original_counts(original):
    """Half of the frames are a tritone off, just there where the original is not certain."""
    unsure = np.arange(N_FRAMES) < N_FRAMES // 2
    vague = changed(original, confidence=np.where(unsure, 0.84, original.confidence))
    off = changed(original, f0_hz=np.where(unsure, original.f0_hz * 2**0.5, original.f0_hz))
    assert metrics.compare(vague, off)["f0_l1_semitones"] == 0.0
    assert metrics.compare(original, off)["f0_l1_semitones"] == pytest.approx(
        6 * np.mean(unsure[original.voiced])
    )


def test_an_original_without_pitch_is_no_outlier(original):
    noise = changed(original, f0_hz=np.full(N_FRAMES, np.nan), confidence=np.full(N_FRAMES, 0.1))
    scores = metrics.compare(noise, original)
    assert scores["f0_outlier"] is False and np.isnan(scores["f0_l1_semitones"])


def test_a_longer_resynthesis_is_compared_as_far_as_both_go(original):
    shorter = Features(
        *(getattr(original, name)[:-9] for name in ("times_s", "f0_hz", "confidence")),
        loudness_db=original.loudness_db[:-9],
        frame_rate=FRAME_RATE,
    )
    for pair in ((original, shorter), (shorter, original)):
        assert metrics.compare(*pair)["loudness_l1_db"] == 0.0


def test_mir_eval_agrees(original):
    rng = np.random.default_rng(0)
    f0_hz = original.f0_hz * 2 ** (rng.normal(0, 0.5, N_FRAMES) / 12)
    scores = metrics.compare(original, changed(original, f0_hz=f0_hz))
    cents = [mir_eval.melody.hz2cents(np.nan_to_num(curve)) for curve in (original.f0_hz, f0_hz)]
    voiced = original.voiced
    difference = np.abs(cents[0] - cents[1])[voiced] / 100
    assert scores["f0_l1_semitones"] == pytest.approx(difference.mean())
    within_50_cents = mir_eval.melody.raw_pitch_accuracy(voiced, cents[0], voiced, cents[1])
    assert np.mean(difference < 0.5) == pytest.approx(within_50_cents)


def tone(f0_hz, amplitude=0.2):
    phase = 2 * np.pi * f0_hz * np.arange(2 * 16000) / 16000
    return (amplitude * sum(np.sin(k * phase) / k for k in range(1, 8))).astype(np.float32)


def test_an_instrument_is_scored_over_all_examples():
    """It plays one example a semitone high and 6 dB soft, one two octaves high, one not at all."""
    played = iter([tone(220 * 2 ** (1 / 12), 0.1), tone(880), np.zeros(32000, np.float32)])
    instrument = SimpleNamespace(
        sample_rate=16000, frame_rate=125, z_dims=0, play=lambda f0_hz, loudness_db: next(played)
    )
    examples = {
        "audio": np.stack([tone(220)] * 3),
        "f0_hz": np.full((3, 251), 220.0),
        "loudness_db": np.full((3, 251), -20.0),
    }
    scores = metrics.resynthesis(instrument, examples)
    assert scores["f0_l1_semitones"] == pytest.approx(1.0, abs=0.1)  # that of the first alone
    assert scores["f0_outliers"] == pytest.approx(2 / 3)
    assert scores["loudness_l1"] == pytest.approx(scores["loudness_l1_db"] / 80)
    assert scores["loudness_l1_db"] > 5


def test_an_instrument_that_plays_nothing_is_scored_without_a_warning(recwarn):
    instrument = SimpleNamespace(
        sample_rate=16000, frame_rate=125, z_dims=0, play=lambda *curves: np.zeros(32000)
    )
    examples = {"audio": tone(220)[None], "f0_hz": [None], "loudness_db": [None]}
    scores = metrics.resynthesis(instrument, examples)
    assert scores["f0_outliers"] == 1.0 and np.isnan(scores["f0_l1_semitones"])
    assert not [warning for warning in recwarn if issubclass(warning.category, RuntimeWarning)]


def test_an_autoencoder_is_given_the_z_of_each_example():
    """One frame more than there are hops, as all features of an example."""
    given = []

    def play(f0_hz, loudness_db, z):
        given.append(z)
        return tone(220)

    instrument = SimpleNamespace(
        sample_rate=16000,
        frame_rate=125,
        z_dims=2,
        play=play,
        encode=lambda audio: np.full((251, 2), np.abs(audio).max()),
    )
    examples = {
        "audio": np.stack([tone(220), tone(220, 0.1)]),
        "f0_hz": np.full((2, 251), 220.0),
        "loudness_db": np.full((2, 251), -20.0),
    }
    metrics.resynthesis(instrument, examples)
    for audio, z in zip(examples["audio"], given, strict=True):
        np.testing.assert_array_equal(z, np.full((251, 2), np.abs(audio).max()))


def rows_of(loudness_l1_db):
    return [
        {"loudness_l1_db": x, "f0_l1_semitones": x / 10, "f0_outlier": False}
        for x in loudness_l1_db
    ]


def test_intervals_are_those_of_the_normal_distribution():
    """Of the mean of many examples the percentile bootstrap comes to mean and 1.96 deviations."""
    values = np.random.default_rng(0).normal(5.0, 1.0, 400)
    found = metrics.intervals(rows_of(values))
    expected = values.mean() + 1.96 * values.std() / 20 * np.array([-1, 1])
    np.testing.assert_allclose(found["loudness_l1_db"], expected, atol=0.02)
    np.testing.assert_allclose(found["loudness_l1"], expected / 80, atol=0.02 / 80)
    np.testing.assert_allclose(found["f0_l1_semitones"], expected / 10, atol=0.002)
    assert found == metrics.intervals(rows_of(values))  # to the digit


def test_intervals_where_there_is_no_spread():
    assert metrics.intervals(rows_of([2.0, 2.0]))["loudness_l1_db"] == (2.0, 2.0)
    assert np.isnan(metrics.intervals(rows_of([2.0]))["loudness_l1_db"]).all()
    lost = [{"loudness_l1_db": 1.0, "f0_l1_semitones": np.nan, "f0_outlier": True}] * 3
    assert np.isnan(metrics.intervals(lost)["f0_l1_semitones"]).all()


def test_none_in_ten_is_no_proof_that_there_are_none():
    """The exact ends for 0 of n are 0 and 1 - 0.025 ** (1 / n)."""
    low, high = metrics.intervals(rows_of(range(10)))["f0_outliers"]
    assert (low, high) == (0.0, pytest.approx(1 - 0.025**0.1))


def test_an_interval_holds_its_mean():
    """For any number of examples, of rows of each, and of those that are lost."""
    random = np.random.default_rng(0)
    for n_together, n_examples in itertools.product((1, 2, 3), (1, 2, 3, 7, 14)):
        rows = [
            {
                "loudness_l1_db": random.exponential(),
                "f0_l1_semitones": random.exponential(),
                "f0_outlier": bool(random.random() < random.choice([0.0, 0.3, 1.0])),
            }
            for _ in range(n_together * n_examples)
        ]
        found = metrics.intervals(rows, n_together)
        for metric, mean in metrics.means(rows).items():
            low, high = found[metric]
            if not np.isnan([mean, low]).any():
                assert low <= mean <= high, (metric, n_together, n_examples)
        assert not np.isnan(found["f0_outliers"]).any()


def test_an_interval_of_outliers_in_pairs():
    """In 4 of 7 clips one of two pairs is lost: 2 / 7 of all, of 7 observations."""
    lost = [True, False] * 4 + [False, False] * 3
    rows = [{"loudness_l1_db": 1.0, "f0_l1_semitones": 0.1, "f0_outlier": x} for x in lost]
    expected = scipy.stats.binomtest(2, 7).proportion_ci()
    assert metrics.intervals(rows, 2)["f0_outliers"] == pytest.approx(tuple(expected))


def test_no_rows_have_no_interval():
    assert np.isnan(list(metrics.intervals([]).values())).all()


def test_rows_of_one_example_are_drawn_together():
    """Three copies of each row tell no more than one does, where drawn apart they would seem to."""
    values = np.random.default_rng(0).normal(5.0, 1.0, 40)
    once = metrics.intervals(rows_of(values))
    thrice = metrics.intervals(rows_of(np.repeat(values, 3)), n_together=3)
    for metric, ends in thrice.items():
        assert ends == pytest.approx(once[metric])
    apart = metrics.intervals(rows_of(np.repeat(values, 3)))["loudness_l1_db"]
    assert np.ptp(apart) < 0.7 * np.ptp(once["loudness_l1_db"])


def test_an_instrument_plays_the_same_each_time():
    instrument = tiny_instrument.build()
    examples = {
        "audio": np.stack([tone(220)] * 2),
        "f0_hz": np.full((2, 251), 220.0),
        "loudness_db": np.full((2, 251), -20.0),
    }
    once, again = (list(metrics.resynthesize(instrument, examples)) for _ in range(2))
    for (_, one, seconds), (_, other, _) in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)
        assert seconds > 0
    assert (once[0][1] != once[1][1]).any()  # but its noise goes on
