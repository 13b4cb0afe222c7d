"""WaveRNN (Kalchbrenner et al., ICML 2018), the baseline, which predicts sample after sample.

It is conditioned on f0, loudness and z as in Hantrakul et al., "Fast and Flexible Neural Audio
Synthesis", ISMIR 2019. DDSP computes a sound from features; WaveRNN predicts each sample from all
samples before it. Registered with gin.
"""

from typing import Any

import gin
import numpy as np

from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.gru import gates_of, recur
from helpers.synthesis.xla import compiled
from helpers.tensorflow_import import tf

layers = tf.keras.layers

N_CLASSES = 256  # of 8-bit mu-law
SILENCE = N_CLASSES // 2
FRAMES_AT_ONCE = 25  # of a clip that is sampled; a block of them is what is compiled


def to_classes(audio: tf.Tensor) -> tf.Tensor:
    """Quantizes samples in [-1, 1] to the 256 classes of 8-bit mu-law."""
    audio = tf.clip_by_value(audio, -1.0, 1.0)
    companded = tf.sign(audio) * tf.math.log1p((N_CLASSES - 1) * tf.abs(audio)) / np.log(N_CLASSES)
    return tf.cast(tf.floor((companded + 1.0) / 2.0 * (N_CLASSES - 1) + 0.5), tf.int32)


def from_classes(classes: tf.Tensor) -> tf.Tensor:
    """The sample in the middle of each class, in [-1, 1]."""
    companded = _companded(classes)
    return tf.sign(companded) * (N_CLASSES ** tf.abs(companded) - 1.0) / (N_CLASSES - 1)


def _companded(classes):
    return 2.0 * tf.cast(classes, tf.float32) / (N_CLASSES - 1) - 1.0


@gin.register
class WaveRnn(ddsp.training.models.Autoencoder):
    """ddsp's autoencoder with a GRU over samples in place of the synthesizers.

    The decoder turns the features into 'conditioning', frame by frame, which is interpolated
    between frames. From it and the last sample a GRU predicts the probabilities of the next
    sample: one softmax over 8-bit mu-law. (Kalchbrenner et al. have two softmaxes, over the halves
    of 16 bits, which take far longer to learn.)

    It is trained on random windows of the clips, with the recording's own samples as last samples.
    """

    def __init__(
        self,
        preprocessor: tf.keras.layers.Layer | None = None,
        encoder: tf.keras.layers.Layer | None = None,
        decoder: tf.keras.layers.Layer | None = None,
        rnn_channels: int = 256,
        hop_size: int = 128,
        window_frames: int = 8,
        windows: int = 8,
        **kwargs: Any,
    ) -> None:
        """Takes the parts, the GRU's size, and the length and the number of windows in a clip."""
        super().__init__(preprocessor, encoder, decoder, **kwargs)
        self.hop_size = hop_size
        self.window_frames = window_frames
        self.windows = windows
        self.conditioning_to_gates = layers.Dense(3 * rnn_channels)
        self.sample_to_gates = layers.Embedding(
            N_CLASSES, 3 * rnn_channels, embeddings_initializer=_in_proportion
        )
        self.recurrent = layers.Dense(3 * rnn_channels, kernel_initializer="orthogonal")
        self.hidden = layers.Dense(rnn_channels, activation="relu")
        self.odds = layers.Dense(N_CLASSES)
        # What is compiled may not make variables.
        self.sample_to_gates.build([None])
        for layer in (self.recurrent, self.hidden, self.odds):
            layer.build([None, rnn_channels])
        self._sample = compiled(self._sample_frames)

    def call(self, features: dict[str, tf.Tensor], training: bool = True) -> dict[str, tf.Tensor]:
        """Trains on windows of `features["audio"]`, or plays `features`.

        Returns:
          audio_synth: In training the likeliest next samples, [n_windows, n_samples of a window];
            else the sound, [batch, n_samples].
        """
        features = self.encode(features, training=training)
        if not training:
            return {"audio_synth": self.decode(features, training=False)}
        gates = self._gates(features, training)
        last, following, gates = self._cut(to_classes(features["audio"]), gates)
        frames = self.sample_to_gates(last) + self._between(gates)
        start = tf.zeros([frames.shape[1], self.hidden.units])
        states = recur(frames, self.recurrent.kernel, self.recurrent.bias, start)
        odds = self.odds(self.hidden(states))
        self._losses_dict["cross_entropy"] = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(following, odds)
        )
        return {"audio_synth": tf.transpose(from_classes(tf.argmax(odds, axis=-1)))}

    def decode(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Draws sample after sample. Returns audio [batch, n_frames * hop_size]."""
        gates = tf.transpose(self._gates(features, training), [1, 0, 2])
        n_frames, batch_size, _ = gates.shape
        end = -n_frames % FRAMES_AT_ONCE + 1  # with the next block's first, to interpolate to
        gates = tf.concat([gates, tf.repeat(gates[-1:], end, axis=0)], axis=0)
        state = tf.zeros([batch_size, self.hidden.units]), tf.fill([batch_size], SILENCE)
        blocks = []
        for first in range(0, n_frames, FRAMES_AT_ONCE):
            draws = tf.random.get_global_generator().uniform(
                [FRAMES_AT_ONCE, self.hop_size, batch_size]
            )
            with tf.device("CPU:0"):  # a GPU is no faster at many small steps
                played, state = self._sample(
                    gates[first : first + FRAMES_AT_ONCE + 1], draws, *state
                )
            blocks.append(played)
        classes = tf.concat(blocks, axis=0)[: n_frames * self.hop_size]
        return tf.transpose(from_classes(classes))

    def _gates(self, features, training):
        """The features' part of the GRU's gates. Shape [batch, n_frames, 3 rnn_channels]."""
        conditioning = self.decoder(features, training=training)["conditioning"]
        return self.conditioning_to_gates(conditioning)

    def _cut(self, classes, gates):
        """Cuts random windows of all clips.

        Returns:
          The last samples and the samples to predict, both [n_samples, n_windows], and the gates of
          the frames around them [n_frames, n_windows, size].
        """
        batch_size, n_frames, size = gates.shape
        clips = tf.repeat(tf.range(batch_size), self.windows)
        generator = tf.random.get_global_generator()
        starts = generator.uniform(clips.shape, 0, n_frames - self.window_frames + 1, tf.int32)
        frames = tf.range(self.window_frames + 1)[:, tf.newaxis] + starts + clips * (n_frames + 1)
        samples = tf.range(self.window_frames * self.hop_size)[:, tf.newaxis]
        samples += starts * self.hop_size + clips * classes.shape[1]
        before = tf.pad(classes[:, :-1], [[0, 0], [1, 0]], constant_values=SILENCE)
        gates = tf.concat([gates, gates[:, -1:]], axis=1)
        last, following = (tf.gather(tf.reshape(x, [-1]), samples) for x in (before, classes))
        return last, following, tf.gather(tf.reshape(gates, [-1, size]), frames)

    def _between(self, frames):
        """Linear interpolation between frames: [n + 1, batch, size] to [n hop_size, ...]."""
        position = tf.reshape(tf.range(self.hop_size, dtype=tf.float32), [-1, 1, 1]) / self.hop_size
        starts, ends = frames[:-1, tf.newaxis], frames[1:, tf.newaxis]
        return tf.reshape(starts + position * (ends - starts), [-1, *frames.shape[1:]])

    def _sample_frames(self, gates, draws, state, last):
        """Draws samples between frames [n + 1, batch, 3 rnn_channels], by draws in [0, 1).

        Returns:
          The classes [n hop_size, batch], and the GRU's state and the class at their end.
        """
        layers_of = self.recurrent, self.hidden, self.odds
        (kernel, bias), hidden, odds = ([tf.identity(w) for w in x.weights] for x in layers_of)
        embeddings = tf.identity(self.sample_to_gates.embeddings)

        def step(before, now):
            state, last = before
            frame, draw = now
            frame += tf.gather(embeddings, last)
            update, _, candidate, _ = gates_of(frame, tf.matmul(state, kernel) + bias)
            state = candidate + update * (state - candidate)
            hidden_units = tf.nn.relu(tf.matmul(state, hidden[0]) + hidden[1])
            passed = tf.cumsum(tf.nn.softmax(tf.matmul(hidden_units, odds[0]) + odds[1]), axis=-1)
            passed = passed[:, :-1] < draw[:, tf.newaxis]
            return state, tf.math.count_nonzero(passed, axis=-1, dtype=tf.int32)

        draws = tf.reshape(draws, [-1, last.shape[0]])
        states, classes = tf.scan(step, (self._between(gates), draws), (state, last))
        return classes, (states[-1], classes[-1])


def _in_proportion(shape, dtype=None):
    """Initial embeddings in proportion to the level of each class."""
    scale = tf.random.normal([1, shape[1]], stddev=0.5, dtype=dtype)
    return _companded(tf.range(shape[0]))[:, tf.newaxis] * scale
