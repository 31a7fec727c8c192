"""Every setting in words, from its declaration."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from typing import Any

import msgspec

from ..config.schema import Setting, all_settings
from ..plotting import formats
from .card import Explanation

_FORMULAS = {
    "ppo.gamma": "return = Σ γᵏ r,   a horizon of about 1 / (1 − γ) steps",
    "ppo.gae_lambda": "Â = Σ (γλ)ˡ δ,   δ = r + γ·V(s′) − V(s)",
    "ppo.epochs": "gradient steps of an update = epochs × minibatches",
    "ppo.clip_range": "min(r·Â, clip(r, 1−ε, 1+ε)·Â)",
    "ppo.clip_range_upper": "min(r·Â, clip(r, 1−ε, 1+ε_upper)·Â)",
    "ppo.value_coef": "L = policy loss + c₁ · value loss − c₂ · S[π]",
    "ppo.entropy_coef": "L = policy loss + c₁ · value loss − c₂ · S[π]",
    "ppo.target_kl": "stop after an epoch whose KL > 1.5 × target",
    "optim.learning_rate": "θ ← θ − α · Adam(∇L)",
    "optim.max_grad_norm": "∇L ← ∇L · min(1, limit / ‖∇L‖)",
    "rollout.steps": "samples of an update = N × T",
    "rollout.num_envs": "samples of an update = N × T",
}

_ADVICE = {
    "optim.learning_rate": "KL too high or return falling: halve it. KL very low and return flat: double it.",
    "optim.max_grad_norm": "0.5 is usual; lower it where single updates do harm.",
    "ppo.clip_range": "Lower it where the KL keeps jumping; the learning rate is the better lever.",
    "ppo.clip_range_upper": "Raise it where the entropy falls too fast.",
    "ppo.entropy_coef": "Raise it where the policy decides too early, lower it where it never decides.",
    "ppo.epochs": "Fewer where the KL is too high; more where steps are costly to collect.",
    "ppo.gae_lambda": "0.9 to 0.97; lower where returns are noisy and the critic is good.",
    "ppo.gamma": "Nearer to 1 where rewards come late.",
    "ppo.target_kl": "0.01 to 0.03 keeps updates small, at the price of shorter ones.",
    "ppo.value_coef": "Raise it where the critic explains nothing.",
}


def _range(setting: Setting) -> str:
    """The range of a live setting, or another one's values, in words."""
    if live := setting.live:
        text = f"{formats.setting(live.low)} to {formats.setting(live.high)} in the editor"
        return text + (", or off" if live.optional else "")
    found = ", ".join(dict.fromkeys(_values(setting.type)))
    return f"values: {found}" if found else ""


def _values(kind: Any) -> list[str]:
    """The values of a type, as far as they can be listed."""
    if typing.get_origin(kind) is typing.Annotated:
        inner, *metas = typing.get_args(kind)
        bounds = [
            f"{sign} {getattr(meta, name):g}"
            for meta in metas
            if isinstance(meta, msgspec.Meta)
            for name, sign in (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
            if getattr(meta, name) is not None
        ]
        return [*_values(inner), *bounds]
    if typing.get_origin(kind) is typing.Literal:
        return [formats.setting(value) if value is not None else "off" for value in typing.get_args(kind)]
    if kind is bool:
        return ["true", "false"]
    if kind is type(None):
        return ["off"]
    return [value for part in typing.get_args(kind) for value in _values(part)]


def _explain(setting: Setting) -> Explanation:
    section = setting.key.rpartition(".")[0]
    fixed = "Fixed while a run trains" + (
        "." if setting.on_resume == "fixed" else f"; `ppo-tui resume RUN --set {setting.key}=…` changes it."
    )
    advice = _ADVICE.get(setting.key, "") if setting.live else fixed
    return Explanation(
        key=setting.key,
        name=formats.setting_name(setting.key),
        text=setting.description,
        formula=_FORMULAS.get(setting.key, ""),
        usual=_range(setting),
        advice=advice,
        link=f"settings.md#{section.replace('.', '')}",
    )


@functools.cache
def setting_explanations() -> Mapping[str, Explanation]:
    """Dotted name → explanation, in the order of the schema."""
    return {key: _explain(setting) for key, setting in all_settings().items()}
