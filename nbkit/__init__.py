"""nbkit: the helper package of the label-noise study. Importing it loads nothing heavy."""

__version__ = "0.1.0"
