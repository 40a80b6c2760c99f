"""Units of length, by all the names that files and programs have for them."""

MICROMETRES = {
    **dict.fromkeys(("µm", "\N{GREEK SMALL LETTER MU}m", "um", "micron", "microns", "micrometer", "\\u00b5m"), 1.0),
    **dict.fromkeys(("nm", "nanometer"), 1e-3),
    **dict.fromkeys(("mm", "millimeter"), 1e3),
    **dict.fromkeys(("cm", "centimeter"), 1e4),
    **dict.fromkeys(("m", "meter"), 1e6),
    "inch": 25_400.0,
}
"""How many micrometres one of them is; names are in small letters."""
