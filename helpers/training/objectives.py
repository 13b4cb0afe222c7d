"""What a stage of training learns: from which fields of the examples, by which loss.

An instrument that learns from an analysis has two stages. In the first its network learns the
powers of harmonics and noise that were found in the recordings, and no sound is made. In the
second it learns by ear, from its own sound. There a harmonic and noise of the same level are as
good as each other where the phase drifts; so the harmonics stay those of the first stage, and only
the noise is learned by ear. All other instruments have one stage, by ear alone.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from helpers.instruments.instrument import Instrument
from helpers.synthesis import losses
from helpers.tensorflow_import import tf
from helpers.training import targets

Batch = dict[str, tf.Tensor]

FEATURES = ("f0_hz", "loudness_db")
TARGETS = tuple(targets.DTYPES)
UNCOUNTED_SECONDS = 0.2  # at the start of a clip, of whose past a causal network knows nothing
MOST_DETUNED_SEMITONES = 1.0  # either way
EAR_SHARE = 0.1  # of all steps


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What a stage of training learns.

    Attributes:
      title: Of the stage, for users; empty if it is the only one.
      fields: Of the examples, that a batch has.
      batch_size: Clips in a batch.
      clip_seconds: Length of a clip.
      heldout_seconds: Length of a clip in held-out batches; None for whole examples.
      is_compiled: Whether a step as a whole may go through XLA.
      is_last: Whether no stage comes after it.
    """

    title: str
    fields: tuple[str, ...]
    batch_size: int
    clip_seconds: float
    heldout_seconds: float | None
    is_compiled: bool
    is_last: bool

    @abstractmethod
    def measure(self, network: tf.keras.Model, batch: Batch, training: bool) -> list[tf.Tensor]:
        """The loss of a network on a batch, a scalar; and its sound, where it was made anyway.

        Args:
          network: Of an instrument.
          batch: The fields, features and targets of shape [n_clips, n_frames, ...] and audio
            [n_clips, n_frames * hop].
          training: False for held-out clips.
        """


@dataclass(frozen=True, kw_only=True)
class Resynthesis(Objective):
    """Learns to give back the sound of a clip, by the losses that the network has itself."""

    title: str = ""
    fields: tuple[str, ...] = ("audio", *FEATURES)
    batch_size: int = 4
    clip_seconds: float = 2.0
    heldout_seconds: float | None = None
    is_compiled: bool = False
    is_last: bool = True

    def measure(self, network: tf.keras.Model, batch: Batch, training: bool) -> list[tf.Tensor]:
        """See `Objective.measure`; the sound has the shape [n_clips, n_samples]."""
        # ddsp computes losses only in training.
        sounds, found = network(batch, training=True, return_losses=True)
        return [found["total_loss"], sounds["audio_synth"]]


@dataclass(frozen=True, kw_only=True)
class Analysis(Objective):
    """Learns the powers of harmonics and noise that an analysis found in the recordings.

    Attributes:
      sample_rate, frame_rate: Of the instrument.
    """

    sample_rate: int
    frame_rate: int
    title: str = "Stage 1 of 2, the analysis"
    batch_size: int = 8
    clip_seconds: float = 1.6
    heldout_seconds: float | None = None
    is_compiled: bool = True
    is_last: bool = False

    def measure(self, network: tf.keras.Model, batch: Batch, training: bool) -> list[tf.Tensor]:
        """See `Objective.measure`."""
        features = _encoded(network, batch, training)
        powers = network.decoder.powers(features, training=training)
        start = round(UNCOUNTED_SECONDS * self.frame_rate)
        harmonics, noise, bandwidth_hz = (batch[name][:, start:] for name in TARGETS)
        played_harmonics, played_noise = (each[:, start:] for each in powers)
        found = losses.analysis_loss(
            harmonics,
            noise,
            bandwidth_hz,
            played_harmonics,
            played_noise,
            batch["f0_hz"][:, start:],
            self.sample_rate,
        )
        return [tf.add_n(found)]


@dataclass(frozen=True, kw_only=True)
class Ear(Objective):
    """Learns the noise from how the instrument sounds.

    Only the weights for the noise in the last layer learn: all else stays as the first stage left
    it. Where the whole network learns by ear, the highs of its harmonics become weaker again.

    Attributes:
      sample_rate, frame_rate: Of the instrument.
    """

    sample_rate: int
    frame_rate: int
    title: str = "Stage 2 of 2, by ear"
    fields: tuple[str, ...] = ("audio", *FEATURES, "noise_log_density")
    batch_size: int = 4
    clip_seconds: float = 1.0
    heldout_seconds: float | None = 1.0  # as in training, so that nothing is compiled again
    is_compiled: bool = False  # the spectral loss compiles its own parts
    is_last: bool = True

    def measure(self, network: tf.keras.Model, batch: Batch, training: bool) -> list[tf.Tensor]:
        """See `Objective.measure`."""
        features = network.encode(dict(batch), training=training)
        harmonics, noise = network.decoder.powers(features, training=training, held=True)
        heard = _within_band_edge(noise, batch["noise_log_density"])
        controls = network.decoder.controls(harmonics, heard, features["f0_hz"])
        sound = network.processor_group({**features, **controls})
        start = round(UNCOUNTED_SECONDS * self.sample_rate)
        spectral = [loss(batch["audio"][:, start:], sound[:, start:]) for loss in network.loss_objs]
        return [tf.add_n(spectral)]


RESYNTHESIS = Resynthesis()


def stages_of(instrument: Instrument) -> list[Objective]:
    """The stages of an instrument's training, in order."""
    if instrument.analysis_size is None:
        return [RESYNTHESIS]
    sample_rate, frame_rate = instrument.sample_rate, instrument.frame_rate
    audio = ("audio",) if instrument.z_dims else ()  # of which z is encoded
    fields = (*audio, *FEATURES, *TARGETS)
    return [
        Analysis(sample_rate=sample_rate, frame_rate=frame_rate, fields=fields),
        Ear(sample_rate=sample_rate, frame_rate=frame_rate),
    ]


def shares_of(steps: int, stages: list[Objective]) -> list[int]:
    """How many of all steps each stage has; at least one."""
    if len(stages) == 1:
        return [steps]
    by_ear = max(1, round(EAR_SHARE * steps))
    return [max(1, steps - by_ear), by_ear]


def _encoded(network, batch, training):
    """Features for the decoder; in training the network is given a pitch that is a little off.

    It has to play a note as its neighbours, and cannot learn each recorded note by heart. The
    harmonics stay at the frequencies of the recording.
    """
    f0_hz = batch["f0_hz"]
    given_hz = f0_hz
    if training:
        generator = tf.random.get_global_generator()
        semitones = generator.uniform([f0_hz.shape[0], 1], -1.0, 1.0) * MOST_DETUNED_SEMITONES
        given_hz *= 2.0 ** (semitones / 12.0)
    features = network.encode({**batch, "f0_hz": given_hz}, training=training)
    return {**features, "f0_hz": f0_hz[..., tf.newaxis]}


def _within_band_edge(noise, target):
    """The noise, without a gradient above the highest band that is known of each clip.

    A codec has cut off what was there: the recording is no reason to play nothing.
    """
    known = tf.reduce_any(tf.math.is_finite(target), axis=1, keepdims=True)
    counts = tf.cumsum(tf.cast(known, tf.int32), axis=-1, reverse=True) > 0
    return tf.where(counts, noise, tf.stop_gradient(noise))
