"""Lesson 5: the weighted sum, content and style as one function of the image, the sweep, and the whole transfer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nst_lessons.exercises.checking import (
    Answer,
    Draw,
    Mistake,
    close,
    exercise,
    expect,
    expect_gradient,
    expect_scalar,
    expect_value,
)
from nst_lessons.exercises.content import wrong_losses
from nst_lessons.exercises.watching import (
    WatchedNetwork,
    expect_result,
    expect_search,
    expect_untouched,
    left_alone,
    near,
)
from nst_lessons.losses import gram_matrix, relative_error
from nst_lessons.optimize import optimize_image

STEPS = 40  # of the transfer that is checked
CONTENT_LAYER = "relu2_2"
STYLE_LAYERS = ("relu1_1", "relu2_1")


@exercise("Total cost")
def check_total_cost(total_cost: Answer, draw: Draw) -> None:
    """``total_cost(content, style, tv, alpha, beta, gamma)``: ``alpha L_content + beta L_style + gamma L_tv``.

    The three losses are scalar tensors, and so is the sum; the weights are floats. Gatys et al. (2016), equation 7, and
    the total variation.
    """
    for losses, weights in (
        ([draw.number() for _ in range(3)], [draw.number(2, 9) for _ in range(3)]),
        ([0.2, 0.8, 0.1], [10.0, 40.0, 0.0]),
    ):
        terms, otherwise = torch.tensor(losses).double(), "the value is not alpha L_content + beta L_style + gamma L_tv"
        cost, right = total_cost(*terms, *weights), terms @ terms.new_tensor(weights)
        expect_scalar(cost, "the sum")
        expect_value(cost, right, wrong_sums(terms, *weights), otherwise)
        again = close(total_cost(*terms, *weights), right)
        expect(again, "the second call gives another value than the first: something is kept")
        expect_gradient(lambda x, weights=weights: total_cost(*x, *weights), terms)  # type: ignore[misc]


def wrong_sums(terms: Tensor, alpha: float, beta: float, gamma: float) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of the weighted sum."""

    def weighted(*weights: float) -> Tensor:
        return terms @ terms.new_tensor(weights)

    right = weighted(alpha, beta, gamma)
    return {
        "alpha and beta are exchanged: alpha is the content's weight, beta the style's": weighted(beta, alpha, gamma),
        "beta and gamma are exchanged: gamma is the total variation's weight": weighted(alpha, gamma, beta),
        "the content term is missing": weighted(0, beta, gamma),
        "the style term is missing": weighted(alpha, 0, gamma),
        "the total variation is missing": weighted(alpha, beta, 0),
        "the total variation is added without its weight": weighted(alpha, beta, 1),
        "the total variation is subtracted": weighted(alpha, beta, -gamma),
        "the weights are left out": weighted(1, 1, 1),
        "the weights are squared": weighted(alpha**2, beta**2, gamma**2),
        "the weighted losses are multiplied; their sum was asked": terms.prod() * alpha * beta * gamma,
        "it is the mean of the three terms; their sum was asked": right / 3,
        "the weights are divided by their sum; they were asked as they are": right / (alpha + beta + gamma),
        "alpha multiplies all three terms; are there brackets too many?": weighted(alpha, alpha * beta, alpha * gamma),
        "the weights are added to the losses; multiply": terms.sum() + alpha + beta + gamma,
        "10 and 40 are the weights, whatever is given": weighted(10, 40, gamma),
    }


@dataclass(frozen=True)
class Case:
    """One transfer whose loss is asked for."""

    network: WatchedNetwork
    photo: Tensor
    painting: Tensor
    alpha: float
    beta: float

    def loss_fn(self, transfer_loss: Answer) -> Answer:
        """The loss function that a student's function makes, watched in its turn."""
        with left_alone(self.network):
            loss_fn = transfer_loss(
                self.network, self.photo, self.painting, CONTENT_LAYER, list(STYLE_LAYERS), self.alpha, self.beta
            )
        expect_untouched(self.photo, "the photo")
        expect_untouched(self.painting, "the painting")
        expect(callable(loss_fn), f"a function of the image must be returned, and this is a {type(loss_fn).__name__}")
        return Answer(loss_fn)

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """What the loss function must give, with the gradient to the image."""
        content = self.network.content_error(image, self.photo, CONTENT_LAYER)
        style = self.network.style_errors(image, self.painting, STYLE_LAYERS).mean()
        return {"content": self.alpha * content, "style": self.beta * style}


@exercise("Loss of a transfer")
def check_transfer_loss(transfer_loss: Answer, draw: Draw) -> None:
    """``transfer_loss(network, photo, painting, content_layer, style_layers, alpha, beta) -> loss_fn``.

    ``loss_fn(image)`` gives ``{"content": alpha L_content, "style": beta L_style}``, two scalar tensors:
    ``|F - P|^2 / |P|^2`` of the features at the content layer, and the mean over the style layers of
    ``|G - A|^2 / |A|^2``, where G and A are Gram matrices of image and painting. The targets P and A are computed once,
    without a gradient, and each call runs the network once. Gatys et al. (2016), equation 7 and figure 2.
    """
    network, image = WatchedNetwork(draw), draw.image()
    photo, other_photo, painting = (torch.rand(image.shape, generator=draw.generator) for _ in range(3))
    weights = draw.number(2, 4), draw.number(5, 9)
    first = Case(network, photo, painting**2, *weights)
    second = Case(network, other_photo, draw.image(25, 32), *weights)
    loss_fn = first.loss_fn(transfer_loss)
    terms = judge_terms(loss_fn, first, image, {})
    network.passes.clear()
    with left_alone(network):
        expect(
            all(close(term, terms[name]) for name, term in loss_fn(image).items()),
            "the loss function gives another value at its second call: something is kept from the first",
        )
    expect_image_alone(network, first)
    of_second = second.loss_fn(transfer_loss)
    expect(
        all(close(term, terms[name]) for name, term in loss_fn(image).items()),
        "a loss function gives another value after a second one is made: their targets must be kept apart",
    )
    judge_terms(of_second, second, image, {"the targets are those of an earlier call; compute them anew": first})
    network.requires_grad_(True)
    judge_gradients(second.loss_fn(transfer_loss), second, image)


def judge_gradients(loss_fn: Answer, case: Case, image: Tensor) -> None:
    """Raise `Mistake` unless a loss function can be followed back to the image, and that again."""
    for _ in range(2):
        x, same = (image.clone().requires_grad_() for _ in range(2))
        loss = torch.stack(list(loss_fn(x).values())).sum()
        expect(loss.requires_grad, "no gradient reaches the image: something is detached, or under torch.no_grad()")
        try:
            loss.backward()  # to the weights, too: a graph behind the targets does not survive it
        except RuntimeError as error:
            raise Mistake(
                "a second backward fails, for the targets have a graph of their own; compute them under torch.no_grad()"
            ) from error
        torch.stack(list(case.terms(same).values())).sum().backward()
        found = x.grad is not None and same.grad is not None and close(x.grad, same.grad)
        expect(found, "the gradient is not that of the loss; is a part detached?")


def judge_terms(loss_fn: Answer, case: Case, image: Tensor, mistaken: dict[str, Case]) -> dict[str, Tensor]:
    """The two terms of a loss function; `Mistake` unless they are right.

    `mistaken` is ``{sentence: the case whose terms come out with this mistake}``.
    """
    terms, right = loss_fn(image), case.terms(image)
    by_name = isinstance(terms, Mapping) and set(terms) == {"content", "style"}
    expect(by_name, 'the loss function must give its terms by name, {"content": ..., "style": ...}')
    exchanged = replace(case, alpha=case.beta, beta=case.alpha)
    others = {**mistaken, "alpha and beta are exchanged: alpha is the content's weight, beta the style's": exchanged}
    for name, wrong in (("content", wrong_contents(case, image)), ("style", wrong_styles(case, image))):
        expect_scalar(terms[name], f"the {name} term")
        also = {sentence: other.terms(image)[name] for sentence, other in others.items()}
        expect_value(terms[name], right[name], also | wrong, f"the value of the {name} term is not what was asked")
    return {name: term.detach() for name, term in terms.items()}


def wrong_contents(case: Case, image: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of the content term."""
    F, P, A = (case.network.features_of(each, CONTENT_LAYER) for each in (image, case.photo, case.painting))
    of_grams = relative_error(gram_matrix(F), gram_matrix(P))
    wrong: dict[str, Tensor | float] = {
        "the content term is 0; is the photo's target computed from the image itself?": 0.0,
        "the content term is without its weight, alpha": relative_error(F, P) / case.alpha,
        "the content compares Gram matrices; features were asked, which still know where things are": of_grams,
    }
    if A.shape == F.shape:
        wrong["the content's target is the painting; are photo and painting exchanged?"] = relative_error(F, A)
    wrong |= {f"of the content term: {sentence}": value for sentence, value in wrong_losses(F, P).items()}
    return {sentence: case.alpha * value for sentence, value in wrong.items()}


def wrong_styles(case: Case, image: Tensor) -> dict[str, Tensor | float]:
    """``{sentence: what comes out with this mistake}`` of the style term."""
    network, painting = case.network, case.painting
    each = network.style_errors(image, painting, STYLE_LAYERS)
    at_content = network.style_errors(image, painting, [CONTENT_LAYER]).mean()
    of_photo = network.style_errors(image, case.photo, STYLE_LAYERS).mean()
    pairs = [[network.features_of(x, layer) for x in (image, painting)] for layer in STYLE_LAYERS]
    plain = torch.stack([(gram_matrix(F) - gram_matrix(A)).square().sum() for F, A in pairs])
    wrong: dict[str, Tensor | float] = {
        "the style term is 0; is the painting's target computed from the image itself?": 0.0,
        "the style's target is the photo's; the painting's was asked": of_photo,
        "the style term is without its weight, beta": each.mean() / case.beta,
        "the style layers are added up; their mean was asked": each.sum(),
        "only the first style layer counts; does the function return within the loop?": each[0],
        "only the last style layer counts; does the sum begin anew in the loop?": each[-1],
        "the style is taken from the content layer; take it from the style layers": at_content,
        "the style term is not divided by |A|^2": plain.mean(),
        "the style term is neither divided by |A|^2 nor a mean over the layers": plain.sum(),
    }
    if painting.shape == image.shape:
        place_by_place = torch.stack([relative_error(F, A) for F, A in pairs]).mean()
        wrong["the style compares features place by place; compare their Gram matrices"] = place_by_place
    return {sentence: case.beta * value for sentence, value in wrong.items()}


def expect_image_alone(network: WatchedNetwork, case: Case) -> None:
    """Raise `Mistake` when one call of the loss function has shown the network more than its image, once."""
    passes = [each.image for each in network.passes]
    expect(
        not any(near(each, target) for each in passes for target in (case.photo, case.painting)),
        "the targets are computed again at each call; compute them once, before the loss function is defined",
    )
    once = len(passes) <= 1
    expect(once, f"each call runs the network {len(passes)} times; one pass gives the features of all layers")


class Runs:
    """The ``run`` that a sweep is given: it notes what it is called with, and gives a random image each time."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.starts: list[Tensor] = []
        self.weights: list[tuple[float, float]] = []
        self.results: list[Tensor] = []

    def __call__(self, start: Tensor, alpha: float, beta: float) -> Tensor:
        """One run."""
        self.starts.append(start.clone())
        self.weights.append((float(alpha), float(beta)))
        self.results.append(torch.rand(start.shape, generator=self.generator))
        return self.results[-1].clone()

    def result_of(self, ratio: float) -> Tensor:
        """The result of the run with this alpha / beta."""
        pairs = zip(self.weights, self.results, strict=True)
        return next(result for (alpha, beta), result in pairs if math.isclose(alpha / beta, ratio))


@exercise("Sweep of alpha / beta")
def check_sweep(sweep: Answer, draw: Draw) -> None:
    """``sweep(run, start, ratios) -> {ratio: result}``: one run for each ratio alpha / beta, in the order given.

    ``run(start, alpha, beta)`` gives a result; alpha is 1 in each run, and each begins at the same start. Gatys et al.
    (2016), figure 4.
    """
    start = draw.image()
    for _ in range(2):
        low, middle, high, above_1 = *sorted(10 ** draw.number(-4, -0.2) for _ in range(3)), draw.number(2, 20)
        ratios = [high, low, above_1, middle]
        runs, given = Runs(draw.generator), list(ratios)
        found = sweep(runs, start, given)
        judge_runs(runs, start, ratios)
        judge_results(found, runs, ratios)


def judge_runs(runs: Runs, start: Tensor, ratios: list[float]) -> None:
    """Raise `Mistake` unless there was one run for each ratio, from the start, with the right weights."""
    expect(
        all(torch.equal(each, start) for each in runs.starts),
        "a run begins at another image than the start, such as the result of the run before; all begin at the start",
    )
    for alpha, beta in runs.weights:
        given = f"run was given alpha = {alpha:.4g} and beta = {beta:.4g}"
        expect(alpha != 0 and beta != 0, f"{given}, which have no ratio")
        same = alpha == beta and alpha in ratios
        expect(not same, "alpha and beta are both the ratio, so that alpha / beta is always 1")
        upside_down = any(math.isclose(beta / alpha, ratio) for ratio in ratios)
        expect(not upside_down, "it is the wrong way round: the ratio is alpha / beta, and here it is beta / alpha")
        asked = any(math.isclose(alpha / beta, ratio) for ratio in ratios)
        expect(asked, f"{given}, whose ratio is none of those asked")
        expect(alpha == 1, f"alpha / beta is right, but alpha is {alpha:.4g}; 1 was asked")
    calls = len(runs.weights)
    expect(calls != 1, "run was called only once; does the function return inside the loop?")
    once_each = calls == len(ratios)
    expect(once_each, f"run was called {calls} times for {len(ratios)} ratios; one call for each was asked")
    made = sorted(alpha / beta for alpha, beta in runs.weights)
    expect(all(map(math.isclose, made, sorted(ratios))), "a ratio was run twice, and another one not at all")


def judge_results(found: object, runs: Runs, ratios: list[float]) -> None:
    """Raise `Mistake` unless each ratio has the result of its own run, in the order given."""
    expect(isinstance(found, dict), f"a dict {{ratio: result}} was asked, and this is a {type(found).__name__}")
    assert isinstance(found, dict)
    earlier = set(found) > set(ratios)
    expect(not earlier, "results of an earlier sweep are still in the dict; begin each sweep with an empty one")
    expect(len(found) != 1, "the dict has only the last result; is it begun anew inside the loop?")
    expect(len(found) == len(ratios), f"the dict has {len(found)} of the {len(ratios)} results; where are the others?")
    expect(set(found) == set(ratios), "the keys of the dict are not the ratios as they were given")
    for ratio, result in found.items():
        expect(isinstance(result, Tensor), "the values of the dict must be what run returns, as it is")
        expect(torch.equal(result, runs.result_of(ratio)), "a ratio has the result of another one's run")
    expect(list(found) == ratios, "the results are in another order than the ratios that were given")


@exercise("Style transfer")
def check_style_transfer(transfer: Answer, draw: Draw) -> None:
    """``transfer(network, photo, painting, content_layer, style_layers, alpha, beta, steps) -> image``.

    From the photo, any optimiser of torch makes ``alpha L_content + beta L_style`` small, see `check_transfer_loss`;
    the result ``(1, 3, H, W)`` is in [0, 1], and the photo stays as it is. With most of the weight on the content, its
    loss must stay below half of where the style alone drives it; with most of it on the style, the style loss must fall
    below 60 % of the photo's. Gatys et al. (2016), section 2.3.
    """
    network = WatchedNetwork(draw, ((8, 8), (12, 12)))
    photo = 0.2 + 0.6 * draw.image().round()
    first, second = (colourful(size, draw) for size in (photo, draw.image(25, 32)))

    faithful, content, style = transferred(transfer, network, photo, first, 1.0, 0.01)
    to_painting = float(network.content_error(faithful, first, CONTENT_LAYER))
    expect(to_painting > content / 5, "the result has the painting's content; are photo and painting exchanged?")
    _, free_content, free_style = transferred(transfer, network, photo, second, 0.01, 1.0)
    expect(
        content <= 2 * free_content or free_style <= max(2 * style, 0.1),
        "with more weight on the content there is less of it, and so with the style; are alpha and beta exchanged?",
    )
    drift = float(network.content_error(styled(network, photo, first), photo, CONTENT_LAYER))
    expect(
        content <= drift / 2,
        f"the content drifts to a loss of {content:.2f}, with most of the weight on it; does the content term count, "
        "with alpha?",
    )
    expect(
        free_style <= 0.6,
        f"after {STEPS} steps with most of the weight on it, the style loss is still {free_style:.0%} of the photo's; "
        "does the style term count, with beta, and is the learning rate large enough?",
    )


def colourful(like: Tensor, draw: Draw) -> Tensor:
    """A painting of an image's size, in colours that no photo of a check has."""
    tint = torch.tensor([1.0, 0.5, 0.2])[draw.order(3)].view(1, 3, 1, 1)
    return 0.1 + 0.8 * tint * torch.rand(like.shape, generator=draw.generator).round()


def styled(network: WatchedNetwork, photo: Tensor, painting: Tensor) -> Tensor:
    """Where the style alone drives a photo."""

    def loss_fn(image: Tensor) -> dict[str, Tensor]:
        return {"style": network.style_errors(image, painting, STYLE_LAYERS).mean()}

    return optimize_image(photo, loss_fn, steps=STEPS, optimizer="adam", learning_rate=0.02, progress=False).image


def transferred(
    transfer: Answer, network: WatchedNetwork, photo: Tensor, painting: Tensor, alpha: float, beta: float
) -> tuple[Tensor, float, float]:
    """An image that was searched for from the photo on, its content loss, and its style loss as a part of the photo's.

    With weights alpha, and beta by the photo's style loss.
    """
    network.passes.clear()
    at_start = float(network.style_errors(photo, painting, STYLE_LAYERS).mean())
    with left_alone(network):
        result = transfer(network, photo, painting, CONTENT_LAYER, list(STYLE_LAYERS), alpha, beta / at_start, STEPS)
    expect_untouched(photo, "the photo")
    expect_result(result, photo)
    assert isinstance(result, Tensor)
    still = close(result, photo)
    expect(bool(network.searches) or not still, "the photo is returned as it is: no image is optimised")
    expect_search(network, photo, "the photo", painting, "the painting")
    expect(not still, "the result is still the photo, whose content loss is 0; does the style term count, with beta?")
    style = float(network.style_errors(result, painting, STYLE_LAYERS).mean())
    return result, float(network.content_error(result, photo, CONTENT_LAYER)), style / at_start
