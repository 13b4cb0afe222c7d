"""The training loop: resumable, interruptible, the same for the same seed."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from helpers.errors import InputError
from helpers.files import replacing
from helpers.tensorflow_import import tf

CLIP_SECONDS = 2.0
BATCH_SIZE = 8
LEARNING_RATE = 1e-3
FINAL_LEARNING_RATE = 0.05  # share of the first, reached by half a cosine
CLIP_NORM = 3.0
INPUTS = ("audio", "f0_hz", "loudness_db")
HISTORY = "history.json"
EVALUATE_EVERY = 50  # steps; a checkpoint is written as often


@dataclass
class History:
    """Losses over the steps so far, those of earlier calls included: lists of equal length."""

    step: list = field(default_factory=list)
    train_loss: list = field(default_factory=list)
    heldout_loss: list = field(default_factory=list)


def train(instrument, dataset, folder, steps, learning_rate=LEARNING_RATE, seed=0, report=None):
    """Trains an instrument to play what its features were taken from, and keeps checkpoints.

    Every `EVALUATE_EVERY` steps the held-out loss is measured and a checkpoint written. Called
    again with the same folder it goes on where it stopped, after an interrupt as after a crash,
    to the same weights: each step draws its batch and the synthesizer's noise from the seed and
    its own number. The learning rate falls over `steps` by half a cosine.

    Args:
      instrument: A `model.Instrument`; its weights change.
      dataset: A `dataset.Dataset` of the instrument's sample and frame rate.
      folder: Where checkpoints go.
      steps: How many steps in all, those of earlier calls included.
      learning_rate: Of Adam, at the start.
      seed: The same seed gives the same batches.
      report: Called with the `History` after each evaluation, for a live plot.

    Returns:
      The `History` from the first step on.

    Raises:
      InputError: The dataset has other rates, the folder another model's checkpoints, or the
        weights grew beyond all numbers; the instrument is then as at the last checkpoint.
    """
    _check_rates(instrument, dataset.statistics)
    optimizer = tf.keras.optimizers.Adam(
        tf.keras.optimizers.schedules.CosineDecay(learning_rate, steps, FINAL_LEARNING_RATE),
        global_clipnorm=CLIP_NORM,
    )
    optimizer.build(instrument.network.trainable_variables)
    checkpoint = tf.train.Checkpoint(model=instrument.network, optimizer=optimizer)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2)
    _restore(checkpoint, manager)
    done = int(optimizer.iterations)
    history = _load_history(folder, done)
    if done >= steps:
        tqdm.write(f"Trained for {done} steps already: ask for more, or choose another folder.")
        if report is not None:
            report(history)
    losses = []
    train_step, loss_of = _compile(instrument.network, optimizer)
    with tqdm(total=steps, initial=done, desc="training", unit="step") as bar:
        try:
            for step in range(done, steps):
                tf.random.get_global_generator().reset_from_seed([seed, step])
                losses.append(train_step(draw_batch(instrument, dataset.train, seed, step)))
                bar.update()
                if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == steps:
                    history.step.append(step + 1)
                    history.train_loss.append(float(tf.reduce_mean(losses)))
                    history.heldout_loss.append(_mean_loss(loss_of, dataset.heldout))
                    _save(checkpoint, manager, step + 1)
                    _save_history(folder, history)
                    bar.set_postfix(held_out=f"{history.heldout_loss[-1]:.2f}")
                    losses = []
                    if report is not None:
                        report(history)
        except KeyboardInterrupt:
            _save(checkpoint, manager, int(optimizer.iterations))
            tqdm.write("Stopped: run this again to go on from here.")
    return history


def draw_batch(instrument, examples, seed, step):
    """The batch of one step: random clips of 2 s from random examples."""
    random = np.random.default_rng([seed, step])
    n_examples, n_frames = examples["f0_hz"].shape
    length = min(n_frames, int(CLIP_SECONDS * instrument.frame_rate))
    rows = random.integers(0, n_examples, BATCH_SIZE)
    starts = random.integers(0, n_frames - length + 1, BATCH_SIZE)
    batch = {}
    for name in INPUTS:
        scale = instrument.hop_size if name == "audio" else 1
        clips = [
            examples[name][row, start * scale : (start + length) * scale]
            for row, start in zip(rows, starts, strict=True)
        ]
        batch[name] = tf.constant(np.stack(clips))
    return batch


def _restore(checkpoint, manager):
    """Takes up the latest checkpoint; with none, writes one to fall back on."""
    if manager.latest_checkpoint is None:
        manager.save(checkpoint_number=0)
        return
    try:
        checkpoint.restore(manager.latest_checkpoint).assert_consumed()
    except Exception as error:  # TensorFlow has one for each way in which they do not fit
        raise InputError(
            f"The checkpoints in {manager.directory} are another model's or damaged: choose "
            "another folder."
        ) from error


def _save(checkpoint, manager, step):
    """Writes a checkpoint, unless there is nothing good to keep: then goes back to the last."""
    if not all(np.isfinite(weights).all() for weights in checkpoint.model.get_weights()):
        checkpoint.restore(manager.latest_checkpoint)
        raise InputError(
            f"Training broke before step {step}, its weights are no numbers any more: run it "
            "again with a smaller learning_rate, it goes on from the checkpoint before."
        )
    manager.save(checkpoint_number=step)


def _load_history(folder, done):
    """The losses of earlier calls up to the step that was restored."""
    path = Path(folder) / HISTORY
    if not path.is_file():
        return History()
    saved = json.loads(path.read_text())
    n_kept = sum(step <= done for step in saved["step"])
    return History(**{name: values[:n_kept] for name, values in saved.items()})


def _save_history(folder, history):
    with replacing(Path(folder) / HISTORY) as unfinished:
        unfinished.write_text(json.dumps(asdict(history)))


def _mean_loss(loss_of, examples):
    """Mean loss over all examples at their full length."""
    losses = []
    for start in range(0, len(examples["f0_hz"]), BATCH_SIZE):
        rows = slice(start, start + BATCH_SIZE)
        batch = {name: tf.constant(examples[name][rows]) for name in INPUTS}
        losses += [float(loss_of(batch))] * len(batch["audio"])
    return float(np.mean(losses))


def _compile(network, optimizer):
    """The training step and the loss alone, as TensorFlow graphs of a batch."""

    @tf.function(autograph=False)
    def loss_of(batch):
        _, losses = network(batch, training=True, return_losses=True)
        return losses["total_loss"]

    @tf.function(autograph=False)
    def train_step(batch):
        with tf.GradientTape() as tape:
            loss = loss_of(batch)
        variables = network.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return train_step, loss_of


def _check_rates(instrument, statistics):
    for name in ("sample_rate", "frame_rate"):
        if statistics[name] != getattr(instrument, name):
            raise InputError(
                f"The dataset's {name} is {statistics[name]}, the model's "
                f"{getattr(instrument, name)}: prepare the dataset again for this model."
            )
