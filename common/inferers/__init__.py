"""The one tiled inference engine, as MONAI inferers: in one piece, in windows, at the objects' size, at a magnification, in
patches that vote."""

from .adaptive import SizeAdaptiveInferer
from .autocast import AutocastInferer
from .counterstain import CounterstainInferer
from .magnification import MagnificationInferer
from .patches import PatchInferer
from .tiled import TiledInferer

__all__ = [
    "AutocastInferer",
    "CounterstainInferer",
    "MagnificationInferer",
    "PatchInferer",
    "SizeAdaptiveInferer",
    "TiledInferer",
]
