"""Plans: what to build and how to train, as plain data.

Importing them loads neither Keras nor SciPy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

HEADS = ("subtract", "compose")


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
    unshuffle : int
        Side of the pixel blocks turned into channels before the first level.
    channels : int
        Of the picture, 3 or 1.
    head : {'subtract', 'compose'}
        ``x - relu(r)``, or ``x + mask d`` with a mask of 0 to 1 and a signed d.
    """

    widths: tuple[int, ...] = (32, 64, 128, 192, 192)
    bottom_blocks: int = 2
    unshuffle: int = 2
    channels: int = 3
    head: str = "subtract"

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head is {self.head!r}; it must be one of {HEADS}")

    @property
    def multiple(self) -> int:
        """Sides of a picture must be multiples of this."""
        return self.unshuffle * 2 ** (len(self.widths) - 1)

    def as_dict(self) -> dict:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: dict) -> GeneratorPlan:
        """Read what `as_dict` wrote."""
        return cls(**{**facts, "widths": tuple(facts["widths"])})


@dataclass(frozen=True)
class BankPlan:
    """What a bank is made of; equal plans make equal banks.

    ``pictures`` is a folder of star-free pictures, or empty for none; a share of
    ``invented`` of the backgrounds is procedural in any case.
    """

    seed: int = 4
    fields: int = 160
    field_size: int = 1024
    backgrounds: int = 480
    background_size: int = 512
    invented: float = 0.5
    pictures: str = ""
    held_out: bool = False


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    Attributes
    ----------
    network : GeneratorPlan
    bank, held_out : BankPlan
        Scenes to train on and to validate with.
    batch, size : int
        Patches a step and their side in pixels.
    minutes : float
        Length of the training; the learning rate falls along a cosine to the end.
    steps : int
        The same in steps, where that is given (not 0).
    rate : float
        Highest learning rate, reached after 200 steps.
    average : float
        Momentum of the moving average of the weights.
    seed : int
    workers : int
        Processes that make scenes; one feeds two cores, a fast GPU wants a dozen.
    precision : {'float32', 'bfloat16'}
        Of the layers' arithmetic; weights stay float32.  For GPUs.
    validate_every, checkpoint_every : float
        Minutes.
    """

    network: GeneratorPlan = field(default_factory=GeneratorPlan)
    bank: BankPlan = field(default_factory=BankPlan)
    held_out: BankPlan = field(
        default_factory=lambda: BankPlan(fields=24, backgrounds=72, held_out=True)
    )
    batch: int = 8
    size: int = 192
    minutes: float = 60.0
    steps: int = 0
    rate: float = 1e-3
    average: float = 0.998
    seed: int = 1
    workers: int = 1
    precision: str = "float32"
    validate_every: float = 6.0
    checkpoint_every: float = 2.0
