"""Lesson 5's check of the loss function: each wrong solution is caught with its own sentence, each right one passes."""

from functools import cache

import pytest
import torch
from answers import assert_caught, assert_right
from torch.nn.functional import mse_loss

import nst_lessons
from nst_lessons import content_loss, gram_matrix, style_loss
from nst_lessons.exercises import check_transfer_loss


def relative(x, target):
    return ((x - target) ** 2).sum() / (target**2).sum()


def gram(maps):
    F = maps[0].flatten(1)
    return F @ F.T / F.shape[1]


def by_hand(network, photo, painting, content_layer, style_layers, alpha, beta):
    with torch.no_grad():
        P = network(photo, [content_layer])[content_layer]
        A = {layer: gram(maps) for layer, maps in network(painting, style_layers).items()}

    def loss_fn(image):
        features = network(image, [content_layer, *style_layers])
        style = [relative(gram(features[layer]), A[layer]) for layer in style_layers]
        return {"content": alpha * relative(features[content_layer], P), "style": beta * sum(style) / len(style)}

    return loss_fn


def targets_of(network, photo, painting, content_layer, style_layers):
    content = network(photo, [content_layer])
    return content, {layer: gram_matrix(maps) for layer, maps in network(painting, style_layers).items()}


def terms_of(features, content, style, alpha, beta):
    return {"content": alpha * content_loss(features, content), "style": beta * style_loss(features, style)}


def by_the_lesson(network, photo, painting, content_layer, style_layers, alpha, beta):
    with torch.no_grad():
        content, style = targets_of(network, photo, painting, content_layer, style_layers)
    return lambda image: terms_of(network(image, content | style), content, style, alpha, beta)


def by_the_package(network, photo, painting, content_layer, style_layers, alpha, beta):
    targets = targets_of(network, photo, painting, content_layer, style_layers)
    content, style = ({layer: target.detach() for layer, target in each.items()} for each in targets)
    loss_fn = nst_lessons.transfer_loss(network, content, style, alpha=alpha, beta=beta, tv=0)
    return lambda image: {name: term for name, term in loss_fn(image).items() if name != "tv"}


def by_a_late_start(network, photo, painting, content_layer, style_layers, alpha, beta):
    """Targets are computed at the first call, and kept."""

    @cache
    def inner():
        return by_hand(network, photo, painting, content_layer, style_layers, alpha, beta)

    return lambda image: inner()(image)


@pytest.mark.parametrize("answer", [by_hand, by_the_lesson, by_the_package, by_a_late_start])
def test_right_transfer_losses(answer):
    assert_right(check_transfer_loss, answer)


def with_targets_at_each_call(network, photo, painting, *settings):
    return lambda image: by_hand(network, photo, painting, *settings)(image)


def with_two_passes(network, photo, painting, content_layer, style_layers, alpha, beta):
    with torch.no_grad():
        content, style = targets_of(network, photo, painting, content_layer, style_layers)
    return lambda image: terms_of(network(image, content) | network(image, style), content, style, alpha, beta)


def with_a_graph_in_the_targets(network, photo, painting, content_layer, style_layers, alpha, beta):
    content, style = targets_of(network, photo, painting, content_layer, style_layers)
    return lambda image: terms_of(network(image, content | style), content, style, alpha, beta)


def with_the_image_as_content_target(network, photo, painting, content_layer, style_layers, alpha, beta):
    loss_fn = by_hand(network, photo, painting, content_layer, style_layers, alpha, beta)

    def other(image):
        target = network(image, [content_layer])
        return loss_fn(image) | {"content": alpha * content_loss(target, target)}

    return other


def with_terms(content=None, style=None):
    """An answer with one term made otherwise, of ``(features, P, A, features of photo and painting, alpha, beta)``."""

    def answer(network, photo, painting, content_layer, style_layers, alpha, beta):
        with torch.no_grad():
            of_photo = network(photo, [content_layer, *style_layers])
            of_painting = network(painting, [content_layer, *style_layers])

        def loss_fn(image):
            F = network(image, [content_layer, *style_layers])
            terms = by_hand(network, photo, painting, content_layer, style_layers, alpha, beta)(image)
            pairs = [(F[layer], of_painting[layer], of_photo[layer]) for layer in style_layers]
            if content:
                terms["content"] = content(F[content_layer], of_photo[content_layer], alpha, beta)
            if style:
                terms["style"] = style(pairs, alpha, beta)
            return terms

        return loss_fn

    return answer


def mean_style(pairs):
    return sum(relative(gram(F), gram(A)) for F, A, _ in pairs) / len(pairs)


SHARED = {}


def with_targets_kept_outside(network, photo, painting, content_layer, style_layers, alpha, beta):
    with torch.no_grad():
        SHARED["content"], SHARED["style"] = targets_of(network, photo, painting, content_layer, style_layers)

    def loss_fn(image):
        content, style = SHARED["content"], SHARED["style"]
        return terms_of(network(image, content | style), content, style, alpha, beta)

    return loss_fn


class FirstTargetForEver:
    def __init__(self):
        self.content = None

    def __call__(self, network, photo, painting, content_layer, style_layers, alpha, beta):
        with torch.no_grad():
            content, style = targets_of(network, photo, painting, content_layer, style_layers)
        self.content = self.content or content
        return lambda image: terms_of(network(image, self.content | style), self.content, style, alpha, beta)


class LossThatGrows:
    def __init__(self):
        self.total = 0

    def __call__(self, *given):
        loss_fn = by_hand(*given)

        def other(image):
            terms = loss_fn(image)
            self.total = self.total + terms["style"].detach()
            return terms | {"style": self.total}

        return other


def without_gradient(network, photo, painting, content_layer, style_layers, alpha, beta):
    return torch.no_grad()(by_hand(network, photo, painting, content_layer, style_layers, alpha, beta))


def with_half_a_gradient(*given):
    loss_fn = by_hand(*given)

    def other(image):
        terms = loss_fn(image)
        return terms | {"style": terms["style"].detach()}

    return other


def with_a_thawed_network(network, *given):
    network.requires_grad_(True)
    return by_hand(network, *given)


def with_the_photo_changed(network, photo, *given):
    photo.mul_(0.5)
    return by_hand(network, photo, *given)


def exchange_images(network, photo, painting, *settings):
    return by_hand(network, painting, photo, *settings)


def exchange_weights(network, photo, painting, content_layer, style_layers, alpha, beta):
    return by_hand(network, photo, painting, content_layer, style_layers, beta, alpha)


def with_the_style_of_the_content_layer(network, photo, painting, content_layer, style_layers, alpha, beta):
    return by_hand(network, photo, painting, content_layer, [content_layer], alpha, beta)


def first_layer(pairs):
    for F, A, _ in pairs:
        return relative(gram(F), gram(A))


def last_layer(pairs):
    for F, A, _ in pairs:
        total = 0
        total = total + relative(gram(F), gram(A))
    return total


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (with_targets_at_each_call, "the targets are computed again at each call"),
        (with_two_passes, "each call runs the network 2 times"),
        (with_a_graph_in_the_targets, "the targets have a graph of their own"),
        (with_the_image_as_content_target, "is the photo's target computed from the image itself"),
        (exchange_images, "are photo and painting exchanged"),
        (exchange_weights, "alpha and beta are exchanged"),
        (with_terms(content=lambda F, P, alpha, beta: relative(F, P)), "without its weight, alpha"),
        (with_terms(content=lambda F, P, alpha, beta: alpha * relative(gram(F), gram(P))), "compares Gram matrices"),
        (
            with_terms(content=lambda F, P, alpha, beta: alpha * ((F - P) ** 2).sum() / 2),
            "of the content term: it is the paper's 1/2",
        ),
        (with_terms(content=lambda F, P, alpha, beta: alpha * mse_loss(F, P)), "it is the mean of the squares"),
        (with_terms(content=lambda F, P, alpha, beta: 3 * relative(F, P) + 1), "the value of the content term"),
        (
            with_terms(style=lambda pairs, alpha, beta: beta * sum(relative(F, P) for F, _, P in pairs) / 2),
            "the value of the style term",
        ),
        (
            with_terms(
                style=lambda pairs, alpha, beta: beta * sum(relative(gram(F), gram(P)) for F, _, P in pairs) / 2
            ),
            "the style's target is the photo's",
        ),
        (with_terms(style=lambda pairs, alpha, beta: mean_style(pairs)), "without its weight, beta"),
        (with_terms(style=lambda pairs, alpha, beta: alpha * mean_style(pairs)), "alpha and beta are exchanged"),
        (with_terms(style=lambda pairs, alpha, beta: 2 * beta * mean_style(pairs)), "the style layers are added up"),
        (with_terms(style=lambda pairs, alpha, beta: beta * first_layer(pairs)), "only the first style layer"),
        (with_terms(style=lambda pairs, alpha, beta: beta * last_layer(pairs)), "only the last style layer"),
        (
            with_terms(style=lambda pairs, alpha, beta: beta * sum(relative(F, A) for F, A, _ in pairs) / 2),
            "compares features place by place",
        ),
        (
            with_terms(
                style=lambda pairs, alpha, beta: beta * sum(((gram(F) - gram(A)) ** 2).sum() for F, A, _ in pairs)
            ),
            "neither divided by |A|^2 nor a mean",
        ),
        (
            with_terms(
                style=lambda pairs, alpha, beta: beta * sum(((gram(F) - gram(A)) ** 2).sum() for F, A, _ in pairs) / 2
            ),
            "the style term is not divided by |A|^2",
        ),
        (
            with_terms(
                style=lambda pairs, alpha, beta: beta * sum(relative(gram(F), gram(F.detach())) for F, *_ in pairs)
            ),
            "is the painting's target computed from the image itself",
        ),
        (with_the_style_of_the_content_layer, "the style is taken from the content layer"),
        (with_targets_kept_outside, "their targets must be kept apart"),
        (FirstTargetForEver, "the targets are those of an earlier call"),
        (LossThatGrows, "another value at its second call"),
        (without_gradient, "no gradient reaches the image"),
        (with_half_a_gradient, "is a part detached"),
        (with_a_thawed_network, "no longer frozen"),
        (with_the_photo_changed, "changes what it was given"),
        (lambda *given: by_hand(*given)(given[1]), "a function of the image must be returned"),
        (lambda *given: lambda image: sum(by_hand(*given)(image).values()), "must give its terms by name"),
        (
            lambda *given: lambda image: {name: float(term) for name, term in by_hand(*given)(image).items()},
            "must be a tensor, so that its gradient",
        ),
        (lambda *given: lambda image: by_hand(*given)(image[0]), "raises ImageError"),
    ],
)
def test_wrong_transfer_losses(answer, said):
    assert_caught(check_transfer_loss, answer, said)


def test_not_attempted_inside_is_no_mistake_either():
    def inside(*_):
        def loss_fn(image):
            raise NotImplementedError

        return loss_fn

    assert not check_transfer_loss.verdict(inside).attempted
