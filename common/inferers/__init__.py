"""The one tiled inference engine, as MONAI inferers: in one piece, in windows, at the objects' size, at a magnification."""

from .adaptive import SizeAdaptiveInferer
from .autocast import AutocastInferer
from .magnification import MagnificationInferer
from .tiled import TiledInferer

__all__ = ["AutocastInferer", "MagnificationInferer", "SizeAdaptiveInferer", "TiledInferer"]
