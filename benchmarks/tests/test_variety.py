"""Statistics of images are what their names say."""

import torch

from benchmarks.variety import NAMES, statistics


def test_the_slope_of_a_spectrum_is_that_of_the_noise_it_was_made_with() -> None:
    frequency = torch.fft.fftfreq(96) * 96
    radius = (frequency.square() + frequency[:, None].square()).sqrt().clamp_min(1)
    for slope in (-1.0, -2.0, -3.0):
        spectrum = torch.fft.fft2(torch.randn(40, 96, 96)) * radius ** (slope / 2)
        gray = torch.fft.ifft2(spectrum).real
        gray = 0.5 + 0.1 * gray / gray.std()
        measured = statistics(gray[:, None].expand(-1, 3, -1, -1))[:, NAMES.index("spectrum slope")]
        assert abs(float(measured.mean()) - slope) < 0.15


def test_statistics_of_plain_images_are_what_their_names_say() -> None:
    red = torch.tensor([0.8, 0.0, 0.0])[None, :, None, None].expand(1, 3, 96, 96)
    halves = torch.cat([torch.zeros(1, 3, 96, 48), torch.ones(1, 3, 96, 48)], -1)
    depth = torch.linspace(1, 100, 96 * 96).view(1, 1, 96, 96)
    first, second = statistics(red, depth)[0], statistics(halves)[0]
    assert first[NAMES.index("saturation")] == 1 and first[NAMES.index("hue entropy")] < 1e-6
    assert first[NAMES.index("contrast")] < 1e-6 and first[NAMES.index("edge share")] == 0
    assert abs(float(first[NAMES.index("depth range")]) - torch.log10(torch.tensor(95.05 / 5.95))) < 0.01
    assert abs(float(second[NAMES.index("contrast")]) - 0.5) < 0.01
    assert abs(float(second[NAMES.index("edge share")]) - 1 / 95) < 1e-6 and second[NAMES.index("saturation")] == 0
