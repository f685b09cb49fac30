"""Plans: what to build and how to train, as plain data.

Importing them loads neither Keras nor SciPy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

HEADS = ("subtract", "compose")
ARCHITECTURES = ("residual", "original")
LOSSES = ("l1", "charbonnier")
ADVERSARIES = ("hinge", "relativistic", "classic")


def _one_of(name: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ValueError(f"{name} is {value!r}; it must be one of {valid}")


@dataclass(frozen=True)
class GeneratorPlan:
    """The shape of a generator; equal plans build equal networks.

    Attributes
    ----------
    widths : tuple of int
        Channels at each level, from the finest (the picture unshuffled once) down.
    bottom_blocks : int
        Residual blocks at the coarsest level; every other level has one on the
        way down and one on the way up.
    hidden : tuple of int
        Channels between the two convolutions of each block, in the order of `blocks`;
        empty for twice the block's width.
    unshuffle : int
        Side of the pixel blocks turned into channels before the first level.
    channels : int
        Of the picture, 3 or 1.
    head : {'subtract', 'compose'}
        ``x - relu(r)``, or ``x + mask d`` with a mask of 0 to 1 and a signed d.
    architecture : {'residual', 'original'}
        nox's own, or the original nox's (StarNet v1's topology, see
        `nox_train.original`), where `widths` are those of the way down and
        `bottom_blocks`, `hidden` and `unshuffle` mean nothing.
    """

    widths: tuple[int, ...] = (32, 64, 128, 192, 192)
    bottom_blocks: int = 2
    hidden: tuple[int, ...] = ()
    unshuffle: int = 2
    channels: int = 3
    head: str = "subtract"
    architecture: str = "residual"

    def __post_init__(self) -> None:
        _one_of("head", self.head, HEADS)
        _one_of("architecture", self.architecture, ARCHITECTURES)
        if self.channels not in (1, 3):
            raise ValueError(f"channels is {self.channels}; it must be 1 or 3")
        if self.hidden and (len(self.hidden) != len(self.blocks) or min(self.hidden) < 1):
            raise ValueError(
                f"hidden is {self.hidden}; it must be {len(self.blocks)} numbers above 0, "
                f"of the blocks {' '.join(self.blocks)}"
            )

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the residual blocks, in the order in which they are run."""
        levels = range(len(self.widths) - 1)
        bottom = [f"bottom{k}" for k in range(self.bottom_blocks)]
        return (*(f"down{k}" for k in levels), *bottom, *(f"up{k}" for k in reversed(levels)))

    @property
    def inner(self) -> dict[str, int]:
        """Channels between the two convolutions of each block, by its name."""
        *levels, bottom = self.widths
        widths = (*levels, *[bottom] * self.bottom_blocks, *reversed(levels))
        return dict(zip(self.blocks, self.hidden or [2 * w for w in widths], strict=True))

    @property
    def multiple(self) -> int:
        """Sides of a picture must be multiples of this."""
        if self.architecture == "original":
            return int(2 ** len(self.widths))
        return self.unshuffle * 2 ** (len(self.widths) - 1)

    def as_dict(self) -> dict:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: dict) -> GeneratorPlan:
        """Read what `as_dict` wrote."""
        lists = {k: tuple(facts.get(k, ())) for k in ("widths", "hidden")}
        return cls(**{**facts, **lists})


@dataclass(frozen=True)
class DiscriminatorPlan:
    """The network that tells targets from outputs in the adversarial stage.

    Attributes
    ----------
    widths : tuple of int
        Channels of its convolutions; their outputs are the features of the perceptual
        distance.
    feature_weights : tuple of float
        Relative weight of each feature map in that distance; empty for all alike.
    architecture : {'patch', 'original'}
        nox's own, or the original nox's; see `nox_train.discriminators`.
    rate : float
        Its learning rate as a share of the generator's.
    """

    widths: tuple[int, ...] = (32, 64, 128, 128)
    feature_weights: tuple[float, ...] = ()
    architecture: str = "patch"
    rate: float = 0.25

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, ("patch", "original"))
        if self.feature_weights and len(self.feature_weights) > len(self.widths):
            raise ValueError(
                f"feature_weights has {len(self.feature_weights)} numbers for "
                f"{len(self.widths)} widths; give one a width or none"
            )

    def as_dict(self) -> dict:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: dict) -> DiscriminatorPlan:
        """Read what `as_dict` wrote."""
        read: dict = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        return cls(**read)


@dataclass(frozen=True)
class LossPlan:
    """What a generator is trained to make small; see `nox_train.losses`.

    Attributes
    ----------
    kind : {'l1', 'charbonnier'}
        Of a pixel's error: its size, or ``sqrt(error^2 + 0.001^2)``, smooth at 0.
    rounding : float
        Of the Charbonnier loss: errors well below so many of the scene's mean steps between
        neighbours count as their squares, those of means over squares of n pixels below an
        nth; 0 for 0.001 alone.  The answer then is the mean of the possible ones where
        those differ by little, and large errors weigh more.
    star_weight : float
        Weight of stars: a pixel counts ``1 + star_weight sqrt(light)``.
    star_knee : float
        Light, in the display range, above which all stars count nearly alike; 0 for
        none.  See `nox_train.losses.star_weights`.
    grain_power : float
        How much more a scene counts the finer its grain is; 0 for all alike.  See
        `nox_train.losses.scene_weights`.
    star_quantile : float
        Quantile of the possible grounds under a faint star that the answer goes to, above 0
        and below 1: 0.5 the median, below it darker grounds, and rather none of the star's
        light.  See `nox_train.losses.tilted`.
    bright_quantile : float
        The same under bright stars: above 0.5 lighter grounds.
    grain : float
        Weight of `nox_train.losses.grain_distance`: what is filled in is to be as grainy
        as the target.
    gradient : float
        Weight of the error of the gradients.
    multi_scale : float
        Weight of the errors of the pictures averaged over 2 and 4 pixels: the glow of
        large stars, which single pixels hide in their noise.
    adversarial, perceptual : float
        Weights of the second stage's terms: the discriminator's verdict, and the
        distance of its features.  0 for both: no discriminator is made.
    adversary : {'hinge', 'relativistic', 'classic'}
        The adversarial loss.
    """

    kind: str = "l1"
    rounding: float = 0.0
    star_weight: float = 6.0
    star_knee: float = 0.0
    grain_power: float = 0.0
    star_quantile: float = 0.5
    bright_quantile: float = 0.5
    grain: float = 0.0
    gradient: float = 0.5
    multi_scale: float = 0.0
    adversarial: float = 0.0
    perceptual: float = 0.0
    adversary: str = "hinge"

    def __post_init__(self) -> None:
        _one_of("loss", self.kind, LOSSES)
        _one_of("adversary", self.adversary, ADVERSARIES)
        weights = ("star_weight", "star_knee", "grain_power", "grain", "gradient", "multi_scale")
        for name in (*weights, "rounding", "adversarial", "perceptual"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("star_quantile", "bright_quantile"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0 and below 1")

    @property
    def judged(self) -> bool:
        """Whether a discriminator takes part."""
        return bool(self.adversarial or self.perceptual)


@dataclass(frozen=True)
class OwnPlan:
    """A user's own pictures, mixed into the scenes; see `nox_train.own`.

    Attributes
    ----------
    pairs : str
        Folder with the folders ``input`` and ``target``, or empty.
    frames : str
        Folder of star-free pictures, or empty.
    share : float
        Of the scenes that are the user's, above 0 to 1; the rest are the standard
        ones, so that nothing is forgotten.
    stretch : str
        How pictures are shown, as `nox_runtime.stretch.choose`.
    """

    pairs: str = ""
    frames: str = ""
    share: float = 0.5
    stretch: str = "auto"

    def __post_init__(self) -> None:
        if self.pairs and self.frames:
            raise ValueError("give pairs or star-free frames, not both")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}; it must be above 0 and at most 1")

    def __bool__(self) -> bool:
        return bool(self.pairs or self.frames)


@dataclass(frozen=True)
class BankPlan:
    """What a bank is made of; equal plans make equal banks.

    ``pictures`` is a folder of star-free pictures, or empty for none; a share of
    ``invented`` of the backgrounds is procedural in any case.  ``objects``: of galaxies, knots
    and all that must stay, so many times as many as usual, up to 10.
    """

    seed: int = 11
    fields: int = 448
    field_size: int = 1024
    backgrounds: int = 2048
    background_size: int = 512
    invented: float = 0.5
    pictures: str = ""
    held_out: bool = False
    objects: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.objects <= 10:
            raise ValueError(f"objects is {self.objects}; it must be above 0 and at most 10")


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes
    ----------
    network : GeneratorPlan
    loss : LossPlan
    discriminator : DiscriminatorPlan
        Made where the loss asks for it.
    bank, held_out : BankPlan
        Scenes to train on and to validate with.
    own : OwnPlan
        Pictures of the user's among them.
    batch, size : int
        Patches a step and their side in pixels.
    sizes : tuple of int
        Sides of patches that grow over the training, in equal shares of it, instead of
        `size`.  `batch` is that of the first; it shrinks so that a step sees about
        as many pixels.
    minutes : float
        Length of the training; the learning rate falls along a cosine to the end.
    steps : int
        The same in steps, where that is given (not 0).
    rate : float
        Highest learning rate, reached after `warm_up` steps.
    warm_up : int
        Steps.
    average : float
        Momentum of the moving average of the weights.
    seed : int
    workers : int
        Processes that make scenes; one feeds two cores, a fast GPU wants a dozen.
    reuse : int
        How often a batch may be seen, 1 to 8, each time turned or mirrored otherwise,
        where the network is faster than its scenes are made; see `nox_train.replay`.
    revive : bool
        Whether hidden channels that are dead in the first weights begin anew, see
        `nox_train.channels`; those weights may then have other numbers of them.
    frozen : tuple of str
        Layers whose weights stay as they are, by their names' beginnings.
    precision : {'float32', 'bfloat16'}
        Of the layers' arithmetic; weights stay float32.  For GPUs, and CPUs with
        AVX512-BF16.
    validate_every, checkpoint_every : float
        Minutes.
    """

    network: GeneratorPlan = field(default_factory=GeneratorPlan)
    loss: LossPlan = field(default_factory=LossPlan)
    discriminator: DiscriminatorPlan = field(default_factory=DiscriminatorPlan)
    bank: BankPlan = field(default_factory=BankPlan)
    held_out: BankPlan = field(
        default_factory=lambda: BankPlan(fields=24, backgrounds=72, held_out=True)
    )
    own: OwnPlan = field(default_factory=OwnPlan)
    batch: int = 8
    size: int = 192
    sizes: tuple[int, ...] = ()
    minutes: float = 60.0
    steps: int = 0
    rate: float = 1e-3
    warm_up: int = 200
    average: float = 0.998
    seed: int = 1
    workers: int = 1
    reuse: int = 1
    revive: bool = False
    frozen: tuple[str, ...] = ()
    precision: str = "float32"
    validate_every: float = 6.0
    checkpoint_every: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.reuse <= 8:
            raise ValueError(f"reuse is {self.reuse}; it must be 1 to 8")
        most = min(p for b in (self.bank, self.held_out) for p in (b.field_size, b.background_size))
        for side in self.sizes or (self.size,):
            if side < 1 or side % self.network.multiple or side % 2 or side > most:
                raise ValueError(
                    f"the side of a patch is {side}; it must be a multiple of "
                    f"{max(2, self.network.multiple)} (the network's) up to {most} (the scenes')"
                )

    def stage(self, done: float) -> tuple[int, int]:
        """Batch and side of the patches when a share `done` of the training is over."""
        if not self.sizes:
            return self.batch, self.size
        size = self.sizes[min(int(done * len(self.sizes)), len(self.sizes) - 1)]
        return max(1, round(self.batch * self.sizes[0] ** 2 / size**2)), size
