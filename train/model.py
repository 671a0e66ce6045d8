"""The student: a denoiser that is told the two sources, and a refinement network that polishes its prediction at full resolution.

Both after Yi et al., Information Fusion 110:102450 (2024), doi 10.1016/j.inffus.2024.102450; the refinement network is reconstructed from
a description of their code: two streams of transformer blocks that attend across channels (Zamir et al., Restormer, CVPR 2022,
doi 10.1109/CVPR52688.2022.00564) with a dense, ungated feed-forward part.
"""

import torch
from diffusers import UNet2DModel
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional

from train.config import Network


class Student(nn.Module):
    """The two networks, and how they are told the sources.

    Images are `(B, 1, H, W)` in [-1, 1], sides divisible by `multiple`; `step` is `(B,)`, from 0 (clean) to 999 (noise).
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.denoiser = build_denoiser(network)
        self.refiner = Refiner(network)

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by."""
        return self.network.multiple

    def compile_parts(self) -> None:
        """Compile both networks, for a GPU that trains for hours; the first steps then take minutes."""
        self.denoiser.compile()
        self.refiner.compile()

    def predict(self, noisy: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """What the denoiser says of a noisy target, `(B, 1, H, W)`: its velocity, or the clean target."""
        seen = functional.pixel_unshuffle(torch.cat((a, b, noisy), 1), self.network.fold)
        said: Tensor = self.denoiser(seen, step, return_dict=False)[0]
        return functional.pixel_shuffle(said, self.network.fold)

    def refine(self, image: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """A predicted fused image, polished, in [-1, 1]."""
        refined: Tensor = self.refiner(image, step, a, b)
        return refined


def build_denoiser(network: Network) -> UNet2DModel:
    """The U-Net of the diffusion: three planes in (source a, source b, the noisy target), one out."""
    plain, planes = len(network.widths) - 1, network.fold**2
    deepest = "Attn" if network.attention else ""
    denoiser = UNet2DModel(
        in_channels=3 * planes,
        out_channels=planes,
        block_out_channels=network.widths,
        layers_per_block=network.layers,
        norm_num_groups=network.groups,
        dropout=network.dropout,
        down_block_types=("DownBlock2D",) * plain + (f"{deepest}DownBlock2D",),
        up_block_types=(f"{deepest}UpBlock2D",) + ("UpBlock2D",) * plain,
        add_attention=network.attention,
        attention_head_dim=network.widths[-1],  # one head
    )
    nn.init.zeros_(denoiser.conv_out.weight)  # begins at next to nothing: of a residual that is the mean of the sources
    return denoiser


class Refiner(nn.Module):
    """Two streams, the predicted image and the sources, merged twice and decoded to a correction of the prediction."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        width, planes = network.refiner_width, network.fold**2
        self.fold = network.fold
        self.embed_image = nn.Conv2d(planes, width, 3, padding=1)
        self.embed_sources = nn.Conv2d(2 * planes, width, 3, padding=1)
        self.embed_step = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
        self.image_level1, self.sources_level1 = _stage(network, 1), _stage(network, 1)
        self.image_level2, self.sources_level2 = _stage(network, 2), _stage(network, 2)
        self.merge1, self.merge2 = nn.Conv2d(2 * width, width, 1), nn.Conv2d(2 * width, width, 1)
        self.decode2, self.decode1 = _stage(network, 2), _stage(network, 1)
        self.join_skip, self.join_image = nn.Conv2d(2 * width, width, 1), nn.Conv2d(2 * width, width, 1)
        self.polish = _stage(network, 1)
        self.out = nn.Conv2d(width, planes, 3, padding=1)
        # a refinement that has learnt nothing changes nothing
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, step: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """The polished image, `(B, 1, H, W)`."""
        level = self.embed_step(get_timestep_embedding(step, self.out.in_channels))[:, :, None, None]
        shown = self.embed_image(functional.pixel_unshuffle(image, self.fold))
        told = self.embed_sources(functional.pixel_unshuffle(torch.cat((a, b), 1), self.fold))
        shown, told = self.image_level1(shown + level), self.sources_level1(told + level)
        merged = self.merge1(torch.cat((shown, told), 1))
        deep = self.merge2(torch.cat((self.image_level2(shown), self.sources_level2(told)), 1))
        deep = self.join_skip(torch.cat((self.decode2(deep), merged), 1))
        deep = self.join_image(torch.cat((self.decode1(deep), shown), 1))
        return image + functional.pixel_shuffle(self.out(self.polish(deep)), self.fold)


def _stage(network: Network, heads: int) -> nn.Sequential:
    return nn.Sequential(*(Block(network.refiner_width, heads, network.refiner_expansion) for _ in range(network.refiner_blocks)))


class Block(nn.Module):
    """A transformer block whose attention runs across channels, so that its cost grows with the number of pixels alone."""

    def __init__(self, width: int, heads: int, expansion: float) -> None:
        super().__init__()
        hidden = int(width * expansion)
        self.heads = heads
        self.norm1, self.norm2 = ChannelNorm(width), ChannelNorm(width)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.spread = nn.Sequential(nn.Conv2d(width, 3 * width, 1), nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width))
        self.gather = nn.Conv2d(width, width, 1)
        self.feed = nn.Sequential(
            nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, hidden, 3, padding=1), nn.GELU(), nn.Conv2d(hidden, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` in and out."""
        x = x + self.gather(self._attend(self.norm1(x)))
        fed: Tensor = x + self.feed(self.norm2(x))
        return fed

    def _attend(self, x: Tensor) -> Tensor:
        batch, width, height, columns = x.shape
        query, key, value = self.spread(x).reshape(batch, 3, self.heads, width // self.heads, height * columns).unbind(1)
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        attention = (query @ key.transpose(-2, -1) * self.temperature).softmax(-1)
        mixed: Tensor = attention @ value
        return mixed.reshape(batch, width, height, columns)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width, 1, 1)), nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` in and out."""
        centred = x - x.mean(1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(1, keepdim=True) + 1e-5) * self.scale + self.shift
