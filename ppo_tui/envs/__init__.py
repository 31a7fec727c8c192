"""Environments: made for training (`make_env`), examined beforehand (`probe_env`)."""

from .making import make_env
from .probing import EnvInfo, probe_env

__all__ = ["EnvInfo", "make_env", "probe_env"]
