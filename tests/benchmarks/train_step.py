"""Seconds and memory of training and transfer with Google's configuration: ddsp's and ours.

    python tests/benchmarks/train_step.py [--rounds 3] [--steps 5] [--batch 4] [--seconds 4]
    python tests/benchmarks/train_step.py --curve 50

Both run in turns, each case in a process of its own: five parts (forward and backward), the
training step on clips of 4 s, and the transfer of 10 s, which ours does with the default
configuration too. Prints medians over the rounds, ratios, and the peak of memory of the process,
TensorFlow itself included. ddsp's is the package, unmodified; its step and transfer are measured
by the script `../shared/peers/google_ddsp.py` where that is there and tensorflow-datasets too.

`--curve` trains ddsp's model and ours from the same weights on the same batches of a recording,
with the same noise, and prints the losses side by side; ddsp's twice more, so that one sees what is
chance: with a relative change of 1e-6 to its first weights, and as it is by default,
with phases that are added up in float32 without being wrapped (`use_angular_cumsum` off).
"""

import argparse
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helpers import config
from helpers.analysis import audio as sound
from helpers.analysis import features
from helpers.instruments import configurations
from helpers.synthesis import networks, synths
from helpers.synthesis.ddsp_import import ddsp
from helpers.synthesis.losses import FusedSpectralLoss
from helpers.tensorflow_import import tf
from helpers.training import steps
from helpers.training.objectives import RESYNTHESIS

PEER = ROOT.parent / "shared" / "peers" / "google_ddsp.py"
GIN = Path(ddsp.__file__).parent / "training" / "gin"
PARTS = ("harmonic", "filtered_noise", "reverb", "spectral_loss", "decoder")
CASES = (*PARTS, "train_step", "transfer", "default_transfer")
SAMPLE_RATE, FRAME_RATE, HOP_SIZE = 16000, 250, 64  # of Google's configuration
HARMONICS, NOISE_BANDS, REVERB_LENGTH = 60, 65, 48000
TRANSFER_SECONDS = 10
SPLITS = (("amps", 1), ("harmonic_distribution", HARMONICS), ("noise_magnitudes", NOISE_BANDS))
KEYS = ("ld_scaled", "f0_scaled")


def google_model(n_frames, *bindings):
    """ddsp's solo_instrument for clips of so many frames, built."""
    import gin

    gin.clear_config()
    gin.add_config_file_search_path(str(GIN))
    n_samples = n_frames * HOP_SIZE
    gin.parse_config_files_and_bindings(
        ["models/solo_instrument.gin"],
        [
            f"Harmonic.n_samples = {n_samples}",
            f"FilteredNoise.n_samples = {n_samples}",
            f"F0LoudnessPreprocessor.time_steps = {n_frames}",
            *bindings,
        ],
    )
    return ddsp.training.models.get_model()


def clips(batch_size, seconds, frame_rate):
    """Harmonic tones that glide and swell."""
    random = np.random.default_rng(0)
    times_s = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    f0_hz = 300.0 * 2.0 ** (random.random([batch_size, 1]) + 0.2 * np.sin(times_s))
    phase = 2 * np.pi * np.cumsum(f0_hz, axis=1) / SAMPLE_RATE
    audio = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 9))
    frames = slice(None, None, SAMPLE_RATE // frame_rate)
    arrays = {
        "audio": audio,
        "f0_hz": f0_hz[:, frames],
        "loudness_db": np.full_like(f0_hz[:, frames], -30.0),
        "f0_confidence": np.ones_like(f0_hz[:, frames]),
    }
    return {name: tf.constant(array, tf.float32) for name, array in arrays.items()}


def part(who, name, options):
    """A part's forward and backward pass, as a function of nothing."""
    n_frames = FRAME_RATE * options.seconds
    n_samples = n_frames * HOP_SIZE
    normal = tf.random.Generator.from_seed(0).normal
    shape = [options.batch, n_frames]
    f0_hz = 220.0 + normal([*shape, 1])
    target = normal([options.batch, n_samples])
    ours = who == "ours"
    if name == "harmonic":
        synth = (
            synths.FramewiseHarmonic(HOP_SIZE, SAMPLE_RATE)
            if ours
            else ddsp.synths.Harmonic(n_samples, SAMPLE_RATE)
        )
        return differentiate(
            lambda a, d: synth(a, d, f0_hz), normal([*shape, 1]), normal([*shape, HARMONICS])
        )
    if name == "filtered_noise":
        synth = (
            synths.FramewiseNoise(HOP_SIZE)
            if ours
            else ddsp.synths.FilteredNoise(n_samples, window_size=0)
        )
        return differentiate(synth, normal([*shape, NOISE_BANDS]))
    if name == "reverb":
        reverb = (synths.PlainReverb if ours else ddsp.effects.Reverb)(
            **({} if ours else {"trainable": True}), reverb_length=REVERB_LENGTH
        )
        reverb(target)
        return differentiate(reverb, target, variables=reverb.trainable_variables)
    if name == "spectral_loss":
        loss = (FusedSpectralLoss if ours else ddsp.losses.SpectralLoss)(logmag_weight=1.0)
        return differentiate(lambda audio: loss(target, audio), normal([options.batch, n_samples]))
    decoder = (
        networks.GruDecoder(512, 512, 3, KEYS, SPLITS)
        if ours
        else ddsp.training.decoders.RnnFcDecoder(512, "gru", 512, 3, False, KEYS, SPLITS)
    )
    inputs = normal([*shape, 1]), normal([*shape, 1])
    decoder(*inputs)
    return differentiate(
        lambda *x: sum(tf.reduce_sum(y) for y in decoder(*x, training=True).values()),
        *inputs,
        variables=decoder.trainable_variables,
    )


def differentiate(forward, *inputs, variables=()):
    """The gradients of a function's sum for its inputs and variables, as a graph."""

    @tf.function(autograph=False)
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = tf.reduce_sum(forward(*inputs))
        return tape.gradient(value, [*inputs, *variables])

    return gradients


def whole(who, name, options):
    """A training step, or a transfer, as a function of nothing."""
    if name == "train_step":
        batch = clips(options.batch, options.seconds, FRAME_RATE)
        return (
            google_step(batch) if who == "ddsp" else our_step(batch, configurations.build("ddsp"))
        )
    configuration = "small" if name == "default_transfer" else "ddsp"
    if who == "ddsp":
        network = google_model(FRAME_RATE * TRANSFER_SECONDS)
        clip = clips(1, TRANSFER_SECONDS, FRAME_RATE)
        return lambda: network(dict(clip), training=False)["audio_synth"]
    instrument = configurations.build(configuration)
    clip = clips(1, TRANSFER_SECONDS, instrument.frame_rate)
    curves = [clip[curve].numpy()[0] for curve in ("f0_hz", "loudness_db")]
    return lambda: instrument.play(*curves)


def google_step(batch):
    """ddsp's own trainer."""
    trainer = ddsp.training.trainers.Trainer(
        google_model(batch["f0_hz"].shape[1]), tf.distribute.get_strategy(), learning_rate=3e-4
    )
    trainer.build(batch)
    data = iter(tf.data.Dataset.from_tensors(batch).repeat())
    return lambda: trainer.train_step(data)["total_loss"]


def our_step(batch, instrument):
    """The step of helpers.training."""
    strategy = tf.distribute.get_strategy()
    training = steps.Steps(instrument.network, RESYNTHESIS, strategy, 1000, 3e-4, 0, 1)
    batch = training.spread({name: batch[name].numpy() for name in RESYNTHESIS.fields})

    def step():
        training.train(batch)
        return training.losses(0)

    return step


def measure(who, name, options):
    """Times a case in this process and prints one JSON line."""
    run = (part if name in PARTS else whole)(who, name, options)
    run()  # traces and compiles
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        for result in tf.nest.flatten(run()):
            np.asarray(result)
        seconds.append(time.perf_counter() - start)
    say(statistics.median(seconds))


def say(seconds):
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux counts in kB
    print(json.dumps({"seconds": seconds, "peak_gb": peak_gb}))


def peer_runs():
    """True where the peer's script is, with the package that it needs and this project does not."""
    return PEER.is_file() and importlib.util.find_spec("tensorflow_datasets") is not None


def measured(who, name, options):
    """Seconds and gigabytes of a case, measured in a process of its own."""
    by_peer = who == "ddsp" and name in ("train_step", "transfer") and peer_runs()
    if by_peer:
        what, seconds = name.removesuffix("_step"), options.seconds
        seconds = TRANSFER_SECONDS if name == "transfer" else seconds
        command = [PEER, what, "--seconds", seconds, "--batch", options.batch]
    else:
        command = [__file__, "--measure", who, name, "--batch", options.batch]
        command += ["--seconds", options.seconds]
    command = [sys.executable, *map(str, command), "--steps", str(options.steps)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


def compare(options):
    """All cases in turns, and the table of their medians."""
    columns = "case", "ddsp s", "ours s", "faster", "ddsp GB", "ours GB", "share"
    print("{:18}{:>9}{:>9}{:>8}{:>9}{:>9}{:>7}".format(*columns))
    for name in CASES:
        runs = {"ddsp": [], "ours": []}
        theirs = "transfer" if name == "default_transfer" else name
        for _ in range(options.rounds):
            runs["ddsp"].append(measured("ddsp", theirs, options))
            runs["ours"].append(measured("ours", name, options))
        (ddsp_s, ddsp_gb), (ours_s, ours_gb) = (
            [statistics.median(run[key] for run in each) for key in ("seconds", "peak_gb")]
            for each in runs.values()
        )
        print(
            f"{name:18}{ddsp_s:9.3f}{ours_s:9.3f}{ddsp_s / ours_s:7.1f}x"
            f"{ddsp_gb:9.2f}{ours_gb:9.2f}{ours_gb / ddsp_gb:7.2f}",
            flush=True,
        )


def curve(n_steps, options):
    """Losses of ddsp's model and of ours from the same weights on the same batches."""
    batches = cut_recording(n_steps, options)
    n_frames = FRAME_RATE * options.seconds
    wrapped = google_model(n_frames, "Harmonic.use_angular_cumsum = True")
    networks = {
        "ddsp": wrapped,
        "ours": configurations.build("ddsp").network,
        "ddsp, nudged": wrapped,
        "ddsp, not wrapped": google_model(n_frames),
    }
    for google in (wrapped, networks["ddsp, not wrapped"]):
        google.preprocessor.compute_loudness = False  # both are given the same
        google(dict(batches[0]), training=True)
    weights = wrapped.get_weights()
    losses = {}
    for name, network in networks.items():
        nudge = 1.0 + 1e-6 if name == "ddsp, nudged" else 1.0
        network.set_weights([np.float32(nudge) * each for each in weights])
        losses[name] = np.array(train_on(network, batches))
    print(("{:>4}" + "{:>20}" * 4).format("step", *losses))
    for step, row in enumerate(zip(*losses.values(), strict=True), start=1):
        print(("{:4}" + "{:20.4f}" * 4).format(step, *row))
    for name in list(losses)[1:]:
        off = np.abs(losses[name] / losses["ddsp"] - 1)
        print(
            f"{name}: {off[0]:.4%} from ddsp at step 1, median {np.median(off):.3%}, "
            f"at most {off.max():.3%} (step {np.argmax(off) + 1})"
        )


def cut_recording(n_batches, options):
    """Batches of random clips from a recording that ships."""
    audio, _ = sound.load(config.DATA / "violin" / "violin_1.flac", SAMPLE_RATE)
    curves = features.extract(audio, SAMPLE_RATE, FRAME_RATE)
    n_frames = FRAME_RATE * options.seconds
    random = np.random.default_rng(0)
    batches = []
    for _ in range(n_batches):
        starts = random.integers(0, len(audio) // HOP_SIZE - n_frames, options.batch)
        cut = {
            "audio": [audio[s * HOP_SIZE : (s + n_frames) * HOP_SIZE] for s in starts],
            "f0_hz": [np.nan_to_num(curves.f0_hz[s : s + n_frames], nan=440.0) for s in starts],
            "loudness_db": [curves.loudness_db[s : s + n_frames] for s in starts],
        }
        batches.append({name: tf.constant(np.stack(rows)) for name, rows in cut.items()})
    return batches


def train_on(network, batches):
    """Losses of a network's steps, one a batch, with the same noise for any network."""
    optimizer = tf.keras.optimizers.Adam(3e-4, global_clipnorm=3.0)
    generator = tf.random.Generator.from_seed(0)

    @tf.function(autograph=False)
    def step(batch):
        with tf.GradientTape() as tape:
            _, losses = network(batch, training=True, return_losses=True)
        variables = network.trainable_variables
        gradients = tape.gradient(losses["total_loss"], variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses["total_loss"]

    optimizer.build(network.trainable_variables)
    with (
        mock.patch.object(ddsp.synths.tf.random, "uniform", generator.uniform),
        mock.patch.object(tf.random, "get_global_generator", lambda: generator),
    ):
        return [float(step(batch)) for batch in batches]


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed runs of a case in each round")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=4, help="length of a clip")
    parser.add_argument("--curve", type=int, metavar="STEPS")
    parser.add_argument("--measure", nargs=2, metavar=("WHO", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, options)
    elif options.curve:
        curve(options.curve, options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
