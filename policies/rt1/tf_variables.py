"""The variables of a published RT-1 checkpoint and the tensors of `RT1` they become.

One table lists every TensorFlow variable and every tensor of the network; `tensors_from_variables` refuses
anything left over on either side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from real2sim.policies.rt1.config import RT1Config

ROOT = "agent/_actor_network/"
NET = ROOT + "_image_tokenizer/_tokenizer/net/layer_with_weights-"
COUNT = NET + "0/count"
"""Number of pictures that Keras' normalisation layer has seen: no part of the network."""


@dataclass(frozen=True)
class Variable:
    """A TensorFlow variable, the tensor it becomes and how its layout changes."""

    name: str
    tensor: str
    layout: str = "same"
    """same | conv (h w i o -> o i h w) | depthwise (h w c 1 -> c 1 h w) | dense (i o -> o i) |
    heads (i n k -> n*k i) | heads_bias (n k -> n*k) | heads_output (n k o -> o n*k), n heads of k"""


def variable_table(config: RT1Config) -> tuple[Variable, ...]:
    """Every variable of a checkpoint of this size except `COUNT`, in the order of SavedModels."""
    tokenizer = ROOT + "_image_tokenizer/_tokenizer/"
    learner = ROOT + "_image_tokenizer/_token_learner/"
    transformer = ROOT + "_transformer/"
    table = [
        *_dense(ROOT + "_action_token_emb/", "action_embedding"),
        Variable(tokenizer + "conv1x1/kernel", "tokenizer.project.weight", "conv"),
        *_efficientnet(config),
        *_film(tokenizer + "film_layer/", "tokenizer.film"),
        *_dense(learner + "mlp/_hidden_layer/", "token_learner.hidden"),
        *_dense(learner + "mlp/_output_layer/", "token_learner.output"),
        *_norm(learner + "layernorm/", "token_learner.norm"),
    ]
    for i in range(config.layers):
        source, target = f"{transformer}_layers/{i}/", f"transformer.layers.{i}."
        table += [
            *_norm(source + "layernorm1/", target + "norm1"),
            *_heads(source + "mha1/_key_dense/", target + "attention.key"),
            Variable(
                source + "mha1/_output_dense/kernel", target + "attention.output.weight", "heads_output"
            ),
            Variable(source + "mha1/_output_dense/bias", target + "attention.output.bias"),
            *_heads(source + "mha1/_query_dense/", target + "attention.query"),
            *_heads(source + "mha1/_value_dense/", target + "attention.value"),
            *_dense(source + "ff/", target + "feed_forward"),
            *_norm(source + "layernorm2/", target + "norm2"),
        ]
    table += [
        *_dense(transformer + "_output_tokens/", "transformer.output"),
        Variable(transformer + "_position_emb/kernel", "transformer.position"),
        Variable(transformer + "_position_emb/bias", "transformer.position_bias"),
        *_dense(transformer + "_token_emb/", "transformer.embed"),
    ]
    return tuple(table)


def saved_model_keys(config: RT1Config) -> dict[str, str]:
    """Key in the variables of a SavedModel -> name in the checkpoint; number 0 is the training step."""
    names = [row.name for row in variable_table(config)]
    names.insert(names.index(NET + "0/variance") + 1, COUNT)
    return {f"model_variables/{number}": name for number, name in enumerate(names, start=1)}


def tensors_from_variables(variables: Mapping[str, np.ndarray], config: RT1Config) -> dict[str, Tensor]:
    """Tensors for ``RT1(config)``; a variable that is missing or left over raises a ValueError."""
    table = variable_table(config)
    expected = {row.name for row in table}
    missing, unknown = sorted(expected - set(variables)), sorted(set(variables) - expected - {COUNT})
    if missing or unknown:
        name, state = (missing[0], "missing") if missing else (unknown[0], "unknown")
        raise ValueError(
            f"variable {name} is {state} ({len(missing)} missing, {len(unknown)} unknown); "
            "is this an RT-1 checkpoint of the published kind?"
        )
    tensors: dict[str, Tensor] = {}
    for row in table:
        value = variables[row.name]
        try:
            tensors[row.tensor] = to_torch(value, row.layout)
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"variable {row.name} has shape {value.shape}, which is none of a {row.layout!r} layer; is this "
                "an RT-1 checkpoint of the published kind?"
            ) from error
    return tensors


def to_torch(value: np.ndarray, layout: str) -> Tensor:
    """A variable in torch's layout; see `Variable.layout`."""
    if layout == "conv":
        value = value.transpose(3, 2, 0, 1)
    elif layout == "depthwise":
        value = value.transpose(2, 3, 0, 1)
    elif layout == "dense":
        value = value.T
    elif layout == "heads":
        value = value.reshape(value.shape[0], -1).T
    elif layout == "heads_bias":
        value = value.reshape(-1)
    elif layout == "heads_output":
        value = value.reshape(-1, value.shape[2]).T
    elif layout != "same":
        raise ValueError(f"unknown layout {layout!r}")
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))


def _efficientnet(config: RT1Config) -> list[Variable]:
    """EfficientNet's variables: Keras numbers the layers that have weights in the order of the data flow."""
    net = "tokenizer.net."
    rows = [Variable(NET + "0/mean", net + "mean"), Variable(NET + "0/variance", net + "variance")]
    layers: list[tuple[str, str]] = [("conv", "stem"), ("batch_norm", "stem_norm")]
    for i, block in enumerate(config.blocks):
        parts = [("conv", "expand"), ("batch_norm", "expand_norm")] if block.expand != 1 else []
        parts += [("depthwise", "depthwise"), ("batch_norm", "depthwise_norm")]
        parts += [("conv_bias", "squeeze"), ("conv_bias", "excite")]
        parts += [("conv", "project"), ("batch_norm", "project_norm"), ("film", "film")]
        layers += [(kind, f"blocks.{i}.{part}") for kind, part in parts]
    layers += [("conv", "top"), ("batch_norm", "top_norm")]
    for number, (kind, part) in enumerate(layers, start=1):
        source, target = f"{NET}{number}/", net + part
        if kind == "batch_norm":
            rows.append(Variable(source + "moving_mean", target + ".running_mean"))
            rows.append(Variable(source + "moving_variance", target + ".running_var"))
            rows += _norm(source, target)
        elif kind == "film":
            rows += _film(source, target)
        elif kind == "depthwise":
            rows.append(Variable(source + "depthwise_kernel", target + ".weight", "depthwise"))
        else:
            rows.append(Variable(source + "kernel", target + ".weight", "conv"))
            if kind == "conv_bias":
                rows.append(Variable(source + "bias", target + ".bias"))
    return rows


def _dense(source: str, target: str) -> list[Variable]:
    return [
        Variable(source + "kernel", target + ".weight", "dense"),
        Variable(source + "bias", target + ".bias"),
    ]


def _heads(source: str, target: str) -> list[Variable]:
    return [
        Variable(source + "kernel", target + ".weight", "heads"),
        Variable(source + "bias", target + ".bias", "heads_bias"),
    ]


def _norm(source: str, target: str) -> list[Variable]:
    return [Variable(source + "gamma", target + ".weight"), Variable(source + "beta", target + ".bias")]


def _film(source: str, target: str) -> list[Variable]:
    return [
        *_dense(source + "_projection_add/", target + ".add"),
        *_dense(source + "_projection_mult/", target + ".mult"),
    ]
