"""The recipe of a training: from a folder of recordings to the bundle of an instrument.

Notebook 2 takes it step by step; the command line and `checkpoints/train.py` follow it at once.

A folder holds all that is made: `dataset/`, a folder of checkpoints for each training,
`training.json`, which describes the last one, and the bundle, a folder and a zip of the folder's
own name.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.analysis import audio as sound
from helpers.errors import InputError
from helpers.evaluation import metrics, spectrum
from helpers.files import explaining, replacing
from helpers.instruments import bundles, configurations
from helpers.tensorflow_import import tf
from helpers.training import dataset as datasets
from helpers.training import loop, objectives
from helpers.training.history import History, Progress

SAMPLE_RATE = 44100  # Hz
STEPS = 1000  # of an instrument that learns from an analysis; sound is slower to learn from
STEPS_BY_EAR = 5000  # of others
MOST_DEVICES = 4  # each has a clip of the smallest batch at least


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What an instrument is to learn from, and how.

    Attributes:
      recordings: Folder of the recordings of one instrument.
      folder: Where all that is made goes. Its name is the instrument's.
      steps: How many in all stages; None for as many as the configuration needs: `STEPS`, or
        `STEPS_BY_EAR` where there is one stage.
      configuration: Of the model, one of `configurations.names()`.
      sample_rate: Hz, one of `instrument.SAMPLE_RATES`.
      precision: One of `instrument.PRECISIONS`.
      fine_tuned_from: Folder or zip of a bundle to start from. It keeps its own configuration and
        sample rate, whatever is given here.
      learning_rate: Of Adam, at its highest in the first stage.
      seed: Of the first weights, the batches and the noise.
      gains_db: The least and the most that a clip is made louder by, at random.
      credit: Who made the recordings.
      licence: Of the recordings.

    Raises:
      InputError: A number is out of range, or the folder has a name that it needs itself.
    """

    recordings: Path
    folder: Path
    steps: int | None = None
    configuration: str = "analysis"
    sample_rate: int = SAMPLE_RATE
    precision: str = "float32"
    fine_tuned_from: Path | None = None
    learning_rate: float = loop.LEARNING_RATE
    seed: int = 0
    gains_db: tuple[float, float] = (0.0, 0.0)
    credit: str = ""
    licence: str = ""

    def __post_init__(self):
        loop.check_options(
            STEPS if self.steps is None else self.steps,
            self.learning_rate,
            self.seed,
            self.gains_db,
        )
        name = self.name.casefold()
        if name in ("", "dataset", "training.json") or name.startswith("checkpoints_"):
            raise InputError(
                f"An instrument cannot be called {self.name!r}, as its folder {self.folder} is: "
                "choose another name for the folder to save to."
            )

    @property
    def name(self) -> str:
        """The name of the instrument."""
        return self.folder.resolve().name

    @property
    def bundle(self) -> Path:
        """The folder of the bundle."""
        return self.folder / self.name

    def check_paths(self) -> None:
        """Looks for the recordings, and whether the results can be kept.

        Raises:
          InputError: There are none, the folder cannot be written to, or something in it would be
            lost.
        """
        sound.find(self.recordings)
        with explaining(f"The training cannot be written to {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as file:
                file.write(b"0")
            inside = {path.name for path in self.bundle.glob("[!.]*")}
        archive = self.folder / f"{self.name}.zip"
        if self.bundle.is_file() or inside - set(bundles.FILES) or archive.is_dir():
            raise InputError(
                f"{self.bundle}, where the instrument goes, is something else already: choose "
                "another folder to save to."
            )
        start = self.fine_tuned_from and self.fine_tuned_from.resolve()
        if start in (self.bundle.resolve(), archive.resolve()):
            raise InputError(
                f"{self.fine_tuned_from} would be replaced by what is fine-tuned from it: choose "
                "another folder to save to."
            )


class Training:
    """The steps of a recipe, to be taken in the order of the methods.

    Attributes:
      recipe: The `Recipe`.
      instrument: New or, where it is fine-tuned, as it was loaded; `train` changes it.
      steps: How many there will be in all stages.
      dataset: None before `prepare`.
      histories: Title of each stage so far to its `History`; empty before `train`.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Builds or loads the instrument.

        Raises:
          InputError: There is no such configuration, sample rate, precision or bundle.
        """
        self.recipe = recipe
        self.dataset: datasets.Dataset | None = None
        self.histories: dict[str, History] = {}
        self._strategy = devices()
        tf.keras.utils.set_random_seed(recipe.seed)  # of the first weights
        with self._strategy.scope():
            if recipe.fine_tuned_from:
                self.instrument = bundles.load(recipe.fine_tuned_from)
            else:
                self.instrument = configurations.build(
                    recipe.configuration, recipe.sample_rate, precision=recipe.precision
                )
        self._stages = objectives.stages_of(self.instrument)
        self.steps = recipe.steps or (STEPS if len(self._stages) > 1 else STEPS_BY_EAR)
        self._first_card = self.instrument.card
        self._first_weights = None
        if recipe.fine_tuned_from:
            self._first_weights = self._hash_of_weights()

    @property
    def history(self) -> History:
        """Of the last stage so far; empty before `train`."""
        return [History(), *self.histories.values()][-1]

    @property
    def source(self) -> datasets.Source:
        """Of the dataset."""
        return datasets.source_of(self.recipe.recordings, **self._sizes)

    def description(self) -> dict:
        """What is learned from what, in the words of `check_is_the_same`.

        The number of steps and the learning rate are not in it: a training may go on with others.
        """
        source = self.source
        return {
            "recordings": source.recordings,
            "sample rate": source.sample_rate,
            "frame rate": source.frame_rate,
            "configuration": self.instrument.config,
            "precision": self.recipe.precision,
            "instrument to start from": self._first_weights,
            "seed": self.recipe.seed,
            "gains": list(self.recipe.gains_db),
        }

    def check_is_the_same(self) -> None:
        """Refuses to go on in a folder of another training.

        Raises:
          InputError: It holds another training, whose bundle would be replaced.
        """
        folder = self.recipe.folder
        if (folder / "checkpoints").exists():
            raise InputError(
                f"{folder} holds a training of an earlier version: choose another folder to save "
                "to."
            )
        if not (folder / "training.json").is_file():
            return
        now = self.description()
        try:
            former = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            others = [name for name in now if former.get(name) != now[name]]
        except (ValueError, AttributeError):
            raise InputError(
                f"{folder / 'training.json'} is damaged: choose another folder to save to."
            ) from None
        if others:
            raise InputError(
                f"{folder} holds a training with other {' and '.join(others)}: choose another "
                "folder to save to, or delete it to begin anew."
            )

    def prepare(self) -> datasets.Dataset:
        """The dataset in the folder, if it is of the same recordings and whole, or else a new one.

        Raises:
          InputError: There is too little to learn from, or the folder cannot be written to.
        """
        folder, source = self.recipe.folder / "dataset", self.source
        if folder.is_dir():
            try:
                self.dataset = datasets.load(folder)
            except InputError as error:
                print(f"{error} That is done now.")
        if self.dataset is None or self.dataset.source != source:
            self.dataset = datasets.prepare(self.recipe.recordings, folder, **self._sizes)
        return self.dataset

    def train(self, report: Callable[[Progress], None] | None = None) -> History:
        """Trains through all stages, as far as that is not done yet; see `loop.train`.

        Checkpoints are in a folder of this training alone: with other recordings or another
        configuration it begins anew. A stage begins with what the one before has learned: after
        more steps of that one it begins anew, too.

        Args:
          report: Called with a `history.Progress` after each evaluation.

        Returns:
          The `History` of the last stage.

        Raises:
          InputError: The loss rose beyond bounds, or the folder cannot be written to.
        """
        recipe, dataset = self.recipe, self.dataset or self.prepare()
        folder = self._folder_of_checkpoints(dataset)
        if len(self._stages) > 1 and not recipe.fine_tuned_from:
            harmonics, noise = datasets.mean_targets(dataset.train)
            self.instrument.network.decoder.set_means(
                harmonics,
                noise,
                dataset.statistics["band_edge_hz"],
                dataset.statistics["loudness_db_percentiles"][50],
            )
        self.histories = {}
        for stage, steps in zip(self._stages, self._shares, strict=True):
            if self.histories:
                folder = folder.with_name(f"{folder.name}_{self._hash_of_weights()}")
            history = loop.train(
                self.instrument,
                dataset,
                folder,
                steps,
                recipe.learning_rate,
                recipe.seed,
                objective=stage,
                earlier=dict(self.histories),
                report=report,
                strategy=self._strategy,
                gains_db=recipe.gains_db,
            )
            self.histories[stage.title] = history
            if not _is_done(history, steps):
                break
        return self.history

    @property
    def is_done(self) -> bool:
        """Whether all steps were taken; not after an interrupt."""
        return len(self.histories) == len(self._stages) and all(
            map(_is_done, self.histories.values(), self._shares)
        )

    @property
    def _shares(self):
        return objectives.shares_of(self.steps, self._stages)

    @property
    def _sizes(self):
        """What a dataset for the instrument has to fit."""
        n_harmonics, n_noise_bands = self.instrument.analysis_size or (0, 0)
        return {
            "sample_rate": self.instrument.sample_rate,
            "frame_rate": self.instrument.frame_rate,
            "n_harmonics": n_harmonics,
            "n_noise_bands": n_noise_bands,
        }

    def _folder_of_checkpoints(self, dataset):
        """That of this training; writes down what is learned from what."""
        text = json.dumps(self.description(), indent=2) + "\n"
        with replacing(self.recipe.folder / "training.json") as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        fingerprint = hashlib.blake2b((dataset.fingerprint + text).encode(), digest_size=6)
        return self.recipe.folder / f"checkpoints_{fingerprint.hexdigest()}"

    def _hash_of_weights(self):
        """Twelve letters and digits for the weights of the instrument."""
        found = hashlib.blake2b(digest_size=6)
        for weights in self.instrument.network.get_weights():
            found.update(np.ascontiguousarray(weights).data)
        return found.hexdigest()

    def evaluate(self) -> dict[str, float]:
        """Scores the instrument on the held-out examples, and writes its card.

        Returns:
          What `metrics.resynthesis` finds.
        """
        recipe, dataset = self.recipe, self.dataset or self.prepare()
        scores = metrics.resynthesis(self.instrument, dataset.heldout)
        self.instrument.card = bundles.card(
            recipe.name,
            self.instrument,
            sum(history.best[1] for history in self.histories.values()),
            scores,
            recipe.credit,
            recipe.licence,
            [self._first_card] if self._first_card else [],
            spectrum.resynthesis(self.instrument, dataset.heldout),
        )
        return scores

    def save(self) -> Path:
        """Writes the bundle to the folder, and returns the path of its zip."""
        bundles.save(self.instrument, self.recipe.bundle)
        return bundles.pack(self.recipe.bundle)


def follow(recipe: Recipe, report: Callable[[Progress], None] | None = None) -> Training | None:
    """Trains an instrument by a recipe, from where an earlier call was stopped.

    Prints a line for each step. The bundle is not saved yet.

    Args:
      recipe: What to learn from, and how.
      report: Called with a `history.Progress` after each evaluation.

    Returns:
      The `Training`; None if it was stopped from the keyboard.

    Raises:
      InputError: The recipe's folder cannot be used, or holds another training; there is too
        little to learn from; or the loss rose beyond bounds.
    """
    recipe.check_paths()
    training = Training(recipe)
    training.check_is_the_same()
    print(f"Instrument: {training.instrument.parameters:,} numbers to learn.")
    dataset = training.prepare()
    n_train, n_heldout = len(dataset.train["audio"]), len(dataset.heldout["audio"])
    print(f"Dataset: {n_train} examples to learn from, {n_heldout} held out.")
    training.train(report)
    if not training.is_done:
        return None
    for title, history in training.histories.items():
        loss, step = history.best
        print(f"{title or 'Training'}: held-out loss {loss:.3f} at its best, step {step}.")
    scores = training.evaluate()
    print("Held out: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()) + ".")
    return training


def devices() -> tf.distribute.Strategy:
    """A new strategy for this machine: all its GPUs if there are several, else the current one.

    An instrument is built in the scope of the very strategy that `loop.train` is given.
    """
    # Whoever is the first to ask for it makes it: in a strategy's scope it would belong to that.
    tf.random.get_global_generator()
    gpus = tf.config.list_logical_devices("GPU")[:MOST_DEVICES]
    if len(gpus) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])


def _is_done(history, steps):
    return bool(history.step) and history.step[-1] >= steps
