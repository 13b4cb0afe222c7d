"""A recording on an instrument, changed bit by bit: only what a change concerns is done again."""

from pathlib import Path

import numpy as np

from helpers.analysis import audio as sound
from helpers.analysis import features
from helpers.files import free_name
from helpers.transfer import session
from helpers.transfer.adjustment import adjust
from helpers.transfer.render import Player
from helpers.transfer.settings import Settings


class Studio:
    """What is chosen and set, and what came of it.

    Attributes:
      audio: The recording, at the instrument's rate. Shape [n_samples].
      sample_rate: Of the instrument, in Hz.
      curves: `Features` of the recording.
      instrument: The `Instrument`.
      adjusted: What `adjust` made of the curves.
      result: What was played. Shape [n_samples].
    """

    def __init__(self):
        """Nothing is chosen yet."""
        self._heard = {}
        self._clip = self._name = self._room = None
        self._player_of, self._player = None, None

    def choose(self, clip, instrument, second=None, room=None):
        """Loads what is not loaded yet.

        Args:
          clip: Path of a recording.
          instrument: Path of a bundle.
          second: Path of another bundle, to mix with.
          room: Path of an impulse response, in place of the instrument's own room.

        Raises:
          InputError: One of them is no use; what was chosen before stays.
        """
        first, *others = (session.load(path) for path in (instrument, second) if path)
        heard_as = clip, first.sample_rate, first.frame_rate, session.profile_of(first)
        heard = self._heard.get(heard_as) or _listen(*heard_as)
        player_of = [first, *others], room
        if player_of != self._player_of:
            echoes = session.load_room(room, first.sample_rate) if room else None
            self._player = Player(*player_of[0], room=echoes)
        self._heard, self._player_of = {heard_as: heard}, player_of
        self._clip, self._name, self._room = clip, Path(instrument).stem, room
        self.instrument, self.sample_rate = first, first.sample_rate
        self.audio, self.curves = heard
        self._zs = [
            session.encoded(one, self.audio, self.sample_rate, self.curves)
            for one in self._player.instruments
        ]

    def play(self, settings=Settings()):
        """Adjusts the curves and plays them; returns the `result`.

        Raises:
          InputError: The recording cannot be played so; `adjusted` and `result` stay.
        """
        adjusted = adjust(self.curves, self.instrument.statistics, settings)
        result = self._player.play(adjusted.features, settings, *self._zs)[: len(self.audio)]
        self.adjusted, self.result = adjusted, result / max(1.0, np.abs(result).max())
        return self.result

    def save(self, folder, settings=Settings(), ending=".wav", overwrite=False, **options):
        """Writes the result into a folder, named after recording and instrument.

        Args:
          folder: Where to.
          settings: `Settings`.
          ending: ".wav" or ".flac".
          overwrite: Replace a file of that name; else the name is numbered.
          options: `keep_rate` and `keep_loudness`, as for `session.transfer`.

        Returns:
          The path.
        """
        path = Path(folder) / f"{Path(self._clip).stem}_as_{self._name}{ending}"
        if not overwrite:
            path = free_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        instrument, *second = self._player.instruments
        options |= {"second": second[0] if second else None, "room": self._room}
        options["heard"] = self.audio, self.curves
        session.transfer_file(self._clip, path, instrument, settings, overwrite, **options)
        return path


def _listen(clip, sample_rate, frame_rate, profile):
    audio, _ = sound.load(clip, sample_rate)
    return audio, features.extract(audio, sample_rate, frame_rate, profile=profile)
