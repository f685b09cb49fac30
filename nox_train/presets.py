"""Trainings by name, for `nox-train fit --preset`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nox_train.plans import BankPlan, DiscriminatorPlan, GeneratorPlan, LossPlan, TrainingPlan


@dataclass(frozen=True)
class Preset:
    """A training of one or more phases, each from the best weights of the one before."""

    description: str
    phases: tuple[TrainingPlan, ...]


def with_budget(
    phases: Sequence[TrainingPlan], *, minutes: float | None = None, steps: int | None = None
) -> tuple[TrainingPlan, ...]:
    """Share out minutes or steps as the phases' own lengths do; None leaves those."""
    if minutes is None and steps is None:
        return tuple(phases)
    for name, value in (("minutes", minutes), ("steps", steps)):
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name} is {value}; it must be above 0")
    if minutes is not None and all(p.steps for p in phases):
        lengths = [float(p.steps * p.batch * (p.sizes or (p.size,))[0] ** 2) for p in phases]
    else:
        lengths = [float(p.steps or p.minutes) for p in phases]
    shares = [length / sum(lengths) for length in lengths]
    if steps is not None:
        return tuple(
            replace(p, steps=max(1, round(s * steps))) for p, s in zip(phases, shares, strict=True)
        )
    assert minutes is not None
    return tuple(
        replace(p, steps=0, minutes=s * minutes) for p, s in zip(phases, shares, strict=True)
    )


_TINY_BANK = BankPlan(fields=4, field_size=512, backgrounds=8, background_size=256)
_SECOND = TrainingPlan(batch=4, size=256, rate=5e-4, steps=3500)

#: For weights that know bright stars already: faint ones, and what is left in fine grain.
_FAINT = LossPlan(kind="charbonnier", multi_scale=0.5, star_knee=0.05, grain_power=0.7)
#: And as grainy as the target, with rather nothing of a faint star than half of it.
_GRAINY = replace(_FAINT, grain=0.1, star_quantile=0.35)

#: And without telling errors apart that the grain hides: fewer faint stars stay.
_ROUNDED = replace(_GRAINY, grain=0.015, star_quantile=0.3, rounding=2.0)

#: Half of the hidden channels of the deep levels were dead: fewer of them, all alive.
_ALIVE = GeneratorPlan(hidden=(64, 128, 192, 192, 192, 192, 192, 256, 128, 64))
#: And without the weakest of those, most of which add below two thousandths of their strongest.
_STRONG = GeneratorPlan(hidden=(64, 128, 144, 128, 64, 64, 80, 224, 128, 64))

#: With twice the galaxies and knots, which look like what the rounded loss takes in part.
_OBJECTS = replace(
    _SECOND, network=_ALIVE, batch=8, rate=2e-4, average=0.999, reuse=4,
    bank=BankPlan(objects=2.0), loss=replace(_ROUNDED, grain_power=1.0),
)  # fmt: skip

#: On a GPU of a machine with 16 cores, which make scenes more slowly than it learns.
_GPU = replace(
    _SECOND, batch=64, rate=1e-3, average=0.999, loss=_FAINT, workers=15, reuse=8,
)  # fmt: skip

#: The original nox's loss, 0.1 adversarial + 0.1 p1 + 10 (p2 + ... + p8) + 100 L1 on values
#: of -1 to 1, over 200: an L1 of 0 to 1 is half of that of -1 to 1.
_ORIGINAL_LOSS = LossPlan(
    star_weight=0.0, gradient=0.0, adversarial=0.0005, perceptual=0.05, adversary="classic"
)

PRESETS: dict[str, Preset] = {
    "smoke": Preset(
        "half a minute, to see that everything works; the model is useless",
        (
            TrainingPlan(
                network=GeneratorPlan(widths=(8, 12, 16), bottom_blocks=1),
                bank=_TINY_BANK,
                held_out=replace(_TINY_BANK, held_out=True),
                batch=4, size=96, minutes=0.5, validate_every=0.2, checkpoint_every=0.1,
            ),
        ),
    ),
    "small": Preset(
        "an hour on two cores, a network of 2.5 M parameters",
        (TrainingPlan(network=GeneratorPlan(widths=(24, 48, 96, 144, 144)), minutes=60),),
    ),
    "standard": Preset(
        "90 minutes on two cores, a network of 4.4 M parameters",
        (TrainingPlan(minutes=90),),
    ),
    "shipped": Preset(
        "the phases of the model that nox ships, in steps; those of 64 patches are for a GPU",
        (
            TrainingPlan(steps=8339),
            _SECOND,
            replace(_SECOND, steps=2000),
            replace(_SECOND, steps=1669),
            replace(_SECOND, steps=9800),
            replace(_SECOND, steps=5468),
            replace(_SECOND, steps=13000, loss=_FAINT),
            # On a GPU; then it was broken off at 69 % of its schedule, which the next phase ended.
            replace(_GPU, steps=16356),
            replace(_SECOND, rate=1e-4, steps=1960, loss=_FAINT),
            # 0.6.0: the first two on a GPU, when the quantile was still that of bright stars,
            # too; between the parts means of weights were taken, which a preset does not do.
            replace(_GPU, loss=_GRAINY, steps=15395),
            replace(
                _GPU, rate=2e-4, warm_up=100, average=0.998, steps=6262,
                loss=replace(_GRAINY, adversarial=0.01, perceptual=0.1),
                discriminator=DiscriminatorPlan(rate=2.0),
            ),
            replace(
                _SECOND, rate=1e-4, steps=10080,
                loss=replace(_GRAINY, grain=0.03, star_quantile=0.25),
            ),
            # 0.7.0 is the mean of 0.6.0 and of the weights after 6,158 of these.
            replace(
                _SECOND, batch=8, rate=2.5e-4, steps=9395, average=0.999, reuse=4,
                loss=replace(_GRAINY, grain=0.05, star_quantile=0.3),
            ),
            # 0.8.0: from the mean of 0.7.0 and the first, the second; half of its weights after
            # 1,763 steps, a quarter of 0.7.0's and a quarter of 0.6.0's.
            replace(
                _SECOND, network=_ALIVE, revive=True, batch=8, rate=4e-4, steps=4988,
                average=0.999, reuse=4, loss=replace(_GRAINY, grain=0.05, star_quantile=0.3),
                frozen=("stem", "down0", "shrink0", "down1", "shrink1", "up0", "residual"),
            ),
            replace(
                _SECOND, network=_ALIVE, batch=8, rate=1.5e-4, steps=5012, average=0.999, reuse=4,
                loss=replace(_GRAINY, grain=0.015, star_quantile=0.3),
            ),
            # 0.9.0: from 0.8.0 the first, from 70 % of that the second (its loss was rounded under
            # stars alone); 35 and 15 % of them, 20 % of 0.8.0 and 30 % of 0.6.0.
            replace(
                _SECOND, network=_ALIVE, batch=8, rate=2e-4, steps=1411, average=0.998, reuse=4,
                loss=_ROUNDED,
            ),
            replace(
                _SECOND, network=_ALIVE, batch=8, rate=1.2e-4, steps=612, average=0.997, reuse=4,
                loss=_ROUNDED,
            ),
            # 0.10.0: this, from 45 % of the first of 0.9.0, 35 % of 0.6.0 and 20 % of 0.7.0; 44 %
            # of it, 37 % of 0.6.0 and 19 % of the second of 0.9.0.
            replace(
                _SECOND, network=_ALIVE, batch=8, rate=2e-4, steps=1708, average=0.999, reuse=4,
                loss=replace(_ROUNDED, grain_power=1.0),
            ),
            # 0.11.0: this, from 60 % of the last and 40 % of 0.6.0; 85 % of it and 15 % of the
            # second of 0.9.0.
            replace(_OBJECTS, steps=1015),
            # 0.12.0: this, from 85 % of the last and 15 % of the one before; half of it, 30 % of
            # its 435th step and 20 % of 0.6.0.
            replace(_OBJECTS, steps=706),
            # 0.13.0: this, from 0.12.0 without its weak channels; 45 % of it, 40 % of its 1,063rd
            # step and 15 % of 0.6.0, likewise.
            replace(_OBJECTS, network=_STRONG, revive=True, steps=1873, warm_up=50),
        ),
    ),
    "original": Preset(
        "the original nox's networks (54 M parameters), loss and rates; for GPUs",
        (
            TrainingPlan(
                network=GeneratorPlan(
                    widths=(64, 128, 256, 512, 512, 512, 512, 512), bottom_blocks=0, unshuffle=1,
                    architecture="original",
                ),
                loss=_ORIGINAL_LOSS,
                discriminator=DiscriminatorPlan(
                    widths=(32, 64, 64, 128, 128, 256, 256, 256, 8),
                    feature_weights=(0.01, 1, 1, 1, 1, 1, 1, 1),
                    architecture="original",
                ),
                batch=6, size=512, rate=1e-4, minutes=90,
            ),
        ),
    ),
}  # fmt: skip

#: Of `nox-train finetune`: a few minutes with small steps, scenes made in half a minute.
FINETUNE = TrainingPlan(
    loss=_FAINT,
    bank=BankPlan(fields=32, backgrounds=48),
    held_out=BankPlan(fields=8, backgrounds=24, held_out=True),
    batch=4, size=192, minutes=5, rate=2e-4, warm_up=50, average=0.99,
    validate_every=1.0, checkpoint_every=1.0,
)  # fmt: skip
