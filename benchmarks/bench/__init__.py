"""Measurements: figures of whole commands and passes, against peers and limits, in one run."""
