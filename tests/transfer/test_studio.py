"""studio: what is chosen is loaded once, and a result is that of `transfer`."""

import numpy as np
import pytest
import soundfile
import tiny_instrument

from helpers.analysis import features
from helpers.instruments import bundles
from helpers.transfer import session, studio
from helpers.transfer.settings import Settings

SAMPLE_RATE = 16000


@pytest.fixture
def two_bundles(tmp_path):
    """Two instruments."""
    for name in ("one", "two"):
        bundles.save(tiny_instrument.build(), tmp_path / name)
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def clip(tmp_path):
    """A second of a tone at 44.1 kHz."""
    audio = 0.3 * np.sin(2 * np.pi * 330 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "tone.wav", audio, 44100)
    return tmp_path / "tone.wav"


@pytest.fixture
def counted(monkeypatch):
    """How often was loaded and listened."""
    counts = {"load": 0, "extract": 0}

    def count(module, name):
        function = getattr(module, name)

        def counting(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, counting)

    count(bundles, "load")
    count(features, "extract")
    return counts


def test_only_what_changes_is_loaded(two_bundles, clip, counted):
    one = studio.Studio()
    one.choose(clip, two_bundles[0])
    one.choose(clip, two_bundles[0])
    assert counted == {"load": 1, "extract": 1}
    one.choose(clip, two_bundles[1])  # of the same rates
    assert counted == {"load": 2, "extract": 1}
    one.choose(clip, two_bundles[1], second=two_bundles[0])
    assert counted == {"load": 2, "extract": 1}
    bundles.save(tiny_instrument.build(), two_bundles[0])  # trained again
    one.choose(clip, two_bundles[0])
    assert counted == {"load": 3, "extract": 1}


def test_the_result_is_that_of_a_transfer(two_bundles, clip):
    one = studio.Studio()
    one.choose(clip, *two_bundles)
    settings = Settings(octaves=1, reverb=0.2, mix=0.5)
    audio, sample_rate = soundfile.read(clip)
    expected = session.transfer_audio(
        audio, sample_rate, two_bundles[0], settings, second=two_bundles[1]
    )
    np.testing.assert_allclose(one.play(settings), expected, atol=0.02 * np.abs(expected).max())


def test_what_is_no_use_leaves_all_as_it_was(two_bundles, clip, tmp_path, refused):
    one = studio.Studio()
    one.choose(clip, two_bundles[0])
    result = one.play()
    hiss = 0.01 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    soundfile.write(tmp_path / "hiss.wav", hiss, SAMPLE_RATE)
    (tmp_path / "no_sound.wav").write_bytes(b"words")
    for wrong in ((tmp_path / "no_sound.wav", two_bundles[0]), (clip, tmp_path / "nothing")):
        with refused("no_sound|nothing"):
            one.choose(*wrong)
    np.testing.assert_array_equal(one.play(), result)
    one.choose(tmp_path / "hiss.wav", two_bundles[0])
    with refused("No note"):
        one.play()
    np.testing.assert_array_equal(one.result, result)


def test_a_room_takes_the_place_of_the_instruments(two_bundles, clip, tmp_path):
    echo = np.zeros(4000)
    echo[[0, 3999]] = 1.0, 0.5
    soundfile.write(tmp_path / "echo.wav", echo, SAMPLE_RATE, subtype="FLOAT")
    one = studio.Studio()
    one.choose(clip, two_bundles[0])
    dry = one.play(Settings(reverb=0.0))
    one.choose(clip, two_bundles[0], room=tmp_path / "echo.wav")
    wet = one.play(Settings(reverb=1.0))
    later = np.concatenate([np.zeros(3999), dry])[: len(dry)]
    middle = slice(4200, -200)  # away from the fades at both ends
    np.testing.assert_allclose((wet - 0.5 * later)[middle], dry[middle], atol=1e-4)


@pytest.mark.parametrize("ending", [".wav", ".flac"])
def test_the_result_is_saved_with_what_made_it(two_bundles, clip, counted, tmp_path, ending):
    one = studio.Studio()
    one.choose(clip, two_bundles[0])
    settings = Settings(semitones=3)
    played = one.play(settings)
    path = one.save(tmp_path / "results", settings, ending)
    assert path == tmp_path / "results" / f"tone_as_one{ending}"
    assert one.save(tmp_path / "results", ending=ending).name == f"tone_as_one_2{ending}"
    assert one.save(tmp_path / "results", settings, ending, overwrite=True) == path
    with soundfile.SoundFile(path) as file:
        assert '"semitones": 3' in file.comment
        np.testing.assert_allclose(file.read(), played, atol=0.01 * np.abs(played).max() + 1e-4)
    assert counted["extract"] == 1  # saving listens no second time
