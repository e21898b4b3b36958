"""Lesson 3's check of the gradient down to the pixels: wrong solutions are caught, each with its own sentence."""

import pytest
import torch
from answers import assert_caught, assert_right
from torch.nn.functional import mse_loss

from nst_lessons import content_loss
from nst_lessons.exercises import check_gradient_to_the_image


def loss_by_squares(F, P):
    return ((F - P) ** 2).sum() / (P**2).sum()


def gradient_by_grad(network, image, layer, target):
    x = image.clone().requires_grad_()
    loss = loss_by_squares(network(x, [layer])[layer], target)
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.item(), gradient


def gradient_by_backward(network, image, layer, target):
    x = image.detach().clone().requires_grad_()
    loss = content_loss(network(x, [layer]), {layer: target.detach()})
    loss.backward(inputs=[x])
    return loss, x.grad


def gradient_by_func(network, image, layer, target):
    gradient, loss = torch.func.grad_and_value(lambda x: loss_by_squares(network(x, [layer])[layer], target))(image)
    return loss.detach(), gradient.detach()


def gradient_by_chain_rule(network, image, layer, target):
    """Equation 2 by hand down to the layer, torch from there on."""
    x = image.clone().requires_grad_()
    F = network(x, [layer])[layer]
    target = target.detach()
    of_features = 2 * (F.detach() - target) / (target**2).sum()
    (gradient,) = torch.autograd.grad(F, x, grad_outputs=of_features)
    return loss_by_squares(F, target).item(), gradient


@pytest.mark.parametrize("answer", [gradient_by_grad, gradient_by_backward, gradient_by_func, gradient_by_chain_rule])
def test_right_gradients(answer):
    assert_right(check_gradient_to_the_image, answer)


def gradient_of(loss_fn):
    """An answer with another loss."""

    def answer(network, image, layer, target):
        x = image.clone().requires_grad_()
        loss = loss_fn(network, x, layer, target)
        (gradient,) = torch.autograd.grad(loss, x)
        return loss.item(), gradient

    return answer


def gradient_changed(change):
    """An answer with another gradient."""

    def answer(network, image, layer, target):
        loss, gradient = gradient_by_grad(network, image, layer, target)
        return loss, change(gradient)

    return answer


def gradient_of_the_root(network, image, layer, target):
    loss, _ = gradient_by_grad(network, image, layer, target)
    x = image.clone().requires_grad_()
    return loss, torch.autograd.grad(loss_by_squares(network(x, [layer])[layer], target).sqrt(), x)[0]


def image_after_the_step(network, image, layer, target):
    loss, gradient = gradient_by_grad(network, image, layer, target)
    return loss, image - gradient


def gradient_with_plain_backward(network, image, layer, target):
    x = image.clone().requires_grad_()
    loss = loss_by_squares(network(x, [layer])[layer], target.detach())
    loss.backward()
    return loss.item(), x.grad


def gradient_of_the_target_too(network, image, layer, target):
    x = image.clone().requires_grad_()
    loss = loss_by_squares(network(x, [layer])[layer], target)
    loss.backward(inputs=[x, target] if target.requires_grad else [x])
    return loss.item(), x.grad


def gradient_of_a_network_in_training(network, image, layer, target):
    network.requires_grad_(True)
    return gradient_by_grad(network, image, layer, target)


def gradient_of_a_network_frozen_for_good(network, image, layer, target):
    network.requires_grad_(False)
    return gradient_with_plain_backward(network, image, layer, target)


def gradient_of_a_network_that_learns(network, image, layer, target):
    value = gradient_by_grad(network, image, layer, target)
    with torch.no_grad():
        network.conv1_1.weight -= 0.01
    return value


def gradient_on_the_image_given(network, image, layer, target):
    image.requires_grad_()
    loss = loss_by_squares(network(image, [layer])[layer], target.detach())
    loss.backward(inputs=[image])
    return loss.item(), image.grad


def gradient_with_features_detached(network, image, layer, target):
    x = image.clone().requires_grad_()
    loss = loss_by_squares(network(x, [layer])[layer].detach(), target)
    return loss.item(), torch.autograd.grad(loss, x)[0]


def gradient_of_features(network, image, layer, target):
    F = network(image, [layer])[layer].detach().requires_grad_()
    loss = loss_by_squares(F, target)
    return loss.item(), torch.autograd.grad(loss, F)[0]


def gradient_that_is_none(network, image, layer, target):
    x = image.clone().requires_grad_()
    loss = loss_by_squares(network(x, [layer])[layer], target)
    return loss.item(), x.grad


def gradient_with_a_graph(network, image, layer, target):
    x = image.clone().requires_grad_()
    loss = loss_by_squares(network(x, [layer])[layer], target)
    return loss.item(), torch.autograd.grad(loss, x, create_graph=True)[0]


class GradientThatAddsUp:
    def __init__(self):
        self.gradient = 0

    def __call__(self, network, image, layer, target):
        loss, gradient = gradient_by_grad(network, image, layer, target)
        self.gradient = self.gradient + gradient
        return loss, self.gradient


def target_of_the_image(network, x, layer, _):
    F = network(x, [layer])[layer]
    return loss_by_squares(F, F.detach())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (gradient_with_plain_backward, "the network's weights have got a gradient"),
        (gradient_of_a_network_in_training, "no longer frozen"),
        (gradient_of_a_network_frozen_for_good, "is frozen now, and was not before"),
        (gradient_of_a_network_that_learns, "the network's weights have changed"),
        (gradient_of_the_target_too, "the target has got a gradient, too"),
        (gradient_on_the_image_given, "the image that was given requires a gradient now"),
        (gradient_of(target_of_the_image), "is the target computed from the image itself"),
        (gradient_with_features_detached, "raises RuntimeError"),
        (gradient_of_features, "this is the gradient of the features"),
        (gradient_that_is_none, "the gradient is None"),
        (gradient_with_a_graph, "requires a gradient itself"),
        (gradient_of_the_root, "the gradient of the root of the loss"),
        (image_after_the_step, "this is the image after a step"),
        (gradient_of(lambda n, x, layer, P: loss_by_squares(n(x, [layer])[layer], P) + 1), "the loss is not |F - P|^2"),
        (
            lambda *given: (gradient_by_grad(*given)[1][0, 0], gradient_by_grad(*given)[1]),
            "the loss must be one number",
        ),
        (lambda *given: ("0.5", gradient_by_grad(*given)[1]), "the loss must be a number, and is a str"),
        (GradientThatAddsUp, "the gradient counts twice"),
        (gradient_changed(lambda g: -g), "the sign of the gradient"),
        (gradient_changed(torch.sign), "only the sign of the gradient"),
        (gradient_changed(lambda g: 0 * g), "is 0 everywhere"),
        (gradient_changed(lambda g: g / g.norm()), "scaled to the length 1"),
        (gradient_changed(lambda g: g.sum()), "has the shape"),
        (gradient_changed(lambda g: 3 * g), "the gradient is not that of the loss"),
        (gradient_of(lambda n, x, layer, P: loss_by_squares(n(x, ["relu1_1"])["relu1_1"], P)), "that of relu1_1"),
        (
            gradient_of(lambda n, x, layer, P: loss_by_squares(n(x, [layer.replace("relu", "conv")]).popitem()[1], P)),
            "the loss is that of conv1_2",
        ),
        (gradient_of(lambda n, x, layer, P: ((n(x, [layer])[layer] - P) ** 2).sum()), "not divided by"),
        (gradient_of(lambda n, x, layer, P: mse_loss(n(x, [layer])[layer], P)), "the mean of the squares"),
        (lambda *given: gradient_by_grad(*given)[::-1], "in the wrong order"),
        (lambda *given: gradient_by_grad(*given)[0], "two values were asked"),
    ],
)
def test_wrong_gradients(answer, said):
    assert_caught(check_gradient_to_the_image, answer, said)
