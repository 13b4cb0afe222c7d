"""Audio to the features that a model is conditioned on: f0 and loudness, frame by frame."""

import itertools
import math
import threading
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
import scipy.signal
from tqdm.auto import tqdm

from helpers.analysis import audio as sound
from helpers.analysis import crepe, note_changes, pitch, pitch_cache
from helpers.config import FRAME_RATE, SAMPLE_RATE, VOICED_CONFIDENCE
from helpers.errors import InputError
from helpers.files import replacing

LOUDNESS_FLOOR_DB = -80.0
N_FFT = 512  # samples, at 16 kHz
N_FFT_BEFORE = 2048  # before ddsp 2.0
REFERENCE_BEFORE_DB = 20.7  # the loudness of white noise at full scale, before ddsp 2.0
PROFILE = "ddsp-2"  # loudness as ddsp defines it since its version 2.0
PROFILE_BEFORE = "ddsp-1"  # and before
FLOORS_DB = {PROFILE: LOUDNESS_FLOOR_DB, PROFILE_BEFORE: -120.0}  # loudness of silence
ARRAYS = ("times_s", "f0_hz", "confidence", "loudness_db")  # the arrays of `Features`
QUIETEST_VOICED_DB = -60.0  # below the clip's loudest frame, where CREPE finds pitch in hiss
LOUD_PERCENTILE = 95
WINDOW_SECONDS, N_WINDOWS = 0.25, 50  # of the spectrum in which partials are looked for
NOISE_VOICED = 0.05  # share of the frames in which CREPE finds a pitch in noise
PARTIALS_DB = -30.0  # relative to the strongest partial
PIECE_SECONDS = 60.0  # of audio that are analysed at once
RESAMPLED_AT_ONCE = 2**20  # samples
CONTEXT_SECONDS = 0.5  # that are analysed before and after a piece as well


@dataclass(frozen=True)
class Features:
    """Pitch and loudness of a clip at `frame_rate` frames a second, all of shape [n_frames].

    Attributes:
      times_s: Centre of each frame in seconds; the first is 0.
      f0_hz: Fundamental frequency; NaN where nothing with a pitch sounds.
      confidence: CREPE's certainty of the pitch, from 0 to 1.
      loudness_db: A-weighted loudness, from -80 dB to about 20 for a sine at full scale.
      frame_rate: Frames a second.
      profile: The definition of loudness: one of `FLOORS_DB`. `PROFILE_BEFORE` is for instruments
        that were trained with ddsp before 2.0, and goes from -120 dB to about -20.
    """

    times_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray
    loudness_db: np.ndarray
    frame_rate: int
    profile: str = PROFILE

    @property
    def n_frames(self) -> int:
        """The number of frames."""
        return len(self.f0_hz)

    @property
    def floor_db(self) -> float:
        """The loudness of silence."""
        return FLOORS_DB[self.profile]

    @property
    def voiced(self) -> np.ndarray:
        """True where a pitch sounds. Shape [n_frames]."""
        return np.isfinite(self.f0_hz)

    @property
    def loud_db(self) -> float:
        """The loudness of loud notes: the 95th percentile of the voiced frames, or NaN."""
        if not self.voiced.any():
            return np.nan
        return np.percentile(self.loudness_db[self.voiced], LOUD_PERCENTILE)

    def cut(self, n_frames: int) -> "Features":
        """The first frames."""
        return replace(self, **{name: getattr(self, name)[:n_frames] for name in ARRAYS})


def extract(
    audio: np.ndarray,
    sample_rate: int,
    frame_rate: int = FRAME_RATE,
    *,
    crepe_model: str = "tiny",
    profile: str = PROFILE,
    refined: bool = True,
    progress: bool = False,
    cached: bool = False,
) -> Features:
    """The `Features` of a clip of any length: 1 + n_samples * frame_rate // sample_rate frames.

    The audio is analysed in pieces of at most a minute, with half a second of context on either
    side, so that memory does not grow with its length. Loudness and confidence are those of the
    whole. The pitch is that of the whole too, unless it is ambiguous for longer than the context.
    A constant offset (DC) of the audio changes nothing.

    Args:
      audio: Shape [n_samples]; may be a numpy.memmap.
      sample_rate: Hz.
      frame_rate: Frames a second; frames are centred, the first at 0 s.
      crepe_model: CREPE's size for the pitch.
      profile: The definition of loudness, as an instrument's statistics name it
        (`feature_profile`).
      refined: Correct CREPE's pitch by the phases of the harmonics (`pitch.refine`), and make
        changes of note as quick as they were played (`note_changes.sharpen`).
      progress: Show a progress bar for each piece.
      cached: Keep the pitch in `config.CACHE`, and take it from there if the same audio was
        analysed with the same settings before.

    Raises:
      InputError: The audio is empty or not finite, a frame would not be a whole number of samples
        at 16 kHz, or there is no such profile or size of CREPE.

    Example:
      >>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
      >>> features = extract(tone, 16000)
      >>> features.n_frames, round(float(features.f0_hz[30]))
      (63, 440)
    """
    settings = _Settings(frame_rate, crepe_model, profile, refined, progress, cached)
    return _extract(audio, sample_rate, settings)


def extract_files(
    paths: Iterable[Path],
    sample_rate: int = SAMPLE_RATE,
    frame_rate: int = FRAME_RATE,
    *,
    crepe_model: str = "tiny",
    profile: str = PROFILE,
    workers: int = 2,
    progress: bool = True,
) -> Generator[tuple[Path, Future], None, None]:
    """Reads sound files and extracts their features, some files at a time.

    Each file's features are those that `extract` gives for its audio. Memory does not grow with
    the number of files nor with their length: audio lies on disk, and at most `workers` files are
    read before they are taken. Pitch is cached (see `extract`), so that work which was stopped
    continues where it was.

    Args:
      paths: Of the files; they are taken in this order.
      sample_rate: Rate in Hz of the audio that is given back.
      frame_rate: Frames a second.
      crepe_model: CREPE's size for the pitch.
      profile: The definition of loudness; see `extract`.
      workers: Files at a time. More than two do not help: CREPE itself uses all processors.
      progress: Show a progress bar.

    Yields:
      Each path with a finished Future. Its `result()` is the file's audio [n_samples] (see
      `audio.load_to_disk`) and `Features`, or raises the InputError that says why the file cannot
      be used.

    Raises:
      InputError: A frame would not be a whole number of samples at 16 kHz or at `sample_rate`, or
        there is no such profile or size of CREPE.
    """
    paths = list(paths)
    hop_size(sample_rate, frame_rate)
    settings = _Settings(frame_rate, crepe_model, profile, cached=True)
    crepe.build_and_load_model(crepe_model)  # before two threads want it
    stopped = threading.Event()
    executor = ThreadPoolExecutor(workers)

    def extract_file(path):
        def report(n_done, n_pieces):
            if stopped.is_set():
                raise CancelledError
            bar.set_postfix_str(f"{path.name}: {n_done}/{n_pieces} min", refresh=False)

        audio, _ = sound.load_to_disk(path, sample_rate)
        return audio, _extract(audio, sample_rate, settings, report)

    with tqdm(total=len(paths), desc="analysing", unit="file", disable=not progress) as bar:
        try:
            waiting = iter(paths)
            ahead: deque[tuple[Path, Future]] = deque()
            for _ in paths:
                for path in itertools.islice(waiting, workers + 1 - len(ahead)):
                    ahead.append((path, executor.submit(extract_file, path)))
                while wait([ahead[0][1]], timeout=1.0).not_done:
                    bar.refresh()  # here, not by the workers: not every display likes threads
                bar.update()
                yield ahead.popleft()
        finally:
            stopped.set()
            executor.shutdown(wait=False, cancel_futures=True)


def why_no_pitch(audio: np.ndarray, sample_rate: int, features: Features) -> str:
    """A sentence that says why no notes were found in a clip, and what to do.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      features: Those of the audio.
    """
    low_hz, high_hz = crepe.RANGE_HZ
    partials_hz, levels_db = _partials(audio, sample_rate)
    tracked = f"pitch is found between {low_hz:.0f} and {high_hz:.0f} Hz"
    if len(partials_hz) and partials_hz[0] > high_hz:
        reason = f"the sound begins at {partials_hz[0]:.0f} Hz, and {tracked}; sing or play lower"
    elif len(partials_hz) and partials_hz[levels_db.argmax()] < low_hz:
        strongest_hz = partials_hz[levels_db.argmax()]
        reason = f"the sound is at {strongest_hz:.0f} Hz, and {tracked}; sing or play higher"
    elif features.voiced.mean() > NOISE_VOICED:
        reason = "its pitch is unsteady, short or soft; lower the note threshold"
    else:
        reason = "it has no clear pitch; sing or play one note at a time, nearer the microphone"
    return f"No note was found in the recording: {reason}."


def loudness(audio: np.ndarray, sample_rate: int, frame_rate: int = FRAME_RATE) -> np.ndarray:
    """A-weighted power in dB, mean over frequency, floor -80 dB: ddsp's loudness since 2.0.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second; frames are centred.

    Returns:
      loudness_db: Shape [1 + n_samples // hop].
    """
    spectrum = librosa.stft(
        audio, n_fft=N_FFT, hop_length=hop_size(sample_rate, frame_rate), pad_mode="constant"
    )
    weights_db = a_weighting_db(sample_rate, N_FFT)
    power = np.mean(np.abs(spectrum) ** 2 * librosa.db_to_power(weights_db)[:, None], axis=0)
    floor = librosa.db_to_power(LOUDNESS_FLOOR_DB)
    return (10.0 * np.log10(np.maximum(power, floor))).astype(np.float32)


def a_weighting_db(sample_rate: int, n_fft: int) -> np.ndarray:
    """A-weighting of the bins of a spectrum of real samples, in dB. Shape [1 + n_fft // 2]."""
    frequencies_hz = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    return librosa.A_weighting(frequencies_hz.clip(1.0))  # at 0 Hz its logarithm has no value


def loudness_before(
    audio: np.ndarray, sample_rate: int, frame_rate: int = FRAME_RATE
) -> np.ndarray:
    """A-weighted dB, mean over frequency, of each -20.7 dB and at least -120: before ddsp 2.0.

    There a frame began at its time; here it is centred on it, as all frames are.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second; frames are centred.

    Returns:
      loudness_db: Shape [1 + n_samples // hop].
    """
    hop = hop_size(sample_rate, frame_rate)
    weights_db = a_weighting_db(sample_rate, N_FFT_BEFORE) - REFERENCE_BEFORE_DB
    spectrum = librosa.stft(audio, n_fft=N_FFT_BEFORE, hop_length=hop, pad_mode="constant")
    spectrum_db = 20.0 * np.log10(np.maximum(np.abs(spectrum), 1e-20)) + weights_db[:, None]
    floor_db = FLOORS_DB[PROFILE_BEFORE]
    return np.mean(np.maximum(spectrum_db, floor_db), axis=0).astype(np.float32)


def check_profile(profile: str) -> None:
    """Raises InputError if there is no such feature profile."""
    if profile not in FLOORS_DB:
        raise InputError(
            f"There is no feature profile {profile!r}: choose one of {', '.join(FLOORS_DB)}."
        )


def hop_size(sample_rate: int, frame_rate: int) -> int:
    """Samples from one frame to the next.

    Raises:
      InputError: It would not be a whole number, and frames would drift away from the sound.
    """
    if frame_rate < 1 or sample_rate % frame_rate:
        raise InputError(
            f"{frame_rate} frames a second do not divide {sample_rate} Hz: choose a divisor of it, "
            "such as 100 or 125."
        )
    return sample_rate // frame_rate


def save(features: Features, path: str | Path) -> None:
    """Writes features as .npz, or as .csv for a spreadsheet; whole or not at all."""
    columns = {name: getattr(features, name) for name in ARRAYS}
    suffix = Path(path).suffix
    if suffix not in (".npz", ".csv"):
        raise InputError(f"Features are saved as .npz or .csv, not as {path}: rename it.")
    with replacing(path) as unfinished:
        if suffix == ".csv":
            table = np.stack(list(columns.values()), axis=1)
            np.savetxt(unfinished, table, "%.5f", ",", header=",".join(columns), comments="")
        else:
            np.savez_compressed(
                unfinished, frame_rate=features.frame_rate, profile=features.profile, **columns
            )


def load(path: str | Path) -> Features:
    """Reads the `Features` that `save` wrote as .npz.

    Raises:
      InputError: The file is missing or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Features(
                **{name: arrays[name] for name in ARRAYS},
                frame_rate=int(arrays["frame_rate"]),
                profile=str(arrays["profile"]) if "profile" in arrays else PROFILE,
            )
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        raise InputError(
            f"{path} holds no features: choose the .npz file that was saved with them."
        ) from None


def _partials(audio, sample_rate):
    """Frequencies in Hz and levels in dB of the partials of audio, none if it is mostly noise."""
    size = min(len(audio), 2 ** math.ceil(math.log2(WINDOW_SECONDS * sample_rate)))
    window = scipy.signal.get_window("hann", size)
    starts = np.linspace(0, len(audio) - size, N_WINDOWS).astype(int)
    power = np.zeros(size // 2 + 1)
    for start in starts:
        power += np.abs(np.fft.rfft(window * audio[start : start + size])) ** 2
    level_db = librosa.power_to_db(power, ref=np.max)
    peaks, _ = scipy.signal.find_peaks(level_db, height=PARTIALS_DB, prominence=-PARTIALS_DB / 2)
    in_peaks = sum(power[peaks + k].sum() for k in (-1, 0, 1))
    if in_peaks < 0.5 * power.sum():
        peaks = peaks[:0]
    return peaks * sample_rate / size, level_db[peaks]


@dataclass(frozen=True)
class _Settings:
    """The options of `extract`, checked when they are given."""

    frame_rate: int
    crepe_model: str
    profile: str
    refined: bool = True
    progress: bool = False
    cached: bool = False

    def __post_init__(self):
        check_profile(self.profile)
        hop_size(SAMPLE_RATE, self.frame_rate)


def _extract(
    audio: np.ndarray,
    sample_rate: int,
    settings: _Settings,
    report: Callable[[int, int], None] = lambda n_done, n_pieces: None,
) -> Features:
    """As `extract`; calls `report` with the number of pieces done, and of all, before each."""
    if audio.ndim != 1 or not len(audio):
        raise InputError(
            f"Audio of shape {audio.shape} cannot be analysed: give one channel, [n_samples]."
        )
    frame_rate = settings.frame_rate
    n_frames = 1 + len(audio) * frame_rate // sample_rate
    offset = sound.offset(audio)
    if sample_rate != SAMPLE_RATE:
        audio, offset = _at_16k(audio, offset, sample_rate), np.float32(0.0)
    n_pieces = math.ceil(n_frames / (PIECE_SECONDS * frame_rate))
    edges = np.linspace(0, n_frames, n_pieces + 1).astype(int)
    pieces: list[list[np.ndarray]] = []
    for start, end in itertools.pairwise(edges):
        report(len(pieces), n_pieces)
        pieces.append(_extract_piece(audio, offset, start, end, settings))
    f0_hz, confidence, weighted_db, loudness_db = map(np.concatenate, zip(*pieces, strict=True))
    quiet = weighted_db < weighted_db.max() + QUIETEST_VOICED_DB
    unvoiced = (confidence < VOICED_CONFIDENCE) | quiet
    return Features(
        times_s=np.arange(n_frames) / frame_rate,
        f0_hz=np.where(unvoiced, np.float32(np.nan), f0_hz),
        confidence=confidence,
        loudness_db=loudness_db,
        frame_rate=frame_rate,
        profile=settings.profile,
    )


def _extract_piece(audio, offset, start, end, settings):
    """f0, confidence, loudness since ddsp 2.0, and that of the profile, from frame to frame."""
    hop = hop_size(SAMPLE_RATE, settings.frame_rate)
    context = math.ceil(CONTEXT_SECONDS * settings.frame_rate)
    first = max(0, start - context)
    piece = (audio[first * hop : (end + context) * hop] - offset).astype(np.float32)
    f0_hz, confidence = _pitch(piece, settings)
    weighted_db = profile_db = loudness(piece, SAMPLE_RATE, settings.frame_rate)
    if settings.profile == PROFILE_BEFORE:
        profile_db = loudness_before(piece, SAMPLE_RATE, settings.frame_rate)
    arrays = (f0_hz, confidence, weighted_db, profile_db)
    return [array[start - first : end - first] for array in arrays]


def _pitch(audio, settings):
    """f0 without gaps, and confidence [n_frames] each, from the cache if `cached` is set."""

    def track():
        f0_hz, confidence = pitch.track(
            audio,
            SAMPLE_RATE,
            settings.frame_rate,
            model=settings.crepe_model,
            progress=settings.progress,
        )
        if settings.refined:
            f0_hz = pitch.refine(audio, f0_hz, SAMPLE_RATE, settings.frame_rate)
            sure = confidence >= VOICED_CONFIDENCE
            f0_hz = note_changes.sharpen(audio, f0_hz, sure, SAMPLE_RATE, settings.frame_rate)
        return f0_hz, confidence

    if not settings.cached:
        return track()
    n_frames = 1 + len(audio) // hop_size(SAMPLE_RATE, settings.frame_rate)
    choices = (settings.frame_rate, settings.crepe_model, settings.refined)
    return pitch_cache.fetch(audio, n_frames, choices, track)


def _at_16k(audio, offset, sample_rate):
    """Audio [n_samples] at 16 kHz, on disk, without its offset."""
    step = RESAMPLED_AT_ONCE
    blocks = (audio[first : first + step] - offset for first in range(0, len(audio), step))
    resampled = sound.resample_blocks(blocks, sample_rate, SAMPLE_RATE)
    rest = np.zeros(2, np.float32)  # the resampler may round the length down
    return sound.on_disk(itertools.chain(resampled, [rest]))
