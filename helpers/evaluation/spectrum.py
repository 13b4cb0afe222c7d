"""How the spectrum of a resynthesis lies beside that of the recording: bands, harmonics, timbre.

All of it is measured in the frames whose pitch is sure. `tests/benchmarks/sound.py` and the cards
of instruments have their figures from here.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import librosa
import numpy as np

from helpers.analysis import audio as sound
from helpers.analysis import features, harmonics
from helpers.evaluation.metrics import SURE_CONFIDENCE, resynthesize
from helpers.instruments.instrument import Instrument

BANDS_HZ = (200, 500, 1000, 2000, 4000, 5000, 8000, 11000, 15000)  # edges of those of the levels
SHARE_BANDS_HZ = ((200, 2000), (2000, 8000), (8000, 15000))
LOWEST_HZ, BELOW_F0 = 20.0, 0.7  # the power below f0: from here to this share of f0
FFT_SECONDS = 0.093
SHARE_SECONDS = 0.046  # window of the analysis that the harmonic shares come from
SILENCE = 1e-20  # power that stands for none
MFCC_RATE, MFCC_HOP, MFCC_WINDOW = 16000, 256, 1024


@dataclass(frozen=True)
class Recording:
    """A recording, and what is known of its pitch.

    Attributes:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Of the features, a second; frames are centred.
      f0_hz: Without NaN. Shape [1 + n_samples // hop].
      sure: True in the frames whose pitch is sure. Shape as `f0_hz`.
      band_edge_hz: Above it the recording holds nothing, and nothing is compared.
    """

    audio: np.ndarray
    sample_rate: int
    frame_rate: int
    f0_hz: np.ndarray
    sure: np.ndarray
    band_edge_hz: float

    @functools.cached_property
    def power(self) -> np.ndarray:
        """`power_spectrum` of the audio."""
        return power_spectrum(self.audio, self.sample_rate, self.frame_rate)


def power_spectrum(audio: np.ndarray, sample_rate: int, frame_rate: int) -> np.ndarray:
    """Power of the bins of a Fourier transform, frame by frame. Shape [n_bins, n_frames]."""
    hop_size = features.hop_size(sample_rate, frame_rate)
    size = 2 ** round(np.log2(FFT_SECONDS * sample_rate))
    return np.abs(librosa.stft(audio, n_fft=size, hop_length=hop_size, window="blackman")) ** 2


def band_powers(
    recordings: Sequence[Recording], spectra: Sequence[np.ndarray], frames: Sequence[np.ndarray]
) -> np.ndarray:
    """Power in each band of `BANDS_HZ`, and last that below f0, summed over all recordings.

    Args:
      recordings: All of one sample rate.
      spectra: Those whose power it is, as `power_spectrum` gives them: of the recordings or of
        their resyntheses.
      frames: True in the frames that count, for each of the recordings. Shape [n_frames] each.

    Returns:
      Shape [n_bands + 1]. A recording counts up to its own band edge; NaN for a band that begins
      above that of each.
    """
    powers = np.zeros(len(BANDS_HZ))
    for recording, spectrum, chosen in zip(recordings, spectra, frames, strict=True):
        bins_hz = np.linspace(0, recording.sample_rate / 2, len(spectrum))[:, np.newaxis]
        spectrum, f0_hz = spectrum[:, chosen], recording.f0_hz[chosen]
        for i, (low, high) in enumerate(zip(BANDS_HZ, BANDS_HZ[1:], strict=False)):
            inside = (bins_hz >= low) & (bins_hz < min(high, recording.band_edge_hz))
            powers[i] += (spectrum * inside).sum()
        inside = (bins_hz >= LOWEST_HZ) & (bins_hz < BELOW_F0 * f0_hz)
        powers[-1] += (spectrum * inside).sum()
    highest_hz = max(recording.band_edge_hz for recording in recordings)
    powers[:-1][np.array(BANDS_HZ[:-1]) >= highest_hz] = np.nan
    return powers


def level_differences_db(
    recordings: Sequence[Recording], sounds: Sequence[np.ndarray]
) -> np.ndarray:
    """Level of resyntheses against the recordings, in dB, in the bands of `band_powers`.

    Args:
      recordings: All of one sample rate.
      sounds: The resynthesis of each. Shape [n_samples] each.

    Returns:
      Shape [n_bands + 1]; NaN for a band that has nothing to compare.
    """
    sure = [recording.sure for recording in recordings]
    spectra = [
        power_spectrum(audio, recording.sample_rate, recording.frame_rate)
        for audio, recording in zip(sounds, recordings, strict=True)
    ]
    played = band_powers(recordings, spectra, sure)
    real = band_powers(recordings, [recording.power for recording in recordings], sure)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(np.maximum(played, SILENCE) / np.where(real > 0, real, np.nan))


def harmonic_shares(recordings: Sequence[Recording], sounds: Sequence[np.ndarray]) -> np.ndarray:
    """Share of the power of sounds that is on the harmonics of f0, in each of `SHARE_BANDS_HZ`.

    Args:
      recordings: Whose f0 it is.
      sounds: The audio of the recordings, or their resyntheses. Shape [n_samples] each.

    Returns:
      Shape [n_bands], from 0 to 1; NaN for a band in which no harmonic was found.
    """
    counted = np.zeros((len(SHARE_BANDS_HZ), 2))
    for recording, audio in zip(recordings, sounds, strict=True):
        if not recording.sure.any():
            continue
        nyquist_hz = recording.sample_rate / 2
        found = harmonics.analyze(
            audio,
            recording.f0_hz,
            recording.sample_rate,
            recording.frame_rate,
            n_harmonics=int(nyquist_hz / recording.f0_hz[recording.sure].min()),
            edges_hz=np.array([0.0, nyquist_hz]),
            window_seconds=SHARE_SECONDS,
        )
        for band, (low, high) in zip(counted, SHARE_BANDS_HZ, strict=True):
            high_hz = min(high, recording.band_edge_hz)
            band += harmonics.band_power(found, low, high_hz)[recording.sure].sum(axis=0)
    with np.errstate(invalid="ignore"):
        return (counted[:, 0] / counted.sum(axis=1)).clip(0, 1)


def mfccs(audio: np.ndarray, recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """MFCCs 1 to 19 of audio at 16 kHz, its peak at one level, and the frames they belong to.

    Args:
      audio: Of the recording, or its resynthesis. Shape [n_samples].
      recording: Whose frames they are.

    Returns:
      MFCCs [n, 19], and the nearest frame of the recording's features to each [n].
    """
    at_rate = sound.resample(audio, recording.sample_rate, MFCC_RATE)
    found = librosa.feature.mfcc(
        y=0.5 * at_rate / max(1e-9, np.abs(at_rate).max()),
        sr=MFCC_RATE,
        n_mfcc=20,
        n_fft=MFCC_WINDOW,
        hop_length=MFCC_HOP,
    )[1:].T
    frames = np.arange(len(found)) * MFCC_HOP / MFCC_RATE * recording.frame_rate
    return found, np.round(frames).astype(int).clip(0, len(recording.f0_hz) - 1)


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared, between normal distributions of two sets (Dowson and Landau 1982): [n, dims] each.

    The trace of the root of the product of the covariances is the sum of the singular values of
    the product of their roots, which there is for fewer points than dimensions, too.
    """
    roots = []
    for points in (a, b):
        values, vectors = np.linalg.eigh(np.cov(points.T))
        roots.append(vectors * np.sqrt(values.clip(0)))
    shared = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    traces = sum(np.sum(root**2) for root in roots)
    return float(np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2) + traces - 2 * shared)


def compare(recordings: Sequence[Recording], sounds: Sequence[np.ndarray]) -> dict:
    """The spectrum of resyntheses beside that of the recordings, for a card.

    Args:
      recordings: All of one sample rate.
      sounds: The resynthesis of each. Shape [n_samples] each.

    Returns:
      band_edge_hz: The lowest of the recordings; each is compared up to its own.
      level_db: Level against the recordings, by band such as "200-500" and "below f0".
      harmonic_share, harmonic_share_of_recording: Of the power, by band.
      mfcc_distance: Frechet distance of the MFCCs 1 to 19 of both.
      What there is nothing to compare of is None.
    """
    real = [recording.audio for recording in recordings]
    return {
        "band_edge_hz": round(min(recording.band_edge_hz for recording in recordings)),
        "level_db": _by_band(
            [*zip(BANDS_HZ, BANDS_HZ[1:], strict=False), "below f0"],
            level_differences_db(recordings, sounds),
            n_digits=1,
        ),
        "harmonic_share": _by_band(SHARE_BANDS_HZ, harmonic_shares(recordings, sounds), n_digits=3),
        "harmonic_share_of_recording": _by_band(
            SHARE_BANDS_HZ, harmonic_shares(recordings, real), n_digits=3
        ),
        "mfcc_distance": _rounded(_mfcc_distance(recordings, sounds), n_digits=1),
    }


def resynthesis(instrument: Instrument, examples: Mapping[str, np.ndarray]) -> dict:
    """`compare` of an instrument playing the features of a dataset's examples, z among them.

    The band edge is that of the recordings that it learned from, if its statistics have one.
    """
    rate, frame_rate = instrument.sample_rate, instrument.frame_rate
    edge_hz = instrument.statistics.get("band_edge_hz", rate / 2)
    recordings = [
        Recording(audio, rate, frame_rate, f0_hz, confidence >= SURE_CONFIDENCE, edge_hz)
        for audio, f0_hz, confidence in zip(
            examples["audio"], examples["f0_hz"], examples["f0_confidence"], strict=True
        )
    ]
    return compare(recordings, [played for _, played, _ in resynthesize(instrument, examples)])


def _mfcc_distance(recordings, sounds):
    """NaN where hardly a frame's pitch is sure."""
    sides = []
    for audios in ([recording.audio for recording in recordings], sounds):
        found = []
        for audio, recording in zip(audios, recordings, strict=True):
            coefficients, frames = mfccs(audio, recording)
            found.append(coefficients[recording.sure[frames]])
        sides.append(np.concatenate(found))
    return frechet_distance(*sides) if len(sides[0]) > 1 else np.nan


def _by_band(bands, values, n_digits):
    names = [band if isinstance(band, str) else f"{band[0]}-{band[1]}" for band in bands]
    return {
        name: _rounded(value, n_digits) for name, value in zip(names, values.tolist(), strict=True)
    }


def _rounded(value, n_digits):
    return round(value, n_digits) if np.isfinite(value) else None
