"""Whyrec core: train a BERT + collaborative-filtering hybrid, recommend, explain, measure.

Importing is silent and cheap: neither torch nor transformers is loaded until a component needs it.
"""

__version__ = "0.1.0"
