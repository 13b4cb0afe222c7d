"""Train the instruments that ship, each from its recordings, into this folder.

    python checkpoints/train.py --audio FOLDER                # all, or what is left of them
    python checkpoints/train.py --audio FOLDER --only flute violin

FOLDER holds `violin/`, `violin_kim/`, `flute/`, `tenor_saxophone/` and `alto_saxophone/`, the
recordings that checkpoints/README.md tells the origin of; what is rendered,
`data/render_corpus.py` makes first. What is being trained
is kept in runs/checkpoints: the same command again goes on where it was stopped, and trains
nothing twice. To start over, delete the instrument's folder there.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import librosa
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers import config, plots
from helpers.analysis import audio as sound
from helpers.command_line import run
from helpers.errors import InputError
from helpers.evaluation import metrics
from helpers.files import replacing, replacing_folder
from helpers.instruments import bundles
from helpers.training import recipe

RUNS = config.RUNS / "checkpoints"
CORPUS = config.DATA / "corpus"
PICTURE = "spectrogram.png"
MOST_BYTES = 5_000_000  # of a bundle
POINTS_OF_CURVE = 20  # at most, of each stage, in a card


@dataclass(frozen=True)
class Source:
    """A folder of recordings, by whom they are, and whether `data/render_corpus.py` makes it."""

    credit: str
    licence: str
    is_rendered: bool = False


FLUID = "FluidR3 GM by Frank Wen"
SAMPLED = f"Rendered from sampled notes, no one played this: {FLUID}"
SOURCES = {
    "violin": Source(
        "John Garner / Musopen, J. S. Bach BWV 1002 (bach-violin-dataset, salu133445)",
        "CC BY 3.0",
    ),
    "violin_kim": Source(
        "MinJi Kim, J. S. Bach BWV 1003 (bach-violin-dataset, salu133445)", "CC BY 3.0"
    ),
    "flute": Source("Xavier Hosxe, Ixox Flute (sfzinstruments/Ixox.Flute)", "CC BY 4.0"),
    "tenor_saxophone": Source(
        "MTG Solo Saxophones (Freesound packs MTG 20239, 20247, 20251, 20253), edited by kinwie "
        "(sfzinstruments/MTG.SoloSax)",
        "CC BY 4.0",
    ),
    "alto_saxophone": Source("Weresax by Karoryfer (sfzinstruments/karoryfer.weresax)", "CC0"),
    "trumpet": Source(SAMPLED, "MIT", is_rendered=True),
    "cello": Source(SAMPLED, "MIT", is_rendered=True),
    "clarinet": Source(SAMPLED, "MIT", is_rendered=True),
    "voice": Source(SAMPLED, "MIT", is_rendered=True),
    "instruments": Source(
        f"twenty instruments rendered from sampled notes: {FLUID}", "MIT", is_rendered=True
    ),
}


@dataclass(frozen=True)
class Shipped:
    """An instrument that ships, and what it takes to train it.

    Attributes:
      name: Of its folder.
      title: What users see.
      sources: Names in `SOURCES`.
      steps: In all stages; from there on the held-out loss hardly falls.
      minutes: That they take about, with the analysis, on one CPU core.
      configuration: In `helpers/instruments/gin`.
      sample_rate: Hz.
      folder: Within the one of all bundles: what is not to be played in notebook 3 has its own.
      gains_db: As `loop.train` takes them.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    steps: int = 1000
    minutes: int = 4
    configuration: str = "analysis"
    sample_rate: int = 44100
    folder: str = "."
    gains_db: tuple[float, float] = (0.0, 0.0)

    @property
    def is_recorded(self) -> bool:
        """Whether real players alone are to be heard in what it learned from."""
        return not any(SOURCES[name].is_rendered for name in self.sources)


MANY = ("flute", "instruments", "tenor_saxophone", "violin")
TABLE = (
    Shipped("violin", "Violin (John Garner)", ("violin",)),
    Shipped("violin_kim", "Violin (MinJi Kim)", ("violin_kim",)),
    Shipped("flute", "Flute (Xavier Hosxe)", ("flute",)),
    Shipped("tenor_saxophone", "Tenor saxophone (MTG)", ("tenor_saxophone",)),
    Shipped("alto_saxophone", "Alto saxophone (Karoryfer)", ("alto_saxophone",)),
    Shipped("trumpet", "Trumpet (sampled notes)", ("trumpet",)),
    Shipped("cello", "Cello (sampled notes)", ("cello",)),
    Shipped("clarinet", "Clarinet (sampled notes)", ("clarinet",)),
    Shipped("voice", 'Voice singing "ooh" (sampled notes)', ("voice",)),
    Shipped(
        "autoencoder",
        "Autoencoder of 23 instruments",
        MANY,
        steps=3000,
        minutes=15,
        configuration="analysis_z",
        gains_db=(-12.0, 3.0),
    ),
    Shipped(
        "wavernn",
        "WaveRNN of 23 instruments",
        MANY,
        steps=2100,
        minutes=42,
        configuration="wavernn",
        sample_rate=config.SAMPLE_RATE,
        folder="baselines",
    ),
)


def train(
    shipped: Shipped, recordings: dict[str, Path], folder: Path, runs: Path = RUNS
) -> Path | None:
    """Trains one instrument as far as it is not yet, and writes its bundle and its picture.

    Args:
      shipped: What to train.
      recordings: The folder of each of its sources, by their name.
      folder: Where the bundle's folder goes; one that is there is replaced when the new is whole.
      runs: Where all else goes.

    Returns:
      The bundle's folder; None if the training was stopped from the keyboard.

    Raises:
      InputError: There is too little in the recordings, or the bundle is larger than it may be.
    """
    made = Path(runs) / shipped.name
    gathered = _gather(recordings, made / "recordings")
    clock = _Clock(made / "clock.json")
    training = recipe.follow(_recipe(shipped, gathered, made), clock)
    if training is None:
        return None
    _add_to_card(shipped, training, clock.seconds)
    return _save(training, Path(folder) / shipped.folder / shipped.name)


def _recipe(shipped, recordings, folder):
    sources = [SOURCES[name] for name in shipped.sources]
    return recipe.Recipe(
        recordings=recordings,
        folder=folder,
        steps=shipped.steps,
        configuration=shipped.configuration,
        sample_rate=shipped.sample_rate,
        gains_db=shipped.gains_db,
        credit="; ".join(source.credit for source in sources),
        licence=", ".join(dict.fromkeys(source.licence for source in sources)),
    )


def _gather(recordings, folder):
    """One folder with a copy of the recordings of all sources in it."""
    if len(recordings) == 1:
        return next(iter(recordings.values()))
    for name, source in recordings.items():
        for path in sound.find(source):
            target = folder / name / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    return folder


class _Clock:
    """Counts how long a training takes, over all calls: told of its progress, it writes it down."""

    def __init__(self, path):
        self._path, self._started = path, time.perf_counter()
        kept = json.loads(path.read_text()) if path.is_file() else {"step": 0, "seconds": 0.0}
        self._step, self._before = kept["step"], kept["seconds"]
        self.seconds = self._before

    def __call__(self, progress):
        if progress.step > self._step:
            self.seconds = self._before + time.perf_counter() - self._started
            with replacing(self._path) as unfinished:
                unfinished.write_text(json.dumps({"step": progress.step, "seconds": self.seconds}))
            self._step = progress.step


def _add_to_card(shipped, training, seconds):
    """What only we know of how an instrument came about."""
    instrument, recordings = training.instrument, training.recipe.recordings
    *earlier, _ = training.histories.items()
    minutes = sum(librosa.get_duration(path=path) for path in sound.find(recordings)) / 60
    instrument.card["title"] = shipped.title
    instrument.card["training_data"]["minutes"] = round(minutes, 1)
    instrument.card["training_data"]["is_recorded"] = shipped.is_recorded
    instrument.card["training"] = {
        "configuration": shipped.configuration,
        "steps": shipped.steps,
        "minutes": round(seconds / 60, 1),
        "processors": os.cpu_count(),
        "heldout_loss": round(training.history.best[0], 3),
        "curve": _curve(training.history),
        "earlier_curves": {title: _curve(history) for title, history in earlier},
    }
    pitch_midi = instrument.statistics["pitch_midi"]
    loudness_db = instrument.statistics["loudness_db_percentiles"]
    instrument.card["range"] = {
        "pitch": [librosa.midi_to_note(pitch_midi[end], unicode=False) for end in ("low", "high")],
        "loudness_db": [round(loudness_db[percent], 1) for percent in (1, 99)],
    }


def _curve(history):
    """Held-out loss by step, of some evenly spaced evaluations."""
    every = -(-len(history.step) // POINTS_OF_CURVE)
    pairs = list(zip(history.step, history.heldout_loss, strict=True))
    return [[step, round(loss, 3)] for step, loss in pairs[-1::-every][::-1]]


def _save(training, folder):
    """Writes the bundle, and with it a picture of held-out audio and of its resynthesis."""
    with replacing_folder(folder, (*bundles.FILES, PICTURE)) as unfinished:
        bundles.save(training.instrument, unfinished)
        n_bytes = sum(path.stat().st_size for path in unfinished.iterdir())
        if n_bytes > MOST_BYTES:
            raise InputError(
                f"{folder.name} takes {n_bytes / 1e6:.1f} MB, more than the {MOST_BYTES / 1e6:g} "
                "that ship: choose a smaller configuration."
            )
        _draw(training.instrument, training.dataset.heldout, unfinished / PICTURE)
    return folder


def _draw(instrument, heldout, path):
    """A held-out example above its resynthesis, up to half the sample rate."""
    audio, played, _ = next(metrics.resynthesize(instrument, heldout))
    sounds = {"held-out recording": audio, "resynthesis from its pitch and loudness": played}
    fig, _ = plots.above_one_another(sounds, instrument.sample_rate)
    fig.savefig(path, dpi=80)
    plt.close(fig)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains from the command line, says how long it takes, and returns the exit code."""
    return run(_train_all, _options(arguments))


def _train_all(options: argparse.Namespace) -> int:
    chosen = [shipped for shipped in TABLE if shipped.name in options.only]
    recordings = [_recordings(shipped, options) for shipped in chosen]
    for shipped, folders in zip(chosen, recordings, strict=True):
        minutes = sum(s.minutes for s in chosen[chosen.index(shipped) :])
        print(
            f"\n{shipped.name}: {shipped.steps:,} steps, about {shipped.minutes} minutes on "
            f"one core; about {minutes} until all are done, less what is done already.",
            flush=True,
        )
        bundle = train(shipped, folders, options.save, options.runs)
        if bundle is None:
            return 130  # stopped from the keyboard, as shells say it
        print(f"{shipped.name}: {json.loads((bundle / 'model_card.json').read_text())}")
    return 0


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python checkpoints/train.py", description=__doc__.splitlines()[0]
    )
    names = [shipped.name for shipped in TABLE]
    add = parser.add_argument
    add("--audio", type=Path, required=True, help="folder with violin/, flute/ ...")
    add("--corpus", type=Path, default=CORPUS, help="what is rendered (%(default)s)")
    add("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    add("--save", type=Path, default=config.CHECKPOINTS, help="where bundles go (%(default)s)")
    add("--runs", type=Path, default=RUNS, help="where all else goes (%(default)s)")
    return parser.parse_args(arguments)


def _recordings(shipped, options):
    """The folder of each source of an instrument.

    Raises:
      InputError: One is not there.
    """
    folders = {}
    for name in shipped.sources:
        is_rendered = SOURCES[name].is_rendered
        folders[name] = (options.corpus if is_rendered else options.audio) / name
        if not folders[name].is_dir():
            remedy = (
                "render it first with data/render_corpus.py"
                if is_rendered
                else "give with --audio the folder that it is in (checkpoints/README.md)"
            )
            raise InputError(
                f"There is no folder {folders[name]}, which {shipped.name} is trained on: {remedy}."
            )
    return folders


if __name__ == "__main__":
    sys.exit(main())
