"""Audio to the curves that a model is conditioned on: f0 and loudness, frame by frame."""

import functools
import hashlib
import itertools
import sys
import threading
import zipfile
import zlib
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import librosa
import numpy as np
from tqdm.auto import tqdm

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import crepe, pitch
from helpers.config import FRAME_RATE, SAMPLE_RATE, VOICED_CONFIDENCE
from helpers.errors import InputError
from helpers.files import replacing

LOUDNESS_FLOOR_DB = -80.0
N_FFT = 512  # samples, at 16 kHz
N_FFT_BEFORE = 2048  # before ddsp 2.0
REFERENCE_BEFORE_DB = 20.7  # the loudness then of white noise at full scale
PROFILE = "ddsp-2"  # loudness as ddsp defines it since its version 2.0
PROFILE_BEFORE = "ddsp-1"  # and before
FLOORS_DB = {PROFILE: LOUDNESS_FLOOR_DB, PROFILE_BEFORE: -120.0}  # loudness of silence
CURVES = ("times_s", "f0_hz", "confidence", "loudness_db")
QUIETEST_VOICED_DB = -60.0  # below the clip's loudest frame, where CREPE finds pitch in hiss
PIECE_SECONDS = 60.0  # of a file that are listened to at once, and kept together
CONTEXT_SECONDS = 0.5  # before and after a piece, so that its edges are heard as in the whole


@dataclass(frozen=True)
class Features:
    """What a clip plays, at `frame_rate` frames a second, all of shape [n_frames].

    Attributes:
      times_s: Centre of each frame in seconds; the first is 0.
      f0_hz: Fundamental frequency; NaN where nothing with a pitch sounds.
      confidence: CREPE's certainty of the pitch, from 0 to 1.
      loudness_db: A-weighted loudness, from -80 dB to about 20 for a sine at full scale.
      frame_rate: Frames a second.
      profile: What loudness is: one of `FLOORS_DB`, of which `PROFILE_BEFORE` is for instruments
        that were trained with ddsp before 2.0, and goes from -120 dB to about -20.
    """

    times_s: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray
    loudness_db: np.ndarray
    frame_rate: int
    profile: str = PROFILE

    @property
    def floor_db(self):
        """The loudness of silence."""
        return FLOORS_DB[self.profile]

    @property
    def voiced(self):
        """True where a pitch sounds. Shape [n_frames]."""
        return np.isfinite(self.f0_hz)

    def cut(self, n_frames):
        """The first frames."""
        return replace(self, **{name: getattr(self, name)[:n_frames] for name in CURVES})


def extract(
    audio,
    sample_rate,
    frame_rate=FRAME_RATE,
    crepe_model="tiny",
    progress=False,
    profile=PROFILE,
    refined=True,
):
    """The `Features` of a clip: 1 + n_samples // hop frames, centred.

    Args:
      audio: Shape [n_samples].
      sample_rate: Hz.
      frame_rate: Frames a second.
      crepe_model: CREPE's size for the pitch.
      progress: Show a progress bar.
      profile: What loudness is, as an instrument's statistics name it (`feature_profile`).
      refined: Correct CREPE's pitch by the phases of the harmonics (`pitch.refine`).

    Raises:
      InputError: A frame would not be a whole number of samples at 16 kHz, or there is no such
        profile.
    """
    check_profile(profile)
    hop_size(SAMPLE_RATE, frame_rate)
    if sample_rate != SAMPLE_RATE:
        audio = sound.resample(audio, sample_rate, SAMPLE_RATE)
    f0_hz, confidence = pitch.track(
        audio, SAMPLE_RATE, frame_rate, model=crepe_model, progress=progress
    )
    if refined:
        f0_hz = pitch.refine(audio, f0_hz, SAMPLE_RATE, frame_rate)
    loudness_db = loudness(audio, SAMPLE_RATE, frame_rate)
    quiet = loudness_db < loudness_db.max() + QUIETEST_VOICED_DB
    unvoiced = (confidence < VOICED_CONFIDENCE) | quiet
    if profile == PROFILE_BEFORE:
        loudness_db = loudness_before(audio, SAMPLE_RATE, frame_rate)
    return Features(
        times_s=np.arange(len(f0_hz)) / frame_rate,
        f0_hz=np.where(unvoiced, np.nan, f0_hz).astype(np.float32),
        confidence=confidence,
        loudness_db=loudness_db,
        frame_rate=frame_rate,
        profile=profile,
    )


def listen(
    files,
    sample_rate=SAMPLE_RATE,
    frame_rate=FRAME_RATE,
    crepe_model="tiny",
    workers=2,
    profile=PROFILE,
):
    """Reads and tracks sound files in parallel, and remembers what it heard.

    Memory stays the same for any number of files of any length: audio lies on disk, files are
    heard minute by minute, and at most `workers` are ahead of the one that is taken. What was
    heard of the same samples with the same settings before comes from `config.CACHE`, so that
    work which was stopped goes on where it was.

    Args:
      files: Paths, a list; taken in their order.
      sample_rate: Of the audio that is given back, in Hz.
      frame_rate: Frames a second.
      crepe_model: CREPE's size for the pitch.
      workers: Files at a time. More than two do not help: CREPE itself takes all processors.
      profile: What loudness is; see `extract`.

    Yields:
      Each path with a finished Future, whose `result()` is the file's audio [n_samples] (see
      `audio.load_to_disk`) and `Features`, or raises the InputError that tells why it is no use.

    Raises:
      InputError: A frame would not be a whole number of samples at 16 kHz or at `sample_rate`, or
        CREPE has no such size.
    """
    for rate in (SAMPLE_RATE, sample_rate):
        hop_size(rate, frame_rate)
    crepe.build_and_load_model(crepe_model)  # before two threads want it
    settings = (sample_rate, frame_rate, crepe_model, profile)
    stopped = threading.Event()
    executor = ThreadPoolExecutor(workers)
    with tqdm(total=len(files), desc="listening", unit="file") as bar:
        try:
            waiting, ahead = iter(files), deque()
            for _ in files:
                for path in itertools.islice(waiting, workers + 1 - len(ahead)):
                    file = executor.submit(_listen_to, path, settings, stopped, bar)
                    ahead.append((path, file))
                while wait([ahead[0][1]], timeout=1.0).not_done:
                    bar.refresh()  # here, not by the workers: not every display likes threads
                bar.update()
                yield ahead.popleft()
        finally:
            stopped.set()
            executor.shutdown(wait=False, cancel_futures=True)


def loudness(audio, sample_rate, frame_rate=FRAME_RATE):
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


def a_weighting_db(sample_rate, n_fft):
    """A-weighting of the bins of a spectrum of real samples, in dB. Shape [1 + n_fft // 2]."""
    frequencies_hz = librosa.fft_frequencies(sr=sample_rate, n_fft=n_fft)
    return librosa.A_weighting(frequencies_hz.clip(1.0))  # at 0 Hz its logarithm has no value


def loudness_before(audio, sample_rate, frame_rate=FRAME_RATE):
    """A-weighted dB, mean over frequency, of each -20.7 dB and at least -120: before ddsp 2.0.

    There a frame began at its time; here it is centred on it, as those of all curves are.

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


def check_profile(profile):
    """Refuses a name of a feature profile that there is not."""
    if profile not in FLOORS_DB:
        raise InputError(
            f"There is no feature profile {profile!r}: choose one of {', '.join(FLOORS_DB)}."
        )


def hop_size(sample_rate, frame_rate):
    """Samples from one frame to the next.

    Raises:
      InputError: It would be no whole number, and the curves would run away from the sound.
    """
    if frame_rate < 1 or sample_rate % frame_rate:
        raise InputError(
            f"{frame_rate} frames a second do not divide {sample_rate} Hz: choose a divisor of it, "
            "such as 100 or 125."
        )
    return sample_rate // frame_rate


def save(features, path):
    """Writes features as .npz, or as .csv for a spreadsheet; whole or not at all."""
    columns = {name: getattr(features, name) for name in CURVES}
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


def load(path):
    """Reads the `Features` that `save` wrote as .npz.

    Raises:
      InputError: The file is missing or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Features(
                **{name: arrays[name] for name in CURVES},
                frame_rate=int(arrays["frame_rate"]),
                profile=str(arrays["profile"]) if "profile" in arrays else PROFILE,
            )
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error):
        raise InputError(
            f"{path} holds no features: choose the .npz file that was saved with them."
        ) from None


def _listen_to(path, settings, stopped, bar):
    """A file's audio and features, unless it is `stopped` meanwhile; the bar tells where it is."""
    sample_rate, frame_rate, _, profile = settings
    audio, _ = sound.load_to_disk(path, sample_rate)
    hop = hop_size(sample_rate, frame_rate)
    n_frames = 1 + len(audio) // hop
    n_pieces = int(np.ceil(n_frames / (PIECE_SECONDS * frame_rate)))
    edges = np.linspace(0, n_frames, n_pieces + 1).astype(int)
    context = int(CONTEXT_SECONDS * frame_rate)
    pieces = []
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        if stopped.is_set():
            raise CancelledError
        bar.set_postfix_str(f"{path.name}: {len(pieces)}/{n_pieces} min", refresh=False)
        first = max(0, start - context)
        curves = _remembered(audio[first * hop : (end + context) * hop], *settings)
        pieces.append([getattr(curves, name)[start - first : end - first] for name in CURVES])
    _, f0_hz, confidence, loudness_db = map(np.concatenate, zip(*pieces, strict=True))
    quiet = loudness_db < loudness_db.max() + QUIETEST_VOICED_DB
    f0_hz = np.where(quiet, np.float32(np.nan), f0_hz)
    return audio, Features(
        np.arange(n_frames) / frame_rate, f0_hz, confidence, loudness_db, frame_rate, profile
    )


def _remembered(audio, *settings):
    """`extract`, from the cache if it heard the same before."""
    path = config.CACHE / f"{_key(audio, *settings)}.npz"
    try:
        return load(path)
    except InputError:  # not there yet, or damaged
        *sizes, profile = settings
        curves = extract(audio, *sizes, profile=profile)
        save(curves, path)
        return curves


def _key(audio, *settings):
    """A name for all that the features of audio depend on, the program included."""
    key = hashlib.sha256(repr((PROFILE, settings)).encode() + _program())
    key.update(np.ascontiguousarray(audio))
    return key.hexdigest()


@functools.cache
def _program():
    modules = (sys.modules[__name__], pitch, crepe)
    return b"".join(Path(module.__file__).read_bytes() for module in modules)
