"""The training loop: resumable, interruptible, the same for the same seed."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers.errors import InputError
from helpers.instruments.instrument import Instrument
from helpers.tensorflow_import import tf
from helpers.training.checkpoints import Checkpoints
from helpers.training.dataset import Dataset
from helpers.training.history import STALLED, History, Progress
from helpers.training.objectives import RESYNTHESIS, Objective
from helpers.training.steps import Steps, draw_batch, heldout_batches
from helpers.training.tensorboard import Logs

LEARNING_RATE = 2e-3  # the highest
EVALUATE_EVERY = 50  # steps; a checkpoint is written as often
MOST_SEED = 2**32 - 1  # of NumPy
DIVERGED_STEPS = 10  # the mean loss of the last ...
DIVERGED = 3.0  # ... is this many times the lowest so far
LOGGED_SOUNDS = 20  # at most, in all: each takes as much disk as a WAV file


def train(
    instrument: Instrument,
    dataset: Dataset,
    folder: str | Path,
    steps: int,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    *,
    objective: Objective = RESYNTHESIS,
    earlier: Mapping[str, History] | None = None,
    report: Callable[[Progress], None] | None = None,
    strategy: tf.distribute.Strategy | None = None,
    gains_db: tuple[float, float] = (0.0, 0.0),
) -> History:
    """Trains an instrument by one objective, and keeps checkpoints.

    Every `EVALUATE_EVERY` steps the held-out loss is measured and a checkpoint written. Called
    again with the same folder it goes on where it stopped, after an interrupt as after a crash,
    to the same weights: each step draws its batch and the synthesizer's noise from the seed and
    its own number. (A GPU adds up in any order: there they are the same up to rounding.) The
    learning rate falls over `steps` by half a cosine.

    A loaded instrument is fine-tuned: training starts from the weights that there are. At the
    end, and when stopped, the instrument has those of the lowest held-out loss.

    `folder/logs` is for TensorBoard.

    Args:
      instrument: An `Instrument`; its weights and statistics change, its card is emptied.
      dataset: A `dataset.Dataset` of the instrument's sample and frame rate.
      folder: Where checkpoints go.
      steps: How many steps in all, those of earlier calls included.
      learning_rate: Of Adam, at its highest; the objective has a share of it.
      seed: The same seed gives the same batches and noise.
      objective: What is learned; to play what the features were taken from, if none is given.
      earlier: Title to `History` of the stages before this one, for the report.
      report: Called with a `history.Progress` after each evaluation.
      strategy: A `tf.distribute.Strategy` in whose scope the instrument was built; it spreads each
        batch over its devices. The current one if None.
      gains_db: The least and the most that a clip is made louder by, at random. Good for an
        instrument with z, which tells the timbre, so that loudness need only tell the level.

    Returns:
      The `history.History` from the first step on.

    Raises:
      InputError: An option is out of range, the dataset has other rates or is damaged, the folder
        has another model's checkpoints or cannot be written to, the instrument is not of the
        strategy, or the loss rose beyond bounds; then the instrument is as at the last checkpoint.
    """
    strategy = strategy or tf.distribute.get_strategy()
    check_options(steps, learning_rate, seed, gains_db)
    _check(instrument, dataset, strategy)
    run = _Run(
        instrument=instrument,
        dataset=dataset,
        folder=Path(folder),
        n_steps=steps,
        learning_rate=learning_rate,
        seed=seed,
        objective=objective,
        earlier=earlier or {},
        gains_db=gains_db,
        report=report,
        strategy=strategy,
    )
    instrument.statistics, instrument.card = dataset.statistics, {}
    with Logs(Path(folder) / "logs", run.steps.done + 1) as run.logs:
        try:
            run.go_on()
        except KeyboardInterrupt:
            run.save()
            tqdm.write("Stopped: run this again to go on from here.")
    if run.history.step:
        run.steps.take_best()
    return run.history


def check_options(
    steps: int, learning_rate: float, seed: int, gains_db: tuple[float, float]
) -> None:
    """Refuses numbers that no training can go by.

    Raises:
      InputError: One of them is out of range.
    """
    if steps < 1:
        raise InputError(f"{steps} steps are no training: choose some hundreds at least.")
    if not 0.0 < learning_rate < math.inf:
        raise InputError(
            f"The learning rate {learning_rate:g} is no positive number: choose one such as "
            f"{LEARNING_RATE:g}."
        )
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"The seed {seed} is not between 0 and {MOST_SEED}: choose another.")
    if not (math.isfinite(gains_db[0]) and gains_db[0] <= gains_db[1] < math.inf):
        raise InputError(
            f"The gains {gains_db} are no range in dB: choose the least and the most, such as "
            "(-12, 3)."
        )


class _Run:
    """One call of `train`."""

    logs: Logs

    def __init__(
        self,
        *,
        instrument,
        dataset,
        folder,
        n_steps,
        learning_rate,
        seed,
        objective,
        earlier,
        gains_db,
        report,
        strategy,
    ):
        self._instrument, self._dataset = instrument, dataset
        self._seed, self._gains_db = seed, gains_db
        self._n_steps, self._learning_rate, self._report = n_steps, learning_rate, report
        self._objective, self._earlier = objective, earlier
        self._heldout = heldout_batches(instrument, dataset.heldout, objective)
        first = {name: dataset.heldout[name][:1] for name in RESYNTHESIS.fields}
        (self._first,) = heldout_batches(instrument, first, RESYNTHESIS)
        self._original = np.array(first["audio"][0])
        network = instrument.network
        self.steps = Steps(
            network, objective, strategy, n_steps, learning_rate, seed, EVALUATE_EVERY
        )
        self._checkpoints = Checkpoints(folder, **self.steps.state)
        self._first_timed = None  # step and time from which on nothing is compiled any more
        before = network.get_weights()
        try:
            self.history = self._restore()
        except InputError:
            network.set_weights(before)
            raise

    def go_on(self):
        """Trains to the end, from where it stopped."""
        done = self.steps.done
        if done == 0:
            self.logs.sound(done, "original", self._original, self._instrument.sample_rate)
        if self._is_due(done) and done not in self.history.step:  # it stopped while evaluating
            self._evaluate(done)
        elif done >= self._n_steps and self._objective.is_last:
            tqdm.write(f"Trained for {done} steps already: ask for more, or choose another folder.")
            self.steps.take_best()
            self._tell(done, self._listen()[1])
        title = self._objective.title or "training"
        with tqdm(total=self._n_steps, initial=done, desc=title, unit="step") as bar:
            for step, batch in enumerate(self._batches(done), done + 1):
                self.steps.train(batch)
                self._first_timed = self._first_timed or (step, time.perf_counter())
                bar.update()
                if self._is_due(step):
                    self._evaluate(step)
                    bar.set_postfix(held_out=f"{self.history.heldout_loss[-1]:.2f}")

    def save(self):
        """Writes a checkpoint; if there is nothing good to keep, goes back to the last instead."""
        wrong, broke_before = self._what_is_wrong(), self.steps.done
        if wrong:
            self._restore()
            raise InputError(
                f"The loss {wrong} before step {broke_before}: run this again with a smaller "
                f"learning_rate, such as {self._learning_rate / 3:.0e}, and it goes on from step "
                f"{self.steps.done}."
            )
        self._checkpoints.save(self.steps.done, asdict(self.history))

    def _restore(self):
        """Takes up the newest checkpoint; with none, writes one to fall back on."""
        saved = self._checkpoints.restore()
        if saved is None:
            self._checkpoints.save(0, asdict(History()))
            return History()
        return History(**saved)

    def _what_is_wrong(self):
        """What the loss does that no training mends; None if all is well."""
        last = self.steps.losses(self.steps.done - DIVERGED_STEPS)
        weights = self._instrument.network.get_weights()
        means = self.history.train_loss, self.history.heldout_loss
        if not all(np.isfinite(x).all() for x in (last, *means, *weights)):
            return "became no number"
        lowest = [*self.history.train_loss]
        if self.steps.done <= EVALUATE_EVERY:
            lowest.extend(self.steps.losses(0)[:1])  # what there was before anything went wrong
        times = last.mean() / min(lowest) if lowest else 0.0
        return f"rose to {times:.0f} times its lowest" if times > DIVERGED else None

    def _is_due(self, step):
        return step > 0 and (step % EVALUATE_EVERY == 0 or step >= self._n_steps)

    def _batches(self, first):
        """The batches from a step on, each drawn while the step before it is trained."""

        def draw(step):
            examples = self._dataset.train
            objective, gains_db = self._objective, self._gains_db
            batch = draw_batch(self._instrument, examples, objective, self._seed, step, gains_db)
            return self.steps.spread(batch)

        with ThreadPoolExecutor(1) as thread:
            coming = thread.submit(draw, first)
            for step in range(first, self._n_steps):
                batch, coming = coming.result(), thread.submit(draw, step + 1)
                yield batch

    def _evaluate(self, step):
        """Measures the held-out loss, writes all down, the checkpoint last, and reports."""
        had_stalled = self.history.has_stalled(self._n_steps)
        loss, played = self._listen()
        if loss < self.history.best[0]:
            self.steps.keep_best()
        losses = self.steps.losses(self.history.step[-1] if self.history.step else 0)
        self.history = self.history.and_then(step, float(np.mean(losses)), loss)
        self._log(step, played)
        self.save()
        if self.history.has_stalled(self._n_steps) and not had_stalled:
            tqdm.write(f"The held-out loss has stalled: {STALLED}.")
        self._tell(step, played)

    def _listen(self):
        """Mean held-out loss, and the first held-out example as it is played now."""
        results = [self.steps.evaluate(batch) for batch in self._heldout]
        (_, *sounds), *_ = results
        played = sounds[0] if sounds else self.steps.play(self._first)
        return float(np.mean([loss for loss, *_ in results])), played.numpy()[0]

    def _steps_a_second(self, step):
        """NaN before there is a step that could be timed."""
        first, started = self._first_timed or (step, np.nan)
        return (step - first) / (time.perf_counter() - started) if step > first else np.nan

    def _log(self, step, played):
        self.logs.numbers(
            step,
            train_loss=self.history.train_loss[-1],
            heldout_loss=self.history.heldout_loss[-1],
            learning_rate=self.steps.learning_rate,
            steps_a_second=self._steps_a_second(step),
        )
        every = -(-self._n_steps // (EVALUATE_EVERY * LOGGED_SOUNDS))  # evaluations
        if len(self.history.step) % every == 0:
            self.logs.sound(step, "resynthesis", played, self._instrument.sample_rate)

    def _tell(self, step, played):
        if self._report is not None:
            left = (self._n_steps - step) / self._steps_a_second(step)
            self._report(
                Progress(
                    self.history,
                    self._original,
                    played,
                    step,
                    self._n_steps,
                    left,
                    self._objective.title,
                    self._earlier,
                )
            )


def _check(instrument: Instrument, dataset: Dataset, strategy: tf.distribute.Strategy) -> None:
    for name in ("sample_rate", "frame_rate"):
        if dataset.statistics[name] != getattr(instrument, name):
            raise InputError(
                f"The dataset's {name} is {dataset.statistics[name]}, the model's "
                f"{getattr(instrument, name)}: prepare the dataset again for this model."
            )
    dataset.check()
    if not strategy.extended.variable_created_in_scope(instrument.network.weights[0]):
        raise InputError(
            "The instrument was built for other devices than it is to be trained on: build it "
            "within `with strategy.scope():`, of the strategy that train is given."
        )
