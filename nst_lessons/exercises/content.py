"""Lesson 3: the content loss, its gradient down to the pixels, and the image that comes back from the features."""

from __future__ import annotations

import torch
from torch import Tensor

from nst_lessons.exercises.checking import (
    Answer,
    Draw,
    close,
    exercise,
    expect,
    expect_gradient,
    expect_scalar,
    expect_shape,
    expect_value,
)
from nst_lessons.exercises.watching import (
    WatchedNetwork,
    expect_result,
    expect_search,
    expect_untouched,
    left_alone,
    near,
)
from nst_lessons.losses import relative_error

STEPS, FEW_STEPS = 60, 4  # of the reconstruction that is checked


@exercise("Content loss")
def check_content_loss(content_loss: Answer, draw: Draw) -> None:
    """``content_loss(F, P)``: ``|F - P|^2 / |P|^2``, for features ``(1, C, H, W)``; a scalar tensor.

    Gatys et al. (2016), equation 1, relative to the target.
    """
    F, scale = draw.features(), draw.number()
    P = torch.randn(F.shape, generator=draw.generator, dtype=F.dtype).clamp_min(0)
    loss = content_loss(F, P)
    _, channels, height, width = F.shape
    if isinstance(loss, Tensor) and loss.shape != F.shape:
        expect(loss.shape[-2:] != (height, width), "the sum is over the channels only; sum over the positions, too")
        expect(loss.shape[-1:] != (channels,), "the sum is over the positions only; sum over the channels, too")
    expect_scalar(loss, "the loss")
    finite = bool(loss.isfinite())
    expect(finite, "the loss is no finite number; is each value divided by a feature of its own, often 0?")
    expect_value(loss, relative_error(F, P), wrong_losses(F, P), "the value is not |F - P|^2 / |P|^2")
    expect(float(content_loss(P, P).abs()) < 1e-9, "equal features must have a loss of 0")
    expect(close(content_loss(scale * F, scale * P), loss), "a larger scale of both must not change the loss")
    expect(close(content_loss(F, P), loss), "the second call gives another value than the first: something is kept")
    expect_gradient(lambda x: content_loss(x, P), F)


def wrong_losses(F: Tensor, P: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of a content loss."""
    squares, own = (F - P).square(), P.square().sum((2, 3))
    by_channel = (squares.sum((2, 3)) / own).mean()
    return relative_mistakes(F, P, "F", "P") | {
        "the sum is squared, instead of each difference before it is summed": (F - P).sum().square() / own.sum(),
        "it is the paper's 1/2 |F - P|^2; ours is divided by the target's |P|^2 instead of by 2": squares.sum() / 2,
        "it is divided by the number of values too": squares.mean() / own.sum(),
        "each channel is divided by its own |P|^2; all are divided by that of the whole": by_channel,
    }


def relative_mistakes(x: Tensor, target: Tensor, X: str, T: str) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of ``|X - T|^2 / |T|^2``, where X and T are names."""
    difference, norm = x - target, target.square().sum()
    squares = difference.square().sum()
    return {
        "the square is missing: differences are taken as they are": difference.sum() / norm,
        "the square is missing: absolute differences are summed": difference.abs().sum() / norm,
        f"it is not divided by the target's |{T}|^2": squares,
        f"it is divided by |{T}|, without the square": squares / norm.sqrt(),
        "the root of the loss was not asked": (squares / norm).sqrt(),
        f"it is divided by |{X}|^2 instead of the target's |{T}|^2": squares / x.square().sum(),
        f"it is the mean of the squares; their sum by |{T}|^2 was asked": squares / x.numel(),
        "the sign is wrong": -squares / norm,
        "there is a factor of 1/2 too many": squares / norm / 2,
    }


@exercise("Step of gradient descent")
def check_training_step(training_step: Answer, draw: Draw) -> None:
    """``training_step(image, loss_fn, learning_rate) -> (image, loss)``: one step of gradient descent.

    The new image is ``image - learning_rate * gradient``, clamped to [0, 1]; the loss, a float, is that of the image
    before the step. `loss_fn` gives a scalar tensor. The image given stays as it is.
    """
    image, rate = 0.2 + 0.6 * draw.image(), draw.number(0.2, 0.4)
    goal = 2 * torch.rand(image.shape, generator=draw.generator) - 0.5
    curvature = 0.5 + torch.rand(image.shape, generator=draw.generator)

    def loss_fn(x: Tensor) -> Tensor:
        return (curvature * (x - goal).square()).sum()

    gradient = 2 * curvature * (image - goal)
    right, asked = (image - rate * gradient).clamp(0, 1), "the new image and the loss, in this order"
    new, loss = two_values(training_step(image, loss_fn, rate), image, 0, asked)
    expect_untouched(image, "the image")
    expect_shape(new, tuple(image.shape), "the new image")
    expect(not new.requires_grad, "the new image still requires a gradient; its steps would be kept: detach it")
    formula = "the new image is not image - learning_rate * gradient, clamped to [0, 1]"
    expect_value(new, right, wrong_steps(image, gradient, rate), formula)
    expect(not isinstance(loss, Tensor), "the loss is a tensor, and a float was asked; .item() gives it")
    expect(isinstance(loss, float), f"the loss must be a float, and is a {type(loss).__name__}")
    after = {"the loss is that after the step; that before it was asked": loss_fn(right)}
    otherwise = "the loss is not what loss_fn gives for the image before the step"
    expect_value(torch.tensor(loss), loss_fn(image), after, otherwise)
    again, _ = two_values(training_step(image, loss_fn, rate), image, 0, asked)
    expect(
        close(again, right),
        "the same call once more gives another image; do gradients add up, or is something kept from the first?",
    )


def wrong_steps(image: Tensor, gradient: Tensor, rate: float) -> dict[str, Tensor | float]:
    """``{sentence: the image that comes out with this mistake}`` of a step of gradient descent."""

    def step(change: Tensor) -> Tensor:
        return (image - change).clamp(0, 1)

    return {
        "the new image is that which was given; is the step taken on a copy that is not returned?": image,
        "the step goes uphill: the gradient is added, and must be subtracted": step(-rate * gradient),
        "the step goes uphill, and is not clamped to [0, 1]": image + rate * gradient,
        "the new image is not clamped to [0, 1]": image - rate * gradient,
        "the learning rate is left out": step(gradient),
        "the gradient is divided by the learning rate; multiply it": step(gradient / rate),
        "only the sign of the gradient is used; its size counts, too": step(rate * gradient.sign()),
        "the gradient is clamped to [0, 1]; it is the new image that has this range": step(rate * gradient.clamp(0, 1)),
        "the gradient is clamped to [-1, 1], which was not asked": step(rate * gradient.clamp(-1, 1)),
        "the gradient is scaled to the length 1, which was not asked": step(rate * gradient / gradient.norm()),
        "the gradient counts twice; is backward called two times?": step(2 * rate * gradient),
        "this is the change alone; subtract it from the image": rate * gradient,
        "this is the gradient; the image after the step was asked": gradient,
    }


def two_values(value: object, image: Tensor, place: int, asked: str) -> tuple[Tensor, Tensor]:
    """The two values that a function returns; `Mistake` unless there are two, the one of the image's shape in place."""
    expect(isinstance(value, tuple | list) and len(value) == 2, f"two values were asked: return {asked}")
    assert isinstance(value, tuple | list)
    like_image = [getattr(each, "shape", ()) == image.shape for each in value]
    expect(like_image[place] or not like_image[1 - place], f"the two values are in the wrong order: return {asked}")
    return value[0], value[1]


@exercise("Gradient down to the pixels")
def check_gradient_to_the_image(loss_and_gradient: Answer, draw: Draw) -> None:
    """``loss_and_gradient(network, image, layer, target) -> (loss, gradient)``: of the image, and of nothing else.

    The loss is ``|F - P|^2 / |P|^2``, where F are the network's features of the image ``(1, 3, H, W)`` at the layer,
    and P is the target, a constant; the gradient has the image's shape. No weight of the network gets a ``.grad``, and
    each requires one, or not, as before. Gatys et al. (2016), equation 2 and figure 2.
    """
    network, image = WatchedNetwork(draw), draw.image()
    photo = torch.rand(image.shape, generator=draw.generator)
    for layer, trainable, target_asks in (
        ("relu1_2", False, False),
        ("relu2_1", False, False),
        ("relu2_1", False, True),
        ("relu2_1", True, False),
    ):
        target = network.features_of(photo, layer).requires_grad_(target_asks)
        network.requires_grad_(trainable)
        for _ in range(2):
            with left_alone(network):
                answer = loss_and_gradient(network, image, layer, target)
            expect_untouched(image, "the image")
            constant = target.grad is None
            expect(constant, "the target has got a gradient, too; it is a constant, and only the image changes")
            judge_gradient(answer, network, image, layer, target.detach())
        network.requires_grad_(False)


def judge_gradient(answer: object, network: WatchedNetwork, image: Tensor, layer: str, target: Tensor) -> None:
    """Raise `Mistake` unless an answer is the content loss and its gradient."""
    loss, gradient = two_values(answer, image, 1, "the loss and the gradient, in this order")
    expect(isinstance(loss, Tensor | float), f"the loss must be a number, and is a {type(loss).__name__}")
    value = torch.as_tensor(loss).detach()
    expect(value.numel() == 1, f"the loss must be one number, and has the shape {tuple(value.shape)}")
    x = image.clone().requires_grad_()
    F = network.features_of(x, layer)
    right = relative_error(F, target)
    (slope,) = torch.autograd.grad(right, x)
    others = {name: network.features_of(image, name) for name in network.layers if name != layer}
    itself = {"the loss is 0; is the target computed from the image itself?": 0.0}
    elsewhere = {
        f"the loss is that of {name}; {layer} was asked": relative_error(maps, target)
        for name, maps in others.items()
        if maps.shape == target.shape
    }
    mistakes = {**itself, **elsewhere, **wrong_losses(F.detach(), target)}
    expect_value(value, right.detach(), mistakes, f"the loss is not |F - P|^2 / |P|^2 at {layer}")
    missing = gradient is None
    expect(not missing, "the gradient is None; is .grad read before backward, or from a tensor that is a copy?")
    of_features = getattr(gradient, "shape", ()) == target.shape
    expect(not of_features, "this is the gradient of the features; that of the image was asked")
    expect_shape(gradient, tuple(image.shape), "the gradient")
    expect(not gradient.requires_grad, "the gradient requires a gradient itself; create_graph was not asked")
    wrong = {
        "the gradient is 0 everywhere; is the loss cut off from the image?": 0 * slope,
        "the sign of the gradient is wrong": -slope,
        "the gradient counts twice: it is added to that of an earlier backward": 2 * slope,
        "the gradient is scaled to the length 1, which was not asked": slope / slope.norm(),
        "only the sign of the gradient is returned": slope.sign(),
        "this is the image after a step; the gradient alone was asked": image - slope,
        "this is the gradient of the root of the loss": slope / (2 * right.detach().sqrt()),
    }
    expect_value(gradient, slope, wrong, "the gradient is not that of the loss with respect to the image")


@exercise("Reconstruction")
def check_reconstruction(reconstruct: Answer, draw: Draw) -> None:
    """``reconstruct(network, photo, layer, start, steps) -> image``: from the start to the photo's features.

    All images are ``(1, 3, H, W)`` in [0, 1], the result, too. The start is noise, and stays as it is; any optimiser of
    torch changes a copy of it until the network's features at the layer are the photo's: the content loss, relative to
    the photo's features, must fall to less than half of the start's. Gatys et al. (2016), section 2.1.
    """
    network, noise = WatchedNetwork(draw), draw.image()
    photo = 0.1 + 0.8 * torch.rand(noise.shape, generator=draw.generator).round()
    layer = draw.random.choice(["relu2_1", "relu2_2"])
    result = searched(reconstruct, network, photo, layer, noise, STEPS)
    asked = any(layer in each.layers for each in network.searches)
    expect(asked, f"the network was not asked for {layer} of the image")
    expect(
        (result - photo).norm() > (noise - photo).norm() / 2,
        "the result is nearer to the photo than its features alone can bring it; are pixels compared, or the photo "
        "mixed in?",
    )
    loss, at_start = (float(network.content_error(image, photo, layer)) for image in (result, noise))
    expect(
        loss < 1.05 * at_start,
        f"the content loss rises, from {at_start:.2f} to {loss:.2f}; is a sign wrong, or the learning rate too large?",
    )
    expect(
        loss < at_start / 2,
        f"after {STEPS} steps the content loss has only gone from {at_start:.3f} to {loss:.3f}, and less than half was "
        "asked; is the learning rate too small or too large?",
    )
    evaluations = len(network.searches)
    searched(reconstruct, network, photo, layer, noise, FEW_STEPS)
    fewer = len(network.searches) < evaluations
    expect(fewer, f"{FEW_STEPS} steps and {STEPS} steps are the same number of steps; is `steps` used?")


def searched(
    reconstruct: Answer, network: WatchedNetwork, photo: Tensor, layer: str, noise: Tensor, steps: int
) -> Tensor:
    """A reconstruction's result, an image that was searched for from the noise on."""
    network.passes.clear()
    with left_alone(network):
        result = reconstruct(network, photo, layer, noise, steps)
    expect_untouched(noise, "the start")
    expect_result(result, noise)
    expect(not near(result, photo), "the result is the photo itself; it must come from the photo's features alone")
    expect(not close(result, noise), "the result is the start; does the optimiser change the image that is returned?")
    expect_search(network, noise, "the start that was given", photo, "the photo")
    image: Tensor = result
    return image
