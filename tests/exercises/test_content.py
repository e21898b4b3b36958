"""Lesson 3's checks: each wrong solution is caught with its own sentence, each right one passes."""

import pytest
import torch
from answers import assert_caught, assert_right
from torch.nn.functional import mse_loss

from nst_lessons import content_loss
from nst_lessons.exercises import check_content_loss, check_training_step
from nst_lessons.exercises.checking import Draw
from nst_lessons.exercises.watching import WatchedNetwork


def loss_by_squares(F, P):
    return ((F - P) ** 2).sum() / (P**2).sum()


def loss_by_dots(F, P):
    difference, target = (F - P).flatten(), P.flatten()
    return difference @ difference / (target @ target)


def loss_by_channels(F, P):
    total = 0
    for f, p in zip(F[0], P[0], strict=True):
        total = total + (f - p).pow(2).sum()
    return total / P.pow(2).sum()


@pytest.mark.parametrize(
    "answer",
    [
        loss_by_squares,
        loss_by_dots,
        loss_by_channels,
        lambda F, P: mse_loss(F, P) / mse_loss(torch.zeros_like(P), P),
        lambda F, P: content_loss({"relu1_1": F}, {"relu1_1": P}),
    ],
)
def test_right_content_losses(answer):
    assert_right(check_content_loss, answer)


class LossThatGrows:
    def __init__(self):
        self.calls = 0

    def __call__(self, F, P):
        self.calls += 1
        return loss_by_squares(F, P) * (1 + max(0, self.calls - 3))


class LossWithTheFirstNorm:
    def __init__(self):
        self.norm = None

    def __call__(self, F, P):
        self.norm = (P**2).sum() if self.norm is None else self.norm
        return ((F - P) ** 2).sum() / self.norm


def loss_in_place(F, P):
    F -= P
    return (F**2).sum() / (P**2).sum()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda F, P: (F - P).sum() / (P**2).sum(), "the square is missing: differences"),
        (lambda F, P: (F - P).abs().sum() / (P**2).sum(), "the square is missing: absolute"),
        (lambda F, P: (F - P).sum() ** 2 / (P**2).sum(), "the sum is squared, instead of each difference"),
        (lambda F, P: ((F - P) ** 2).sum() / 2, "the paper's 1/2 |F - P|^2"),
        (lambda F, P: ((F - P) ** 2).sum(), "not divided by the target's |P|^2"),
        (lambda F, P: ((F - P) ** 2).sum() / P.norm(), "divided by |P|, without the square"),
        (lambda F, P: (F - P).norm() / P.norm(), "the root of the loss"),
        (lambda F, P: loss_by_squares(P, F), "divided by |F|^2 instead"),
        (mse_loss, "the mean of the squares"),
        (lambda F, P: mse_loss(F, P) / (P**2).sum(), "divided by the number of values too"),
        (lambda F, P: -loss_by_squares(F, P), "the sign is wrong"),
        (lambda F, P: loss_by_squares(F, P) / 2, "a factor of 1/2 too many"),
        (
            lambda F, P: (((F - P) ** 2).sum((2, 3)) / (P**2).sum((2, 3))).mean(),
            "each channel is divided by its own |P|^2",
        ),
        (lambda F, P: ((F - P) ** 2 / P**2).sum(), "divided by a feature of its own"),
        (lambda F, P: ((F - P) ** 2).sum(1) / (P**2).sum(), "over the channels only"),
        (lambda F, P: ((F - P) ** 2).sum((2, 3)) / (P**2).sum(), "over the positions only"),
        (lambda F, P: (F - P) ** 2 / (P**2).sum(), "must be one number"),
        (lambda F, P: float(loss_by_squares(F, P)), "must be a tensor, so that its gradient"),
        (lambda F, P: loss_by_squares(F.detach(), P), "no gradient reaches"),
        (lambda F, P: ((F - P) * (F - P).detach()).sum() / (P**2).sum(), "is a part detached"),
        (lambda F, P: loss_by_squares(F, P) + 0.01, "not |F - P|^2 / |P|^2"),
        (lambda F, P: ((F - P) ** 2).sum() / ((P**2).sum() + ((F - P) ** 2).sum()), "not |F - P|^2 / |P|^2"),
        (lambda F, P: loss_by_squares(F, P) + 0.01 * torch.equal(F, P), "equal features must have a loss of 0"),
        (LossWithTheFirstNorm, "a larger scale of both"),
        (loss_in_place, "changes what it was given"),
        (LossThatGrows, "something is kept"),
    ],
)
def test_wrong_content_losses(answer, said):
    assert_caught(check_content_loss, answer, said)


def step_by_grad(image, loss_fn, learning_rate):
    x = image.clone().requires_grad_()
    loss = loss_fn(x)
    (gradient,) = torch.autograd.grad(loss, x)
    return (image - learning_rate * gradient).clamp(0, 1), loss.item()


def step_by_backward(image, loss_fn, learning_rate):
    x = image.detach().clone().requires_grad_()
    loss = loss_fn(x)
    loss.backward()
    with torch.no_grad():
        x -= learning_rate * x.grad
        x.clamp_(0, 1)
    return x.detach(), loss.item()


def step_by_sgd(image, loss_fn, learning_rate):
    x = torch.nn.Parameter(image.clone())
    optimizer = torch.optim.SGD([x], lr=learning_rate)
    loss = loss_fn(x)
    loss.backward()
    optimizer.step()
    return x.data.clamp(0, 1), loss.item()


def step_by_func(image, loss_fn, learning_rate):
    gradient, loss = torch.func.grad_and_value(loss_fn)(image)
    return torch.clip(image - learning_rate * gradient, 0, 1), loss.item()


@pytest.mark.parametrize("answer", [step_by_grad, step_by_backward, step_by_sgd, step_by_func])
def test_right_steps(answer):
    assert_right(check_training_step, answer)


def step_with(change):
    """A step whose new image is made otherwise."""

    def step(image, loss_fn, learning_rate):
        x = image.clone().requires_grad_()
        loss = loss_fn(x)
        (gradient,) = torch.autograd.grad(loss, x)
        return change(image, gradient, learning_rate), loss.item()

    return step


def step_in_place(image, loss_fn, learning_rate):
    new, loss = step_by_grad(image, loss_fn, learning_rate)
    return image.copy_(new), loss


def step_on_the_image_given(image, loss_fn, learning_rate):
    image.requires_grad_()
    loss = loss_fn(image)
    loss.backward()
    return (image.detach() - learning_rate * image.grad).clamp(0, 1), loss.item()


def step_with_the_loss_after(image, loss_fn, learning_rate):
    new, _ = step_by_grad(image, loss_fn, learning_rate)
    return new, loss_fn(new).item()


def step_with_a_graph(image, loss_fn, learning_rate):
    x = image.clone().requires_grad_()
    loss = loss_fn(x)
    loss.backward()
    return (x - learning_rate * x.grad).clamp(0, 1), loss.item()


def step_without_detach(image, loss_fn, learning_rate):
    x = image.clone().requires_grad_()
    loss = loss_fn(x)
    loss.backward()
    x -= learning_rate * x.grad
    return x.clamp(0, 1), loss.item()


def step_with_backward_twice(image, loss_fn, learning_rate):
    x = image.clone().requires_grad_()
    loss = loss_fn(x)
    loss.backward(retain_graph=True)
    loss.backward()
    return (x.detach() - learning_rate * x.grad).clamp(0, 1), loss.item()


class StepThatAddsUp:
    def __init__(self):
        self.gradient = 0

    def __call__(self, image, loss_fn, learning_rate):
        x = image.clone().requires_grad_()
        loss = loss_fn(x)
        self.gradient = self.gradient + torch.autograd.grad(loss, x)[0]
        return (image - learning_rate * self.gradient).clamp(0, 1), loss.item()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (step_with(lambda x, g, rate: (x + rate * g).clamp(0, 1)), "goes uphill: the gradient is added"),
        (step_with(lambda x, g, rate: x + rate * g), "uphill, and is not clamped"),
        (step_with(lambda x, g, rate: x - rate * g), "the new image is not clamped"),
        (step_with(lambda x, g, rate: (x - g).clamp(0, 1)), "the learning rate is left out"),
        (step_with(lambda x, g, rate: (x - g / rate).clamp(0, 1)), "divided by the learning rate"),
        (step_with(lambda x, g, rate: (x - rate * g.sign()).clamp(0, 1)), "only the sign of the gradient"),
        (step_with(lambda x, g, rate: (x - rate * g.clamp(0, 1)).clamp(0, 1)), "the gradient is clamped to [0, 1]"),
        (step_with(lambda x, g, rate: (x - rate * g.clamp(-1, 1)).clamp(0, 1)), "the gradient is clamped to [-1, 1]"),
        (step_with(lambda x, g, rate: (x - rate * g / g.norm()).clamp(0, 1)), "scaled to the length 1"),
        (step_with(lambda x, g, rate: x.clone()), "the new image is that which was given"),
        (step_with(lambda x, g, rate: rate * g), "this is the change alone"),
        (step_with(lambda x, g, rate: g), "this is the gradient"),
        (step_with(lambda x, g, rate: (x - 0.7 * rate * g).clamp(0, 1)), "not image - learning_rate * gradient"),
        (step_with(lambda x, g, rate: (x - rate * g).clamp(0, 1)[0]), "has the shape"),
        (step_with_backward_twice, "the gradient counts twice"),
        (step_in_place, "changes what it was given"),
        (step_on_the_image_given, "the image that was given requires a gradient now"),
        (step_with_the_loss_after, "the loss is that after the step"),
        (lambda *given: (step_by_grad(*given)[0], torch.tensor(step_by_grad(*given)[1])), "the loss is a tensor"),
        (lambda *given: (step_by_grad(*given)[0], str(step_by_grad(*given)[1])), "must be a float, and is a str"),
        (lambda *given: (step_by_grad(*given)[0], 0.0), "not what loss_fn gives"),
        (lambda *given: step_by_grad(*given)[0], "two values were asked"),
        (lambda *given: step_by_grad(*given)[::-1], "in the wrong order"),
        (step_with_a_graph, "the new image still requires a gradient"),
        (step_without_detach, "`x -= learning_rate * x.grad`, raises RuntimeError"),
        (StepThatAddsUp, "do gradients add up"),
    ],
)
def test_wrong_steps(answer, said):
    assert_caught(check_training_step, answer, said)


def test_a_watched_network_has_the_same_weights_whatever_the_global_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = WatchedNetwork(Draw("a title"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    other = WatchedNetwork(Draw("a title"))
    assert all(map(torch.equal, one.parameters(), other.parameters()))
