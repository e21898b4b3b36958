"""Lesson 5's function of the image: content and style in one, with targets that are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nst_lessons.exercises.checking import Answer, Draw, Mistake, close, exercise, expect, expect_scalar, expect_value
from nst_lessons.exercises.content import wrong_losses
from nst_lessons.exercises.watching import WatchedNetwork, expect_untouched, left_alone, near
from nst_lessons.losses import gram_matrix, relative_error

CONTENT_LAYER = "relu2_2"
STYLE_LAYERS = ("relu1_1", "relu2_1")


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
    expect(
        isinstance(terms, Mapping) and set(terms) == {"content", "style"},
        'the loss function must give its terms by name, {"content": ..., "style": ...}',
    )
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
