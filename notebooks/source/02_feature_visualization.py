# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,nbgrader
#     comment_magics: false
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 2: what the network sees
#
# A style transfer does not compare pixels. It compares **features**, the numbers inside a network, and calls
# some of them the *content* and statistics of others the *style*. So before we use features, let us look at them. Ours come
# from the compact network that lesson 1 introduced: it imitates ImageNet's VGG16, which was trained to tell a thousand
# kinds of things apart.
#
# **The question of this lesson:** what do the layers of a network respond to, from the first to the last?
#
# - **You will be able to** compute a [feature map](glossary.md#feature-map) and a receptive field by hand; find the
#   channels that tell something; say which layer notices which change; make the image that excites a channel most.
# - **You need** [lesson 1](01_preprocessing.ipynb), and convolution, gradient and optimiser from the
#   [refresher](refresher.md).
# - **Time:** 35 minutes to read, 40 for the exercises; it computes for about a minute on two CPU cores.
# - **Network:** the compact one, in float32 so that our hand calculation matches; pictures by the full VGG16 show what it
#   imitates.

# %%
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and importlib.util.find_spec("nst_lessons") is None:
    wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")
    %pip install -q --no-deps {wheel}

# %%
import torch
from torch.nn.functional import conv2d
from torchvision.transforms.functional import gaussian_blur, rgb_to_grayscale

from nst_lessons import (
    full_network_picture,
    gram_matrix,
    keep_freed_memory,
    load_backbone,
    load_image,
    match_shapes,
    noise_like,
    preprocess,
    sample,
    style_loss,
    sweep,
)
from nst_lessons.plots import plot_lines, show_boxes, show_feature_maps, show_filters, show_heat_map, show_images
from nst_lessons.visualize import (
    activation_overlay,
    layer_sensitivity,
    maximise_activation,
    receptive_field_box,
    selective_channels,
)
from nst_lessons.widgets import explore_features, predict, render_features

# %%
photo = load_image(sample("astronaut"), size=256)
keep_freed_memory()
backbone = load_backbone(precision="float32")  # exact, so that our hand calculation matches
layers = backbone.layers_by_block("relu", 1)
show_images(
    {"astronaut": photo},
    title="The photo of this lesson",
    caption="Eileen Collins, astronaut, 1993 (NASA).",
    alt="A smiling woman in an orange space suit, between a flag and a model of a space shuttle, with a black "
    "helmet in front of her.",
)

# %% [markdown]
# ## 1. The first layer, by hand
#
# A [convolution](glossary.md#convolution) slides a small window over the picture. Channel $i$ has a filter of $3 \times 3$ weights $W$ for each of
# the three colours $c$, and a bias $b$. Its feature at position $j$, which is row $r$ and column $s$ of the normalised
# image $z$ (lesson 1), is
#
# $$F^l_{ij} = \max\Bigl(0, \; b_i + \sum_{c} \sum_{u,v \in \{-1, 0, 1\}} W_{icuv} \, z_{c, \, r+u, \, s+v} \Bigr) ,$$
#
# large where the picture looks like the filter. The $\max(0, \cdot)$ is the [ReLU](glossary.md#relu): no feature is below zero. As in the
# paper, $l$ is the layer (here `relu1_1`), $i$ the channel and $j$ the position. In code it is one line, and it gives
# exactly what the backbone gives:

# %% tags=["nbval-check-output"]
first = backbone.conv1_1
by_hand = conv2d(preprocess(photo), first.weight, first.bias, padding=1).clamp_min(0)
print("features of the first layer:", tuple(by_hand.shape))
print("the same as the backbone's: ", torch.allclose(by_hand, backbone(photo, ["relu1_1"])["relu1_1"], atol=1e-4))

# %% [markdown]
# Because the filters of the first layer look at colours, they can be drawn as colours:

# %%
show_filters(
    first.weight,
    title="The filters of conv1_1",
    caption="Mid-grey is a weight of zero. Two kinds are easy to find: edges, light on one side and dark on the "
    "other, in every direction; and patches of a single colour, which measure that colour.",
    alt="24 squares of 3 x 3 pixels. Six are of one colour each: blue, magenta, green, cyan, teal and yellow. Two have "
    "a centre unlike the rest. The others go from light to dark in various directions, mostly in greys.",
)


# %% [markdown]
# ## 2. One photo through five blocks
#
# VGG networks are simple: convolutions, a ReLU after each, and after every block a [pooling](glossary.md#pooling) layer that halves height and
# width. Layer names say where we are: `relu3_1` is the ReLU after the first convolution of the third block, `conv3_1`
# is the same before the ReLU.
#
# On the way down the maps become smaller and more numerous, and each value sees more of the photo. Its [**receptive
# field**](glossary.md#receptive-field), $r_l$ pixels wide, grows layer by layer: a window of size $k_l$ reaches over $k_l - 1$ steps of the
# layer's input, and each step spans $s_{l-1}$ pixels of the photo
# ([Araujo, Norris and Sim 2019](https://distill.pub/2019/computing-receptive-fields/)):
#
# $$r_l = r_{l-1} + (k_l - 1) \, s_{l-1}, \quad s_l = s_{l-1} \cdot \text{(2 after pooling, else 1)}, \quad r_0 = s_0 = 1 .$$

# %% [markdown]
# ### Exercise 2.1: the receptive field
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 10 minutes
#
# Compute $r_l$ for a list of layers, by the rule above. A convolution is $3 \times 3$ with [stride](glossary.md#stride) 1, pooling is $2 \times 2$ with stride 2, and a ReLU looks at one position only.
#
# <details><summary>Hint 1</summary>
#
# Two numbers change from layer to layer, and both begin at 1. Go through the list once.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A layer adds $(k - 1)$ steps, and a step is as many pixels as the stride *before* that layer. What is $k - 1$ for each kind?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `conv`: `field += 2 * stride`. `pool`: `field += stride`, and only then `stride *= 2`. `relu`: nothing.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "receptive_field", "solution": true}
def receptive_field(layers):
    """A list of "conv", "relu" and "pool", the first layer first -> the side of the field, in pixels."""
    ### BEGIN SOLUTION
    field, stride = 1, 1
    for layer in layers:
        if layer == "conv":
            field += 2 * stride
        elif layer == "pool":
            field += stride
            stride *= 2
    return field
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_receptive_field", "points": 2, "solution": false}
from nst_lessons.exercises import check_receptive_field

check_receptive_field(receptive_field)

# %% tags=["nbval-check-output"]
features = backbone(photo, layers)
for layer, maps in features.items():
    _, channels, height, width = maps.shape
    field, stride = backbone.receptive_field[layer], backbone.stride[layer]
    shape = f"{channels:3} channels of {height:3} x {width:3}"
    print(f"{layer}: {shape}, one every {stride:2} pixels, each sees {field} x {field}")

# %% [markdown]
# `receptive_field_box` gives the pixels that one value sees. Here it is for the value at the tip of the nose, in each
# of the five layers.

# %%
nose, boxes = (65, 114), {}
for layer in layers:
    position = nose[0] // backbone.stride[layer], nose[1] // backbone.stride[layer]
    box = receptive_field_box(backbone, layer, position, (256, 256))
    boxes[f"{layer}: {backbone.receptive_field[layer]} x {backbone.receptive_field[layer]} pixels"] = box
show_boxes(
    photo,
    boxes,
    title="What one value of each layer can see",
    caption="relu1_1 sees a few pixels: an edge, a colour. relu3_1 sees a nose and a mouth, relu4_1 sees the whole "
    "face, and relu5_1 the head and most of the ring around the neck.",
    alt="The photo with five nested boxes: a dot on the nose, the nose, from below the eyes to below the mouth, the "
    "face, and the head with most of the neck ring.",
)

# %% [markdown]
# Now the features themselves: the first 16 channels of each of the five layers. Each map is drawn from its own smallest
# value (black) to its largest (light yellow).

# %%
captions = {
    "relu1_1": "Edges and colours, as sharp as the photo.",
    "relu2_1": "Mostly lines, in several channels those of one direction only. Channels 10 to 12 are lit "
    "on whole surfaces.",
    "relu3_1": "Textures and simple shapes. Channel 1 responds to the border alone, where the picture is padded with "
    "zeros.",
    "relu4_1": "One value every 8 pixels. Channels 4, 6 and 13 respond in a few places only, channels 5 and 14 "
    "in many.",
    "relu5_1": "A few bright spots on a coarse grid: something is there, and roughly where.",
}
alts = {
    "relu1_1": "Sixteen small maps of the photo, most of them black with thin outlines. A few have filled areas: badge "
    "and flag (2), the suit (3), the wall (9), wall and face (12), the dark helmet, collar and table (13).",
    "relu2_1": "Sixteen maps of outlines, thicker and brighter. Upright edges in 0, 2 and 13, level ones in 4 and 6, "
    "the rim of the badge in 1 and 5. In 10, 11 and 12 suit, helmet and table are filled.",
    "relu3_1": "Sixteen coarser maps of short strokes and spots. Channel 1: only a bright border. 4 and 7: upright "
    "strokes. 10: slanting ones. 13: a bright crescent at the badge. 14: the folds of the suit.",
    "relu4_1": "Sixteen maps of small blocks on black: only a handful in channels 4, 6 and 13, scattered all over in 5 "
    "and 14. The photo can hardly be recognised.",
    "relu5_1": "Sixteen maps of large blocks. A few of them are bright, most are black; in channel 1 many are lit. The "
    "photo cannot be recognised.",
}
for layer, maps in features.items():
    show_feature_maps(maps, title=layer, caption=captions[layer], alt=alts[layer])


# %% [markdown]
# ## 3. The most selective channels
#
# A layer has up to 320 channels. Which of them tell us most? Not those with the largest mean: they are active nearly
# everywhere, and tell us little more than how bright the picture is. A channel tells us more if it is nearly always
# silent, and responds strongly to something special. [`selective_channels`](glossary.md#selective-channel) sorts by that, the peak divided by the mean,
# here over four photos at once. Each chosen channel is then shown on the photo on which it peaks.

# %% [markdown]
# ### Exercise 2.2: the most selective channels
#
# > Difficulty ★★☆ (2 of 3) · importance: medium · about 12 minutes
#
# Find the `count` channels with the highest peak divided by their mean, both over all images and positions. Channels whose mean is not above 0 must not be chosen, so there may be fewer.
#
# <details><summary>Hint 1</summary>
#
# Which axes have to go, so that one number is left for each channel? `amax` and `mean` take several at once.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `features.amax((0, 2, 3))` has the shape `(C,)`. What is 0 / 0, and where does `argsort` put it? Choose the channels with a mean above 0 first.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `active = (means > 0).nonzero().flatten()` are the numbers of those channels. Sort `peaks[active] / means[active]` with `argsort(descending=True)`, and look the order up in `active`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "most_selective", "solution": true}
def most_selective(features, count):
    """(B, C, H, W) -> a list of at most count channel numbers, the most selective first."""
    ### BEGIN SOLUTION
    peaks, means = features.amax((0, 2, 3)), features.mean((0, 2, 3))
    active = (means > 0).nonzero().flatten()
    ratios = peaks[active] / means[active]
    return active[ratios.argsort(descending=True)][:count].tolist()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_most_selective", "points": 2, "solution": false}
from nst_lessons.exercises import check_most_selective

check_most_selective(most_selective)

# %% tags=["nbval-check-output"]
names = ["astronaut", "chelsea", "coffee", "rocket"]
photos = torch.cat([match_shapes(photo, load_image(sample(name)))[1] for name in names])
deep = backbone(photos, backbone.layers_by_block("relu", 2))
selective = {layer: selective_channels(maps, 4) for layer, maps in deep.items()}

highlights = {}
for layer, channels in selective.items():
    peaks = []
    for channel in channels:
        maps = deep[layer][:, [channel]]
        where = int(maps.amax((1, 2, 3)).argmax())  # the photo with the largest value
        highlights[f"{layer}, channel {channel}"] = activation_overlay(photos[[where]], maps[[where]])
        peaks.append(f"{channel} ({names[where]})")
    print(f"{layer}: channels {', '.join(peaks)}")

# %%
show_images(
    highlights,
    title="The four most selective channels of five layers",
    caption="Each channel on the photo on which it peaks: light where the channel is active, dark elsewhere. One row "
    "for each layer, the first layer on top.",
    alt="Twenty darkened photos in five rows. relu1_2: thin bright lines along outlines, three times of the "
    "astronaut, once of the cup. relu2_2: bright points and short strokes on the astronaut. relu3_2: her "
    "badge, folds and the edge of her helmet; the last is bright along the picture's border only. relu4_2: "
    "her face and badge; a rocket and its towers; twice a cat's eyes. relu5_2: the coffee in the cup and the "
    "spoon; a sleeve; the cat's muzzle; the astronaut's face, her badge and the flag.",
    columns=4,
)

# %% [markdown]
# **What to see.**
#
# - `relu1_2`: edges, such as the upright ones on the astronaut and the level ones on the cup.
# - `relu2_2`: corners, glints and short strokes.
# - `relu3_2`: small patterns: the badge, folds, the edge of the helmet. The last channel is an artefact: it is brightest
#   along the picture's border, where the network sees the zeros that [pad it](glossary.md#padding).
# - `relu4_2` and `relu5_2`: parts of things. A face and a badge, towers, the cat's eyes (twice); the coffee and the
#   spoon, a sleeve, the cat's muzzle, and the face again, with badge and flag. The spots are larger and softer: the last
#   layers know less about *where exactly*.
#
# How often is a channel active at all?

# %%
active = {layer: float((maps > 0).float().mean()) for layer, maps in backbone(photo, layers).items()}
silent = {
    layer: float((maps < 0.1 * maps.amax((2, 3), keepdim=True)).float().mean()) for layer, maps in features.items()
}
plot_lines(
    {"above zero": active, "below a tenth of the peak": silent},
    xlabel="layer",
    ylabel="share of all values",
    title="Few values are large",
    caption="From relu2_1 on, fewer and fewer values are above zero, and in every layer most are below a tenth of "
    "their channel's peak: a channel responds strongly only where it finds what it looks for.",
)

# %% [markdown]
# ## 4. Which layer notices what?
#
# We change the photo in six ways, and measure at every layer how far its features move. As in lesson 1, $\tilde F^l$ are the
# features of the changed photo:
#
# $$\Delta^l = \frac{\lVert \tilde F^l - F^l \rVert}{\lVert F^l \rVert} .$$
#
# As a yardstick there is a seventh row, an entirely different photo.

# %%
noise = noise_like(photo, seed=0) - 0.5
changed = {
    "shifted 4 pixels": photo.roll((4, 4), (2, 3)),
    "blurred": gaussian_blur(photo, [9, 9], [2.0, 2.0]),
    "grey": rgb_to_grayscale(photo, 3),
    "noisy": (photo + noise).clamp(0, 1),
    "darker": 0.6 * photo,
    "mirrored": photo.flip(3),
    "another photo": match_shapes(photo, load_image(sample("chelsea"), size=256))[1],
}
show_images(
    {"the photo": photo, **changed},
    title="Seven changes",
    caption="Shifted, blurred, without colour, with noise, darker, mirrored; and another photo.",
    alt="Eight panels: the astronaut; moved a little to the right and down; blurred; in grey; with coloured grain; "
    "darker; mirrored, with the flag on the right; and a tabby cat's face.",
    columns=4,
)

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `least.guess = "..."`.)

# %%
least = predict("Which change does relu5_1 mind least?", list(changed)[:-1])

# %%
show_heat_map(
    layer_sensitivity(backbone, photo, changed, layers),
    title="Which layer notices what",
    caption="Relative change of the features: 0, the lightest cell, for none. Compare down a column: which change "
    "does this layer mind most? Compare with the last row: how far away is another photo?",
    darkest=1.5,
)

# %%
moved = layer_sensitivity(backbone, photo, changed, layers[-1:])
least.reveal(min(list(changed)[:-1], key=lambda change: moved[change][layers[-1]]))

# %% [markdown]
# **What to see.**
#
# - **A shift** of four pixels is as bad as another photo for the first layer, where every pixel has its own value. In the
#   last layer one value stands for $16 \times 16$ pixels, and most of them are still the same pixels. That is what
#   pooling is for.
# - **Darkness**, six tenths of the light, is what `relu5_1` minds least, to answer the question above. It moves the
#   features of every layer: scale passes through the network, as in lesson 1.
# - **Noise** and **missing colour** are noticed at every depth, no less in the last layer than in the first. For us this
#   is good: colours and fine texture are part of a style.
# - **A mirror image** shows the same things, and yet it is further away than another photo: the features say *where*
#   things are.
#
# The last point can be turned around. Suppose we only ask which channels are [active](glossary.md#activation) *together*, and forget where. This is
# the [Gram matrix](glossary.md#gram-matrix) $G^l = F^l (F^l)^\top$ (which we divide by the number of positions, $M_l$), of which lesson 4 makes a
# style. Then the same seven changes look different:

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `forgotten.guess = "..."`.)

# %%
forgotten = predict("When positions are forgotten, which change counts least at relu5_1?", list(changed)[:-1])

# %%
grams = {layer: gram_matrix(maps) for layer, maps in features.items()}
forgetful = {}
for change, image in changed.items():
    others = backbone(image, layers)
    forgetful[change] = {layer: float(style_loss(others, {layer: grams[layer]}).sqrt()) for layer in layers}
show_heat_map(
    forgetful,
    title="The same changes, when positions are forgotten",
    caption="Relative change of the Gram matrices. Shifting and mirroring have far less effect than before; blur, "
    "noise, darkness and missing colour are still noticed.",
    darkest=1.5,
)

# %%
forgotten.reveal(min(list(changed)[:-1], key=lambda change: forgetful[change][layers[-1]]))

# %% [markdown]
# ## 5. The image that excites a channel most
#
# So far we chose the pictures. Now [let the network choose](glossary.md#activation-maximisation): start from faint noise, and change the pixels so that the mean
# feature of one channel $i$ grows (Erhan, Bengio, Courville and Vincent, "Visualizing Higher-Layer Features of a Deep
# Network", 2009; [Simonyan, Vedaldi and Zisserman 2013](https://arxiv.org/abs/1312.6034)),
#
# $$x^\star = \arg\max_x \; \frac{1}{M_l} \sum_{j} F^l_{ij}(x) .$$
#
# It is our first **image optimisation**: the network stays as it is, and the [gradient](glossary.md#gradient) goes to the pixels. In the
# following lessons we do nothing else. We take the last channel of the fourth row above, which responds to the cat's eyes,
# and its layer before the ReLU, `conv4_2`: after the ReLU, a silent channel has no slope to follow. (A few seconds.)

# %%
layer = "conv4_2"
channel = selective["relu4_2"][-1]
image = (0.4 + 0.2 * noise_like(torch.empty(1, 3, 128, 128), seed=0)).requires_grad_()
optimizer = torch.optim.Adam([image], lr=0.02, maximize=True)
activations = {}
for step in range(60):
    optimizer.zero_grad()
    activation = backbone(image, [layer])[layer][:, channel].mean()
    activation.backward()  # d activation / d pixels
    optimizer.step()
    image.data.clamp_(0, 1)
    activations[step] = float(activation)

# %%
plot_lines(
    {"by hand": activations},
    xlabel="step",
    ylabel="mean activation",
    title=f"Channel {channel} of {layer}, more and more excited",
    caption="Sixty steps of gradient ascent. It slows down as more and more values of the image reach 0 or 1.",
)

# %% tags=["nbval-check-output"]
extreme = (image == 0) | (image == 1)
print(f"share of the image's values that are 0 or 1: {extreme.float().mean():.1f}")


# %% [markdown]
# ### Exercise 2.3: the gradient that goes to the pixels
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 12 minutes
#
# Compute the gradient of a channel's mean, $\partial \bigl( \frac{1}{M_l} \sum_j F^l_{ij} \bigr) / \partial x$, for the image alone. Leave the image as it is, and the network, too: whether it is frozen or not, its weights must neither get a gradient nor be frozen by you.
#
# <details><summary>Hint 1</summary>
#
# PyTorch follows what requires a gradient. Make a copy of the image, and let the copy require it.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `backward()` leaves a gradient on everything that requires one, weights included. `torch.autograd.grad` returns the gradient of what you name, and leaves none.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `pixels = image.clone().requires_grad_()`, the channel's mean as in the loop above but of `pixels`, then `torch.autograd.grad(activation, pixels)`, which is a tuple of one.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "image_gradient", "solution": true}
def image_gradient(network, image, layer, channel):
    """The gradient of the mean of network(image, [layer])[layer][:, channel] w.r.t. the pixels: (1, 3, H, W)."""
    ### BEGIN SOLUTION
    pixels = image.clone().requires_grad_()
    activation = network(pixels, [layer])[layer][:, channel].mean()
    (gradient,) = torch.autograd.grad(activation, pixels)
    return gradient
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_image_gradient", "points": 2, "solution": false}
from nst_lessons.exercises import check_image_gradient

check_image_gradient(image_gradient)


# %% [markdown]
# ### Exercise 2.4: a step of gradient ascent
#
# > Difficulty ★☆☆ (1 of 3) · importance: high · about 6 minutes
#
# Make one step uphill, of a length that does not depend on how steep it is: $x + \eta \, g / \lVert g \rVert$, where $g$ is the gradient of exercise 2.3, $\eta$ is `step_size`, and $\lVert g \rVert$ is the root of the sum of all squares of $g$. Return a new image, not clamped.
#
# <details><summary>Hint 1</summary>
#
# You have the gradient from exercise 2.3. What has a length of 1, and points the same way?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `gradient.norm()` is $\lVert g \rVert$, over all pixels and colours. Uphill means plus.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `image + step_size * gradient / gradient.norm()`, with `image` and not with the copy that requires a gradient: the new image must not remember how it was made.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "activation_step", "solution": true}
def activation_step(network, image, layer, channel, step_size):
    """image + step_size * g / |g|: (1, 3, H, W); g is the gradient of the channel's mean with respect to the pixels."""
    ### BEGIN SOLUTION
    pixels = image.clone().requires_grad_()
    activation = network(pixels, [layer])[layer][:, channel].mean()
    (gradient,) = torch.autograd.grad(activation, pixels)
    return image + step_size * gradient / gradient.norm()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_activation_step", "points": 1, "solution": false}
from nst_lessons.exercises import check_activation_step

check_activation_step(activation_step)

# %% [markdown]
# Such an image excites the channel far more than our photos do, but no camera would ever see it: half of its values are
# at their limits, and neighbouring pixels disagree, because nothing holds the optimiser back. `maximise_activation`
# restrains it, mostly as Olah, Mordvintsev and Schubert do ([Feature Visualization,
# 2017](https://distill.pub/2017/feature-visualization/)):
#
# - [**Fourier coordinates**](glossary.md#fourier-coordinates): what is changed is not pixels but waves over the whole image, as strong at each frequency,
#   and coloured, as in photographs. Large shapes are then found as quickly as fine grain.
# - **Shaking**: at every step the network is shown the image turned, zoomed and shifted a little, by random amounts, so
#   that nothing depends on an exact place.
# - **Total variation** in the loss, a little of it (lesson 1), against what noise is left.
# - **A share of the layer**: the activation is divided by the square root of the whole layer's root mean square, so that
#   mere contrast, which excites all channels alike, gains less (this one is ours).

# %%
restrained = maximise_activation(backbone, layer, channel, size=128, seed=0)
show_images(
    {"by hand, in pixels": image.detach(), "with restraints": restrained.image},
    title=f"What channel {channel} of {layer} looks for",
    caption="In pixels, rings can be made out among garish colours and high-frequency noise. With restraints, the "
    "rings become eyes: dark pupils, bright rims and lashes or fur around them.",
    alt="Two squares full of rings. Left: in glaring red, green, blue and white, rough from pixel to pixel. "
    "Right: in soft natural colours, rings with dark centres, like eyes in fur.",
)

# %% [markdown]
# Now at five depths, for the channels of section 3, in the same order, so that each can be compared with its highlight.
# (About a minute.)

# %%
chosen = [(layer.replace("relu", "conv"), channel) for layer, channels in selective.items() for channel in channels]
runs = sweep(lambda choice: maximise_activation(backbone, *choice, size=128, steps=100, seed=0), chosen)

# %%
show_images(
    {f"{layer}, channel {channel}": run.image for (layer, channel), run in runs.items()},
    title="What channels look for, at five depths",
    caption="The compact network, 100 steps each. One row for each layer, the first layer on top; the same channels, "
    "in the same order, as in section 3.",
    alt="Twenty square textures in five rows. conv1_2: upright ridges, a labyrinth, upright ridges, level ridges."
    " conv2_2: fine grains, rows of dots, a slanting weave, blotches. conv3_2: crescents, crosshatching, "
    "pebbles, coloured specks. conv4_2: overlapping scales, dark fans, pale fans, eyes. conv5_2: pipes among folds,"
    " a loose weave, bristly folds, plump round bodies.",
    columns=4,
)

# %% [markdown]
# **What to see.** Ridges; then grains, dots and weaves; then crescents, crosshatching and pebbles; then scales, fans
# and eyes; and in the last row folds, a loose weave and round bodies. From `conv2_2` on, patterns grow
# larger and more varied: each layer builds its own from those of the layer before. Compare with the highlights: of the
# two channels that responded to the cat's eyes, one (60) draws eyes and the other (36) fans; the one that responded to its
# muzzle draws bristly folds. Not every picture is so clear: why another channel responds to coffee in a cup cannot be seen
# here.
#
# When lesson 4 reconstructs a style from the first layer only, and then from more and more, it builds the texture from
# patterns like these.
#
# The compact network imitates the full VGG16 with fewer channels and some error, most of it in the deep layers. Here is
# what channels of the full network look for, computed by us with the full network (VGG16, ImageNet's weights). These
# are other channels, the most selective ones on the astronaut alone, and each had 200 steps. To make such pictures
# yourself, run this lesson with `load_backbone("vgg16")`.

# %%
sheets = {
    layer: load_image(full_network_picture(f"channels_{layer}"))
    for layer in ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")
}
show_images(  # a sheet has four tiles of 128 pixels, 4 apart
    {f"{layer}, no. {n + 1}": sheet[..., 132 * n : 132 * n + 128] for layer, sheet in sheets.items() for n in range(4)},
    title="What channels of the full VGG16 look for",
    caption="Four selective channels of each layer, with ImageNet's weights, 200 steps each.",
    alt="Twenty square textures in five rows. conv1_2: level ridges, one of them upright in violet and green. "
    "conv2_2: almost plain surfaces of a very fine weave. conv3_2: rounded cells, dark grains, a fine net, "
    "slanting waves. conv4_2: rows of blades, overlapping fans, hatched tiles, dark spots in rows. conv5_2: "
    "spotted, shiny and fur-like bodies with dark round spots.",
    columns=4,
)

# %% [markdown]
# **What to see.** The same order of things: ridges, weaves, cells, fans and spots, bodies. The first three rows resemble
# ours; in the fourth only the fans do. The last row has finer detail than ours: beads, fur, and dark spots like eyes (but it also had more steps).
#
# You can also start from a photo. The channel then finds what it looks for everywhere, a picture known as a [*deep dream*](glossary.md#deep-dream)
# ([Mordvintsev, Olah and Tyka 2015](https://research.google/blog/inceptionism-going-deeper-into-neural-networks/)):

# %%
cup = photos[[names.index("coffee")]]
dream = maximise_activation(backbone, "conv4_2", channel, start=cup, steps=12, seed=0)
show_images(
    {"the photo": cup, "the dream": dream.image},
    title=f"The photo, as channel {channel} of conv4_2 prefers it",
    caption="After 12 steps, rings like eyes and strokes like fur cover the coffee, the saucer and the table. The cup "
    "and the spoon are still there.",
    alt="Left: a cup of coffee on a red saucer. Right: the same cup; coffee, saucer and table are covered with "
    "rings like eyes.",
)

# %% [markdown]
# ## 6. Explore
#
# Any channel of any layer, over the photo. Begin with `relu1_1` and its strongest channel, then go deeper. Point at a
# place with *row* and *column*: the white frame is what its value sees, and the gradient says which of those pixels it
# listens to, and to which colours. (The controls need a running kernel. The figure below shows one setting, for those
# who read this page elsewhere.)

# %%
explore_features(backbone, photo)

# %%
(telling,) = selective_channels(features["relu3_1"], 1)
panels, _ = render_features(backbone, photo, features, layer="relu3_1", channel=telling)
show_images(
    panels,
    columns=2,
    title="One setting of the explorer",
    alt="Upper left: the darkened photo, bright along the edge of the hair, at the neck and on small shapes such as a "
    "star of the flag, which has a frame around it. Upper right: the same places as light squares on black; a yellow "
    "row and column cross at the star. Lower left: a green spot in the middle of a grey square, with a faint purple "
    "ring around it. Lower right: eight small maps, in the first four of which the astronaut can be recognised.",
    caption="The most selective channel of relu3_1. Above: highlighted over the photo, with a frame around the pixels "
    "that its largest value sees, and its values, from the smallest (black) to the largest (white). Below: the "
    "gradient of that value with respect to the pixels in the frame (mid-grey is 0), and the layer's strongest and "
    "most selective channels.",
)

# %% [markdown]
# ## Try it
#
# 1. Take a photo of your own, `load_image("my_photo.jpg", size=256)`. Can you find a channel that responds to skin, sky, or
#    writing? The explorer is the quickest way.
# 2. Shift by 16 pixels instead of 4, which every layer minds more. Then shift the features of the unchanged photo along,
#    with `roll`, by 16 divided by the layer's stride, and compare again. What is left of the change, and where?
# 3. In the loop by hand, minimise instead of maximise. What does the channel respond to least?
# 4. Excite two channels at once: write a loss function that adds two mean activations, and give it to
#    `nst_lessons.optimize_image`.
#
# <details><summary>Hints</summary>
#
# 2. The relative change compares place by place. After a shift by a whole stride, every value finds its old pixels again,
#    one place further. Where does it not?
# 3. Drop `maximize=True`, or put a minus before the activation. Take the layer before its ReLU.
# 4. `optimize_image(start, lambda image: {"both": -(maps := backbone(image, ["conv3_2"])["conv3_2"])[:, [7, 9]].mean()},
#    optimizer="adam")`.
#
# </details>

# %% [markdown] tags=["answer"]
# **Answer.**
#
# 1. It depends on your photo, and one photo proves little. In the astronaut's, channel 56 of `relu4_2` is brightest on
#    the face, and one could take it for a channel of skin; but it is bright on her badge, too. Look for counterexamples in
#    other photos before you name a channel.
# 2. Place by place, 16 pixels change the features by 1.13 at `relu1_1` and 1.04 at `relu5_1`; with the features shifted
#    along, 0.24 and 0.45 are left. All of that is near the edges, where the roll has put what came in from the other
#    side, and where the zeros of the padding now lie beside something else. Far enough from them the features are the
#    same: were it not for the padding, a network of convolutions would not know where it is.
# 3. The channel's mean activation falls from -0.8 to -92, twice as far as it rose (45). There are no rings: the
#    picture is a weave of upright and level bars. After the ReLU all of this would be zero.
# 4. With the hint's 200 steps the two means reach 16 and 10; alone, each channel reaches 21 and 16. Channel 7
#    alone gives dots of many colours, channel 9 yellow bands on blue; together they give rows of blue dots on yellow.

# %% [markdown]
# ## Quick check
#
# (Without buttons: `first_check.guess = "..."`, then `first_check.verdict`.)

# %%
from nst_lessons.widgets import quick_check

first_check = quick_check("deeper")
second_check = quick_check("mirror")
third_check = quick_check("before-the-relu")

# %% [markdown]
# ## What to remember
#
# - Features are a dict of layers, each $(1, C, H, W)$: $C$ questions, asked at $H \times W$ places.
# - Going deeper: fewer places, more questions, larger receptive fields; less *where exactly*, more *what*.
# - Features say where things are; what remains when positions are forgotten will be the style.
# - The gradient can go to the pixels. That is all we need for what follows.
#
# ## Further reading
#
# - Channels, and how their pictures are made: [Olah, Mordvintsev and Schubert 2017](https://distill.pub/2017/feature-visualization/)
# - Which parts of a photo excite a channel: [Zeiler and Fergus 2014](https://arxiv.org/abs/1311.2901)
# - Receptive fields of all common networks: [Araujo, Norris and Sim 2019](https://distill.pub/2019/computing-receptive-fields/)
#
# **Next:** [lesson 3](03_content_reconstruction.ipynb) asks how much of a photo its features still know.
