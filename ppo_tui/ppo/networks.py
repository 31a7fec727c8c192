"""Trunks: networks from observations to features, and a user's own network."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import ConfigError, NetworkError
from .devices import image_format
from .observations import ImageLayout

_BYTE_SCALE = 1.0 / 255.0

_NONLINEARITIES = {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU, "elu": nn.ELU, "gelu": nn.GELU}


def _channel_norms(channels: int, wanted: bool) -> list[nn.Module]:
    """The layer normalisation of a convolution's output, or nothing.

    Ba et al., 2016, arXiv:1607.06450: over all channels and positions of an image, then a scale and an offset for each
    channel, as flax's ``LayerNorm(reduction_axes=(-3, -2, -1))``. PyTorch has it as group normalisation with a single
    group (Wu & He, 2018, arXiv:1803.08494, section 3.1), which keeps the channels-last format on CPUs; its `LayerNorm`
    does not.
    """
    return [nn.GroupNorm(1, channels)] if wanted else []


def _feature_norms(features: int, wanted: bool) -> list[nn.Module]:
    """The layer normalisation of a linear layer's output, or nothing."""
    return [nn.LayerNorm(features)] if wanted else []


class NatureCNN(nn.Module):
    """The convolutional network of the Nature DQN.

    Mnih et al., 2015, https://doi.org/10.1038/nature14236. Bytes of images are scaled to 0..1 here, so that
    they are stored and moved as uint8. The convolutions work in the channels-last memory format, the faster one on CPUs
    and on GPUs with tensor cores.

    Args:
        layout: of the images; at least 36×36.
        layer_norm: normalise before each nonlinearity (Gallici et al., 2024, arXiv:2407.04811).
    """

    convolution_sizes = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    """Filters, kernel size and stride of each convolution."""

    num_features = 512

    def __init__(self, layout: ImageLayout, *, layer_norm: bool = False) -> None:
        super().__init__()
        self.layout = layout
        layers: list[nn.Module] = []
        channels = layout.channels
        for filters, kernel_size, stride in self.convolution_sizes:
            layers += [
                nn.Conv2d(channels, filters, kernel_size, stride),
                *_channel_norms(filters, layer_norm),
                nn.ReLU(inplace=True),
            ]
            channels = filters
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            image = torch.zeros(1, layout.channels, layout.height, layout.width)
            flat_size = self.convolutions(image).shape[1]
        self.linear = nn.Sequential(
            nn.Linear(flat_size, self.num_features),
            *_feature_norms(self.num_features, layer_norm),
            nn.ReLU(inplace=True),
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Features `[B, num_features]` of uint8 observations, stacked or not (see `ImageLayout.fold`)."""
        return self.linear(self.convolutions(_scaled_images(self.layout, observations)))


class NatureSmallCNN(NatureCNN):
    """The first network of deep Q-learning on Atari.

    Mnih et al., 2013, arXiv:1312.5602, section 4.1: 8×8 and 4×4 filters, a third of the multiplications of `NatureCNN`.

    Args:
        layout: of the images; at least 20×20.
    """

    convolution_sizes = ((16, 8, 4), (32, 4, 2))
    num_features = 256


class ImpalaCNN(nn.Module):
    """The large network of IMPALA, without its LSTM.

    Espeholt et al., 2018, arXiv:1802.01561, figure 3. Fifteen convolutions: three stages of one convolution, a pooling
    that halves the image, and two residual blocks.

    Args:
        layout: of the images; at least 8×8.
        layer_norm: as for `NatureCNN`.
    """

    def __init__(self, layout: ImageLayout, *, layer_norm: bool = False) -> None:
        super().__init__()
        self.layout = layout
        stages: list[nn.Module] = []
        channels, height, width = layout.channels, layout.height, layout.width
        for depth in (16, 32, 32):
            stages += [
                nn.Conv2d(channels, depth, kernel_size=3, padding=1),
                nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
                _ResidualBlock(depth, layer_norm),
                _ResidualBlock(depth, layer_norm),
            ]
            channels, height, width = depth, -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*stages, *_channel_norms(channels, layer_norm), nn.ReLU(), nn.Flatten())
        self.num_features = 256
        self.linear = nn.Sequential(
            nn.Linear(channels * height * width, self.num_features),
            *_feature_norms(self.num_features, layer_norm),
            nn.ReLU(),
        )

    def forward(self, observations: Tensor) -> Tensor:
        """Features `[B, 256]` of uint8 observations, stacked or not (see `ImageLayout.fold`)."""
        return self.linear(self.convolutions(_scaled_images(self.layout, observations)))


class _ResidualBlock(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int, layer_norm: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *_channel_norms(channels, layer_norm),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            *_channel_norms(channels, layer_norm),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class A3CNN(nn.Module):
    """The small convolutional network of A3C on 42×42 images.

    Four convolutions of 32 filters 3×3 with stride 2 and ELUs, as in OpenAI's universe-starter-agent and pytorch-a3c,
    where an LSTM of 256 follows.

    Args:
        layout: of the images; at least 8×8.
        layer_norm: as for `NatureCNN`.
    """

    def __init__(self, layout: ImageLayout, *, layer_norm: bool = False) -> None:
        super().__init__()
        self.layout = layout
        layers: list[nn.Module] = []
        channels, height, width = layout.channels, layout.height, layout.width
        for _ in range(4):
            convolution = nn.Conv2d(channels, 32, kernel_size=3, stride=2, padding=1)
            layers += [convolution, *_channel_norms(32, layer_norm), nn.ELU()]
            channels, height, width = 32, -(-height // 2), -(-width // 2)
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.num_features = channels * height * width

    def forward(self, observations: Tensor) -> Tensor:
        """Features `[B, num_features]` of uint8 observations, stacked or not (see `ImageLayout.fold`)."""
        return self.convolutions(_scaled_images(self.layout, observations))


CNNS = {"nature-cnn": NatureCNN, "nature-small": NatureSmallCNN, "impala": ImpalaCNN, "a3c-cnn": A3CNN}
"""Convolutional networks by their names in ``policy.network``."""


def _scaled_images(layout: ImageLayout, observations: Tensor) -> Tensor:
    """Float images `[B, C, H, W]`, bytes of images in 0..1.

    Their memory is in the `image_format` of the device.
    """
    images = layout.fold(observations).contiguous(memory_format=image_format(observations.device)).float()
    # Converting and then scaling in place takes a twentieth of the time of bytes times a float.
    return images.mul_(_BYTE_SCALE) if layout.divided else images


class MLP(nn.Module):
    """Fully connected layers over the flattened observation.

    Args:
        num_inputs: numbers in an observation, all stacked frames together.
        hidden: widths of the layers; with none, the features are the observation itself.
        activation: nonlinearity after each layer: tanh, relu, silu, elu or gelu.
        divided: divide uint8 by 255, to scale bytes to 0..1.
        layer_norm: normalise before each nonlinearity, as for `NatureCNN`.
    """

    def __init__(
        self,
        num_inputs: int,
        hidden: Sequence[int],
        activation: str,
        *,
        divided: bool = False,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self._divided = divided
        nonlinearity = _NONLINEARITIES[activation]
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(num_inputs, width), *_feature_norms(width, layer_norm), nonlinearity()]
            num_inputs = width
        self.layers = nn.Sequential(*layers)
        self.num_features = num_inputs

    def forward(self, observations: Tensor) -> Tensor:
        """Features `[B, num_features]` of observations `[B, ...]` of any numeric type."""
        flat = observations.reshape(observations.shape[0], -1)
        flat = flat * _BYTE_SCALE if self._divided and flat.dtype == torch.uint8 else flat.float()
        return self.layers(flat)


def initialize_orthogonal(module: nn.Module, gain: float = math.sqrt(2.0)) -> None:
    """Set orthogonal weights and zero biases in every layer of `module`.

    Saxe et al., 2014, arXiv:1312.6120. The numbers come from PyTorch's global generator.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


CONTRACT = (
    "a network is an nn.Module with a constructor that takes the observation's shape, an attribute num_features (int), "
    "and a forward from a batch [B, *shape] to features [B, num_features]"
)


def custom_network(path: str, observation_shape: Sequence[int], example: Tensor) -> nn.Module:
    """Build the user's network ``package.module:Class`` and try it on two observations.

    The contract: ``Class(observation_shape)`` is an `nn.Module` with an attribute ``num_features: int``; called with a
    batch of observations `[B, *observation_shape]`, float32 vectors or uint8 images as the environment gives them, it
    returns float32 features `[B, num_features]`. With ``env.frame_stack`` K > 1, and for grey images always, the
    shape begins with K. Its weights are the class's own business.

    Args:
        example: two observations.

    Raises:
        ConfigError: the module cannot be imported, the class is missing, or it breaks the contract.
    """
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    # A user's module may raise anything, SystemExit included.
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"policy.network = {path!r}: the module {module_name!r} cannot be imported ({_brief(error)})",
            hint="put its directory on PYTHONPATH, or install its package",
        ) from error
    if not hasattr(module, class_name):
        raise ConfigError(f"policy.network = {path!r}: the module {module_name!r} has no {class_name!r}")
    try:
        network = getattr(module, class_name)(tuple(observation_shape))
        with torch.no_grad():
            features = network(example)
        given, expected = tuple(features.shape), (len(example), network.num_features)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"policy.network = {path!r}: it cannot be used ({_brief(error)})", hint=CONTRACT) from error
    if not isinstance(network, nn.Module) or given != expected:
        raise ConfigError(
            f"policy.network = {path!r}: {len(example)} observations of shape {tuple(observation_shape)} became "
            f"features of shape {given}; expected {expected}",
            hint=CONTRACT,
        )
    return network


def is_custom(network: nn.Module) -> bool:
    """Tell whether a network is the user's own."""
    return type(network).__module__.partition(".")[0] != __name__.partition(".")[0]


def custom_network_error(network: nn.Module, error: BaseException) -> NetworkError:
    """The error for an exception in the `forward` of the user's network."""
    kind = type(network)
    return NetworkError(
        f"the network {kind.__module__}:{kind.__qualname__} has failed: its forward raised {_brief(error)}",
        hint="mend it; the command with --debug shows where it raised",
    )


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ").splitlines()[0][:300]
