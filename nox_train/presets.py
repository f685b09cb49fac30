"""Trainings by name, for `nox-train fit --preset`."""

from __future__ import annotations

from dataclasses import replace

from nox_train.plans import BankPlan, GeneratorPlan, TrainingPlan

_TINY_BANK = BankPlan(fields=4, field_size=512, backgrounds=8, background_size=256)

PRESETS: dict[str, tuple[str, TrainingPlan]] = {
    "smoke": (
        "half a minute, to see that everything works; the model is useless",
        TrainingPlan(
            network=GeneratorPlan(widths=(8, 12, 16), bottom_blocks=1),
            bank=_TINY_BANK,
            held_out=replace(_TINY_BANK, held_out=True),
            batch=4, size=96, minutes=0.5, validate_every=0.2, checkpoint_every=0.1,
        ),
    ),
    "small": (
        "an hour on two cores, a network of 2.5 M parameters",
        TrainingPlan(network=GeneratorPlan(widths=(24, 48, 96, 144, 144)), minutes=60),
    ),
    "standard": (
        "90 minutes on two cores, a network of 4.4 M parameters",
        TrainingPlan(minutes=90),
    ),
}  # fmt: skip
