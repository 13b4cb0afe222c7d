"""Timbre transfer: a recording in, the same melody on another instrument out."""

import errno
import functools
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features
from helpers.errors import InputError
from helpers.files import explaining, free_name
from helpers.instruments import bundles
from helpers.instruments.instrument import Instrument
from helpers.transfer import result_paths
from helpers.transfer.adjustment import Adjusted, NoNotesError, adjust
from helpers.transfer.render import Player
from helpers.transfer.settings import Settings

NO_RESULT = "There is no result for this recording: choose one with notes, and play it."
LONGEST_ROOM_SECONDS = 20.0
MOST_LOADED = 8  # instruments that are kept
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # that all further results would meet


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording at the rate of the instrument that is to play it.

    Attributes:
      audio: Shape [n_samples]; it may lie on disk.
      sample_rate: The instrument's, in Hz.
      features: Its `Features`.
      original_rate: The sample rate that it had, in Hz.
      path: Its file; None for a recording that was given as samples.
      samples: The samples at the original rate; None for a file, which may be long.
    """

    audio: np.ndarray
    sample_rate: int
    features: features.Features
    original_rate: int
    path: Path | None = None
    samples: np.ndarray | None = None

    def level(self, mask: np.ndarray) -> float:
        """RMS in the frames of a mask [n_frames]."""
        frame_rate = self.features.frame_rate
        if self.samples is not None:
            return _level(self.samples, self.original_rate, mask, frame_rate)
        return _level(self.audio, self.sample_rate, mask, frame_rate)


@dataclass(frozen=True)
class Batch:
    """What became of the recordings in a folder.

    Attributes:
      played: By path, what was done to fit the recording to the instrument, in a sentence.
      passed_over: By path, why the recording could not be played, in a sentence.
      left: Recordings whose results existed before.
    """

    played: dict[Path, str] = field(default_factory=dict)
    passed_over: dict[Path, str] = field(default_factory=dict)
    left: list[Path] = field(default_factory=list)


class Session:
    """A recording, the instruments that play it, and the result.

    Where something is chosen again, only what depends on the change is computed again.

    Attributes:
      instrument: The `Instrument`.
      player: The `Player`, which holds the second instrument and the room too.
      settings: The `Settings` of the result.
    """

    def __init__(
        self,
        instrument: Instrument | str | Path,
        settings: Settings = Settings(),
        *,
        second: Instrument | str | Path | None = None,
        room: np.ndarray | str | Path | None = None,
    ) -> None:
        """Loads instruments and room, as `choose` does, for a recording to come."""
        self.settings = settings
        self._recording: Recording | None = None
        self._adjusted: Adjusted | None = None
        self._result: np.ndarray | None = None
        self._player_of: tuple | None = None
        self._opened: tuple | None = None
        self._rates_of_recording: tuple | None = None
        self.choose(instrument, second=second, room=room)
        self.player.check_mix(settings)

    def choose(
        self,
        instrument: Instrument | str | Path,
        *,
        second: Instrument | str | Path | None = None,
        room: np.ndarray | str | Path | None = None,
    ) -> None:
        """Chooses what plays.

        Args:
          instrument: An `Instrument`, the name of one in `checkpoints/`, or the path of a bundle.
          second: Another instrument, for `Settings.mix`.
          room: An impulse response in place of the instrument's own room: a sound file's path, or
            samples at the instrument's rate. Shape [n_taps].

        Raises:
          InputError: One of them cannot be used; the session stays as it was.
        """
        first, other = _instrument(instrument), None if second is None else _instrument(second)
        player_of = first, other, _version(room) if isinstance(room, (str, Path)) else id(room)
        if player_of != self._player_of:
            response = load_room(room, first.sample_rate) if isinstance(room, (str, Path)) else room
            self.player = Player(first, other, room=response)
            self._player_of = player_of
        self.instrument, self._room = first, room
        self._name = _file_name(instrument)
        self._zs: list | None = None
        if self._rates != self._rates_of_recording:
            self._recording = self._adjusted = self._result = None

    def open(self, path: str | Path) -> None:
        """Takes a recording from a sound file, unless it is the same file, unchanged, as before.

        Raises:
          InputError: The file cannot be used; the session stays as it was.
        """
        path = Path(path)
        version = _version(path)
        if self._recording is None or version != self._opened:
            ((_, file),) = self._extracted([path], progress=False)
            self._take(path, file)
            self._opened = version

    def take(self, audio: np.ndarray, sample_rate: int) -> None:
        """Takes a recording as samples [n_samples] at a rate in Hz.

        Raises:
          InputError: The samples are not one channel of finite numbers.
        """
        audio = np.asarray(audio, np.float32)
        if audio.ndim != 1 or not np.isfinite(audio).all():
            raise InputError(
                f"The recording has the shape {audio.shape} or samples that are not finite "
                "numbers: give one channel, [n_samples]."
            )
        rate, frame_rate, profile = self._rates
        resampled = audio if rate == sample_rate else sound.resample(audio, sample_rate, rate)
        found = features.extract(resampled, rate, frame_rate, profile=profile)
        self._set(Recording(resampled, rate, found, sample_rate, samples=audio))

    def play(self, settings: Settings = Settings()) -> np.ndarray:
        """Plays the recording in memory, and keeps the result and the steps on the way to it.

        Returns:
          Audio at the instrument's rate, in [-1, 1]. Shape [n_samples].

        Raises:
          InputError: There is no recording, or it cannot be played so; then there is no `result`.
        """
        self.settings, self._result = settings, None
        adjusted = self._adjust()
        played = self.player.play(adjusted.features, settings, *self._encoded())
        played = played[: len(self.recording.audio)]
        self._result = played / max(1.0, np.abs(played).max())
        return self._result

    @property
    def recording(self) -> Recording:
        """The `Recording`.

        Raises:
          InputError: There is none yet.
        """
        if self._recording is None:
            raise InputError("There is no recording to play: open one first.")
        return self._recording

    @property
    def adjusted(self) -> Adjusted:
        """The `Adjusted` features that were played last.

        Raises:
          InputError: As `result`.
        """
        if self._adjusted is None:
            raise InputError(NO_RESULT)
        return self._adjusted

    @property
    def result(self) -> np.ndarray:
        """What `play` played last. Shape [n_samples].

        Raises:
          InputError: Nothing was played since the recording was chosen, or it cannot be played.
        """
        if self._result is None:
            raise InputError(NO_RESULT)
        return self._result

    def render(self, *, keep_rate: bool = False, keep_loudness: bool = False) -> np.ndarray:
        """Plays the recording with the session's settings, block by block, onto the disk.

        Args:
          keep_rate: Give audio at the recording's sample rate instead of the instrument's.
          keep_loudness: Give the notes the level (RMS) that they have in the recording.

        Returns:
          Audio in [-1, 1], turned down where it would leave that. A numpy.memmap [n_samples].

        Raises:
          InputError: There is no recording, it cannot be played so, or the disk is full.
        """
        adjusted, recording = self._adjust(), self.recording
        rate = self.instrument.sample_rate
        new_rate = recording.original_rate if keep_rate else rate
        blocks = self.player.blocks(adjusted.features, self.settings, *self._encoded())
        blocks = _of_length(blocks, len(recording.audio))
        if new_rate != rate:
            blocks = sound.resample_blocks(blocks, rate, new_rate)
        played = sound.on_disk(blocks)
        gain = 1.0
        if keep_loudness:
            sounding, frame_rate = adjusted.notes.sounding, self.instrument.frame_rate
            now = _level(played, new_rate, sounding, frame_rate)
            gain = recording.level(sounding) / max(now, 1e-9)
        peak = max(played.max(), -played.min())
        played *= np.float32(min(gain, 1.0 / max(peak, 1e-9)))
        return played

    def write(
        self,
        target: str | Path,
        *,
        overwrite: bool = False,
        keep_rate: bool = False,
        keep_loudness: bool = False,
    ) -> str:
        """Renders the recording into a file, with what made it in the metadata.

        Args:
          target: Path of the result, .wav or .flac.
          overwrite: Replace a file that is there.
          keep_rate, keep_loudness: As for `render`.

        Returns:
          What was done to fit the recording to the instrument, in a sentence.

        Raises:
          InputError: As `render`, or the target exists, or cannot be written.
        """
        recording = self.recording
        rooms = [self._room] if isinstance(self._room, (str, Path)) else []
        result_paths.check_target(
            target, [*([recording.path] if recording.path else []), *rooms], overwrite
        )
        played = self.render(keep_rate=keep_rate, keep_loudness=keep_loudness)
        rate = recording.original_rate if keep_rate else self.instrument.sample_rate
        tags = {
            "title": result_paths.readable(recording.path.stem if recording.path else "recording"),
            "comment": self._in_words(keep_rate, keep_loudness),
            "software": f"{config.REPOSITORY_URL.rsplit('/')[-1]} {config.VERSION}",
        }
        sound.save(target, played, rate, tags)
        return self._adjust().summary

    def save(
        self,
        folder: str | Path,
        *,
        ending: str = ".wav",
        overwrite: bool = False,
        keep_rate: bool = False,
        keep_loudness: bool = False,
    ) -> Path:
        """Writes what was played last into a folder, named after recording and instrument.

        Args:
          folder: The folder of results; it is made if it does not exist.
          ending: ".wav" or ".flac".
          overwrite: Replace a file of that name; else the new name gets a number.
          keep_rate, keep_loudness: As for `render`.

        Returns:
          The path.

        Raises:
          InputError: As `write`.
        """
        path = self.recording.path
        name = f"{path.stem if path else 'recording'}_as_{self._name}{ending}"
        target = Path(folder) / name
        if not overwrite:
            target = free_name(target)
        self.write(target, overwrite=overwrite, keep_rate=keep_rate, keep_loudness=keep_loudness)
        return target

    def write_files(
        self, targets: dict[Path, Path], *, overwrite: bool, keep_rate: bool, keep_loudness: bool
    ) -> Batch:
        """Plays files, each into a file of its own; a file that cannot be played is passed over.

        Args:
          targets: The results' paths, by the recordings' paths.
          overwrite: Replace results that exist; else they are left as they are.
          keep_rate, keep_loudness: As for `render`.

        Raises:
          InputError: The disk is full or cannot be written to.
          KeyboardInterrupt: With a message that says how far it came.
        """
        left = [path for path in targets if os.path.lexists(targets[path]) and not overwrite]
        paths, batch = [path for path in targets if path not in left], Batch(left=left)
        options = {"overwrite": True, "keep_rate": keep_rate, "keep_loudness": keep_loudness}
        try:
            for path, file in self._extracted(paths):
                try:
                    with explaining(f"{path} cannot be played"):
                        self._take(path, file)
                        batch.played[path] = self.write(targets[path], **options)
                except InputError as error:
                    if getattr(error.__cause__, "errno", None) in DISK_ERRORS:
                        raise InputError(f"{error} {_progress(batch, paths)}") from error
                    batch.passed_over[path] = str(error)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Interrupted: {_progress(batch, paths)}") from None
        return batch

    @property
    def _rates(self):
        """Sample rate, frame rate and feature profile of the instrument."""
        one = self.instrument
        profile = one.statistics.get("feature_profile", features.PROFILE)
        return one.sample_rate, one.frame_rate, profile

    def _extracted(
        self, paths: Iterable[Path], progress: bool = True
    ) -> Iterator[tuple[Path, Future]]:
        rate, frame_rate, profile = self._rates
        return features.extract_files(paths, rate, frame_rate, profile=profile, progress=progress)

    def _take(self, path, file):
        """Takes a recording from a finished Future of `features.extract_files`."""
        audio, found = file.result()
        rate = self.instrument.sample_rate
        self._set(Recording(audio, rate, found, sound.rate_of(path), path))

    def _set(self, recording):
        self._recording, self._opened = recording, None
        self._rates_of_recording = self._rates
        self._adjusted = self._result = self._zs = None

    def _adjust(self):
        self._adjusted = None
        recording = self.recording
        found = recording.features
        try:
            self._adjusted = adjust(found, self.instrument.statistics, self.settings)
        except NoNotesError:
            why = features.why_no_pitch(recording.audio, recording.sample_rate, found)
            raise InputError(why) from None
        return self._adjusted

    def _encoded(self):
        """z of the recording for each instrument, None for those without an encoder."""
        if self._zs is None:
            audio = self.recording.audio
            self._zs = [
                np.concatenate(list(one.encode_blocks(audio))) if one.z_dims else None
                for one in self.player.instruments
            ]
        return self._zs

    def _in_words(self, keep_rate, keep_loudness):
        """What made a sound, for its metadata."""
        made = self.settings.changed()
        if self._room is not None:
            made["room"] = (
                result_paths.readable(Path(self._room).name)
                if isinstance(self._room, (str, Path))
                else "given"
            )
        made |= {"keep_rate": True} if keep_rate else {}
        made |= {"keep_loudness": True} if keep_loudness else {}
        instruments = " and ".join(bundles.credit_line(one.card) for one in self.player.instruments)
        return result_paths.readable(f"Played on {instruments}; settings: {json.dumps(made)}")


def transfer_audio(
    audio: np.ndarray,
    sample_rate: int,
    instrument: Instrument | str | Path,
    settings: Settings = Settings(),
    *,
    second: Instrument | str | Path | None = None,
    room: np.ndarray | str | Path | None = None,
    keep_rate: bool = False,
    keep_loudness: bool = False,
) -> np.ndarray:
    """Plays a recording on an instrument.

    Args:
      audio: Shape [n_samples].
      sample_rate: Its rate in Hz.
      instrument, second, room: As for `Session.choose`.
      settings: By default the recording is fitted to the instrument and nothing else is changed.
      keep_rate, keep_loudness: As for `Session.render`.

    Returns:
      Audio of the recording's duration in [-1, 1], turned down where it would leave that.

    Raises:
      InputError: The recording has no notes or is not one channel of sound, or an instrument or
        the room cannot be used; see `adjust` and `Player`.

    Example:
      >>> times_s = np.arange(16000) / 16000
      >>> tone = 0.2 * np.sin(2 * np.pi * 440 * times_s)
      >>> transfer_audio(tone, 16000, "violin", Settings(octaves=1), keep_rate=True).shape
      (16000,)
    """
    session = Session(instrument, settings, second=second, room=room)
    session.take(audio, sample_rate)
    played = session.render(keep_rate=keep_rate, keep_loudness=keep_loudness)
    new_rate = sample_rate if keep_rate else session.instrument.sample_rate
    return np.array(played[: round(len(audio) * new_rate / sample_rate)])


def transfer_file(
    source: str | Path,
    target: str | Path,
    instrument: Instrument | str | Path,
    settings: Settings = Settings(),
    *,
    second: Instrument | str | Path | None = None,
    room: np.ndarray | str | Path | None = None,
    keep_rate: bool = False,
    keep_loudness: bool = False,
    overwrite: bool = False,
) -> str:
    """Plays a sound file of any format, rate and length on an instrument, in bounded memory.

    Args:
      source: Path of the recording.
      target: Path of the result, .wav or .flac; its metadata say what made it.
      instrument, settings, second, room, keep_rate, keep_loudness: As for `transfer_audio`.
      overwrite: Replace a file that is there.

    Returns:
      What was done to fit the recording to the instrument, in a sentence.

    Raises:
      InputError: As `transfer_audio`; the source cannot be read, or the target exists or cannot be
        written.
    """
    result_paths.check_names(source, target)
    result_paths.check_target(target, [source], overwrite)
    session = Session(instrument, settings, second=second, room=room)
    session.open(source)
    return session.write(
        target, overwrite=overwrite, keep_rate=keep_rate, keep_loudness=keep_loudness
    )


def transfer_folder(
    source: str | Path,
    target: str | Path,
    instrument: Instrument | str | Path,
    settings: Settings = Settings(),
    *,
    second: Instrument | str | Path | None = None,
    room: np.ndarray | str | Path | None = None,
    keep_rate: bool = False,
    keep_loudness: bool = False,
    overwrite: bool = False,
    ending: str = ".wav",
) -> Batch:
    """Plays all sound files in and below a folder; those that cannot be played are passed over.

    Args:
      source: The folder of recordings.
      target: The folder of results, with the recordings' names; it is made if it does not exist.
      instrument, settings, second, room, keep_rate, keep_loudness: As for `transfer_audio`.
      overwrite: Make results anew that exist; else they are left as they are, so that a batch that
        was stopped goes on.
      ending: Of the results' names: ".wav" or ".flac".

    Raises:
      InputError: The source holds no sound files, a result would lie in it, an instrument or the
        room cannot be used, or the disk is full.
      KeyboardInterrupt: With a message that says how far it came.
    """
    result_paths.check_names(source, target)
    source, target = Path(source), Path(target)
    sound.check_ending(f"result{ending}")
    targets = result_paths.targets_of(sound.find(source), source, target, ending)
    if any(result_paths.is_in(result, source) for result in [target, *targets.values()]):
        raise InputError(
            f"The results would lie among the recordings in {source}: choose another folder for "
            "them."
        )
    return Session(instrument, settings, second=second, room=room).write_files(
        targets, overwrite=overwrite, keep_rate=keep_rate, keep_loudness=keep_loudness
    )


def load(path: str | Path) -> Instrument:
    """The instrument of a bundle, which is loaded and compiled only once.

    It is loaded again when its files have changed. It is shared: do not train it.

    Raises:
      InputError: As `bundles.load`.
    """
    path = Path(path)
    files = [path, *sorted(path.glob("*"))] if path.exists() else []
    return _loaded(path, tuple(map(_version, files)))


def load_room(path: str | Path, sample_rate: int) -> np.ndarray:
    """An impulse response [n_taps] from a sound file, at a sample rate in Hz.

    Raises:
      InputError: It is not a sound file, or longer than 20 s.
    """
    samples, _ = sound.load(path, sample_rate, LONGEST_ROOM_SECONDS)
    return samples


@functools.lru_cache(MOST_LOADED)
def _loaded(path, _versions):
    return bundles.load(path)


def _instrument(instrument):
    """An instrument as it is, or the one of a name or a path."""
    if not isinstance(instrument, (str, Path)):
        return instrument
    for path in (config.CHECKPOINTS / instrument, Path(instrument)):
        if str(instrument) and path.exists():
            return load(path)
    names = ", ".join(listed.path.name for listed in bundles.listing(config.CHECKPOINTS))
    raise InputError(f"There is no instrument {instrument}: give the path of one, or {names}.")


def _file_name(instrument):
    """What an instrument is called in the name of a result."""
    if isinstance(instrument, (str, Path)):
        return Path(instrument).stem
    return "".join(c if c.isalnum() else "_" for c in instrument.card.get("name", "instrument"))


def _version(path):
    """What changes when a file is replaced or edited."""
    path = Path(path)
    if not path.exists():
        return path, None
    status = path.stat()
    return path, status.st_mtime_ns, status.st_size, status.st_ino


def _of_length(blocks, n_samples):
    """Yields blocks of audio up to a number of samples."""
    for block in blocks:
        yield block[:n_samples]
        n_samples -= len(block[:n_samples])


def _level(audio, sample_rate, mask, frame_rate):
    """RMS of audio [n_samples] in the frames of notes, note by note: it may lie on disk."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)
    energy, n_samples = 0.0, 0
    for edges_of_note in edges * sample_rate // frame_rate:
        note = audio[slice(*edges_of_note)].astype(np.float64)
        energy, n_samples = energy + note @ note, n_samples + len(note)
    return np.sqrt(energy / max(1, n_samples))


def _progress(batch, paths):
    """How far a batch came, in a sentence."""
    n_left = len(paths) - len(batch.played) - len(batch.passed_over)
    return (
        f"{len(batch.played)} of {len(paths)} recordings are played, {n_left} are left: run the "
        "same again for those."
    )
