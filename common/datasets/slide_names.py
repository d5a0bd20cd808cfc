"""Which slide an image was taken from, and which case the slide is of, as far as the names of images tell.

Names come from microscopes, cameras and renaming: ``<slide>_001``, ``<slide>-001``, ``<slide> (1)``, ``IMG_0001``. A number
behind an underscore or in brackets counts images. Behind a hyphen it may as well be part of the slide's own name
(``sj-03-476``), so that it counts images only where several of them have one that looks like a count.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from ..errors import listed

logger = logging.getLogger(__name__)

# What cameras, programs and people call any image: it names no slide. A class of the data set does not, either.
_WORDS = """
    img image images dsc dscf dscn pxl pic picture photo foto bild scan snap snapshot screenshot untitled
    slide case patient sample specimen tile patch crop field roi frame
"""
_GENERIC = frozenset(_WORDS.split())
_BRACKETS = re.compile(r"\s*\(\d+\)$")
_NUMBER = re.compile(r"_\d+$")
_HYPHEN = re.compile(r"(.*\d.*?)\s*-\s*(\d{3})")  # the slide's name has a number of its own
_DATED = re.compile(r"(.*?)\d{8}[_-]\d{6,9}")  # date and time of a telephone: IMG_20210304_101112
_SPARSE = 10  # numbers up to this many times the number of images are a count with gaps, not names


def slide_of(name: str, class_names: Sequence[str] = ()) -> str:
    """Slide of an image name by itself: what stands before the number at its end, without the prefix of a class.

    >>> slide_of("CLL-sj-03-476_001", ("CLL", "FL")), slide_of("sj-05-6124-R3_016"), slide_of("IMG_0001")
    ('sj-03-476', 'sj-05-6124-R3', 'IMG_0001')
    """
    inner = without_prefix(name, prefix_of(name, class_names))
    return slides_told([inner], class_names=class_names)[0] or inner


def case_of(slide: str) -> str:
    """Case of a slide: blocks of one case differ in a trailing ``-R<n>``.

    >>> case_of("sj-05-6124-R3"), case_of("sj-03-476")
    ('sj-05-6124', 'sj-03-476')
    """
    return re.sub(r"-R\d+$", "", slide) or slide


def slides_told(
    names: Sequence[str], labels: Sequence[str] | None = None, class_names: Iterable[str] = ()
) -> list[str]:
    """Slide of each image of a data set as the names tell it; "" where a name does not.

    Args:
        names: of the images, without the prefixes of classes.
        labels: class of each image, "" where it is not known: what stands in several classes before a number behind a
            hyphen is no slide.
        class_names: these words name no slide, either.

    >>> slides_told(["sj-03-2810-001", "sj-03-2810-002", "sj-03-476", "IMG_0001", "sj-03-588 (1)"])
    ['sj-03-2810', 'sj-03-2810', '', '', 'sj-03-588']
    """
    words = {word.casefold() for word in (*class_names, *(labels or ()))}
    present = set(names)
    # "x (1)" beside "x" is its copy, or the next image of it; without "x" the number counts the images of x.
    plain = [bare if (bare := _BRACKETS.sub("", name)) in present else name for name in names]
    repeated = {bare for name, bare in zip(names, plain, strict=True) if name != bare}
    counted = _counted(plain, [""] * len(names) if labels is None else labels)
    slides = []
    for name in plain:
        slide = _NUMBER.sub("", _BRACKETS.sub("", name))
        if slide == name:
            slide = counted.get(name, name if name in repeated else "")
        slides.append("" if _is_generic(slide, words) or _is_dated(name, words) else slide)
    return slides


def complete_slides(
    names: Sequence[str],
    inner: Sequence[str],
    labels: Sequence[str],
    known: Sequence[str],
    class_names: Iterable[str] = (),
) -> tuple[list[str], set[str]]:
    """Slide of each image of a data set, and the names of those of which nobody tells it: they are their own slides.

    Args:
        names: of the images; no two are equal.
        inner: the names without the prefixes of classes; those of two images may be equal.
        labels: class of each image, "" where it is not known.
        known: slide of each image, "" where it is to be found by its name.
        class_names: see :func:`slides_told`.
    """
    words = {*class_names, *labels}
    slides, untold = [], set()
    for name, bare, own, told in zip(names, inner, known, slides_told(inner, labels, words), strict=True):
        if not own and not told:
            untold.add(name)
        # Equal names that may be those of a slide stay equal, so that one in two classes is noticed.
        slides.append(own or told or (name if _says_nothing(bare, words) else bare))
    return slides, untold


def warn_of_unknown_slides(names: Sequence[str], total: int) -> None:
    """Log once that the slides of some images are not known; not of a single image, which shares its slide with none."""
    if names and total > 1:
        logger.warning(
            "no slide is known for %d of %d images (%s): each is taken for a slide of its own; images.csv (path, class, "
            "slide) can tell",
            *(len(names), total, listed(names, 3)),
        )


def prefix_of(name: str, class_names: Iterable[str]) -> str:
    """The class before the first hyphens of a name (the longest one), or ""."""
    return max((label for label in class_names if name.startswith(f"{label}-")), key=len, default="")


def without_prefix(name: str, label: str) -> str:
    """The name without the class and the hyphen before it; as it is where the class is ""."""
    return name.removeprefix(f"{label}-") if label else name


def _counted(names: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Slide by name, where numbers behind a hyphen count its images: 001, 002, 007, but not 476 and 588."""
    numbers: dict[str, dict[str, str]] = defaultdict(dict)
    classes: dict[str, set[str]] = defaultdict(set)
    for name, label in zip(names, labels, strict=True):
        if match := _HYPHEN.fullmatch(name):
            numbers[match[1]][name] = match[2]
            classes[match[1]].add(label)
    found: dict[str, str] = {}
    for slide, own in numbers.items():
        padded = any(number.startswith("0") for number in own.values())
        dense = max(map(int, own.values())) <= _SPARSE * len(own)
        if len(own) > 1 and padded and dense and len(classes[slide]) == 1:
            found |= dict.fromkeys(own, slide)
    return found


def _says_nothing(name: str, class_words: Iterable[str]) -> bool:
    """Whether a name is but a camera's, a number or both: two images of this name may have nothing in common."""
    return _is_generic(re.sub(r"\d", " ", name), {word.casefold() for word in class_words})


def _is_generic(text: str, class_words: set[str]) -> bool:
    """Whether there is no word in a text but those that name no slide."""
    return all(word in _GENERIC or word in class_words for word in re.split(r"[\W_]+", text.casefold()) if word)


def _is_dated(name: str, class_words: set[str]) -> bool:
    match = _DATED.fullmatch(_BRACKETS.sub("", name))
    return match is not None and _is_generic(match[1], class_words)
