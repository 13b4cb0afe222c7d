"""gin_settings: what a configuration may not do, by way of bundles.load."""

import sys

import gin
import pytest
from tiny_instrument import set_in

from helpers.instruments import bundles, gin_settings


@pytest.mark.parametrize(
    "line",
    [
        "import evil",
        "from evil import thing",
        "import evil as ConvDecoder",
        "from __gin__ import dynamic_registration",
        "include 'evil.gin'",
        "ConvDecoder:\n  channels = 4",
        "Autoencoder.encoder = @os.system",
        "Autoencoder.encoder = @os.system()",
        "Autoencoder.encoder = @tf.io.write_file()",
        "Autoencoder.encoder = @tf.keras.layers.Lambda()",
        "Autoencoder.encoder = @scope/os.system()",
        "Autoencoder.encoder = @scope/ConvDecoder()",
        "Autoencoder.encoder = @a.b/processors.Add()",
        "Autoencoder.encoder = @gin.singleton()",
        "Autoencoder.encoder = @evil/gin.macro()",
        "Autoencoder.encoder = @get_model()",
        "Autoencoder.losses = [1, {'a': (@os.system(),)}]",
        "Autoencoder.losses = {@os.system(): 1}",
        "thing = @os.system()",
        "thing = @ConvDecoder()",
        "thing = 'text'",
        "thing = %other",
        "scope/thing = 3",
        "thing/macro.value = @os.system()",
        "gin.macro.value = 3",
        "ConvDecoder.channels = %sample_rate",
        "ConvDecoder.channels = %scope/channels",
        "Autoencoder.encoder = %thing",
        "scope/ConvDecoder.channels = 8",
        "tf.keras.layers.Dense.units = 3",
        "Lambda.function = 'print(1)'",
        "gin.singleton.constructor = 3",
        "evaluate.batch_size = 3",
        "Autoencoder.encoder = @Autoencoder()",
        "Autoencoder.encoder = @ConvDecoder()",
        "Autoencoder.losses = [@effects.Reverb(), @Reverb()]",
        "ProcessorGroup.dag = [('add_weight', ['f0_hz'])]",
        "ProcessorGroup.dag = [(%hop_size, ['f0_hz'])]",
        "ProcessorGroup.dag = [[]]",
        "ProcessorGroup.dag = 3",
        "ConvDecoder.channels = 1000000000",
        "ConvDecoder.channels = 1e12",
        "ConvDecoder.channels = 1e999",
        "ConvDecoder.channels = -1000000000",
        "ConvDecoder.channels = 1000000000j",
        "ConvDecoder.kernel_size = 1000000",
        "ConvDecoder.dilations = (1, 1000000000)",
        f"ConvDecoder.dilations = ({'1, ' * 10_000})",
        "ConvDecoder.output_splits = (('amps', 1), ('harmonic_distribution', 1000000000))",
        "ConvDecoder.output_splits = (('amps', 1), ('harmonic_distribution', %hop_size))",
        "ConvDecoder.output_splits = ((%noise_bands, %evil),)",
        "ConvDecoder.channels = %harmonics",
        "harmonics = 1000000000",
        "noise_bands = @os.system()",
        "fft_sizes = (2048, 'text')",
        "fft_sizes = (2048, 1000000000)",
        "FramewiseMfccEncoder.rnn_channels = 1000000000",
        "FramewiseMfccEncoder.z_dims = 1000000000",
        "RnnFcDecoder.layers_per_stack = 1000000",
        "Reverb.reverb_length = 1000000000000",
        "SpectralLoss.fft_sizes = (2048, 1000000000)",
        "sample_rate = 1000000000",
        "hop_size = 1000000000",
        f"hop_size = {'9' * 5000}",
        "hop_size = [",
        "hop_size = ",
        "hop_size",
        "hop_size = 'text",
        "hop_size = 1 2",
        "hop_size = __import__('os')",
        "  hop_size = 1\n hop_size = 2",
        "= 3",
        "$",
        "\x00",
        f"hop_size = {'[' * 5000}{']' * 5000}",
    ],
)
def test_what_a_configuration_may_not_do(tiny_bundle, line, tmp_path, monkeypatch, refused):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    (tmp_path / "evil.gin").write_text("import evil")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gin, "parse_config", lambda *_: pytest.fail("given to gin"))
    set_in(tiny_bundle, line)
    with refused("tiny"):
        bundles.load(tiny_bundle)
    assert "evil" not in sys.modules and not (tmp_path / "harm").exists()


def out_of_range():
    """Lines with a number of another type, or just beyond the range of its setting."""
    for setting, numbers in gin_settings.NUMBERS.items():
        wrong = [numbers.lowest - 1, numbers.highest + 1, True, "'1'", None, 10**400, "1e999"]
        if numbers.whole:
            wrong.append(numbers.lowest + 0.5)
        if numbers.multiple_of > 1:
            wrong.append(numbers.lowest + 1)
        yield from (
            f"Thing.{setting} = {f'({value},)' if numbers.several else value}" for value in wrong
        )
        several = numbers.lowest if numbers.several else f"({numbers.lowest},)"
        yield f"Thing.{setting} = {several}"


@pytest.mark.parametrize("line", list(out_of_range()), ids=lambda line: line[:40])
def test_numbers_out_of_range(line, refused):
    for cls in ("ConvDecoder", "FusedSpectralLoss"):
        with refused(line.partition(" ")[0].partition(".")[2]):
            gin_settings.check_config(line.replace("Thing", cls))


@pytest.mark.parametrize(
    "line",
    [
        "noise_bands = 1",
        "noise_bands = 0",
        "harmonics = 0",
        "hop_size = 1",
        "ConvDecoder.kernel_size = 0",
        "ConvDecoder.dilations = (0,)",
        "DecayingReverb.reverb_length = 0",
        "ScaleFeatures.loudness_range_db = 0",
        "ConvDecoder.output_splits = "
        "(('amps', 1), ('harmonic_distribution', 60), ('noise_magnitudes', 1))",
        "ConvDecoder.output_splits = "
        "(('amps', 2), ('harmonic_distribution', 60), ('noise_magnitudes', 65))",
        "ConvDecoder.output_splits = (('amps', 1.0),)",
        "ConvDecoder.output_splits = (('amps',),)",
        "ConvDecoder.input_keys = ('a' 'b', b'c')",
        "ConvDecoder.name = '\\ud800'",
        "hop_size = %hop_size",
        "hop_size = 'a'" + " 'a'" * 20_000,  # gin takes minutes for it
    ],
    ids=lambda line: line[:60],
)
def test_numbers_that_would_end_the_process(tiny_bundle, line, nothing_is_built, refused):
    set_in(tiny_bundle, line)
    with refused("configuration of tiny"):
        bundles.load(tiny_bundle)
    assert "configuration of tiny" in bundles.listed(tiny_bundle).problem
