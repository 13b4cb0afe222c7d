"""Timbre transfer: a recording in, the same melody on another instrument out.

    python -m helpers.transfer in.wav out.wav --checkpoint violin --octaves 1

Of a folder, every recording in it and below it is played.
"""

import argparse
import functools
import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import soxr

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features
from helpers.errors import InputError
from helpers.instruments import bundles
from helpers.transfer.adjustment import adjust
from helpers.transfer.render import Player
from helpers.transfer.settings import Settings

LONGEST_ROOM_SECONDS = 20.0
MOST_LOADED = 8  # instruments that are kept


@dataclass(frozen=True)
class Batch:
    """What became of the recordings in a folder.

    Attributes:
      played: By path, what was done to fit the recording to the instrument, in a sentence.
      passed_over: By path, why the recording could not be played, in a sentence.
      left: Recordings whose results were there before.
    """

    played: dict
    passed_over: dict
    left: list


def transfer_audio(audio, sample_rate, instrument, settings=Settings(), **options):
    """Plays a recording on an instrument.

    Args:
      audio: Shape [n_samples].
      sample_rate: Its rate in Hz.
      instrument: An `Instrument`, the name of one in `checkpoints/`, or the path of a bundle.
      settings: `Settings`; by default all is fitted to the instrument and nothing is moved.
      options: More to choose, all by name:
        second: Another instrument, for `Settings.mix`.
        room: An impulse response in place of the instrument's own room: a sound file's path, or
          samples at the instrument's rate. Shape [n_taps].
        keep_rate: Give back audio at the recording's sample rate instead of the instrument's.
        keep_loudness: Give the notes the level (RMS) that they have in the recording.

    Returns:
      Audio of the recording's duration in [-1, 1], turned down where it would leave that.

    Raises:
      InputError: The recording has no notes or is no mono sound, or instruments or room are no
        use; see `adjust` and `Player`.
    """
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise InputError(
            f"The recording has the shape {audio.shape} or samples that are not numbers: give one "
            "channel, [n_samples]."
        )
    task = _Task(instrument, settings, **options)
    adjusted = task.adjust(
        features.extract(audio, sample_rate, task.instrument.frame_rate, profile=task.profile)
    )
    new_rate = sample_rate if task.keep_rate else task.instrument.sample_rate
    played = np.zeros(_rescaled(len(audio), sample_rate, new_rate), np.float32)
    task.play(adjusted, audio, sample_rate, played, new_rate)
    return played


def transfer_file(
    source, target, instrument, settings=Settings(), overwrite=False, heard=None, **options
):
    """Plays a sound file of any format, rate and length on an instrument, in bounded memory.

    Args:
      source: Path of the recording.
      target: Path of the result, .wav or .flac; its metadata say what made it.
      instrument, settings, options: As for `transfer_audio`.
      overwrite: Replace a file that is there.
      heard: The recording at the instrument's rate, [n_samples], and its `Features`, where they
        are known already.

    Returns:
      What was done to fit the recording to the instrument, in a sentence.

    Raises:
      InputError: As `transfer_audio`; the source is no use; or the target is there already.
    """
    source, target = Path(source), Path(target)
    sound.check_ending(target)
    if target.exists() and not overwrite:
        raise InputError(f"{target} is there already: choose another name, or have it overwritten.")
    task = _Task(instrument, settings, **options)
    if heard is None:
        ((_, file),) = task.listen([source])
        heard = file.result()
    return task.write(source, *heard, target)


def transfer_folder(
    source, target, instrument, settings=Settings(), overwrite=False, ending=".wav", **options
):
    """Plays all sound files in and below a folder; what cannot be played is passed over.

    Args:
      source: The folder of recordings.
      target: The folder of results, with the recordings' names; made if it is not there.
      instrument, settings, options: As for `transfer_audio`.
      overwrite: Make results anew that are there; else they are left as they are, so that a batch
        that was stopped goes on.
      ending: Of the results' names: ".wav" or ".flac".

    Returns:
      A `Batch`.

    Raises:
      InputError: The source holds no sound files, or the target lies in it; or instruments or room
        are no use.
    """
    source, target = Path(source), Path(target)
    sound.check_ending(f"result{ending}")
    if source.resolve() in (target.resolve(), *target.resolve().parents):
        raise InputError(f"The results would lie among the recordings in {source}: choose another.")
    targets = _targets(sound.find(source), source, target, ending)
    task = _Task(instrument, settings, **options)
    left = [path for path in targets if targets[path].exists() and not overwrite]
    batch = Batch({}, {}, left)
    for path, file in task.listen([path for path in targets if path not in left]):
        try:
            batch.played[path] = task.write(path, *file.result(), targets[path])
        except InputError as error:
            batch.passed_over[path] = str(error)
    return batch


def main(arguments=None):
    """What `python -m helpers.transfer` does; returns the exit status."""
    try:
        return _run(vars(_parser().parse_args(arguments)))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1


class _Task:
    """Instruments, room and settings, loaded once for any number of recordings."""

    def __init__(
        self, instrument, settings, second=None, room=None, keep_rate=False, keep_loudness=False
    ):
        self.instrument, self.settings = _load(instrument), settings
        self.keep_rate, self.keep_loudness = keep_rate, keep_loudness
        self.profile = profile_of(self.instrument)
        samples = room
        if isinstance(room, (str, Path)):
            samples = load_room(room, self.instrument.sample_rate)
        self.player = Player(self.instrument, _load(second), samples)
        self.tags = {
            "comment": self._in_words(room),
            "software": f"{config.REPOSITORY_URL.rsplit('/')[-1]} {config.VERSION}",
        }

    def listen(self, paths):
        one = self.instrument
        return features.extract_files(paths, one.sample_rate, one.frame_rate, profile=self.profile)

    def adjust(self, curves):
        return adjust(curves, self.instrument.statistics, self.settings)

    def write(self, source, audio, curves, target):
        """Writes what is played for a file that was heard; says what was done in a sentence."""
        adjusted = self.adjust(curves)
        sample_rate = self.instrument.sample_rate
        new_rate = sound.rate_of(source) if self.keep_rate else sample_rate
        n_samples = _rescaled(len(audio), sample_rate, new_rate)
        with tempfile.TemporaryFile() as file:  # on disk, as it may be long
            played = np.memmap(file, np.float32, "w+", shape=(n_samples,))
            self.play(adjusted, audio, sample_rate, played, new_rate)
            sound.save(target, played, new_rate, {"title": source.stem, **self.tags})
        return adjusted.summary

    def play(self, adjusted, audio, sample_rate, played, new_rate):
        """Fills `played` [n_samples], at `new_rate`, with what is played for `audio`."""
        curves = adjusted.features
        zs = [encoded(one, audio, sample_rate, curves) for one in self.player.instruments]
        blocks = self.player.blocks(curves, self.settings, *zs)
        first = 0
        for block in _resampled(blocks, self.instrument.sample_rate, new_rate):
            block = block[: len(played) - first]
            played[first : first + len(block)] = block
            first += len(block)
        gain = 1.0
        if self.keep_loudness:
            sounds = (audio, sample_rate), (played, new_rate)
            recorded, now = (
                _level(*one, adjusted.notes.sounding, curves.frame_rate) for one in sounds
            )
            gain = recorded / max(now, 1e-9)
        peak = max(played.max(), -played.min())
        played *= np.float32(min(gain, 1.0 / max(peak, 1e-9)))

    def _in_words(self, room):
        """What made a sound, for its metadata."""
        made = self.settings.changed()
        if room is not None:
            made["room"] = Path(room).name if isinstance(room, (str, Path)) else "given"
        for option in ("keep_rate", "keep_loudness"):
            made |= {option: True} if getattr(self, option) else {}
        instruments = " and ".join(map(_credited, self.player.instruments))
        return f"Played on {instruments}; settings: {json.dumps(made)}"


def load(path):
    """The instrument of a bundle, which is loaded and compiled only once.

    It is loaded anew when another has taken its place on disk. It is shared: do not train it.

    Raises:
      InputError: As `bundles.load`.
    """
    path = Path(path)
    files = [path, *path.glob("*")] if path.exists() else []
    return _loaded(path, tuple(file.stat().st_mtime_ns for file in files))


@functools.lru_cache(MOST_LOADED)
def _loaded(path, _changed):
    return bundles.load(path)


def profile_of(instrument):
    """The feature profile that an instrument learned from; ours, where it has not learned yet."""
    return instrument.statistics.get("feature_profile", features.PROFILE)


def _load(instrument):
    """An instrument as it is, or the one of a name or a path."""
    if not isinstance(instrument, (str, Path)):
        return instrument
    for path in (config.CHECKPOINTS / instrument, Path(instrument)):
        if path.exists():
            return load(path)
    names = ", ".join(listed.path.name for listed in bundles.listing(config.CHECKPOINTS))
    raise InputError(f"There is no instrument {instrument}: give the path of one, or {names}.")


def load_room(path, sample_rate):
    """An impulse response [n_taps] from a sound file, at a sample rate in Hz.

    Raises:
      InputError: It is no sound file, or longer than 20 s.
    """
    samples, _ = sound.load(path, sample_rate, LONGEST_ROOM_SECONDS)
    return samples


def encoded(instrument, audio, sample_rate, curves):
    """z of a recording, in the frames of its curves; None for an instrument without an encoder."""
    if not instrument.z_dims:
        return None
    if sample_rate != instrument.sample_rate:
        audio = sound.resample(audio, sample_rate, instrument.sample_rate)
    z, n_frames = instrument.encode(audio), len(curves.f0_hz)
    return np.pad(z, ((0, max(0, n_frames - len(z))), (0, 0)), "edge")[:n_frames]


def _resampled(blocks, sample_rate, new_rate):
    """Yields blocks of audio at another rate, joined as if resampled at once."""
    if new_rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(sample_rate, new_rate, 1, quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _rescaled(n_samples, sample_rate, new_rate):
    return round(n_samples * new_rate / sample_rate)


def _level(audio, sample_rate, notes, frame_rate):
    """RMS of audio [n_samples] in the frames of notes, note by note: it may lie on disk."""
    edges = np.flatnonzero(np.diff(notes, prepend=False, append=False)).reshape(-1, 2)
    energy, n_samples = 0.0, 0
    for edges_of_note in edges * sample_rate // frame_rate:
        note = audio[slice(*edges_of_note)].astype(np.float64)
        energy, n_samples = energy + note @ note, n_samples + len(note)
    return np.sqrt(energy / max(1, n_samples))


def _targets(sources, folder, target, ending):
    """Where results go, by source: the same names, with both endings where two are alike."""
    short = {path: path.with_suffix(ending) for path in sources}
    times = Counter(short.values())
    return {
        path: target
        / (name if times[name] == 1 else path.with_name(path.name + ending)).relative_to(folder)
        for path, name in short.items()
    }


def _credited(instrument):
    """An instrument's name, with the credit for what it learned from."""
    learned = instrument.card.get("training_data", {})
    credit = ", ".join(filter(None, (learned.get("credit"), learned.get("licence"))))
    name = instrument.card.get("name", "an instrument without a card")
    return f"{name} ({credit})" if credit else name


# Command line


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m helpers.transfer",
        description="Plays a recording, or all in a folder, on another instrument.",
    )
    parser.add_argument("source", type=Path, help="a sound file, or a folder of them")
    parser.add_argument("target", type=Path, help=".wav or .flac, or a folder for the results")
    parser.add_argument("--checkpoint", default="violin", help="name or path of the instrument")
    parser.add_argument("--second", help="name or path of an instrument to mix with (--mix)")
    parser.add_argument("--room", type=Path, help="an impulse response in place of the own room")
    parser.add_argument("--keep-rate", action="store_true", help="the recording's sample rate")
    parser.add_argument("--keep-loudness", action="store_true", help="the recording's loudness")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    for setting in fields(Settings):
        parser.add_argument(f"--{setting.name.replace('_', '-')}", **_as_argument(setting))
    return parser


def _as_argument(setting):
    """How a field of `Settings` is read from the command line."""
    shown, as_help = setting.metadata, setting.metadata["help"].replace("%", "%%")
    if isinstance(setting.default, bool):
        return {"action": argparse.BooleanOptionalAction, "default": True, "help": as_help}
    if "choices" in shown:
        return {"choices": shown["choices"], "default": setting.default, "help": as_help}
    lowest, highest, _ = shown["range"]
    unit = f" {shown['unit']}" if shown["unit"] else ""
    return {
        "type": type(setting.default),
        "default": setting.default,
        "metavar": f"{lowest:g}..{highest:g}",
        "help": f"{as_help} [{setting.default:g}{unit}]",
    }


def _run(given):
    settings = Settings(**{setting.name: given.pop(setting.name) for setting in fields(Settings)})
    source, target, checkpoint = (given.pop(name) for name in ("source", "target", "checkpoint"))
    if not source.is_dir():
        print(transfer_file(source, target, checkpoint, settings, **given))
        return 0
    batch = transfer_folder(source, target, checkpoint, settings, **given)
    for path, sentence in batch.played.items():
        print(f"{path}: {sentence}")
    for path in batch.left:
        print(f"{path}: its result was there already and is left as it is (see --overwrite).")
    for path, sentence in batch.passed_over.items():
        print(f"{path} is passed over: {sentence}", file=sys.stderr)
    return 1 if batch.passed_over else 0
