"""The panel of notebook 2: how far a training has come, to read, to hear and to see."""

import html

import ipywidgets

from helpers import plots
from helpers.interface.widgets import LiveFigure, empty_player, flac, side_by_side
from helpers.training import history


class TrainingPanel(ipywidgets.VBox):
    """How far a training has come: a sentence, two sounds and a picture. It is the `report`.

    The picture of the losses is drawn below the panel, and stays in a saved notebook.
    """

    def __init__(self, sample_rate: int) -> None:
        """Shows nothing yet.

        Args:
          sample_rate: Of the instrument, in Hz.
        """
        self._sample_rate = sample_rate
        self._says = ipywidgets.HTML("The first sounds come after some steps of training …")
        self._original, self._played = empty_player("flac"), empty_player("flac")
        self._losses = LiveFigure(plots.loss_curves)
        players = {"Held-out recording": self._original, "As it is played now": self._played}
        super().__init__([side_by_side(players), self._says])

    def __call__(self, progress: history.Progress) -> None:
        """Shows a `history.Progress`."""
        if not self._original.value:
            self._original.value = flac(progress.original, self._sample_rate)
        self._played.value = flac(progress.resynthesis, self._sample_rate)
        self._says.value = html.escape(progress.summary)
        self._losses(progress)
