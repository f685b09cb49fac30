"""Make the pictures of docs/scenes.md.

python docs/make_scene_pictures.py [psf] [-o FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nox_train import psf
from nox_train.psf import Halo, Optics

#: Telescopes and faults shown on the sheet of point spread functions.
SHOWN = {
    "Newtonian, 4 vanes": Optics(
        fwhm=2.2, lambda_over_d=0.9, obstruction=0.28, vanes=4, vane_width=0.006, vane_angle=0.3,
    ),
    "Newtonian, 3 vanes, coma": Optics(
        fwhm=1.6, lambda_over_d=1.1, obstruction=0.25, vanes=3, vane_width=0.008, vane_angle=0.5,
        position=(0.8, -0.6), field_coma=0.5, field_astigmatism=0.12,
    ),
    "Webb, 18 segments": Optics(
        fwhm=0.7, beta=5, lambda_over_d=1.7, aperture="hexagons", aureole_share=0.002,
        wavelengths_um=(4.44, 2.77, 2.0), bandwidth=(0.25, 0.25, 0.1),
    ),
    "Hubble, narrowband": Optics(
        fwhm=0.7, beta=5, lambda_over_d=1.2, obstruction=0.33, vanes=4, vane_width=0.011,
        vane_angle=0.785, wavelengths_um=(0.673, 0.657, 0.502), bandwidth=(0.02,) * 3,
        aureole_share=0.003,
    ),
    "Achromat, violet halo": Optics(
        fwhm=2.4, lambda_over_d=1.4, chromatic_defocus=(0.12, 0.0, 0.3),
        fringe_share=(0.04, 0.0, 0.3), fringe_width=8,
    ),
    "Camera lens, 7 blades": Optics(
        fwhm=1.5, lambda_over_d=1.2, blades=7, blade_angle=0.2, field_colour=2.0,
        position=(0.9, 0.5),
    ),
    "Ritchey-Chretien, halos": Optics(
        fwhm=3.0, lambda_over_d=1.0, obstruction=0.45, vanes=4, vane_width=0.01, vane_angle=0.785,
        halos=(Halo((0.02, 0.015, 0.03), 48, 0.42, (5, -3), 3),
               Halo((0.02, 0.004, 0.002), 82, 0.9, softness=4)),
    ),
    "Microlenses": Optics(
        fwhm=2.4, lambda_over_d=1.0, obstruction=0.3, microlens_share=0.01, microlens_period=34,
        microlens_blur=1.6,
    ),
    "Corner: astigmatism": Optics(
        fwhm=1.8, lambda_over_d=1.0, position=(-0.9, -0.9), field_astigmatism=0.45,
        field_coma=0.2, field_curvature=-0.1,
    ),
    "Out of focus": Optics(
        fwhm=2.0, lambda_over_d=1.0, obstruction=0.35, vanes=4, vane_width=0.012, vane_angle=0.6,
        aberrations={"defocus": 1.6},
    ),
    "Tracking arc, dispersion": Optics(
        fwhm=2.2, trail=14, trail_angle=0.5, trail_bend=2.5,
        shift=psf.dispersion(3.0, 1.2, psf.RGB_WAVELENGTHS_UM),
    ),
    "Bahtinov mask": Optics(
        fwhm=1.5, lambda_over_d=1.0, aperture="bahtinov", aperture_angle=0.2,
        aberrations={"defocus": 0.12},
    ),
}  # fmt: skip


def log_scaled(image: np.ndarray, decades: float = 6.0) -> np.ndarray:
    """Logarithm of an image below its peak: 0 is `decades` below, 1 the peak."""
    return np.clip(1 + np.log10(np.maximum(image / image.max(), 1e-30)) / decades, 0, 1)


def psf_sheet(path: Path, *, side: int = 224, columns: int = 4, size: int = 512) -> None:
    """Contact sheet of point spread functions in colour, on a log scale of six decades."""
    rows = -(-len(SHOWN) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + 18)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    low = size // 2 - side // 2
    for i, (name, optics) in enumerate(SHOWN.items()):
        made = psf.colour_psf(optics, size)[:, low : low + side, low : low + side]
        tile = (255 * np.moveaxis(log_scaled(made), 0, -1) + 0.5).astype(np.uint8)
        x, y = i % columns * side, i // columns * (side + 18)
        sheet.paste(Image.fromarray(tile), (x, y + 18))
        draw.text((x + 4, y + 3), name, fill=(230, 230, 230))
    sheet.save(path, optimize=True)


#: Pictures by name; each function takes the path to write.
PICTURES = {"psf": psf_sheet}


def main() -> None:
    """Make the pictures asked for, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    args = parser.parse_args()
    unknown = set(args.names) - set(PICTURES)
    if unknown:
        parser.error(f"no such picture: {', '.join(unknown)}; there are {', '.join(PICTURES)}")
    for name in args.names or PICTURES:
        PICTURES[name](args.output / f"scenes-{name}.png")


if __name__ == "__main__":
    main()
