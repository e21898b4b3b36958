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
# # Lesson 1: what the network is given
#
# A network learns from pictures that were all resized, scaled and shifted in the same way before it saw them. Give it a
# picture that was prepared in another way, and nothing breaks: no error, no warning, only features that mean something else.
#
# **The question of this lesson:** which numbers does the network expect, and how much does each mistake cost?
#
# - **You will be able to** turn a photo into a network's input and back, in both published conventions; make it smaller
#   without false detail; recognise the well-known mistakes, and measure what each costs.
# - **You need** to know what a [tensor](glossary.md#tensor) and a convolution are. If not, the
#   [refresher](refresher.md) takes five minutes; the [glossary](glossary.md) explains the terms.
# - **Time:** 25 minutes to read, 28 for the exercises; it computes for less than half a minute on two CPU cores.
# - **Network:** the compact one, described below, because it comes with the package and runs on any laptop.
#
# Every question has an answer: `nst-lessons lab --solutions` opens the lessons with answers and solved exercises.
#
# ## The network of this course
#
# The papers used [VGG](glossary.md#vgg), a network of Oxford's Visual Geometry Group that was trained to name what is in
# more than a million photos from [ImageNet](glossary.md#imagenet) ([Simonyan and Zisserman 2015](https://arxiv.org/abs/1409.1556)). By default the lessons use a **compact
# network** that comes with this package:
#
# - **What it is:** the thirteen convolutions of VGG16, under the same names, with fewer channels and about a quarter of the
#   weights.
# - **From what it was [distilled](glossary.md#distillation):** we trained it to predict the [features](glossary.md#feature) of ImageNet's VGG16 on about 1,600 photographs and
#   paintings; it never saw ImageNet's photos or their thousand classes, but imitates a network that did.
# - **What it is weaker at:** the deeper the [layer](glossary.md#layer), the less of VGG16's features it predicts, and the coarser are the things
#   that its channels look for (lesson 2 shows both networks).
#
# Its model card comes with the package, as `nst_lessons/weights/README.md`, and has the figures. `load_backbone("vgg16")` takes the full network instead.
#
# ## Symbols
#
# All lessons write the papers' symbols, and our own ($z$, $\gamma$) where the papers have none:
#
# | symbol | what it is | in the code |
# |---|---|---|
# | $x$, $p$, $a$ | the image that changes, the photo, the artwork (the painting) | `image`, `photo`, `painting` |
# | $z$ | an image, normalised for the network | `preprocess(image)` |
# | $l$ | a layer, such as `relu3_1` | `layer` |
# | $N_l$, $M_l$ | its number of channels, and of positions ($M_l = H W$) | `maps.shape[1]`, `maps.shape[2] * maps.shape[3]` |
# | $F^l_{ij}$, $P^l_{ij}$ | features of $x$, of the photo: channel $i$, position $j$ | `backbone(image, [layer])[layer]` |
# | $G^l$, $A^l$ | Gram matrices of $x$, of the artwork (lesson 4) | `gram_matrix(maps)` |
# | $w_l$ | weight of a layer | `{layer: weight}` |
# | $\alpha$, $\beta$, $\gamma$ | weights of content, style and total variation | `alpha`, `beta`, `tv` |

# %%
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and importlib.util.find_spec("nst_lessons") is None:
    wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")
    %pip install -q --no-deps {wheel}

# %%
from io import BytesIO

import torch
from PIL import Image
from torch.nn.functional import pad

from nst_lessons import (
    ImageError,
    deprocess,
    keep_freed_memory,
    load_backbone,
    load_image,
    preprocess,
    resize,
    sample,
    to_pil,
    total_variation,
)
from nst_lessons.plots import plot_lines, show_heat_map, show_images
from nst_lessons.visualize import layer_sensitivity
from nst_lessons.widgets import channel_histograms, explore_preprocessing, predict, render_preprocessing

# %%
photo = load_image(sample("chelsea"), size=256)
keep_freed_memory()
backbone = load_backbone()
layers = backbone.layers_by_block("relu", 1)

# %% [markdown]
# ## 1. A photo is a tensor
#
# Throughout this course an image is a tensor of shape $(1, 3, H, W)$: a [batch](glossary.md#batch) of one, three [channels](glossary.md#channel) in the order red,
# green, blue, then rows, then columns. Its numbers are float32 from 0 (no light) to 1 (full light). That is the only
# convention you need to remember; everything else happens inside the [backbone](glossary.md#backbone).

# %% tags=["nbval-check-output"]
print("shape", tuple(photo.shape), photo.dtype)
print("one pixel, row 70 and column 100:", [round(value, 2) for value in photo[0, :, 70, 100].tolist()])

# %% [markdown]
# Each channel alone is a grey picture: how much red light there is, how much green, how much blue.

# %%
planes = {name: photo[:, [i]].expand(1, 3, -1, -1) for i, name in enumerate(["red", "green", "blue"])}
show_images(
    {"the photo": photo, **planes},
    title="One photo, three channels",
    caption="Fur is reddish, so the red channel is lightest and the blue one darkest. The nose shows it best.",
    alt="A tabby cat's face in colour, and three times in grey. The red channel is lightest, nose "
    "and fur above all; the blue channel is darkest, and the nose is nearly black in it.",
)

# %% [markdown]
# ## 2. Resizing: every pixel must count
#
# Work grows with the number of pixels, so we rarely use a photo as large as it came. How it is made smaller matters.
# The simplest way takes every fourth pixel, say, and forgets those between. The careful way takes a weighted mean of
# all the pixels that fall into the new one: [**antialiasing**](glossary.md#antialiasing).
#
# A pattern of rings shows the difference. From the centre outwards they become finer, and beyond a certain radius they
# are too fine for the small picture: each ring needs at least two of its pixels (Nyquist and
# [Shannon 1949](https://doi.org/10.1109/JRPROC.1949.232969)). What should be there instead is even grey.

# %%
rows, columns = torch.meshgrid(torch.linspace(-1, 1, 256), torch.linspace(-1, 1, 256), indexing="ij")
rings = (0.5 + 0.5 * torch.cos(100 * (rows**2 + columns**2))).expand(1, 3, -1, -1)
show_images(
    {
        "256 x 256": rings,
        "64 x 64, without antialiasing": resize(rings, 64, antialias=False),
        "64 x 64, with antialiasing": resize(rings, 64),
    },
    title="Rings that were never there",
    caption="Without antialiasing the rings that are too fine come back as false ones, in all four corners and along "
    "the edges. With antialiasing they fade towards grey, and only faint traces of false rings remain.",
    alt="Left: fine black and white rings around a white disc. Middle: coarse pixels, with false rings at the edges "
    "and in the corners and chequered patches between them. Right: only the inner rings, then grey with faint traces.",
)


# %% [markdown]
# On a photo it is harder to see, but it can be measured. [**Total variation**](glossary.md#total-variation) is the mean squared difference of neighbouring
# pixels ([Mahendran and Vedaldi 2015](https://arxiv.org/abs/1412.0035)). With colours $c$, rows $r$ and columns $s$, and
# $n_\downarrow$ and $n_\rightarrow$ terms in the two sums, it is
#
# $$\mathcal{L}_{tv}(x) = \frac{1}{n_\downarrow} \sum_{c,r,s} (x_{c,r+1,s} - x_{c,r,s})^2 + \frac{1}{n_\rightarrow} \sum_{c,r,s} (x_{c,r,s+1} - x_{c,r,s})^2 ,$$
#
# and false detail raises it. (You will meet it again in lessons 3 and 5, as a term of the loss.)

# %% [markdown]
# ### Exercise 1.1: total variation
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 10 minutes
#
# Write the total variation of an image as above: the mean squared difference of neighbouring pixels, downwards plus across. Each of the two means is over all the pairs of its direction. Use no loop; the image may be large.
#
# <details><summary>Hint 1</summary>
#
# Two slices of the image, one of them a row further down, hold all the pairs of neighbours at once.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `image[:, :, 1:]` has all rows but the first, `image[:, :, :-1]` all rows but the last. Which slices do the same for columns?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `(image[:, :, 1:] - image[:, :, :-1]).square().mean()` is the term downwards. The term across has one `:` more in each slice; add it.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "total_variation_by_hand", "solution": true}
def total_variation_by_hand(image):
    """(1, 3, H, W) -> a scalar: mean squared difference downwards, plus the one across."""
    ### BEGIN SOLUTION
    down = image[:, :, 1:] - image[:, :, :-1]
    across = image[:, :, :, 1:] - image[:, :, :, :-1]
    return down.square().mean() + across.square().mean()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_total_variation", "points": 2, "solution": false}
from nst_lessons.exercises import check_total_variation

check_total_variation(total_variation_by_hand)

# %% tags=["nbval-check-output"]
large = load_image(sample("coffee"))
careful, careless = resize(large, 96), resize(large, 96, antialias=False)
for name, image in {"as it came": large, "with antialiasing": careful, "without": careless}.items():
    print(f"{name:18} {tuple(image.shape[2:])}  total variation {total_variation(image):.4f}")

# %%
show_images(
    {"with antialiasing": careful, "without antialiasing": careless},
    title="The same photo, 96 pixels wide",
    caption="Look at the rim of the saucer, the spoon and the grain of the table: without antialiasing, lines become "
    "stairs and the grain becomes dots. The total variation is about twice as large.",
    alt="A cup of coffee on a red saucer, in large pixels. Left: smooth edges and soft wood. Right: jagged edges, and "
    "wood and saucer strewn with light dots.",
)

# %% [markdown]
# Does the network care? We compare its features $F^l$ of the careful picture with those of the careless one, $\tilde F^l$.
# The **relative change** at layer $l$ is
#
# $$\Delta^l = \frac{\lVert \tilde F^l - F^l \rVert}{\lVert F^l \rVert} ,$$
#
# 0 where nothing changes, 1 where the change is as large as the features themselves: as wrong as no features at all.

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `widths.guess = "..."`.)

# %%
widths = predict(
    "Without antialiasing, at which width do the features of relu1_1 move furthest?",
    ["64 pixels wide", "128 pixels wide", "256 pixels wide"],
)

# %%
changes = {}
for size in (64, 128, 256):
    right, wrong = resize(large, size), resize(large, size, antialias=False)
    changes |= layer_sensitivity(backbone, right, {f"{size} pixels wide": wrong}, layers)
show_heat_map(
    changes,
    title="How far features move without antialiasing",
    caption="Relative change of the features, 0 for none. It is smallest at 256 pixels, where the fewest pixels are "
    "skipped. No layer is spared.",
    darkest=1,
)

# %%
widths.reveal(max(changes, key=lambda name: changes[name]["relu1_1"]))


# %% [markdown]
# ## 3. Two conventions
#
# Networks learn best when their inputs are [centred around zero](glossary.md#normalisation)
# ([LeCun et al. 1998](http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf)). VGG networks use one of two conventions to get
# from an image $x$ to such an input, which we call $z$, and each network works only with the one it was trained with.
#
# **torchvision** ([nearly all of its ImageNet networks](https://pytorch.org/vision/stable/models.html)): for each colour
# $c$, subtract the mean of the ImageNet photos and divide by the standard deviation,
#
# $$z_c = \frac{x_c - \mu_c}{\sigma_c}, \qquad \mu = (0.485, 0.456, 0.406), \quad \sigma = (0.229, 0.224, 0.225) .$$
#
# **Caffe** (the original VGG, hence the networks of the first style transfer papers and
# [Keras' VGG](https://keras.io/api/applications/vgg/)): channels in the order blue, green, red, from 0 to 255, minus the
# mean,
#
# $$z = 255 \cdot (x_B, x_G, x_R) - (103.939, 116.779, 123.68) .$$

# %% [markdown]
# ### Exercise 1.2: torchvision's convention
#
# > Difficulty ★☆☆ (1 of 3) · importance: high · about 8 minutes
#
# Normalise an image as torchvision's networks expect it: $z_c = (x_c - \mu_c) / \sigma_c$ for each colour $c$, with ImageNet's $\mu$ and $\sigma$ from above. Leave the image that is given as it is.
#
# <details><summary>Hint 1</summary>
#
# Three numbers have to meet three channels, and channels are the second of four axes. Which axis does a tensor of the shape `(3,)` meet?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `torch.tensor([...]).view(1, 3, 1, 1)` has one number for each channel, and PyTorch repeats it over rows and columns.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Make `mean` and `std` like that, in the order red, green, blue. Then `(image - mean) / std`, brackets first.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "preprocess_by_hand", "solution": true}
def preprocess_by_hand(image):
    """RGB (1, 3, H, W) in [0, 1] -> (image - mean) / std of each colour, of the same shape."""
    ### BEGIN SOLUTION
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (image - mean) / std
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_preprocess", "points": 1, "solution": false}
from nst_lessons.exercises import check_preprocess

check_preprocess(preprocess_by_hand)


# %% [markdown]
# ### Exercise 1.3: Caffe's convention
#
# > Difficulty ★☆☆ (1 of 3) · importance: medium · about 6 minutes
#
# Prepare the same image for a network in Caffe's convention: $z = 255 \cdot (x_B, x_G, x_R) - (103.939, 116.779, 123.68)$.
#
# <details><summary>Hint 1</summary>
#
# Three things change: the order of the channels, the scale, and the offset. Which order are the three means in?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# A tensor cannot be sliced with `[::-1]`, but `image.flip(n)` reverses axis `n`. Which axis has the channels?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `255 * image.flip(1)` is from 0 to 255, blue first. Subtract the means, in the shape `(1, 3, 1, 1)`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "caffe_by_hand", "solution": true}
def caffe_by_hand(image):
    """RGB (1, 3, H, W) in [0, 1] -> 255 * image in the order BGR, minus the mean; of the same shape."""
    ### BEGIN SOLUTION
    mean = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    return 255 * image.flip(1) - mean
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_preprocess_caffe", "points": 1, "solution": false}
from nst_lessons.exercises import check_preprocess_caffe

check_preprocess_caffe(caffe_by_hand)

# %% [markdown]
# Here are both, each in one line:

# %% tags=["nbval-check-output"]
mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
torchvision_input = (photo - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
caffe_input = 255 * photo.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)

print("like preprocess(photo):         ", torch.allclose(torchvision_input, preprocess(photo)))
print('like preprocess(photo, "caffe"):', torch.allclose(caffe_input, preprocess(photo, "caffe"), atol=1e-4))

# %% tags=["nbval-check-output"]
for name, z in {"image": photo, "torchvision": torchvision_input, "caffe": caffe_input}.items():
    for channel, low, centre, high in zip(
        "BGR" if name == "caffe" else "RGB", z.amin((0, 2, 3)), z.mean((0, 2, 3)), z.amax((0, 2, 3)), strict=True
    ):
        print(f"{name:12} {channel}: from {low:7.2f} to {high:6.2f}, mean {centre:6.2f}")


# %%
def histogram(z):
    """Share of the values in each of 24 bins, by the bins' centres."""
    counts, edges = torch.histogram(z.cpu(), bins=24)
    centres = (edges[:-1] + edges[1:]) / 2
    return dict(zip(centres.tolist(), (counts / counts.sum()).tolist(), strict=True))


plot_lines(
    {f"{name} channel": histogram(torchvision_input[0, i]) for i, name in [(2, "blue"), (0, "red"), (1, "green")]},
    xlabel="z, what the network is given (torchvision's convention)",
    ylabel="share of the pixels",
    title="The photo, as the network gets it",
    caption="Values lie around 0, between about -2 and 1.5. The photo is redder than the mean of ImageNet, so red lies "
    "to the right of 0 and blue to the left.",
)


# %% [markdown]
# `deprocess` is the inverse: from a network's input back to an image. You need it whenever a method optimises the
# *input* of a network. (In this course we optimise the *image*, and the backbone normalises inside. One place, one
# convention, fewer mistakes.)

# %% [markdown]
# ### Exercise 1.4: the way back
#
# > Difficulty ★☆☆ (1 of 3) · importance: medium · about 4 minutes
#
# Write the inverse of exercise 1.2: from a network's input $z$ back to the image. What lies outside 0 to 1 is to stay there; do not clamp.
#
# <details><summary>Hint 1</summary>
#
# Solve $z = (x - \mu) / \sigma$ for $x$ on paper.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Two steps were made; undo the last one first. Which one was last?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Multiply by `std`, then add `mean`, both in the shape `(1, 3, 1, 1)`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "deprocess_by_hand", "solution": true}
def deprocess_by_hand(z):
    """The inverse of (image - mean) / std: (1, 3, H, W) -> RGB of the same shape, not clamped."""
    ### BEGIN SOLUTION
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return z * std + mean
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_deprocess", "points": 1, "solution": false}
from nst_lessons.exercises import check_deprocess

check_deprocess(deprocess_by_hand)

# %% tags=["nbval-check-output"]
for convention in ("torchvision", "caffe"):
    there_and_back = deprocess(preprocess(photo, convention), convention)
    print(
        f"{convention:12} round trip: largest error below 0.000001: {bool((there_and_back - photo).abs().max() < 1e-6)}"
    )

# %% [markdown]
# ## 4. What goes wrong, measured
#
# Now the mistakes, one line of code each: all are easily made, and none raises an error.

# %%
inputs = {
    "means swapped": (photo - mean.flip(0).view(1, 3, 1, 1)) / std.view(1, 3, 1, 1),
    "not normalised": photo,
    "channels swapped": preprocess(photo.flip(1)),
    "Caffe's input": preprocess(photo, "caffe"),
    "0 to 255": preprocess(255 * photo),
}

# %% [markdown]
# A trick makes a mistake visible. The network reads its input by *its* convention, whatever we did. So we
# `deprocess` the wrong input by the network's convention: that is **the picture that the network takes it for**.

# %%
seen = {mistake: deprocess(z) for mistake, z in inputs.items()}
framed = {
    name: pad(image.clamp(0, 1), (2, 2, 2, 2), value=0.6) for name, image in {"no mistake": photo, **seen}.items()
}
show_images(
    framed,
    title="What the network takes the photo for",
    caption="Means swapped: a little warmer, hardly visible. Not normalised: a fog with little contrast. Channels "
    "swapped: a blue cat. Caffe's input: almost every channel is all or nothing. 0 to 255: light of up to 255 "
    "times white (everything above white is shown as white).",
    alt="A tabby cat's face, six times, framed: natural; slightly redder; pale and grey; in shades of blue; a harsh "
    "picture of black, white, blue and cyan; and an empty white frame.",
    columns=3,
)

# %% [markdown]
# And the damage: the relative change $\Delta^l$ of the features at five depths. Does
# a mistake fade on its way through the network, or grow?

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `harmless.guess = "..."`.)

# %%
harmless = predict("Which mistake is the most harmless?", list(inputs))

# %%
errors = layer_sensitivity(backbone, photo, seen, layers)
show_heat_map(
    errors,
    title="How wrong the features are",
    caption="Relative change of the features; 1, the darkest cell, is as wrong as no features at all. No mistake "
    "raises an error, not even the one that makes features hundreds of times too large.",
    darkest=1,
)

# %%
harmless.reveal(min(errors, key=lambda mistake: max(errors[mistake].values())))

# %% tags=["nbval-check-output"]
tinted = errors["means swapped"]
print(f"means swapped: {tinted['relu1_1']:.2f} at relu1_1, {tinted['relu5_1']:.2f} at relu5_1")
print("larger than 300 at every layer, from 0 to 255:", min(errors["0 to 255"].values()) > 300)


# %% [markdown]
# **What to see.**
#
# - **A mistake that you hardly see is not a small one.** With the means swapped, the picture is only tinted by
#   $0.485 - 0.406 \approx 0.08$, yet the features move by 0.40 at the first layer and still by 0.25 at the last of the five.
#   A constant tint is something that all positions report at once.
# - **Scale passes straight through.** From 0 to 255, features are hundreds of times too large at *every* layer:
#   convolutions and ReLUs are linear in the scale, up to the biases. The paper's content loss squares such a
#   factor, and its style loss takes it to the fourth power. For the same reason weights for the loss terms must not be copied between
#   the two conventions.
# - **Swapped channels** hurt the first layer most, some of whose filters measure a colour (lesson 2). Shapes, which deeper
#   layers respond to as well, are still there.

# %% [markdown]
# ## 5. Photos as they come
#
# Real files have more surprises: phones store a photo lying on its side, with a note saying which way is up, drawings are
# transparent, scans are grey or have 16 bits. `load_image` takes them all and gives the same kind of tensor; what it
# cannot use it refuses, with the reason.

# %%
def as_file(picture, **options):
    """The bytes of a PNG file."""
    data = BytesIO()
    picture.save(data, format="PNG", **options)
    return data.getvalue()


sideways = Image.Exif()
sideways[0x0112] = 6  # "turn me a quarter to the right"
cat, fading = to_pil(photo), to_pil(photo)
fading.putalpha(Image.linear_gradient("L").resize(cat.size))
files = {
    "grey": as_file(cat.convert("L")),
    "fading out": as_file(fading),
    "lying on its side": as_file(cat.rotate(90, expand=True), exif=sideways),
}
show_images(
    {name: load_image(data) for name, data in files.items()},
    title="Three files, one kind of tensor",
    alt="A tabby cat's face, three times upright: in grey; fading to white towards the top; in colour.",
    caption="Grey becomes three equal channels, transparent parts become white, and the photo that was stored lying on "
    "its side stands upright.",
)

# %%
for source in (b"this is not an image", Image.new("RGB", (1, 1)), 255 * photo):
    try:
        load_image(source)
    except ImageError as error:
        print("-", error)

# %% [markdown]
# ## 6. Explore
#
# Choose a size, a convention and a mistake, and see what the network takes the photo for. The bars are the relative
# changes of the features, the curves say which values each channel of the input has. (The controls need a running
# kernel. For those who read this page elsewhere, the figures below show the pictures of one setting and the curves of
# another.)

# %%
explore_preprocessing(photo, backbone)

# %%
panels, _ = render_preprocessing(
    backbone, photo, size=64, antialias=False, convention="torchvision", mistake="channels swapped"
)
show_images(
    panels,
    title="One setting of the explorer",
    caption="64 pixels wide, without antialiasing, red and blue swapped: two mistakes at once, and still no error.",
    alt="Left: a tabby cat's face in brown. Right: the same face in blue, in large, jagged pixels.",
)

# %%
plot_lines(
    channel_histograms(preprocess(photo), "torchvision"),
    xlabel="value of the network's input",
    ylabel="share of the pixels",
    title="The network's input, channel by channel: no mistake",
    caption="The values that the photo's pixels have after normalisation. Each channel is read as one colour.",
    alt="Three hills between -2 and 1.5, told apart by dashes and markers: the channel read as blue has a broad "
    "top below 0, the one read as green is highest around 0, the one read as red around 0.5.",
)

# %% [markdown]
# ## Try it
#
# 1. Take another photo: `load_image("my_photo.jpg", size=256)`, or `sample("astronaut")`. Is the order of the mistakes
#    the same? Try one without any colour: which row of the table changes most?
# 2. Swap channels *and* means. Two mistakes that cancel each other?
# 3. Halve the contrast, `0.5 + 0.5 * (photo - 0.5)`. Is that better or worse than no normalisation? Why?
# 4. Resize `large` to 256 and the result to 128, both with antialiasing. Compare the total variation with one step.

# %% [markdown] tags=["answer"]
# **Answer.**
#
# 1. By the largest number in each row, swapped means are the most harmless in all four bundled photos, Caffe's input
#    and 0 to 255 the worst. The two between change places: for the cat and the coffee swapped channels are
#    worse than no normalisation (1.39 against 0.92 for the cat), for the astronaut (0.74 against 0.86) and the
#    rocket it is the other way round. In a grey photo swapped channels are no mistake at all: that row is 0.
# 2. No. Each channel then has its own mean subtracted again, so the tint is gone. But the network still sees a blue cat:
#    0.88 at `relu1_1` and 0.52 at `relu5_1`, where swapped channels alone have 1.39 and 0.56.
# 3. Better: 0.54 at `relu1_1` and 0.72 at `relu5_1`, against 0.80 and 0.92. Half the contrast makes features about half
#    as large: scale passes straight through here, too. Without normalisation the input runs from 0 to 1 where about -2 to
#    2 was expected: that is a quarter of the contrast.
# 4. 0.0121 in one step and 0.0118 in two: a second weighted mean makes the picture only a little softer.

# %% [markdown]
# ## Quick check
#
# (Without buttons: `first_check.guess = "..."`, then `first_check.verdict`.)

# %%
from nst_lessons.widgets import quick_check

first_check = quick_check("caffe-input")
second_check = quick_check("means-swapped")
third_check = quick_check("find-the-mistake")

# %% [markdown]
# ## What to remember
#
# - An image is $(1, 3, H, W)$, RGB, 0 to 1. The backbone normalises; nothing else does.
# - Make pictures smaller with antialiasing.
# - A wrong convention raises no error. Look at what the network takes the picture for: `deprocess` its input.
# - Mistakes of scale pass through all layers, and a small offset does more harm than the picture suggests.
#
# ## Further reading
#
# - Resizing in image libraries, and what it does to measurements: [Parmar, Zhang and Zhu 2022](https://arxiv.org/abs/2104.11222)
# - Why inputs are centred and scaled: [LeCun et al. 1998](http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf)
# - The network that all this is for: [Simonyan and Zisserman 2015](https://arxiv.org/abs/1409.1556)
#
# **Next:** [lesson 2](02_feature_visualization.ipynb) looks at what the network does with its input.
