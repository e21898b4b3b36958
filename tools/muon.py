"""Muon: momentum whose singular values are all made alike, so that a kernel's weak directions learn too.

Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The features after a ReLU are positive
and alike, so a layer's gradient lies in few directions, and Adam follows those.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM, SQUARES = 0.9, 0.99
OF_ADAM = 0.06  # Adam's learning rate by Muon's


def orthogonalise(matrix: Tensor) -> Tensor:
    """Roughly the matrix with its singular values set to 1: five steps of Newton and Schulz, with Jordan's numbers."""
    wide = len(matrix) <= len(matrix.mT)
    x = matrix if wide else matrix.mT
    x = x / x.norm().clamp_min(1e-12)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon for the kernels of hidden convolutions, Adam for everything else.

    Args:
        parameters: what is trained; a hidden kernel has four dimensions and more than three input channels.
        lr: how much of its own norm a kernel moves in a step. Adam's learning rate follows.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter by its gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim == 4 and parameter.shape[1] > 3:
                    self.step_kernel(parameter, parameter.grad, group["lr"])
                else:
                    self.step_adam(parameter, parameter.grad, OF_ADAM * group["lr"])

    def step_kernel(self, kernel: nn.Parameter, gradient: Tensor, lr: float) -> None:
        """Gradients count with the same norm, lest one odd batch fills the momentum."""
        momentum = self.state[kernel].setdefault("momentum", torch.zeros_like(kernel))
        gradient = gradient / gradient.norm().clamp_min(1e-20)
        momentum.lerp_(gradient, 1 - MOMENTUM)
        update = orthogonalise(torch.lerp(gradient, momentum, MOMENTUM).flatten(1))
        kernel.sub_((lr * kernel.norm() / update.norm().clamp_min(1e-20) * update).view_as(kernel))

    def step_adam(self, parameter: nn.Parameter, gradient: Tensor, lr: float) -> None:
        state = self.state[parameter]
        momentum = state.setdefault("momentum", torch.zeros_like(parameter))
        squares = state.setdefault("squares", torch.zeros_like(parameter))
        state["steps"] = state.get("steps", 0) + 1
        momentum.lerp_(gradient, 1 - MOMENTUM)
        squares.lerp_(gradient.square(), 1 - SQUARES)
        scale = (squares / (1 - SQUARES ** state["steps"])).sqrt().add_(1e-8)
        parameter.addcdiv_(momentum / (1 - MOMENTUM ** state["steps"]), scale, value=-lr)
