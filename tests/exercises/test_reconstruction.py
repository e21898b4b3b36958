"""Lesson 3's check of a whole search: each wrong solution is caught with its own sentence, each right one passes."""

import pytest
import torch
from answers import adam, assert_caught, assert_right, lbfgs
from torch.nn.functional import mse_loss

from nst_lessons import content_loss, optimize_image, reconstruct_content
from nst_lessons.exercises import check_reconstruction


def content_of(network, photo, layer):
    """The loss function of a reconstruction."""
    target = network(photo, [layer])
    return lambda image: content_loss(network(image, target), target)


def by_adam(network, photo, layer, start, steps, at=None, sign=1, **changes):
    """Adam, with one thing or another gone wrong."""
    loss_fn = content_of(network, photo, layer)
    return adam(start if at is None else at, lambda image: sign * loss_fn(image), steps, **changes)


def by_gradient_descent(network, photo, layer, start, steps):
    P = network(photo, [layer])[layer]
    image = start
    for _ in range(steps):
        x = image.clone().requires_grad_()
        loss = ((network(x, [layer])[layer] - P) ** 2).sum() / (P**2).sum()
        (gradient,) = torch.autograd.grad(loss, x)
        image = (image - 4 * gradient).clamp(0, 1)
    return image


def by_lbfgs(network, photo, layer, start, steps):
    loss_fn = content_of(network, photo, layer)
    return lbfgs(start, lambda image: loss_fn(image.clamp(0, 1)), steps, "strong_wolfe")


def by_sigmoid(network, photo, layer, start, steps):
    """Never out of range: the optimiser walks over logits."""
    P = network(photo, [layer])[layer]
    logits = torch.logit(start, eps=1e-3).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(steps):
        loss = mse_loss(network(torch.sigmoid(logits), [layer])[layer], P)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.sigmoid(logits).detach()


def by_two_terms(network, photo, layer, start, steps):
    """Each term goes backwards by itself."""
    target = network(photo, [layer])
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        content_loss(network(image, target), target).backward()
        (0.001 * image.diff(dim=3).square().mean()).backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()


def by_pairs(network, photo, layer, start, steps):
    """The photo goes through the network beside the image, in each step."""

    def loss_fn(image):
        F, P = network(torch.cat([image, photo]), [layer])[layer]
        return ((F - P) ** 2).sum()

    return adam(start, loss_fn, steps, clamp=False).clamp(0, 1)


def by_func(network, photo, layer, start, steps):
    gradient_of = torch.func.grad(content_of(network, photo, layer))
    image, momentum = start, 0
    for _ in range(steps):
        momentum = 0.5 * momentum + gradient_of(image)
        image = (image - 3 * momentum).clamp(0, 1)
    return image


def by_the_package(network, photo, layer, start, steps):
    return reconstruct_content(network, photo, layer, start=start, steps=steps, tv=0, progress=False).image


@pytest.mark.parametrize(
    "answer", [by_adam, by_gradient_descent, by_lbfgs, by_sigmoid, by_two_terms, by_pairs, by_func, by_the_package]
)
def test_right_reconstructions(answer):
    assert_right(check_reconstruction, answer)


def but(**changes):
    return lambda *given: by_adam(*given, **changes)


def from_the_photo(network, photo, *given):
    return by_adam(network, photo, *given, at=photo)


def from_near_the_photo(network, photo, layer, start, steps):
    return by_adam(network, photo, layer, start, steps, at=0.7 * photo + 0.3 * start)


def on_the_start_itself(network, photo, layer, start, steps):
    start.requires_grad_()
    optimizer = torch.optim.Adam([start], lr=0.05)
    loss_fn = content_of(network, photo, layer)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(start).backward()
        optimizer.step()
    return start.detach().clamp(0, 1)


def leaving_a_gradient_on_the_start(network, photo, layer, start, steps):
    result = by_adam(network, photo, layer, start, steps)
    start.requires_grad_()
    return result


def optimising_the_network(network, photo, layer, start, steps):
    target = {layer: network(photo, [layer])[layer].detach()}
    network.requires_grad_(True)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        content_loss(network(start, target), target).backward()
        optimizer.step()
    return start.clone()


def thawing_the_network(network, photo, layer, start, steps):
    result = by_adam(network, photo, layer, start, steps)
    network.requires_grad_(True)
    return result


def comparing_pixels(network, photo, layer, start, steps):
    def loss_fn(image):
        network(image, [layer])
        return mse_loss(image, photo)

    return adam(start, loss_fn, steps, rate=0.05).clamp(0.08, 0.87)


def with_features_of_the_start_only(network, photo, layer, start, steps):
    image = start.clone().requires_grad_()
    loss = content_of(network, photo, layer)(image)
    optimizer = torch.optim.SGD([image], lr=1.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss.backward(retain_graph=True)
        optimizer.step()
    return image.detach().clamp(0, 1)


def with_a_graph_used_up(network, photo, layer, start, steps):
    image = start.clone().requires_grad_()
    loss = content_of(network, photo, layer)(image)
    for _ in range(steps):
        loss.backward()
    return image.detach()


def with_the_clamp_in_the_loss(network, photo, layer, start, steps):
    """Gradients add up, and the network sees the image through a clamp."""
    loss_fn = content_of(network, photo, layer)
    return adam(start, lambda image: loss_fn(image.clamp(0, 1)), steps, zero=False, clamp=False).clamp(0, 1)


def without_a_gradient(network, photo, layer, start, steps):
    for _ in range(steps):
        network(start, [layer])
    return 1 - start


def at_another_layer(network, photo, layer, start, steps):
    return by_adam(network, photo, "relu1_1", start, steps)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda n, photo, layer, start, steps: photo.clone(), "the result is the photo itself"),
        (lambda n, photo, layer, start, steps: (photo + 0.01 * start).clamp(0, 1), "the result is the photo itself"),
        (from_the_photo, "the result is the photo itself"),
        (from_near_the_photo, "begins at another image than the start"),
        (lambda n, photo, layer, start, steps: start.clone(), "the result is the start"),
        (lambda *given: by_adam(*given[:4], 0), "the result is the start"),
        (without_a_gradient, "nothing is searched for"),
        (but(clamp=False, rate=0.05), "leaves [0, 1]"),
        (lambda *given: by_adam(*given).requires_grad_(), "still requires a gradient"),
        (lambda *given: by_adam(*given)[0], "has the shape"),
        (lambda *given: by_adam(*given) + torch.nan, "values that are no numbers"),
        (on_the_start_itself, "changes what it was given"),
        (leaving_a_gradient_on_the_start, "the start that was given requires a gradient now"),
        (optimising_the_network, "the network's weights have changed"),
        (thawing_the_network, "no longer frozen"),
        (but(zero=False, rate=0.05), "gradients add up from step to step"),
        (with_the_clamp_in_the_loss, "gradients add up from step to step"),
        (but(sign=-1), "the content loss rises"),
        (but(rate=2e-4), "has only gone from"),
        (comparing_pixels, "are pixels compared"),
        (lambda n, photo, *given: 0.6 * photo + 0.4 * by_adam(n, photo, *given), "or the photo mixed in"),
        (lambda *given: by_adam(*given[:4], 1), "or the return inside it"),
        (with_features_of_the_start_only, "must compute its features anew"),
        (with_a_graph_used_up, "`loss.backward()`, raises RuntimeError"),
        (at_another_layer, "the network was not asked for"),
        (lambda *given: by_adam(*given[:4], 60), "is `steps` used"),
        (lambda *given: torch.rand(given[1].shape), "torch's global random numbers"),
        (lambda *given: optimize_image(given[3], lambda image: {}, steps=3), "raises"),
    ],
)
def test_wrong_reconstructions(answer, said):
    assert_caught(check_reconstruction, answer, said)
