"""Lesson 4's check of a whole search: each wrong solution is caught with its own sentence, each right one passes."""

import pytest
import torch
from answers import adam, assert_caught, assert_right, lbfgs
from torch.nn.functional import interpolate, mse_loss

from nst_lessons import gram_matrix, mean_and_deviation, optimize_image, reconstruct_style, style_loss
from nst_lessons.exercises import check_style_reconstruction


def style_of(network, painting, layers):
    """The loss function of a reconstruction."""
    targets = {layer: gram_matrix(maps) for layer, maps in network(painting, layers).items()}
    return lambda image: style_loss(network(image, layers), targets)


def by_adam(network, painting, layers, start, steps):
    return adam(start, style_of(network, painting, layers), steps, clamp=False).clamp(0, 1)


def by_gradient_descent(network, painting, layers, start, steps):
    """By hand, without torch.optim, and with each layer's features computed alone."""

    def gram(image, layer):
        F = network(image, [layer])[layer].flatten(2)[0]
        return F @ F.T / F.shape[1]

    targets = [gram(painting, layer) for layer in layers]
    image, rate = start, 0.3
    for _ in range(steps):
        x = image.clone().requires_grad_()
        loss = sum(((gram(x, layer) - A) ** 2).sum() / (A**2).sum() for layer, A in zip(layers, targets, strict=True))
        (gradient,) = torch.autograd.grad(loss.sqrt(), x)
        image = (image - rate * gradient / gradient.abs().mean() * 0.1).clamp(0, 1)
        rate *= 0.95
    return image


def by_lbfgs(network, painting, layers, start, steps):
    return lbfgs(start, style_of(network, painting, layers), steps)


def by_sigmoid(network, painting, layers, start, steps):
    """Never out of range: the optimiser walks over logits. Matrices are compared by their absolute differences."""
    targets = {layer: gram_matrix(maps) for layer, maps in network(painting, layers).items()}
    logits = torch.logit(start, eps=1e-3).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        features = network(torch.sigmoid(logits), layers)
        for layer in layers:
            difference = gram_matrix(features[layer]) - targets[layer]
            (difference.abs().sum() / targets[layer].abs().sum()).backward(retain_graph=True)
        optimizer.step()
    return torch.sigmoid(logits).detach()


def by_optimize_image(network, painting, layers, start, steps):
    style = style_of(network, painting, layers)
    result = optimize_image(
        start, lambda x: {"style": style(x)}, steps=steps, optimizer="adam", learning_rate=0.05, progress=False
    )
    return result.image


def by_the_package(network, painting, layers, start, steps):
    """It wants a start of the painting's size."""
    painting = interpolate(painting, size=start.shape[-2:])
    return reconstruct_style(network, painting, layers, start=start, steps=steps, progress=False).image


@pytest.mark.parametrize(
    "answer", [by_adam, by_gradient_descent, by_lbfgs, by_sigmoid, by_optimize_image, by_the_package]
)
def test_right_reconstructions(answer):
    assert_right(check_style_reconstruction, answer)


def squares(a, b):
    return ((a - b) ** 2).sum()


def but(of=gram_matrix, loss=squares, at=None, rate=0.05, **changes):
    """Adam with one thing or another gone wrong."""

    def answer(network, painting, layers, start, steps):
        targets = {layer: of(maps) for layer, maps in network(painting, layers).items()}

        def loss_fn(image):
            features = network(image, layers)
            return sum(loss(of(features[layer]), targets[layer]) for layer in layers)

        return adam(at(painting, start) if at else start, loss_fn, steps, rate, **changes)

    return answer


def with_layers(choose):
    return lambda network, painting, layers, *given: by_adam(network, painting, choose(layers), *given)


def own_noise(painting, start):
    return torch.rand(start.shape, generator=torch.Generator().manual_seed(0))


def noise_like_the_painting(painting, start):
    return start if start.shape == painting.shape else own_noise(start, painting)


def last_layer_only(network, painting, layers, start, steps):
    targets = {layer: gram_matrix(maps) for layer, maps in network(painting, layers).items()}

    def loss_fn(image):
        features = network(image, layers)
        for layer in layers:
            loss = 0
            loss = loss + squares(gram_matrix(features[layer]), targets[layer])
        return loss

    return adam(start, loss_fn, steps, rate=0.05)


def target_of_the_image(network, painting, layers, start, steps):
    return but()(network, start, layers, start, steps)


def copy_is_optimised(network, painting, layers, start, steps):
    by_adam(network, painting, layers, start, steps)
    return start.clone()


def on_the_start_itself(network, painting, layers, start, steps):
    loss_fn = style_of(network, painting, layers)
    start.requires_grad_()
    optimizer = torch.optim.Adam([start], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(start).backward()
        optimizer.step()
    return start.detach().clamp(0, 1)


def network_too(network, painting, layers, start, steps):
    loss_fn = style_of(network, painting, layers)
    image = start.clone().requires_grad_()
    network.requires_grad_(True)
    optimizer = torch.optim.Adam([image, *network.parameters()], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(image).backward()
        optimizer.step()
    network.requires_grad_(False)
    return image.detach().clamp(0, 1)


def thawed_network(network, *given):
    image = by_adam(network, *given)
    network.requires_grad_(True)
    return image


def without_a_gradient(network, painting, layers, start, steps):
    for _ in range(steps):
        network(start, layers)
    return 1 - start


def once(network, painting, layers, start, steps):
    image = start.clone().requires_grad_()
    style_of(network, painting, layers)(image).backward()
    return (image - 50 * image.grad).detach().clamp(0, 1)


def graph_used_up(network, painting, layers, start, steps):
    image = start.clone().requires_grad_()
    loss = style_of(network, painting, layers)(image)
    for _ in range(steps):
        loss.backward()
    return image.detach()


def pixels_too(network, painting, layers, start, steps):
    """The painting is mixed in at the end."""
    image = by_adam(network, painting, layers, start, steps)
    return 0.3 * image + 0.7 * interpolate(painting, size=image.shape[-2:])


def transposed(maps):
    rows = maps.flatten(2)
    return rows.mT @ rows


def covariance(maps):
    return gram_matrix(maps - maps.mean((2, 3), keepdim=True))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda n, painting, layers, start, steps: painting.clone(), "the result is the painting itself"),
        (but(at=lambda painting, start: painting), "the search begins at the painting"),
        (but(at=lambda painting, start: 0.7 * painting + 0.3 * start), "begins at another image than the start"),
        (but(at=own_noise), "begins at another image than the start"),
        (but(at=noise_like_the_painting), "the result has the painting's shape"),
        (lambda n, painting, layers, start, steps: start.clone(), "no image is optimised"),
        (without_a_gradient, "none is optimised"),
        (target_of_the_image, "is the target the painting's"),
        (copy_is_optimised, "is it the copy that is returned"),
        (but(clamp=False, rate=0.3), "leaves [0, 1]"),
        (lambda *given: by_adam(*given).requires_grad_(), "still requires a gradient"),
        (lambda *given: by_adam(*given)[0], "has the shape"),
        (lambda *given: by_adam(*given) * torch.nan, "values that are no numbers"),
        (lambda *given: [by_adam(*given)], "must be a tensor, and is a list"),
        (on_the_start_itself, "changes what it was given"),
        (network_too, "the network's weights have changed"),
        (thawed_network, "no longer frozen"),
        (but(zero=False), "gradients add up from step to step"),
        (once, "only once; each step must compute its features anew"),
        (graph_used_up, "`loss.backward()`, raises RuntimeError"),
        (with_layers(lambda layers: layers[:1]), "was not asked for relu2_1"),
        (with_layers(lambda layers: ["relu2_1"]), "was not asked for relu1_1"),
        (with_layers(lambda layers: ["relu1_1", "relu2_1"]), "was not asked for relu2_2"),
        (last_layer_only, "relu1_1 has no part in the loss"),
        (but(loss=lambda G, A: -squares(G, A)), "its sign is wrong"),
        (but(loss=lambda G, A: (G - A).sum()), "the square is missing"),
        (but(of=lambda maps: maps, loss=mse_loss), "compared place by place"),
        (but(of=transposed), "positions with positions"),
        (but(of=lambda maps: maps.mean((2, 3))), "only the channels' means"),
        (but(of=mean_and_deviation), "means and deviations are compared"),
        (but(of=covariance), "covariances are compared"),
        (but(of=lambda maps: maps.square().mean((2, 3))), "only the diagonals"),
        (but(of=lambda maps: gram_matrix(maps**2)), "something else than F F^T counts"),
        (but(rate=1e-3), "is the learning rate too small"),
        (pixels_too, "is the painting mixed in"),
        (lambda *given: by_adam(*given[:4], 60), "is `steps` used"),
        (lambda n, p, layers, start, steps: by_adam(n, p, layers, torch.rand(start.shape), steps), "random numbers"),
        (lambda *given: optimize_image(given[3], lambda image: {}, steps=3), "raises"),
    ],
)
def test_wrong_reconstructions(answer, said):
    assert_caught(check_style_reconstruction, answer, said)
