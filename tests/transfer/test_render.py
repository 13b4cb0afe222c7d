"""render against closed forms, ddsp and what the synthesizers play in one pass."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import tiny_instrument
from scipy.signal import fftconvolve
from tiny_instrument import SMALL, WITHOUT_NOISE

from helpers.analysis import features, pitch
from helpers.instruments import configurations
from helpers.synthesis.ddsp_import import ddsp
from helpers.tensorflow_import import tf
from helpers.transfer import render
from helpers.transfer.adjustment import adjust
from helpers.transfer.settings import Settings

TINY = {
    "small": [*SMALL, "ConvDecoder.dilations = (1, 4)"],
    "ddsp": [
        "GruDecoder.rnn_channels = 8",
        "GruDecoder.ch = 8",
        "PlainReverb.reverb_length = 99",
        "fft_sizes = (256,)",
    ],
}
DRY = Settings(reverb=0.0)


def an_instrument(config="small", *bindings):
    """A tiny one, in a room that is heard."""
    tf.keras.utils.set_random_seed(0)
    instrument = configurations.build(config, bindings=[*TINY[config], *bindings])
    taps = np.random.default_rng(0).normal(0.0, 1.0 if config == "small" else 0.1, 99)
    instrument.network.processor_group.reverb.set_weights([taps])
    return instrument


def some_curves(n_frames=150, f0_hz=220.0, loudness_db=-20.0, rests=()):
    """A steady note, silent in `rests`, slices of frames."""
    f0_hz = np.broadcast_to(f0_hz, n_frames).astype(np.float32)
    loudness_db = np.broadcast_to(loudness_db, n_frames).astype(np.float32)
    for rest in rests:
        f0_hz[rest] = np.nan
    return features.Features(np.arange(n_frames) / 125, f0_hz, f0_hz * 0 + 1, loudness_db, 125)


def glide(n_frames=400, frame_rate=125, rests=()):
    position = np.linspace(0.0, 1.0, n_frames)
    curves = some_curves(n_frames, 200.0 * 4.0**position, -30 + 20 * np.sin(9 * position), rests)
    return replace(curves, frame_rate=frame_rate)


@pytest.fixture(scope="module")
def instrument():
    return an_instrument()


@pytest.fixture(scope="module")
def hissless():
    return an_instrument("small", WITHOUT_NOISE)


@pytest.fixture(scope="module")
def hissing():
    return an_instrument("small", "FramewiseNoise.initial_bias = 0.0")


@pytest.fixture(scope="module")
def player(instrument):
    return render.Player(instrument)


def rms(audio):
    return np.sqrt(np.mean(np.square(audio, dtype=np.float64)))


# Blocks


@pytest.mark.parametrize("config", ["small", "ddsp"])
def test_blocks_of_any_length_join_to_one_pass(config):
    instrument = an_instrument(config)
    curves = glide(160, instrument.frame_rate, [slice(50, 90), slice(157, 160)])
    player = render.Player(instrument)
    (whole,) = player.blocks(curves, n_frames=160)
    assert whole.shape == (160 * instrument.hop_size,) and whole.dtype == np.float32
    blocks = list(player.blocks(curves, n_frames=37))
    assert {len(block) for block in blocks[:-1]} == {37 * instrument.hop_size}
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5 * np.abs(whole).max())


def test_what_is_played_at_once_are_the_blocks(player):
    curves = glide(200)
    np.testing.assert_array_equal(player.play(curves), np.concatenate([*player.blocks(curves)]))


@pytest.mark.parametrize("config", ["small", "ddsp"])
def test_joined_blocks_are_what_the_network_plays_in_one_pass(config):
    instrument = an_instrument(config, WITHOUT_NOISE)
    curves = glide(160, instrument.frame_rate)
    curves = replace(curves, f0_hz=curves.f0_hz / 8)  # so that no harmonic crosses half the rate
    expected = instrument.play(curves.f0_hz, curves.loudness_db)
    player, as_trained = render.Player(instrument), Settings(reverb=1.0)
    played = np.concatenate([*player.blocks(curves, as_trained, n_frames=37)])
    faded = 3 * instrument.hop_size
    differs = np.abs(played - expected)[faded:-faded]
    assert differs.max() < 3e-4 * np.abs(expected).max()  # by the float32 of the phase there


def test_as_it_is_all_is_what_the_network_plays(hissless):
    """Of features with rests, which are not lowered, in all of the room."""
    f0_hz = np.geomspace(50, 100, 160, dtype=np.float32)
    heard = some_curves(160, f0_hz, -70 + 50 * np.sin(np.pi * np.arange(160) / 160))
    heard.f0_hz[60:90] = np.nan
    expected = hissless.play(pitch.fill_unvoiced(heard.f0_hz), heard.loudness_db)
    settings = Settings(as_is=True)
    adjusted = adjust(heard, tiny_instrument.STATISTICS, settings)
    assert adjusted.summary.startswith("Nothing was fitted; 100 % of the notes are far")
    played = render.Player(hissless).play(adjusted.features, settings)
    differs = np.abs(played - expected)[384:-384]  # the ends are faded
    assert differs.max() < 3e-4 * np.abs(expected).max()


def test_an_instrument_with_z():
    autoencoder = configurations.build("autoencoder", bindings=[*SMALL, WITHOUT_NOISE])
    curves = replace(glide(100), f0_hz=np.geomspace(50, 100, 100, dtype=np.float32))
    z = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    player = render.Player(autoencoder)
    played = player.play(curves, DRY, z)[1000:-1000]
    expected = autoencoder.play(curves.f0_hz, curves.loudness_db, z)[1000:-1000]
    assert rms(played - expected) < 0.01 * rms(expected)  # the room is untrained, and not heard
    assert rms(player.play(curves, DRY, -z)[1000:-1000] - expected) > 0.05 * rms(expected)


@pytest.mark.slow
def test_ten_minutes_in_the_memory_of_one():
    bindings = ["harmonics = 4", "noise_bands = 5"]
    player = render.Player(an_instrument("small", *bindings))
    peaks = []
    for minutes in (1, 10):
        curves = glide(minutes * 60 * 125)
        next(player.blocks(curves))  # compiles
        tracemalloc.start()
        for _ in player.blocks(curves):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 8e6  # the sound alone would be 35e6 more


# Harmonics


@pytest.mark.parametrize("f0_hz", [220.0, 440.0, 317.0])
def test_a_note_has_the_pitch_of_its_curve(hissless, f0_hz):
    audio = render.Player(hissless).play(some_curves(f0_hz=f0_hz), DRY)[1600:17600]
    energy = np.abs(np.fft.rfft(audio * np.hanning(16000))) ** 2  # in bins of 1 Hz
    off = np.abs(np.arange(len(energy)) - f0_hz * np.round(np.arange(len(energy)) / f0_hz))
    assert energy[off < 4].sum() > 0.999 * energy.sum()
    assert energy[int(f0_hz) - 4 : int(f0_hz) + 5].max() > 1e-3 * energy.max()


def test_where_nothing_is_sung_nothing_is_invented(hissless):
    rest = slice(50, 100)
    audio = render.Player(hissless).play(some_curves(rests=[rest]), DRY).reshape(-1, 128)
    assert rms(audio[54:96]) < 1e-4 * rms(audio[10:45])
    np.testing.assert_allclose(rms(audio[104:140]), rms(audio[10:45]), rtol=0.1)


def test_a_recording_without_a_note_is_noise_as_loud_as_the_curve_says(player):
    whole = slice(0, 150)
    quiet, loud = (
        player.play(some_curves(loudness_db=db, rests=[whole]), DRY) for db in (-70.0, -10.0)
    )
    assert np.isfinite(loud).all() and rms(loud) > 0 and rms(loud - quiet) > 0.01 * rms(loud)


@pytest.mark.parametrize("loudness_db", [-40.0, -15.0])
def test_an_instrument_of_exact_loudness_is_as_loud_in_rests_as_is_asked(loudness_db):
    """By its noise alone, measured as the loudness of a recording."""
    tf.keras.utils.set_random_seed(0)
    exact = configurations.build("analysis")
    exact.network.decoder.set_means(np.linspace(-5.0, -12.0, 60), np.full(65, -20.0), 8000.0)
    heard = replace(some_curves(200, loudness_db=loudness_db), frame_rate=exact.frame_rate)
    heard.f0_hz[100:] = np.nan
    audio = render.Player(exact).play(heard)
    played_db = features.extract(audio, 16000, exact.frame_rate).loudness_db
    note, rest = played_db[20:80], played_db[120:180]
    assert np.median(note) == pytest.approx(loudness_db, abs=0.5)
    assert np.median(rest) == pytest.approx(loudness_db, abs=1.5)
    spectrum = np.abs(np.fft.rfft(audio.reshape(200, -1)[120:180].ravel()[:9600]))
    assert spectrum[132] < 4 * np.median(spectrum[100:164])  # 220 Hz is not there


def test_no_clicks_at_the_edges_of_notes_and_of_the_sound():
    pure = an_instrument("small", WITHOUT_NOISE, "harmonics = 1")
    curves = some_curves(f0_hz=110.0, rests=[slice(50, 100)])
    audio = render.Player(pure).play(curves, DRY)
    jumps = np.abs(np.diff(audio))
    assert jumps.max() <= 2 * jumps[20 * 128 : 45 * 128].max()  # a note cut off makes one of 23
    # The recording may end anywhere in its last frame.
    peak = np.abs(audio).max()
    assert max(abs(audio[0]), np.abs(audio[-130:]).max()) < 0.001 * peak


# Noise


@pytest.mark.parametrize("hop_size, n_bands", [(128, 65), (64, 65), (441, 177), (64, 97)])
def test_noise_is_filtered_as_in_ddsp(hop_size, n_bands):
    random = np.random.default_rng(0)
    magnitudes = random.random((20, n_bands), np.float32)
    noise = random.uniform(-1.0, 1.0, 20 * hop_size).astype(np.float32)
    expected = ddsp.core.frequency_filter(noise[None], magnitudes[None])[0]
    filtered = render._filtered(noise, magnitudes)
    np.testing.assert_allclose(filtered, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("noise_db", [-20.0, -6.0, 12.0])
def test_noise_goes_up_and_down_by_decibels_and_harmonics_stay(hissing, noise_db):
    player = render.Player(hissing)
    hiss = [
        player.play(some_curves(rests=[slice(0, 150)]), replace(DRY, noise_db=db))
        for db in (0.0, noise_db)
    ]
    np.testing.assert_allclose(20 * np.log10(rms(hiss[1]) / rms(hiss[0])), noise_db, atol=1e-3)
    levels_db = np.array([0.0, noise_db, -30.0])
    gains = 10.0 ** (levels_db / 20.0)
    notes = [player.play(some_curves(), replace(DRY, noise_db=db)) for db in levels_db]
    noise = (notes[0] - notes[2]) / (gains[0] - gains[2])
    expected = notes[0] + (gains[1] - gains[0]) * noise
    np.testing.assert_allclose(notes[1], expected, atol=1e-5 * np.abs(expected).max())
    assert rms(noise) > 1e-3 * rms(notes[0])


# Room


@pytest.mark.parametrize("reverb", [0.0, 0.5, 1.0, 2.0])
def test_the_learned_room_is_as_strong_as_asked(hissless, reverb):
    player = render.Player(hissless)
    curves = some_curves(rests=[slice(0, 30), slice(100, 150)])  # so that the ends are silent
    dry, wet = (player.play(curves, Settings(reverb=strength)) for strength in (0.0, reverb))
    _, *later = hissless.network.processor_group.reverb.get_controls(np.zeros([1, 1]))["ir"]
    expected = dry + reverb * fftconvolve(dry, [0.0, *later])[: len(dry)]
    np.testing.assert_allclose(wet, expected, atol=1e-5)


def test_another_room_takes_the_place_of_the_learned_one(hissless):
    room = np.concatenate([np.zeros(50), [0.5], 0.01 * np.random.default_rng(0).normal(size=500)])
    player = render.Player(hissless, room=room)
    curves = some_curves(rests=[slice(0, 30), slice(100, 150)])
    dry, wet = (player.play(curves, Settings(reverb=reverb)) for reverb in (0.0, 1.0))
    np.testing.assert_allclose(wet, fftconvolve(dry, room[50:] / 0.5)[: len(dry)], atol=1e-5)


def test_a_room_does_not_drown_the_sound(hissless):
    room = np.random.default_rng(0).normal(size=4000)
    curves = some_curves()
    dry, wet = (
        render.Player(hissless, room=room).play(curves, Settings(reverb=r)) for r in (0.0, 1.0)
    )
    assert 0.1 * rms(dry) < rms(wet - dry) < 10 * rms(dry)


def test_a_silent_room(instrument, refused):
    with refused("room.*silent"):
        render.Player(instrument, room=np.zeros(99))


# Two instruments


def flat(bias):
    """An instrument whose noise has one strength in all bands."""
    made = an_instrument("small", f"FramewiseNoise.initial_bias = {bias}")
    made.network.decoder.set_weights([0 * w for w in made.network.decoder.get_weights()])
    return made


def test_a_mix_goes_from_one_instrument_to_the_other_in_decibels():
    one, other = flat(-2.0), flat(-4.0)
    curves = some_curves(rests=[slice(0, 150)])
    apart = [render.Player(each).play(curves, DRY) for each in (one, other)]
    player = render.Player(one, other)
    for mix in (0.0, 0.25, 1.0):
        expected = rms(apart[0]) ** (1.0 - mix) * rms(apart[1]) ** mix
        assert rms(player.play(curves, replace(DRY, mix=mix))) == pytest.approx(expected, rel=1e-4)
    assert rms(apart[0]) > 1.5 * rms(apart[1])


def test_the_ends_of_a_mix_are_the_instruments_themselves(instrument, hissless):
    player = render.Player(instrument, hissless)
    for mix, alone in ((0.0, instrument), (1.0, hissless)):
        expected = render.Player(alone).play(glide(100))
        np.testing.assert_allclose(player.play(glide(100), Settings(mix=mix)), expected, atol=1e-6)


def test_instruments_that_cannot_be_mixed(instrument, player, refused):
    with refused("choose two of the same rates"):
        render.Player(instrument, an_instrument("ddsp"))
    with refused("no second instrument"):
        player.play(some_curves(), Settings(mix=0.5))
    more = an_instrument("small", "harmonics = 10")
    with refused("60 and 10 harmonics"):
        render.Player(instrument, more).play(some_curves(), Settings(mix=0.5))


# What is kept


def test_only_what_changed_is_computed_again(instrument, monkeypatch):
    monkeypatch.setattr(render, "BLOCK_FRAMES", 100)
    player, curves = render.Player(instrument), some_curves()
    calls = {"decode": 0, "sounds": 0}

    def counting(name, function):
        def counted(*arguments):
            calls[name] += 1
            return function(*arguments)

        return counted

    monkeypatch.setattr(instrument, "decode", counting("decode", instrument.decode))
    monkeypatch.setattr(render, "_harmonics", counting("sounds", render._harmonics))
    first = player.play(curves)
    assert calls == {"decode": 2, "sounds": 2}  # of as many blocks
    for settings in (Settings(noise_db=6.0), Settings(reverb=0.0), Settings(quiet_db=3.0)):
        player.play(curves, settings)
    np.testing.assert_array_equal(player.play(curves), first)
    assert calls == {"decode": 2, "sounds": 2}
    louder = replace(curves, loudness_db=curves.loudness_db + 1)
    assert np.abs(player.play(louder) - first).max() > 0
    assert calls == {"decode": 4, "sounds": 4}
    np.testing.assert_array_equal(render.Player(instrument).play(curves), first)


# Refusals


def test_curves_of_another_frame_rate(player, refused):
    with refused("250 frames a second.*125"):
        player.play(replace(some_curves(), frame_rate=250))


def test_z_where_there_is_none(player, refused):
    with refused("no z"):
        player.play(some_curves(), z=np.zeros((150, 3)))
