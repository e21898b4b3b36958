"""Lesson 2's checks of gradients: each wrong solution is caught with its own sentence, each right one passes."""

import copy

import pytest
import torch
from answers import assert_caught, assert_right
from torch.nn.functional import normalize

from nst_lessons import preprocess
from nst_lessons.exercises import check_activation_step, check_image_gradient


def activation(network, image, layer, channel):
    return network(image, [layer])[layer][:, channel].mean()


def gradient_alone(network, image, layer, channel):
    x = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(activation(network, x, layer, channel), x)
    return gradient


def gradient_backwards(network, image, layer, channel):
    x = image.detach().requires_grad_()
    network(x, [layer])[layer][0, channel].mean().backward(inputs=[x])
    return x.grad


def gradient_by_functions(network, image, layer, channel):
    return torch.func.grad(lambda x: activation(network, x, layer, channel))(image).detach()


def gradient_of_a_copy(network, image, layer, channel):
    frozen = copy.deepcopy(network).requires_grad_(False)
    x = torch.nn.Parameter(image.clone())
    activation(frozen, x, layer, channel).backward()
    return x.grad


def gradient_of_a_weighted_sum(network, image, layer, channel):
    x = image.clone().requires_grad_()
    maps = network(x, [layer])[layer]
    seed = torch.zeros_like(maps)
    seed[:, channel] = 1 / maps[0, 0].numel()
    return torch.autograd.grad(maps, x, grad_outputs=seed)[0]


RIGHT_GRADIENTS = [
    gradient_alone,
    gradient_backwards,
    gradient_by_functions,
    gradient_of_a_copy,
    gradient_of_a_weighted_sum,
]


@pytest.mark.parametrize("answer", RIGHT_GRADIENTS)
def test_right_gradients(answer):
    assert_right(check_image_gradient, answer)


def gradient_of(aim):
    """The gradient of another number that is made of a layer's features and the channel."""

    def answer(network, image, layer, channel):
        x = image.clone().requires_grad_()
        return torch.autograd.grad(aim(network(x, [layer])[layer], channel), x)[0]

    return answer


def and_then(change):
    """The right gradient, changed."""
    return lambda network, image, layer, channel: change(gradient_alone(network, image, layer, channel))


def gradient_by_the_input(network, image, layer, channel):
    z = preprocess(image).requires_grad_()
    return torch.autograd.grad(network.features(z, [layer])[layer][:, channel].mean(), z)[0]


def gradient_left_on_weights(network, image, layer, channel):
    x = image.clone().requires_grad_()
    activation(network, x, layer, channel).backward()
    return x.grad


def gradient_left_on_the_image(network, image, layer, channel):
    image.requires_grad_()
    activation(network, image, layer, channel).backward(inputs=[image])
    return image.grad


def gradient_of_the_image_itself(network, image, layer, channel):
    image.requires_grad_()
    return torch.autograd.grad(activation(network, image, layer, channel), image)[0]


def gradient_with_a_frozen_network(network, image, layer, channel):
    network.requires_grad_(False)
    return gradient_alone(network, image, layer, channel)


def gradient_with_an_unfrozen_network(network, image, layer, channel):
    for weight in network.parameters():
        weight.requires_grad_()
    return gradient_alone(network, image, layer, channel)


def gradient_with_its_graph(network, image, layer, channel):
    x = image.clone().requires_grad_()
    return torch.autograd.grad(activation(network, x, layer, channel), x, create_graph=True)[0]


def gradient_and_training(network, image, layer, channel):
    gradient = gradient_alone(network, image, layer, channel)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.01
    return gradient


def gradient_of_a_detached_image(network, image, layer, channel):
    x = image.clone().requires_grad_()
    activation(network, x.detach(), layer, channel).backward()
    return x.grad


def gradient_of_the_batch(network, image, layer, channel):
    x = image.clone().requires_grad_()
    return torch.autograd.grad(network(x, [layer])[layer][channel].mean(), x)[0]


class GradientsAddUp:
    """One copy of the image for all calls, on which gradients gather."""

    def __init__(self):
        self.x = None

    def __call__(self, network, image, layer, channel):
        if self.x is None or self.x.shape != image.shape:
            self.x = image.clone().requires_grad_()
        activation(network, self.x, layer, channel).backward(inputs=[self.x])
        return self.x.grad.clone()


WRONG_AIMS = [
    (lambda maps, c: maps[:, c].max(), "the largest value of the channel"),
    (lambda maps, c: maps[:, c].square().mean(), "the squares of the channel"),
    (lambda maps, c: maps[:, c].relu().mean(), "only what is above 0 is followed"),
    (lambda maps, c: maps[0, c, maps.shape[2] // 2, maps.shape[3] // 2], "only the position in the middle"),
    (lambda maps, c: maps.mean(), "all channels of the layer"),
    (lambda maps, c: maps[:, c - 1].mean(), "the one before"),
    (lambda maps, c: maps[:, c + 1].mean(), "the next one"),
    (lambda maps, c: maps[:, 0].mean(), "the first channel"),
]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        *[(gradient_of(aim), said) for aim, said in WRONG_AIMS],
        (gradient_of(lambda maps, c: maps[:, c].sum()), "of the channel's sum"),
        (gradient_of(lambda maps, c: -maps[:, c].mean()), "the sign is wrong"),
        (and_then(lambda g: g / g.norm()), "divided by its length; the gradient itself"),
        (and_then(torch.abs), "without the sign"),
        (and_then(torch.sign), "only its sign"),
        (and_then(torch.Tensor.bool), "the result is torch.bool, which rounds too much"),
        (and_then(lambda g: g.abs().amax(1, keepdim=True)), "has the shape"),
        (lambda n, x, layer, c: x + gradient_alone(n, x, layer, c), "the image after a step"),
        (gradient_by_the_input, "by the normalised input"),
        (gradient_left_on_weights, "gradients are left on the network's weights"),
        (gradient_left_on_the_image, "stays on the image that was given"),
        (gradient_of_the_image_itself, "requires gradients afterwards"),
        (gradient_with_a_frozen_network, "are frozen afterwards"),
        (gradient_with_an_unfrozen_network, "no longer frozen"),
        (gradient_with_its_graph, "the gradient holds on to the graph"),
        (gradient_and_training, "the network's weights have changed"),
        (gradient_of_a_detached_image, "raises RuntimeError: element 0 of tensors does not require grad"),
        (gradient_of_the_batch, "raises IndexError"),
        (GradientsAddUp, "something is remembered"),
        (activation, "has the shape ()"),
        (and_then(lambda g: g + 0.1), "not those of the gradient of the channel's mean"),
        (and_then(lambda g: g.tolist()), "must be a tensor, and is a list"),
    ],
)
def test_wrong_gradients(answer, said):
    assert_caught(check_image_gradient, answer, said)


def step_by(gradient):
    """A step along a gradient that some function gives."""

    def answer(network, image, layer, channel, step_size):
        g = gradient(network, image, layer, channel)
        return image + step_size * g / g.norm()

    return answer


def step_of_sgd(network, image, layer, channel, step_size):
    x = image.clone().requires_grad_()
    optimizer = torch.optim.SGD([x], lr=step_size, maximize=True)
    activation(network, x, layer, channel).backward()
    torch.nn.utils.clip_grad_norm_([x], 1e-9)  # the same length for all
    x.grad.mul_(1 / x.grad.norm())
    optimizer.step()
    return x.detach()


def step_on_a_sphere(network, image, layer, channel, step_size):
    g = gradient_alone(network, image, layer, channel)
    return torch.add(image, normalize(g.flatten(), dim=0).view_as(image), alpha=step_size)


@pytest.mark.parametrize("answer", [*map(step_by, RIGHT_GRADIENTS), step_of_sgd, step_on_a_sphere])
def test_right_steps(answer):
    assert_right(check_activation_step, answer)


def step_along(change):
    """A step by a change that is made of the gradient and the step's size."""

    def answer(network, image, layer, channel, step_size):
        return image + change(gradient_alone(network, image, layer, channel), step_size)

    return answer


def step_in_place(network, image, layer, channel, step_size):
    g = gradient_alone(network, image, layer, channel)
    image += step_size * g / g.norm()
    return image


def step_in_the_data(network, image, layer, channel, step_size):
    g = gradient_alone(network, image, layer, channel)
    image.data += step_size * g / g.norm()
    return image


def step_with_its_graph(network, image, layer, channel, step_size):
    x = image.clone().requires_grad_()
    (g,) = torch.autograd.grad(activation(network, x, layer, channel), x)
    return x + step_size * g / g.norm()


def step_with_an_unfrozen_network(network, image, layer, channel, step_size):
    network.requires_grad_(True)
    return step_by(gradient_alone)(network, image, layer, channel, step_size)


def step_that_frees_and_freezes(network, image, layer, channel, step_size):
    network.requires_grad_(True)
    new = step_by(gradient_left_on_weights)(network, image, layer, channel, step_size)
    network.requires_grad_(False)
    return new


def step_of_the_gathered_gradient(network, image, layer, channel, step_size):
    image.requires_grad_()
    activation(network, image, layer, channel).backward()
    return (image + step_size * image.grad / image.grad.norm()).detach()


class StepWithMomentum:
    """Something of the last step goes into the next."""

    def __init__(self):
        self.velocity = None

    def __call__(self, network, image, layer, channel, step_size):
        g = gradient_alone(network, image, layer, channel)
        step = step_size * g / g.norm()
        if self.velocity is not None and self.velocity.shape == step.shape:
            step = step + 0.9 * self.velocity
        self.velocity = step
        return image + step


def step_without_return(network, image, layer, channel, step_size):
    step_by(gradient_alone)(network, image, layer, channel, step_size)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        *[(step_by(gradient_of(aim)), said) for aim, said in WRONG_AIMS],
        (step_along(lambda g, size: -size * g / g.norm()), "it goes down"),
        (step_along(lambda g, size: size * g), "not divided by its length |g|"),
        (step_along(lambda g, size: size * g / g.square().sum()), "by |g| squared"),
        (step_along(lambda g, size: size * g / g.abs().sum()), "the sum of its absolute values"),
        (step_along(lambda g, size: size * g / g.square().mean().sqrt()), "its root mean square"),
        (step_along(lambda g, size: size * g / g.abs().mean()), "its mean absolute value"),
        (step_along(lambda g, size: size * g / g.abs().max()), "its largest value"),
        (step_along(lambda g, size: size * g / g.std()), "the root of the sum of squares"),
        (step_along(lambda g, size: size * g.sign()), "only the gradient's sign"),
        (step_along(lambda g, size: size * g / g.norm(dim=(2, 3), keepdim=True)), "each colour is divided"),
        (step_along(lambda g, size: g / g.norm()), "step_size is left out"),
        (step_along(lambda g, size: g), "step_size is left out, and"),
        (lambda *given: step_by(gradient_alone)(*given).clamp(0, 1), "the new image is clamped"),
        (lambda *given: step_by(gradient_alone)(*given) - given[1], "only the step is returned"),
        (lambda *given: gradient_alone(*given[:4]), "the gradient is returned"),
        (lambda *given: given[1].clone(), "nothing has changed"),
        (step_in_place, "changes what it was given"),
        (step_in_the_data, "changes what it was given"),
        (step_with_its_graph, "the new image holds on to the graph"),
        (step_with_an_unfrozen_network, "no longer frozen"),
        (step_that_frees_and_freezes, "gradients are left on the network's weights"),
        (step_of_the_gathered_gradient, "where the next call's is added to it"),
        (step_by(gradient_and_training), "the network's weights have changed"),
        (step_by(gradient_of_a_detached_image), "does not require grad"),
        (StepWithMomentum, "something is remembered"),
        (step_without_return, "does it end with return"),
        (lambda *given: step_by(gradient_alone)(*given)[0], "has the shape"),
        (step_along(lambda g, size: size * g / g.norm() + 0.01), "the step is not step_size"),
    ],
)
def test_wrong_steps(answer, said):
    assert_caught(check_activation_step, answer, said)
