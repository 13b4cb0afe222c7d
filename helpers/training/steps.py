"""What one step of training computes, on one device or split over several."""

from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np

from helpers.analysis import features
from helpers.instruments.instrument import Instrument
from helpers.tensorflow_import import tf

CLIP_SECONDS = 2.0
BATCH_SIZE = 4
WARM_UP = 50  # steps, in which the learning rate rises; a tenth of shorter trainings
FINAL_LEARNING_RATE = 0.05  # share of the highest, reached by half a cosine
CLIP_NORM = 3.0
INPUTS = ("audio", "f0_hz", "loudness_db")
HELDOUT_EXAMPLES = 32  # at most, so that evaluations take no longer with more data


def draw_batch(
    instrument: Instrument,
    examples: Mapping[str, np.ndarray],
    seed: int,
    step: int,
    gains_db: tuple[float, float] = (0.0, 0.0),
) -> dict[str, np.ndarray]:
    """The batch of one step, as arrays: random clips of 2 s from random examples.

    Each is made louder or softer by a random gain between those given, the sound as its loudness.

    Returns:
      audio [BATCH_SIZE, n_frames * hop], f0_hz and loudness_db [BATCH_SIZE, n_frames]: as many
      frames as a network plays samples of.
    """
    random = np.random.default_rng([seed, step])
    n_examples, n_samples = examples["audio"].shape
    n_frames = n_samples // instrument.hop_size
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
        batch[name] = np.stack(clips)
    if any(gains_db):
        _change_gain(batch, random.uniform(*gains_db, [BATCH_SIZE, 1]).astype(np.float32))
    return batch


def _change_gain(batch, gains_db):
    batch["audio"] = batch["audio"] * 10.0 ** (gains_db / 20.0)
    loudness_db, floor_db = batch["loudness_db"], features.FLOORS_DB[features.PROFILE]
    changed_db = np.maximum(loudness_db + gains_db, floor_db)
    batch["loudness_db"] = np.where(loudness_db <= floor_db, floor_db, changed_db)


def heldout_batches(examples: Mapping[str, np.ndarray]) -> list[dict[str, tf.Tensor]]:
    """Batches, all of one size, of whole examples: all, or evenly spaced ones, the first first.

    Of each example the features of the last frame are left out: a network plays a hop of samples
    for each frame, and that one lies at the end of the audio.
    """
    n_examples = len(examples["f0_hz"])
    n_batches = -(-min(n_examples, HELDOUT_EXAMPLES) // BATCH_SIZE)
    size = min(n_examples, HELDOUT_EXAMPLES) // n_batches
    rows = np.linspace(0, n_examples - 1, n_batches * size).astype(int)
    kept = {"audio": slice(None), "f0_hz": slice(-1), "loudness_db": slice(-1)}
    return [
        {name: tf.constant(examples[name][some][:, part]) for name, part in kept.items()}
        for some in np.split(rows, n_batches)
    ]


class Steps:
    """The steps of a training, and all of its state, in variables.

    Each method changes them in one call of a graph, so that an interrupt, which Python raises
    between any two of its own instructions, finds all that a step does in them, or nothing.
    """

    def __init__(
        self,
        network: tf.keras.Model,
        strategy: tf.distribute.Strategy,
        steps: int,
        learning_rate: float,
        seed: int,
        n_losses: int,
    ) -> None:
        """Takes a network built in the strategy's scope, and how many last losses to keep."""
        self._network, self._strategy, self._seed = network, strategy, seed
        with strategy.scope():
            self._optimizer = _optimizer(network, steps, learning_rate)
            self._noise = tf.random.Generator.from_seed(seed)
            self._losses = tf.Variable(tf.zeros(n_losses), trainable=False)
            self._best = tf.Module()
            self._best.weights = [tf.Variable(w, trainable=False) for w in network.weights]
        self.train = tf.function(self._train, autograph=False)
        self.evaluate = tf.function(self._evaluate, autograph=False)
        self.keep_best = tf.function(self._keep_best, autograph=False).get_concrete_function()
        self.take_best = tf.function(self._take_best, autograph=False).get_concrete_function()

    @property
    def state(self) -> dict:
        """Everything that a checkpoint has to hold, by name."""
        return {
            "network": self._network,
            "optimizer": self._optimizer,
            "losses": self._losses,
            "best": self._best,
        }

    @property
    def done(self) -> int:
        """How many steps were taken."""
        return int(self._optimizer.iterations.numpy())

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return float(self._optimizer.learning_rate.numpy())

    def losses(self, first: int) -> np.ndarray:
        """The training losses from a step on, as far back as they are kept. Shape [n]."""
        n_kept = self._losses.shape[0]
        steps = np.arange(max(first, self.done - n_kept, 0), self.done)
        return self._losses.numpy()[steps % n_kept]

    def spread(self, batch: Mapping[str, np.ndarray]) -> dict[str, tf.Tensor]:
        """A batch's arrays, split over the devices."""
        n_devices = self._strategy.num_replicas_in_sync

        def share(device):
            i = device.replica_id_in_sync_group
            return {n: tf.constant(np.array_split(x, n_devices)[i]) for n, x in batch.items()}

        return self._strategy.experimental_distribute_values_from_function(share)

    def _train(self, batch):
        """One step with what `spread` made of a batch."""
        step = self._optimizer.iterations.read_value()
        loss = self._strategy.run(self._train_device, (batch, step))
        loss = self._strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
        at = step[tf.newaxis, tf.newaxis] % self._losses.shape[0]
        self._losses.assign(tf.tensor_scatter_nd_update(self._losses, at, loss[tf.newaxis]))

    def _train_device(self, batch, step):
        with tf.GradientTape() as tape:
            _, loss = self._play(batch, step)
            # Of the whole batch: a mean of its clips, however they are spread.
            loss *= batch["f0_hz"].shape[0] / BATCH_SIZE
            scaled = self._scaled(loss)
        variables = self._network.trainable_variables
        gradients = self._unscaled(tape.gradient(scaled, variables))
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _evaluate(self, batch):
        """Sound of a batch, shape [n_clips, n_samples], and its mean loss; changes no weights.

        The noise is the same each time, for losses that can be compared.
        """
        noise_of_no_step = tf.constant(-1, tf.int64)
        results = self._strategy.run(self._play, (batch, noise_of_no_step))
        return [self._strategy.experimental_local_results(each)[0] for each in results]

    def _play(self, batch, step):
        """Sound and mean loss, with noise that comes from the seed, the step and the device."""
        context = tf.distribute.get_replica_context()
        device = tf.cast(context.replica_id_in_sync_group, tf.int64)
        stream = step * context.num_replicas_in_sync + device
        self._noise.reset_from_key_counter(self._seed, tf.stack([0, stream]))
        with _as_global_generator(self._noise):
            sounds, losses = self._network(batch, training=True, return_losses=True)
        return sounds["audio_synth"], losses["total_loss"]

    def _scaled(self, loss):
        """The loss that is taken the gradient of: in float16 small gradients would vanish."""
        if isinstance(self._optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            return self._optimizer.get_scaled_loss(loss)
        return loss

    def _unscaled(self, gradients):
        if isinstance(self._optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            return self._optimizer.get_unscaled_gradients(gradients)
        return gradients

    def _keep_best(self):
        """Remembers the weights of now as the best."""
        for best, weight in zip(self._best.weights, self._network.weights, strict=True):
            best.assign(weight)

    def _take_best(self):
        """Gives the network the best weights."""
        for best, weight in zip(self._best.weights, self._network.weights, strict=True):
            weight.assign(best)


def _optimizer(network, steps, learning_rate):
    # Adam's first steps are of full size in any direction: weights that are good already suffer.
    warm_up = min(WARM_UP, steps // 10)
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=learning_rate / (warm_up + 1),
        decay_steps=steps - warm_up,
        alpha=FINAL_LEARNING_RATE,
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = tf.keras.optimizers.Adam(schedule, global_clipnorm=CLIP_NORM)
    if any(getattr(part, "compute_dtype", None) == "float16" for part in network.submodules):
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build(network.trainable_variables)
    return optimizer


@contextmanager
def _as_global_generator(generator):
    """Has the synthesizers, while a graph is made of them, draw their noise from a generator."""
    before = tf.random.get_global_generator()
    tf.random.set_global_generator(generator)
    try:
        yield
    finally:
        tf.random.set_global_generator(before)
