"""Adjusted features to sound: on one instrument or between two, in a room, for any length.

A sound is made in stages: features are decoded to the controls of the synthesizers, these make the
harmonics and the noise, and those are mixed and put into a room. Every stage goes block by block
of frames and carries on where the last block ended, so that blocks of any length join to the same
sound: the state of the decoder, the phase (in float64), the noise, and the tails of filters and
room.
"""

from collections.abc import Iterator

import numpy as np
import scipy.fft
from scipy.signal import get_window

from helpers.analysis import pitch
from helpers.analysis.features import Features
from helpers.errors import InputError
from helpers.instruments.bundles import credit_line
from helpers.instruments.instrument import Instrument
from helpers.synthesis import wavetables
from helpers.transfer import rests
from helpers.transfer.settings import Settings

BLOCK_FRAMES = 512  # of one length, so that XLA compiles each stage once; shorter ones cost more
EDGE_SECONDS = 0.008  # of fading at the start and at the end of the sound
FAINTEST = 1e-7  # of a control, for its logarithm: ddsp's own lower limit of them
SEED = 0  # the same features give the same sound, noise included


class Player:
    """Plays features on an instrument, and computes only what changed since it last played.

    `play` keeps the controls and the sounds of the last features; `blocks` keeps nothing.
    """

    def __init__(
        self,
        instrument: Instrument,
        second: Instrument | None = None,
        *,
        room: np.ndarray | None = None,
    ) -> None:
        """Takes instruments and a room.

        Args:
          instrument: An `Instrument`.
          second: Another, to mix with it (`Settings.mix`); of the same sample and frame rate.
          room: An impulse response, direct sound included, at the instrument's sample rate, in
            place of the room that the instrument learned. Shape [n_taps].

        Raises:
          InputError: The instruments have different rates, or the room is silent.
        """
        self.instruments = [instrument, second] if second else [instrument]
        self._room = None if room is None else _echoes_in(room)
        self._kept: dict = {}
        if second and _rates(second) != _rates(instrument):
            raise InputError(
                f"The instruments have {_rates(instrument)} and {_rates(second)}: choose two of "
                "the same rates to mix."
            )

    def play(
        self,
        features: Features,
        settings: Settings = Settings(),
        z: np.ndarray | None = None,
        second_z: np.ndarray | None = None,
    ) -> np.ndarray:
        """Audio of features.

        Where f0 is NaN no harmonics sound, only noise as far as the loudness asks for it.

        Args:
          features: Adjusted ones, at the instrument's frame rate.
          settings: Of these noise_db, reverb and mix are used here, the others in `adjust`. As it
            is, an instrument sounds in all of its room.
          z, second_z: From `encode`, for an instrument with an encoder. Shape [n_frames, z_dims].

        Returns:
          Audio, faded at both ends. Shape [n_frames * hop_size].

        Raises:
          InputError: The features have another frame rate, z is missing or not wanted, there is no
            second instrument to mix with, or an instrument plays what is not finite.
        """
        zs = z, second_z
        keep = self._remembered
        return np.concatenate([*self._blocks(features, settings, zs, BLOCK_FRAMES, keep)])

    def blocks(
        self,
        features: Features,
        settings: Settings = Settings(),
        z: np.ndarray | None = None,
        second_z: np.ndarray | None = None,
        *,
        n_frames: int = BLOCK_FRAMES,
    ) -> Iterator[np.ndarray]:
        """What `play` returns, block after block of `n_frames`, in memory that does not grow."""
        yield from self._blocks(
            features, settings, (z, second_z), n_frames, lambda stage, key, blocks: blocks
        )

    def _blocks(self, features, settings, zs, n_frames, keep):
        """Blocks of audio, where `keep(stage, key, blocks)` may remember those of a stage."""
        shares = (1.0 - settings.mix, settings.mix)
        played = [part for part in zip(self.instruments, zs, shares, strict=False) if part[2]]
        self._check(features, settings, played)
        instrument = self.instruments[0]

        f0_hz, gain = pitch.fill_unvoiced(features.f0_hz), rests.harmonics_gain(features)
        loudness_db = features.loudness_db
        controls = [
            keep(
                id(one),
                (features.f0_hz, loudness_db, z),
                _decoded(one, f0_hz, loudness_db, z, n_frames),
            )
            for one, z, _ in played
        ]
        key = features.f0_hz, loudness_db, *zs, settings.mix
        are_exact = all(one.analysis_size for one, _, _ in played)
        rate_of_exact = instrument.sample_rate if are_exact else None
        rows = _in_rows(_mixed(controls, settings.mix), f0_hz, gain, rate_of_exact)
        sounds = keep("sounds", key, _sounded(rows, len(f0_hz), instrument, n_frames))

        echoes = self._room
        if echoes is None:
            echoes = _padded_sum([share * one.echoes for one, _, share in played])
        dry = (
            harmonics + 10.0 ** (settings.noise_db / 20.0) * noise for harmonics, noise in sounds
        )
        names = " and ".join(credit_line(one.card) for one, _, _ in played)
        # The last frame is as long as the others, but the recording may end anywhere in it.
        end = (len(f0_hz) - 1) * instrument.hop_size
        width = round(EDGE_SECONDS * instrument.sample_rate)
        n_samples = n_frames * instrument.hop_size
        reverb = 1.0 if settings.as_is else settings.reverb
        wet = _in_room(dry, reverb * echoes, n_samples)
        return _faded(_finite(wet, names), end, width)

    def check_mix(self, settings: Settings) -> None:
        """Refuses a mix without a second instrument."""
        if settings.mix and len(self.instruments) == 1:
            raise InputError(
                "There is no second instrument to mix with: choose one (second), or set mix to 0."
            )

    def _remembered(self, stage, key, blocks):
        if stage not in self._kept or not _are_equal(self._kept[stage][0], key):
            self._kept[stage] = key, list(blocks)
        return self._kept[stage][1]

    def _check(self, features, settings, played):
        frame_rate = self.instruments[0].frame_rate
        if features.frame_rate != frame_rate:
            raise InputError(
                f"The features have {features.frame_rate} frames a second and the instrument wants "
                f"{frame_rate}: extract them again at its rate."
            )
        self.check_mix(settings)
        for instrument, z, _ in played:
            instrument.check_z(z, features.n_frames)


# Controls


def _decoded(instrument, f0_hz, loudness_db, z, n_frames):
    """Yields (amplitudes, harmonic distribution, noise magnitudes) for blocks of frames."""
    state = None
    for first in range(0, len(f0_hz), n_frames):
        block = slice(first, first + n_frames)
        n_left = len(f0_hz[block])
        conditioning = [
            None if curve is None else _filled_up(curve[block], n_frames)
            for curve in (f0_hz, loudness_db, z)
        ]
        controls, state = instrument.decode(*conditioning, state)
        yield [control[:n_left] for control in controls]


def _mixed(controls, mix):
    """Yields (harmonic amplitudes [n_frames, n_harmonics], noise magnitudes) of blocks.

    Between two instruments every control goes in a straight line in decibels.
    """
    for blocks in zip(*controls, strict=True):
        amplitudes, distribution, magnitudes = (
            _between(*pair, mix) if len(pair) == 2 else pair[0]
            for pair in zip(*blocks, strict=True)
        )
        total = distribution.sum(axis=1, keepdims=True)  # 0 where all are above half the rate
        yield amplitudes * distribution / np.where(total > 0, total, 1.0), magnitudes


def _between(one, other, share):
    """Controls [n_frames, n], in decibels between those of two instruments."""
    if one.shape != other.shape:
        raise InputError(
            f"The instruments have {one.shape[1]} and {other.shape[1]} harmonics or bands of noise "
            "and cannot be mixed: choose two of the same configuration."
        )
    logs = (np.log(np.maximum(controls, FAINTEST)) for controls in (one, other))
    return np.exp(np.average([*logs], axis=0, weights=[1.0 - share, share])).astype(np.float32)


# Sounds


def _sounded(rows, n_rows, instrument, n_frames):
    """Yields (harmonics, noise), audio [n_samples] each, for blocks of `n_frames` of the rows."""
    hop_size = instrument.hop_size
    reach = int(np.ceil((instrument.noise_bands - 1) / hop_size))  # frames a noise filter smears
    n_samples, margin, n_left = n_frames * hop_size, reach * hop_size, n_rows * hop_size
    random, cycles = np.random.default_rng(SEED), 0.0
    white = _white(random, 2 * margin)
    for f0_hz_around, amplitudes, magnitudes in _with_neighbours(rows, n_frames, reach):
        here_and_next = slice(reach, reach + n_frames + 1)
        harmonics, cycles = _harmonics(
            f0_hz_around[here_and_next, 0], amplitudes[here_and_next], cycles, instrument
        )
        white = np.concatenate([white[-2 * margin :], _white(random, n_samples)])
        noise = _filtered(white, magnitudes)[margin : margin + n_samples]
        yield harmonics[:n_left], noise[:n_left]
        n_left -= n_samples


def _in_rows(controls, f0_hz, gain, rate_of_exact):
    """Yields (f0 [n_frames, 1], harmonic amplitudes, noise magnitudes) of blocks.

    Args:
      controls: (harmonic amplitudes, noise magnitudes) of blocks.
      f0_hz: Of all frames.
      gain: Of the harmonics in all frames.
      rate_of_exact: The sample rate of instruments that play exactly the loudness that they are
        given, which keep it in rests; None for others, which learned how their rests sound.
    """
    first = 0
    for amplitudes, magnitudes in controls:
        frames = slice(first, first + len(amplitudes))
        if rate_of_exact:
            parts = gain[frames], f0_hz[frames], amplitudes, magnitudes
            magnitudes = rests.noise_gain(*parts, rate_of_exact)[:, np.newaxis] * magnitudes
        yield f0_hz[frames, np.newaxis], gain[frames, np.newaxis] * amplitudes, magnitudes
        first += len(amplitudes)


def _with_neighbours(blocks, n_frames, reach):
    """Yields blocks of `n_frames` rows with `reach` more before and after them.

    Beyond both ends the first and the last row are held, also to fill the last block up.
    """
    rows: list[np.ndarray] = []
    n_left = 0
    for block in blocks:
        if not rows:
            rows = [np.repeat(column[:1], reach, axis=0) for column in block]
        rows = [np.concatenate(pair) for pair in zip(rows, block, strict=True)]
        n_left += len(block[0])
        while len(rows[0]) >= n_frames + 2 * reach:
            yield [column[: n_frames + 2 * reach] for column in rows]
            rows, n_left = [column[n_frames:] for column in rows], n_left - n_frames
    while n_left > 0:
        yield [_filled_up(column, n_frames + 2 * reach)[: n_frames + 2 * reach] for column in rows]
        rows, n_left = [column[n_frames:] for column in rows], n_left - n_frames


def _harmonics(f0_hz, amplitudes, cycles, instrument):
    """Audio [n_samples] of frames, and the phase after them.

    Args:
      f0_hz: Also of the frame after them. Shape [n_frames + 1].
      amplitudes: Shape [n_frames + 1, n_harmonics].
      cycles: Phase before them, in cycles.
      instrument: Whose rates they are.
    """
    position = np.arange(instrument.hop_size) / instrument.hop_size
    f0_hz = f0_hz.astype(np.float64)
    frequency_hz = f0_hz[:-1, np.newaxis] + np.diff(f0_hz)[:, np.newaxis] * position
    phase = cycles + np.cumsum(frequency_hz / instrument.sample_rate)
    audible_up_to = np.ceil(instrument.sample_rate / 2 / frequency_hz) - 1
    cycles = phase.reshape(frequency_hz.shape)
    audio = wavetables.harmonic_audio(cycles, audible_up_to, amplitudes)
    return audio.ravel(), phase[-1] % 1.0


def _white(random, n_samples):
    """White noise in [-1, 1), the same however it is cut."""
    return 2.0 * random.random(n_samples, np.float32) - 1.0


def _filtered(noise, magnitudes):
    """Noise, each frame of it through a filter of its own: ddsp's `frequency_filter`.

    Args:
      noise: Shape [n_frames * hop_size].
      magnitudes: Of the filter at equally spaced frequencies. Shape [n_frames, n_bands].
    """
    n_frames, n_bands = magnitudes.shape
    hop_size, n_taps = len(noise) // n_frames, 2 * (n_bands - 1)
    n_fft = scipy.fft.next_fast_len(hop_size + n_taps - 1, real=True)
    window = get_window("hann", n_taps).astype(np.float32)
    filters = scipy.fft.fftshift(scipy.fft.irfft(magnitudes, axis=1), axes=1) * window
    noise_frames = noise.reshape(n_frames, hop_size)
    frames = scipy.fft.irfft(
        scipy.fft.rfft(noise_frames, n_fft) * scipy.fft.rfft(filters, n_fft), n_fft
    )
    n_spread = -(-n_fft // hop_size)
    frames = np.pad(frames, ((0, 0), (0, n_spread * hop_size - n_fft)))
    added = np.zeros((n_frames + n_spread - 1, hop_size), np.float32)
    for i in range(n_spread):
        added[i : i + n_frames] += frames[:, i * hop_size : (i + 1) * hop_size]
    delay = (n_taps - 1) // 2 - 1  # as ddsp has it
    return added.ravel()[delay : delay + len(noise)]


# Room


def _in_room(blocks, echoes, n_samples):
    """Yields blocks of audio with their echoes.

    Args:
      blocks: Of `n_samples`, the last perhaps of fewer.
      echoes: An impulse response without the direct sound. Shape [n_taps].
      n_samples: Of a block.
    """
    if not echoes.any():
        yield from blocks
        return
    n_fft = scipy.fft.next_fast_len(n_samples + len(echoes) - 1, real=True)
    response = scipy.fft.rfft(echoes, n_fft)
    tail = np.zeros(n_fft, np.float32)
    for block in blocks:
        tail += scipy.fft.irfft(scipy.fft.rfft(block, n_fft) * response, n_fft)
        yield block + tail[: len(block)]
        tail = np.pad(tail[len(block) :], (0, len(block)))


def _finite(blocks, names):
    """Yields blocks of audio, which have to be finite numbers."""
    for block in blocks:
        if not np.isfinite(block).all():
            raise InputError(
                f"{names} plays samples that are not finite numbers: train the instrument again, "
                "or choose another one or another room."
            )
        yield block


def _faded(blocks, end, width):
    """Yields blocks of audio, fading over `width` samples from the first on and to `end`."""
    first = 0
    for block in blocks:
        samples = first + np.arange(len(block))
        nearest = np.minimum(samples, end - samples) / width
        yield block * np.sin(np.pi / 2 * np.clip(nearest, 0.0, 1.0)).astype(np.float32) ** 2
        first += len(block)


def _echoes_in(room):
    """What comes after the direct sound in an impulse response, with that at 1.

    Echoes that outweigh the direct sound are turned down to it: a far microphone would drown it.
    """
    room = np.asarray(room, np.float32)
    if not room.any():
        raise InputError("The room's impulse response is silent: choose another recording of it.")
    direct = np.abs(room).argmax()
    echoes = room[direct:] / room[direct]
    echoes[0] = 0.0
    return echoes / max(1.0, np.sqrt(np.sum(echoes**2)))


def _padded_sum(arrays):
    """The sum of arrays [n] of any lengths."""
    longest = max(map(len, arrays))
    return np.sum([np.pad(array, (0, longest - len(array))) for array in arrays], axis=0)


def _filled_up(curve, n_frames):
    """A curve [n_frames_or_fewer, ...], its last frame held."""
    missing = max(0, n_frames - len(curve))
    return np.concatenate([curve, np.repeat(curve[-1:], missing, axis=0)])


def _rates(instrument):
    return f"{instrument.frame_rate} frames a second at {instrument.sample_rate} Hz"


def _are_equal(key, other):
    """Whether two lists of arrays, numbers and None are equal; NaN equals NaN."""
    pairs = zip(key, other, strict=True)
    return all(np.array_equal(*pair, equal_nan=pair[0] is not None) for pair in pairs)
