"""Lesson 5's checks: each wrong solution is caught with its own sentence, each right one passes."""

import operator

import pytest
import torch
from answers import adam, assert_caught, assert_right, lbfgs

import nst_lessons
from nst_lessons import content_loss, gram_matrix, optimize_image, style_loss, style_transfer
from nst_lessons.exercises import check_style_transfer, check_sweep, check_total_cost


def cost_by_sum(content, style, tv, alpha, beta, gamma):
    return alpha * content + beta * style + gamma * tv


def cost_by_stack(content, style, tv, alpha, beta, gamma):
    return torch.stack([content, style, tv]) @ torch.tensor([alpha, beta, gamma], dtype=content.dtype)


def cost_by_loop(*given):
    return sum(map(operator.mul, given[3:], given[:3]))


@pytest.mark.parametrize("answer", [cost_by_sum, cost_by_stack, cost_by_loop])
def test_right_costs(answer):
    assert_right(check_total_cost, answer)


class CostThatGrows:
    def __init__(self):
        self.total = 0

    def __call__(self, *given):
        self.total = self.total + cost_by_sum(*given)
        return self.total


def cost_in_place(content, style, tv, alpha, beta, gamma):
    content *= alpha
    return content + beta * style + gamma * tv


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda c, s, t, a, b, g: b * c + a * s + g * t, "alpha and beta are exchanged"),
        (lambda c, s, t, a, b, g: a * c + g * s + b * t, "beta and gamma are exchanged"),
        (lambda c, s, t, a, b, g: b * s + g * t, "the content term is missing"),
        (lambda c, s, t, a, b, g: a * c + g * t, "the style term is missing"),
        (lambda c, s, t, a, b, g: a * c + b * s, "the total variation is missing"),
        (lambda c, s, t, a, b, g: a * c + b * s + t, "without its weight"),
        (lambda c, s, t, a, b, g: a * c + b * s - g * t, "the total variation is subtracted"),
        (lambda c, s, t, a, b, g: c + s + t, "the weights are left out"),
        (lambda c, s, t, a, b, g: a**2 * c + b**2 * s + g**2 * t, "the weights are squared"),
        (lambda c, s, t, a, b, g: a * c * b * s * g * t, "are multiplied"),
        (lambda *given: cost_by_sum(*given) / 3, "the mean of the three terms"),
        (lambda *given: cost_by_sum(*given) / sum(given[3:]), "divided by their sum"),
        (lambda c, s, t, a, b, g: a * (c + b * s + g * t), "are there brackets too many"),
        (lambda c, s, t, a, b, g: a + c + b + s + g + t, "added to the losses"),
        (lambda c, s, t, a, b, g: 10 * c + 40 * s + g * t, "10 and 40 are the weights"),
        (lambda *given: cost_by_sum(*given) + 1, "the value is not alpha L_content"),
        (lambda *given: float(cost_by_sum(*given)), "must be a tensor, so that its gradient"),
        (lambda *given: cost_by_sum(*given).detach(), "no gradient reaches the input"),
        (lambda c, s, *given: cost_by_sum(c, s.detach(), *given), "is a part detached"),
        (cost_in_place, "changes what it was given"),
        (CostThatGrows, "something is kept"),
    ],
)
def test_wrong_costs(answer, said):
    assert_caught(check_total_cost, answer, said)


def sweep_by_dict(run, start, ratios):
    return {ratio: run(start, 1.0, 1 / ratio) for ratio in ratios}


def sweep_by_loop(run, start, ratios):
    results = {}
    for ratio in ratios:
        alpha = 1
        results[ratio] = run(start.clone(), alpha=alpha, beta=alpha / ratio)
    return results


def sweep_by_lists(run, start, ratios):
    betas = [ratio**-1 for ratio in ratios]
    return dict(zip(ratios, [run(start, 1.0, beta) for beta in betas], strict=True))


@pytest.mark.parametrize("answer", [sweep_by_dict, sweep_by_loop, sweep_by_lists])
def test_right_sweeps(answer):
    assert_right(check_sweep, answer)


def sweep_that_goes_on(run, start, ratios):
    results = {}
    for ratio in ratios:
        start = results[ratio] = run(start, 1.0, 1 / ratio)
    return results


def sweep_that_keeps_one(run, start, ratios):
    for ratio in ratios:
        results = {}
        results[ratio] = run(start, 1.0, 1 / ratio)
    return results


def sweep_that_returns_early(run, start, ratios):
    results = {}
    for ratio in ratios:
        results[ratio] = run(start, 1.0, 1 / ratio)
        return results


def sweep_that_sorts(run, start, ratios):
    ratios.sort()
    return sweep_by_dict(run, start, ratios)


def sweep_with_a_first_try(run, start, ratios):
    run(start, 1.0, 1 / ratios[0])
    return sweep_by_dict(run, start, ratios)


class SweepThatRemembers:
    def __init__(self):
        self.results = {}

    def __call__(self, run, start, ratios):
        self.results |= sweep_by_dict(run, start, ratios)
        return dict(self.results)


def sweep_with_results_mixed_up(run, start, ratios):
    results = [run(start, 1.0, 1 / ratio) for ratio in sorted(ratios)]
    return dict(zip(ratios, results, strict=True))


def sweep_with_one_result_for_all(run, start, ratios):
    image = start.clone()
    for ratio in ratios:
        image.copy_(run(start, 1.0, 1 / ratio))
    return dict.fromkeys(ratios, image)


def sweep_on_the_start(run, start, ratios):
    results = {}
    for ratio in ratios:
        results[ratio] = start.copy_(run(start, 1.0, 1 / ratio)).clone()
    return results


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda run, start, ratios: {r: run(start, 1.0, r) for r in ratios}, "the wrong way round"),
        (lambda run, start, ratios: {r: run(start, r, 1.0) for r in ratios}, "alpha / beta is right, but alpha is"),
        (lambda run, start, ratios: {r: run(start, r, r) for r in ratios}, "alpha and beta are both the ratio"),
        (lambda run, start, ratios: {r: run(start, 1.0, 1 - r) for r in ratios}, "whose ratio is none of those"),
        (lambda run, start, ratios: {r: run(start, 1.0, 1 // r) for r in ratios}, "run was given alpha = 1"),
        (lambda run, start, ratios: sweep_by_dict(run, start, sorted(ratios)), "in another order"),
        (lambda run, start, ratios: sweep_by_dict(run, start, ratios[1:]), "run was called 3 times for 4"),
        (lambda run, start, ratios: sweep_by_dict(run, start, [*ratios[:3], ratios[0]]), "a ratio was run twice"),
        (lambda run, start, ratios: {1 / r: run(start, 1.0, 1 / r) for r in ratios}, "the keys of the dict"),
        (lambda run, start, ratios: [run(start, 1.0, 1 / r) for r in ratios], "and this is a list"),
        (lambda run, start, ratios: {r: run(start, 1.0, 1 / r).mean().item() for r in ratios}, "what run returns"),
        (lambda run, start, ratios: {r: run(1 - start, 1.0, 1 / r) for r in ratios}, "all begin at the start"),
        (lambda run, start, ratios: {r: run(start, 0.0, 1 / r) for r in ratios}, "which have no ratio"),
        (
            lambda run, start, ratios: {r: i for r, i in sweep_by_dict(run, start, ratios).items() if r < 1},
            "the dict has 3 of the 4 results",
        ),
        (lambda run, start, ratios: {}, "run was called 0 times"),
        (sweep_that_goes_on, "such as the result of the run before"),
        (sweep_that_keeps_one, "is it begun anew inside the loop"),
        (sweep_that_returns_early, "does the function return inside the loop"),
        (sweep_that_sorts, "changes what it was given"),
        (sweep_with_a_first_try, "run was called 5 times for 4"),
        (SweepThatRemembers, "results of an earlier sweep"),
        (sweep_with_results_mixed_up, "the result of another one's run"),
        (sweep_with_one_result_for_all, "the result of another one's run"),
        (sweep_on_the_start, "changes what it was given"),
    ],
)
def test_wrong_sweeps(answer, said):
    assert_caught(check_sweep, answer, said)


def loss_of(network, photo, painting, content_layer, style_layers, alpha, beta):
    with torch.no_grad():
        content = network(photo, [content_layer])
        style = {layer: gram_matrix(maps) for layer, maps in network(painting, style_layers).items()}

    def loss_fn(image):
        features = network(image, content | style)
        return {"content": alpha * content_loss(features, content), "style": beta * style_loss(features, style)}

    return loss_fn


def by_adam(*given, start=None, terms=("content", "style"), steps=None, **changes):
    """Adam, with one thing or another gone wrong."""
    *targets, number = given
    loss_fn = loss_of(*targets)

    def loss_of_terms(image):
        losses = loss_fn(image)
        return sum(losses[name] for name in terms)

    begin = given[1] if start is None else start
    return adam(begin, loss_of_terms, number if steps is None else steps, **changes)


def by_optimize_image(*given):
    *targets, steps = given
    return optimize_image(given[1], loss_of(*targets), steps=steps, progress=False).image


def by_lbfgs(*given):
    *targets, steps = given
    loss_fn = loss_of(*targets)
    return lbfgs(given[1], lambda image: sum(loss_fn(image.clamp(0, 1)).values()), steps, "strong_wolfe")


def by_style_transfer(network, photo, painting, content_layer, style_layers, alpha, beta, steps):
    return style_transfer(
        network,
        photo,
        painting,
        content_layers=[content_layer],
        style_layers=style_layers,
        alpha=alpha,
        beta=beta,
        tv=0,
        steps=steps,
        progress=False,
    ).image


@pytest.mark.parametrize("answer", [by_adam, by_optimize_image, by_lbfgs, by_style_transfer])
def test_right_transfers(answer):
    assert_right(check_style_transfer, answer)


def but(**changes):
    return lambda *given: by_adam(*given, **changes)


def from_the_painting(network, photo, painting, *settings):
    start = nst_lessons.resize(painting, (photo.shape[-2], photo.shape[-1]))
    return by_adam(network, photo, painting, *settings, start=start)


def from_noise(network, photo, *settings):
    return by_adam(network, photo, *settings, start=nst_lessons.noise_like(photo, 0))


def exchange_images(network, photo, painting, *settings):
    return by_adam(network, painting, photo, *settings, start=photo)


def exchange_weights(network, photo, painting, content_layer, style_layers, alpha, beta, steps):
    return by_adam(network, photo, painting, content_layer, style_layers, beta, alpha, steps)


def on_the_photo_itself(network, photo, *settings):
    return photo.copy_(by_adam(network, photo, *settings))


def leaving_a_gradient_on_the_photo(network, photo, *settings):
    result = by_adam(network, photo, *settings)
    photo.requires_grad_()
    return result


def thawing_the_network(network, *given):
    network.requires_grad_(True)
    return by_adam(network, *given)


def training_the_network(network, *given):
    with torch.no_grad():
        network.conv1_1.weight *= 0.9
    return by_adam(network, *given)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda network, photo, *given: photo.clone(), "the photo is returned as it is"),
        (but(terms=["content"]), "does the style term count, with beta"),
        (but(terms=["style"]), "the content drifts"),
        (but(steps=0), "the photo is returned as it is"),
        (but(steps=1), "or the return inside it"),
        (but(rate=2e-4), "is the learning rate large enough"),
        (but(clamp=False), "leaves [0, 1]"),
        (but(zero=False), "gradients add up from step to step"),
        (lambda *given: by_adam(*given).requires_grad_(), "still requires a gradient"),
        (lambda *given: by_adam(*given)[0], "has the shape"),
        (lambda *given: by_adam(*given) * torch.nan, "values that are no numbers"),
        (lambda *given: nst_lessons.resize(given[2], given[1].shape[-2:]), "nothing is searched for"),
        (from_the_painting, "the search begins at the painting"),
        (from_noise, "the search begins at another image than the photo"),
        (exchange_images, "are photo and painting exchanged"),
        (exchange_weights, "are alpha and beta exchanged"),
        (on_the_photo_itself, "changes what it was given"),
        (leaving_a_gradient_on_the_photo, "the photo that was given requires a gradient now"),
        (thawing_the_network, "no longer frozen"),
        (training_the_network, "the network's weights have changed"),
    ],
)
def test_wrong_transfers(answer, said):
    assert_caught(check_style_transfer, answer, said)
