"""What one step of training computes, on one device or split over several."""

from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np

from helpers.analysis import features
from helpers.config import DB_PER_NEPER
from helpers.instruments.instrument import Instrument
from helpers.synthesis import xla
from helpers.tensorflow_import import tf
from helpers.training.dataset import LOGARITHMS
from helpers.training.objectives import Objective

WARM_UP = 50  # steps, in which the learning rate rises; a tenth of shorter trainings
FINAL_LEARNING_RATE = 0.05  # share of the highest, reached by half a cosine
CLIP_NORM = 3.0
HELDOUT_EXAMPLES = 32  # at most, so that evaluations take no longer with more data
NEPERS_PER_DB = np.float32(1.0 / DB_PER_NEPER)


def draw_batch(
    instrument: Instrument,
    examples: Mapping[str, np.ndarray],
    objective: Objective,
    seed: int,
    step: int,
    gains_db: tuple[float, float] = (0.0, 0.0),
) -> dict[str, np.ndarray]:
    """The batch of one step, as float32 arrays: random clips from random examples.

    Each is made louder or softer by a random gain between those given, the sound as its loudness
    and its powers.

    Returns:
      The fields of the objective, for as many frames as a network plays samples of: audio
      [batch_size, n_frames * hop], all others [batch_size, n_frames, ...].
    """
    random = np.random.default_rng([seed, step])
    n_examples, n_frames = _size(instrument, examples)
    length = min(n_frames, int(objective.clip_seconds * instrument.frame_rate))
    rows = random.integers(0, n_examples, objective.batch_size)
    starts = random.integers(0, n_frames - length + 1, objective.batch_size)
    batch = _cut(instrument, examples, objective, rows, starts, length)
    if any(gains_db):
        _change_gain(batch, random.uniform(*gains_db, objective.batch_size).astype(np.float32))
    return batch


def heldout_batches(
    instrument: Instrument, examples: Mapping[str, np.ndarray], objective: Objective
) -> list[dict[str, tf.Tensor]]:
    """Batches, all of one size, of all examples or of evenly spaced ones, the first first.

    Each example is whole, or begins where it begins and has the seconds of the objective. Of a
    whole one the features of the last frame are left out: a network plays a hop of samples for each
    frame, and that one lies at the end of the audio.
    """
    n_examples, n_frames = _size(instrument, examples)
    n_batches = -(-min(n_examples, HELDOUT_EXAMPLES) // objective.batch_size)
    size = min(n_examples, HELDOUT_EXAMPLES) // n_batches
    rows = np.linspace(0, n_examples - 1, n_batches * size).astype(int)
    if objective.heldout_seconds:
        n_frames = min(n_frames, int(objective.heldout_seconds * instrument.frame_rate))
    batches = (
        _cut(instrument, examples, objective, some, [0] * size, n_frames)
        for some in np.split(rows, n_batches)
    )
    return [{name: tf.constant(x) for name, x in batch.items()} for batch in batches]


def _size(instrument, examples):
    """Numbers of examples, and of frames that a network plays of each."""
    n_examples, n_samples = examples["audio"].shape
    return n_examples, n_samples // instrument.hop_size


def _cut(instrument, examples, objective, rows, starts, length):
    """The fields of an objective, of as many frames of some examples, each from its start."""
    batch = {}
    for name in objective.fields:
        scale = instrument.hop_size if name == "audio" else 1
        clips = [
            examples[name][row, start * scale : (start + length) * scale]
            for row, start in zip(rows, starts, strict=True)
        ]
        batch[name] = np.stack(clips).astype(np.float32)
    return batch


def _change_gain(batch, gains_db):
    """Makes each clip louder by a gain: [batch_size]."""
    by_clip = gains_db[:, np.newaxis]
    loudness_db, floor_db = batch["loudness_db"], features.FLOORS_DB[features.PROFILE]
    changed_db = np.maximum(loudness_db + by_clip, floor_db)
    batch["loudness_db"] = np.where(loudness_db <= floor_db, floor_db, changed_db)
    if "audio" in batch:
        batch["audio"] = batch["audio"] * 10.0 ** (by_clip / 20.0)
    for name in batch.keys() & {*LOGARITHMS}:
        batch[name] = batch[name] + by_clip[..., np.newaxis] * NEPERS_PER_DB


class Steps:
    """The steps of a training, and all of its state, in variables.

    Each method changes them in one call of a graph, so that an interrupt, which Python raises
    between any two of its own instructions, finds all that a step does in them, or nothing.
    """

    def __init__(
        self,
        network: tf.keras.Model,
        objective: Objective,
        strategy: tf.distribute.Strategy,
        steps: int,
        learning_rate: float,
        seed: int,
        n_losses: int,
    ) -> None:
        """Takes a network built in the strategy's scope, and how many last losses to keep."""
        self._network, self._objective = network, objective
        self._strategy, self._seed = strategy, seed
        with strategy.scope():
            self._optimizer = _optimizer(network, steps, learning_rate)
            self._noise = tf.random.Generator.from_seed(seed)
            self._losses = tf.Variable(tf.zeros(n_losses), trainable=False)
            self._best = tf.Module()
            self._best.weights = [tf.Variable(w, trainable=False) for w in network.weights]
        # XLA compiles nothing that several devices do together.
        is_alone = strategy.num_replicas_in_sync == 1
        is_compiled = objective.is_compiled and is_alone and xla.available()
        self.train = tf.function(self._train, autograph=False, jit_compile=is_compiled)
        self.evaluate = tf.function(self._evaluate, autograph=False)
        self.play = tf.function(self._play, autograph=False)
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
        with tf.GradientTape() as tape, self._noise_of(step):
            loss, *_ = self._objective.measure(self._network, batch, training=True)
            # Of the whole batch: a mean of its clips, however they are spread.
            loss *= batch["f0_hz"].shape[0] / self._objective.batch_size
            scaled = self._scaled(loss)
        variables = self._network.trainable_variables
        # What a stage holds has no gradient, and Adam leaves it where it is.
        gradients = tape.gradient(
            scaled, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradients = self._unscaled(gradients)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    def _evaluate(self, batch):
        """What the objective measures of a held-out batch; changes no weights."""
        return self._on_first_device(
            lambda batch: self._objective.measure(self._network, batch, training=False), batch
        )

    def _play(self, batch):
        """Sound of the inputs of a network, shape [n_clips, n_samples]; changes no weights."""
        return self._on_first_device(
            lambda batch: self._network(batch, training=False)["audio_synth"], batch
        )

    def _on_first_device(self, function, batch):
        """What a function makes of a batch, with the same noise each time.

        All devices do it: what they share can be read by all of them only.
        """
        noise_of_no_step = tf.constant(-1, tf.int64)

        def with_noise(batch):
            with self._noise_of(noise_of_no_step):
                return function(batch)

        found = self._strategy.run(with_noise, (batch,))
        return tf.nest.map_structure(
            lambda each: self._strategy.experimental_local_results(each)[0], found
        )

    @contextmanager
    def _noise_of(self, step):
        """Has a graph that is made draw its noise by the seed, the step and the device."""
        context = tf.distribute.get_replica_context()
        device = tf.cast(context.replica_id_in_sync_group, tf.int64)
        stream = step * context.num_replicas_in_sync + device
        self._noise.reset_from_key_counter(self._seed, tf.stack([0, stream]))
        with _as_global_generator(self._noise):
            yield

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
