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
# # Lesson 5: style transfer
#
# Lesson 3 recovered a photo from its features: that was *content*. Lesson 4 recovered a painting's style from its Gram matrices: that was *style*. Both lessons changed an image until a loss was small. So: **what happens if one image has to match both?**
#
# - **You will be able to** write the loss of a style transfer and minimise it; predict what a change of ratio, layer, start, smoothing or size does to the picture; repaint a photo of your own.
# - **You need** [lesson 3](03_content_reconstruction.ipynb) for the content and [lesson 4](04_style_reconstruction.ipynb) for the style.
# - **Time:** 40 minutes to read, 43 for the exercises; it computes for about two and a half minutes on two CPU cores.
# - **Network:** the compact one, because the lesson makes some forty pictures; section 10 goes on to VGG19, the paper's.

# %%
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and importlib.util.find_spec("nst_lessons") is None:
    wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")
    %pip install -q --no-deps {wheel}

# %%
from tempfile import TemporaryDirectory

import torch

from nst_lessons import (
    PAINTINGS,
    Stage,
    apply_style_transfer,
    content_loss,
    full_network_picture,
    gram_matrix,
    keep_freed_memory,
    load_backbone,
    load_image,
    optimize_image,
    resize,
    run_stages,
    sample,
    save_image,
    style_loss,
    style_transfer,
    sweep,
    total_variation,
    transfer_loss,
)
from nst_lessons.plots import plot_lines, plot_losses, show_images
from nst_lessons.widgets import explore_atlas, explore_transfer, predict

keep_freed_memory()
backbone = load_backbone()

# %%
portrait = sample("astronaut").crop((70, 0, 390, 320))  # head and shoulders
photo = load_image(portrait, size=256)
painting = load_image(sample("night_swirls", size=320))
show_images(
    {"the photo, p: content": photo, "the painting, a: style": painting},
    title="Two images to match",
    caption="They need not have the same size: Gram matrices have no positions.",
    alt="Left: an astronaut with short hair, smiling, in an orange suit with a dark neck ring, before a pale wall. "
    "Right: a night sky of blue swirling strokes with yellow stars, a dark tree on the left and a village below.",
)

# %% [markdown]
# ## 1. The total loss
#
# [Gatys et al. (2016)](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html) minimise [one weighted sum](glossary.md#total-loss) (their equation 7):
#
# $$\mathcal{L}_{total}(p, a, x) = \alpha\, \mathcal{L}_{content}(p, x) + \beta\, \mathcal{L}_{style}(a, x)$$
#
# $p$ is the photo, $a$ the artwork, $x$ the image that we change. The two terms are those of the last two lessons (their equations 1, 4 and 5):
#
# $$\mathcal{L}_{content} = \frac{1}{2} \sum_{i,j} \left(F^l_{ij} - P^l_{ij}\right)^2$$
#
# $$\mathcal{L}_{style} = \sum_l w_l E_l, \quad E_l = \frac{1}{4 N_l^2 M_l^2} \sum_{i,j} \left(G^l_{ij} - A^l_{ij}\right)^2$$
#
# $F^l_{ij}$ and $P^l_{ij}$ are the features of $x$ and $p$ at layer $l$, for channel $i$ at position $j$; $G^l$ and $A^l$ are the Gram matrices of $x$ and $a$. The layer has $N_l$ channels and $M_l$ positions.
#
# Two deviations from the paper. Our losses are [*relative*](glossary.md#relative-loss) (divided by the squared size of the target), so that a weight means the same at every layer of every network. And we add the [**total variation**](glossary.md#total-variation) $\gamma\, \mathcal{L}_{tv}$, the mean squared difference of neighbouring pixels, against high-frequency noise (section 5).
#
# Everything that does not change is computed once: the photo's features $P^l$ and the painting's Gram matrices $A^l$. The layers are the paper's, with 1/5 of the style each ($w_l$); the other weights are our choice, and the rest of the lesson is about that choice.

# %% tags=["nbval-check-output"]
content_layers = ["relu4_2"]
style_weights = dict.fromkeys(["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"], 0.2)

with torch.no_grad():
    content_target = backbone(photo, content_layers)
    style_target = {layer: gram_matrix(maps) for layer, maps in backbone(painting, style_weights).items()}

for layer, maps in content_target.items():
    print(f"content, {layer}: features {tuple(maps.shape)}")
for layer, gram in style_target.items():
    print(f"style,   {layer}: Gram matrix {tuple(gram.shape)}")


# %% [markdown]
# ### Exercise 5.1: the total loss
#
# > Difficulty ★☆☆ (1 of 3) · importance: medium · about 3 minutes
#
# Add up the three terms with their weights: $\alpha \mathcal{L}_{content} + \beta \mathcal{L}_{style} + \gamma \mathcal{L}_{tv}$.
#
# <details><summary>Hint 1</summary>
#
# With the losses 0.2, 0.8 and 0.1, and the weights 10, 40 and 0, the total is 34.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Each loss is multiplied by its own weight, and the three products are added up.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# alpha belongs to the content, beta to the style, gamma to the total variation; leave them tensors.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "total_cost", "solution": true}
def total_cost(content, style, tv, alpha, beta, gamma):
    """The total loss, alpha L_content + beta L_style + gamma L_tv.

    The three losses are tensors with one number each, and so is the result; the weights are floats.
    Gatys et al. (2016), equation 7, and the total variation.
    """
    ### BEGIN SOLUTION
    return alpha * content + beta * style + gamma * tv
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_total_cost", "points": 1, "solution": false}
from nst_lessons.exercises import check_total_cost

check_total_cost(total_cost)

# %% [markdown]
# Now the equation as code. One forward pass serves all terms, and the function returns them by name:

# %%
alpha, beta, gamma = 1.0, 20.0, 5.0


def loss_fn(image):
    features = backbone(image, content_target | style_target)  # one forward pass for all terms
    return {
        "content": alpha * content_loss(features, content_target),
        "style": beta * style_loss(features, style_target, weights=style_weights),
        "tv": gamma * total_variation(image),
    }


for name, term in loss_fn(photo).items():
    print(f"{name:8}{float(term):6.2f}")

# %% [markdown]
# That is the loss at the start, when the image *is* the photo. Before you run the next cell: why is the content term exactly zero?

# %% [markdown] tags=["answer"]
# **Answer.** The image is the photo, so its features are the target, and every difference is zero. The other two terms are not: the photo does not have the painting's style, and it is not smooth.

# %% [markdown]
# `optimize_image` adds the terms up and minimises the sum with L-BFGS, as in lessons 3 and 4; only the pixels change (100 steps, about 5 s):

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `rises.guess = "..."`.)

# %%
rises = predict("Which term will be larger at the end than at the start?", ["content", "style", "tv"])

# %%
result = optimize_image(photo, loss_fn, steps=100, snapshots=[5, 10, 20, 40])
print(f"{result.stopped}, the loss fell from {result.history.totals[0]:.1f} to {min(result.history.totals):.2f}")

# %%
first, last = result.history.losses[0], result.history.losses[-1]
rises.reveal(max(first, key=lambda term: last[term] - first[term]))

# %%
show_images(
    {"the photo": photo, **result.history.snapshots, "the result": result.image},
    columns=3,
    title="A photo becomes a painting",
    caption="First ripples in the plain areas, then the painting's colours, then strokes that join up.",
    alt="Six panels from the photo to the result. Steps 5 and 10: the photo's colours under pale ripples. Step 20: "
    "blue and yellow strokes on the wall, a blue neck ring, green hair. Step 40 and the result: a darker blue, "
    "yellow stars on the wall, a face in yellow and white; the suit stays orange.",
)

# %% [markdown]
# **What to see.** In the first steps ripples break up the plain surfaces. Then the palette turns: wall and neck ring become blue and yellow, while the suit stays orange. After that the ripples join up into strokes and stars, and the strokes *follow* the photo, round the neck ring, along the hair.
#
# Here are an early image and the result, large enough to look at the strokes:

# %%
show_images(
    {"step 10": result.history.snapshots[10], "the result": result.image},
    title="Early and late",
    caption="The eyes and the neck ring are where they were; in the result, strokes run across the mouth and one eye.",
    alt="Left: the portrait in its own colours, under pale ripples. Right: wall and neck ring in blue, with yellow "
    "stars on the wall, dark green hair, a face of yellow and white strokes with a curl around one eye; the suit "
    "is orange.",
)

# %% [markdown]
# ### The three terms

# %%
plot_losses(
    result.history,
    title="The three terms, step by step",
    caption="Weighted, on a log scale. Style falls; content, zero at the start, rises at once.",
)

# %% [markdown]
# **What to see.** Only the *sum* has to go down. The style term falls steeply; the content term starts at zero (a log scale cannot show it) and rises in the first steps, because any stroke departs from the photo. After some tens of steps both are nearly level. That balance *is* the picture, and the weights decide where it lies.
#
# ### The same in one call
#
# `style_transfer` is this loss function and this optimiser. Three steps of it give the same picture as three of ours:

# %% tags=["nbval-check-output"]
settings = {"content_layers": content_layers, "style_layers": style_weights, "beta": 20.0, "tv": 5.0}

by_hand = optimize_image(photo, loss_fn, steps=3, progress=False)
in_one_call = style_transfer(backbone, photo, painting, **settings, steps=3, progress=False)
print("the same picture:", torch.allclose(by_hand.image, in_one_call.image, atol=0.01))


# %% [markdown]
# ### Exercise 5.2: the loss of a transfer
#
# > Difficulty ★★★ (3 of 3) · importance: high · about 20 minutes
#
# Return a function of the image that gives two losses by name, `{"content": ..., "style": ...}`: content at one layer; style by Gram matrices, as the mean over the style layers; both relative, and weighted by $\alpha$ and $\beta$. Compute the targets once, not at every call.
#
# <details><summary>Hint 1</summary>
#
# The function makes a function: define `loss_fn(image)` inside, and return it without calling it.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# What depends on photo and painting alone stands before `def loss_fn`, under `torch.no_grad()`; what depends on the image stands in it.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# Targets are dicts: `P = network(photo, [content_layer])`, and A has `gram_matrix(maps)` for each style layer. Inside, `features = network(image, P | A)`, and then content_loss and style_loss of this lesson.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "my_transfer_loss", "solution": true}
def my_transfer_loss(network, photo, painting, content_layer, style_layers, alpha, beta):
    """The loss function of a transfer: a function of the image that gives {"content": ..., "style": ...}.

    network(image, layers) gives {layer: features}; photo and painting are (1, 3, H, W) and need not have one size.
    content: alpha |F - P|^2 / |P|^2, with the features of image and photo at the content layer.
    style: beta times the mean over the style layers of |G - A|^2 / |A|^2, with the Gram matrices of image and painting.
    P and A are computed once, without a gradient; each call of the loss function runs the network once.
    Gatys et al. (2016), equation 7 and figure 2. Without total variation.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        P = network(photo, [content_layer])
        A = {layer: gram_matrix(maps) for layer, maps in network(painting, style_layers).items()}

    def loss_fn(image):
        features = network(image, P | A)  # the layers of both
        return {"content": alpha * content_loss(features, P), "style": beta * style_loss(features, A)}

    return loss_fn
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_transfer_loss", "points": 3, "solution": false}
from nst_lessons.exercises import check_transfer_loss

check_transfer_loss(my_transfer_loss)


# %% [markdown]
# ### Exercise 5.3: the whole transfer
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 15 minutes
#
# Start from the photo, minimise the loss of exercise 5.2 in `steps` steps, with an optimiser of your choice, and return an image in $[0, 1]$. You may use `my_transfer_loss`.
#
# <details><summary>Hint 1</summary>
#
# You have the loss function: it is what my_transfer_loss returns. What is left is lesson 3's loop.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Optimise a copy of the photo that requires a gradient. The loss function gives two terms, and backward wants one number.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `sum(loss_fn(image).values()).backward()` between `optimizer.zero_grad()` and `optimizer.step()`; clamp to [0, 1] after each step, and return `image.detach()`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "transfer", "solution": true}
def transfer(network, photo, painting, content_layer, style_layers, alpha, beta, steps):
    """The photo's content in the painting's style: start from the photo, and make the loss of the transfer small.

    All images are (1, 3, H, W) in [0, 1], the result, too, which has the photo's size. The photo stays as it is.
    Use any optimiser of torch, for example Adam with a learning rate of 0.02. Gatys et al. (2016), section 2.3.
    """
    ### BEGIN SOLUTION
    loss_fn = my_transfer_loss(network, photo, painting, content_layer, style_layers, alpha, beta)
    image = photo.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(loss_fn(image).values()).backward()
        optimizer.step()
        image.data.clamp_(0, 1)
    return image.detach()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_style_transfer", "points": 2, "solution": false}
from nst_lessons.exercises import check_style_transfer

check_style_transfer(transfer)

# %% [markdown]
# ## 2. How much style? The ratio $\alpha / \beta$
#
# This is the first setting to try. We keep $\alpha = 1$ and raise $\beta$; this is figure 4 of [the paper](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html), with our relative losses. To save time, most experiments from here on are 192 pixels wide (five runs, about 12 s). Below them are the same ratios with the full network:

# %%
small_photo, small_painting = resize(photo, 192), resize(painting, 240)
STEPS = 80

ratios = {"10": 0.1, "1": 1, "1/10": 10, "1/100": 100, "1/1000": 1000}  # alpha / beta: beta
by_ratio = sweep(
    lambda ratio: style_transfer(
        backbone, small_photo, small_painting, **(settings | {"beta": ratios[ratio]}), steps=STEPS
    ),
    ratios,
)
show_images(
    {f"alpha / beta = {ratio}": run.image for ratio, run in by_ratio.items()},
    columns=5,
    title="From content to style",
    caption="Each picture gives style more weight than the one before: from the photo, hardly changed, to a face that "
    "dissolves into stars and strokes.",
    alt="Five portraits. At 10: the photo. At 1: the photo under ripples, wall and neck ring blue. At 1/10: blue "
    "strokes with some stars, a swirl over the mouth. At 1/100: more stars, swirls in place of one eye and the "
    "mouth. At 1/1000: large stars, and of the face an outline and a swirl.",
)
full = {ratio: full_network_picture(f"ratio_{ratio.replace('/', '_')}") for ratio in ratios}
show_images(
    {f"alpha / beta = {ratio}": load_image(picture) for ratio, picture in full.items()},
    columns=5,
    title="The same with the full network",
    caption="Computed by us with ImageNet's VGG16, at 320 pixels and with 200 steps; the content is relu3_1 and "
    "relu4_2.",
    alt="Five portraits. At 10: the photo. At 1: the photo with a bluish wall and neck ring. At 1/10: fine blue and "
    "yellow strokes, the face whole. At 1/100: large stars, a yellow ring around one eye, the face still whole. "
    "At 1/1000: stars, small houses, and a face covered by swirls.",
)

# %%
plot_lines(
    {
        "content loss": {ratio: run.losses["content"] for ratio, run in by_ratio.items()},
        "style loss": {ratio: run.losses["style"] / ratios[ratio] for ratio, run in by_ratio.items()},
    },
    xlabel="alpha / beta",
    ylabel="loss, before weighting",
    log=True,
    title="What one gains, the other loses",
    caption="Both losses without their weights: 0 is a perfect match, 1 as bad as no features at all.",
)


# %% [markdown]
# **What to see.** At 10 the photo is hardly changed. At 1/1000 the sky is richest, with swirls and large stars, and the face dissolves into it. In between lies a range where you see both, and *which ratio in it is best is a matter of taste, not of mathematics*: each picture is better than its neighbour in one term and worse in the other. From 1/100 on, the content loss is above 1: the features are further from the photo's than no features at all would be. The face survives in outline only. The full network, with a second content layer (`relu3_1`), keeps it longer.
#
# **Try it.** Where do you lose the smile? Where do you stop believing that it is painted? Find your own favourite and note the two losses there. Then try another painting: does the favourite stay?

# %% [markdown] tags=["answer"]
# **Answer.** In our runs the smile is there at 1, and a swirl has covered it at 1/10; at 10 it is a photo, at 1 a photo under ripples, from 1/10 on a painting. A favourite may lie between: at 1/5 the content loss is about 0.4 and the style loss 0.05. Another painting has another favourite (see section 7).

# %% [markdown]
# ### Exercise 5.4: the sweep
#
# > Difficulty ★☆☆ (1 of 3) · importance: medium · about 5 minutes
#
# Run a transfer for each ratio $\alpha / \beta$: call `run(start, alpha, beta)` with $\alpha = 1$, always from the same start, and return `{ratio: result}` in the order of the ratios.
#
# <details><summary>Hint 1</summary>
#
# alpha / beta is the ratio and alpha is 1. So what is beta?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Fill a dict in a loop over the ratios; it keeps their order. Each run gets the start itself, not the last result.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `results[ratio] = run(start, 1.0, 1.0 / ratio)`, and return `results` after the loop.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "ratio_sweep", "solution": true}
def ratio_sweep(run, start, ratios):
    """One run for each ratio alpha / beta: {ratio: result}, in the order given.

    run(start, alpha, beta) gives a result. alpha is 1 in each run, and each begins at the same start.
    Gatys et al. (2016), figure 4.
    """
    ### BEGIN SOLUTION
    return {ratio: run(start, 1.0, 1.0 / ratio) for ratio in ratios}
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_sweep", "points": 1, "solution": false}
from nst_lessons.exercises import check_sweep

check_sweep(ratio_sweep)

# %% [markdown]
# ## 3. Which layer is the content?
#
# Lesson 3 showed what a photo looks like when only one layer remembers it: nearly perfect from a shallow layer, only the gist from a deep one. The content layer decides how literally the photo is kept (figure 5 of [the paper](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html); five runs, about 12 s):

# %%
layers = ["relu1_2", "relu2_2", "relu3_1", "relu4_2", "relu5_1"]
by_layer = sweep(
    lambda layer: style_transfer(
        backbone, small_photo, small_painting, **(settings | {"content_layers": [layer]}), steps=STEPS
    ),
    layers,
)
show_images(
    {"the photo": small_photo, **{f"content from {layer}": run.image for layer, run in by_layer.items()}},
    columns=3,
    title="The content layer, shallow to deep",
    caption="Same weights, same style, same steps: only the layer that remembers the photo changes.",
    alt="The photo and five portraits in blue strokes, with green hair and yellow stars. relu1_2: the eyes as in the "
    "photo, the neck ring blue and sharp, rings over the mouth. relu2_2 and relu3_1: a smile, under stronger strokes. "
    "relu4_2: swirls over one eye and the mouth. relu5_1: a red swirl for a mouth, a neck ring without sharp "
    "edges.",
)

# %% [markdown]
# **What to see.** With a shallow content layer the photo's edges stay: look at the eyes, and at the rim of the neck ring. Its colours do not: even at `relu1_2` the wall and the ring are blue, the hair is green and the face yellow, with rings over the mouth. With a deep one, edges go as well: at `relu4_2` a swirl surrounds one eye, and at `relu5_1` the mouth is a swirl and the neck ring has no sharp edges. What the layer has forgotten, it cannot protect. We take `relu4_2`, the paper's `conv4_2`.
#
# **Try it.** A deep content layer and a smaller $\beta$, or a shallow one and a larger: can they be made to look alike? What remains different?

# %% [markdown] tags=["answer"]
# **Answer.** Only roughly. `relu5_1` with $\beta = 2$ brings back both eyes and the smile, and `relu1_2` with $\beta = 100$ swirls and stars. What remains different is what the layer protects: from `relu1_2` lines such as the reflections in the neck ring stay sharp, whatever happens between them; from `relu5_1` every line is made of strokes, and face and suit stay what they are. At $\beta = 500$ `relu1_2` no longer protects the face either.

# %% [markdown]
# Layer and ratio together: we ran the full VGG16 for every combination once, at 128 pixels, so that here you need not wait. Move the controls; **Start** computes the same with the compact network. (Where a page only shows the notebook, look at the figure.)

# %%
explore_atlas(backbone)

# %%
side, atlas = 128, load_image(full_network_picture("atlas"))  # rows: by layer and ratio; columns: 10, 40, 200 steps
rows = [(layer, ratio) for layer in ("relu2_2", "relu3_1", "relu4_2", "relu5_2") for ratio in (10, 1, 1 / 10, 1 / 100)]
tiles = {
    f"{layer}, {ratio:g}": atlas[..., side * (row + row // 4) : side * (row + row // 4 + 1), 2 * side :]
    for row, (layer, ratio) in enumerate(rows)
}
show_images(
    tiles,
    columns=4,
    title="Content layer and alpha / beta, by the full network",
    caption="Computed by us with VGG16 and ImageNet's weights: 200 steps from the photo. Downwards a deeper content "
    "layer; to the right less content.",
    alt="Sixteen portraits in four rows. On the left the photo, in the last row with spots of colour. To the right the "
    "wall turns into a night sky with stars. At 0.1 the face is whole in the first two rows; in the third one eye is "
    "a star; in the last the face is a patchwork of strokes. At 0.01, in all rows, a swirl is where the mouth was.",
)

# %% [markdown]
# **What to see.** At 10, the face is nearly the photo's down to `relu4_2`; with `relu5_2`, eyes and mouth are smeared even there. At 0.1, only the first two layers keep both eyes and the mouth. At 0.01 the layer hardly matters: all four pictures are nearly the same.
#
# ## 4. Where do we start?
#
# So far we started from the photo. The paper starts from white noise, and one can also start from the painting. The loss is the same; only the first image differs. Figure 6 of [the paper](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html) finds that the start does not matter much. We test it with up to 500 steps for each of three starts, at 160 pixels (about 25 s; seed 0):

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `same.guess = "..."`.)

# %%
same = predict("Will three starts lead to nearly the same picture?", ["yes", "no"])

# %%
tiny_photo, tiny_painting = resize(photo, 160), resize(painting, 200)
starts = sweep(
    lambda start: style_transfer(
        backbone, tiny_photo, tiny_painting, **settings, start=start, seed=0, steps=500, snapshots=[0, 15, 120]
    ),
    ("photo", "noise", "painting"),
)
panels = {}
for start, run in starts.items():
    panels |= {f"from {start}, step {step}": image for step, image in run.history.snapshots.items()}
    panels[f"from {start}, step {len(run.history.totals)}"] = run.image
show_images(
    panels,
    columns=4,
    title="Three starts",
    caption="One row for each start. A run ends before 500 steps when its loss no longer falls.",
    alt="Three rows of four. From the photo: the astronaut; ripples; then blue strokes, stars, and a yellow face with "
    "a swirl for a mouth. From noise: noise; blue and yellow swirls; then a dark blue figure with hair, a neck "
    "ring and no clear face. From the painting: the painting, little changed at step 15; then its stars around a "
    "head and a neck ring made of swirls.",
)
plot_losses(
    {f"from {start}": run.history for start, run in starts.items()},
    title="The total loss from three starts",
    caption="On a log scale. In the end the three sums are close together; noise takes longest.",
)

# %%
apart = (starts["photo"].image - starts["noise"].image).abs().mean()
same.reveal("yes" if apart < 0.02 else "no")

# %% [markdown]
# **What to see.** Compare the curves first: at the end the three sums are close together. And then the pictures, which are not. From the photo, skin and suit keep their place and some of their colours. From the painting, its stars stay where they were, of its tree only a dark patch at the lower left remains, and the person is a figure of swirls. From noise everything has to be found, and the face is not. So in our test the start does matter, more than in figure 6 of the paper: the loss has several [minima](glossary.md#minimum) of about the same depth, and the start decides which of them we reach. (Our network, weights and size are not the paper's.)
#
# For a quick, faithful result start from the photo. For variety, or for research (where the start must not give the answer away), start from noise and take more steps.

# %% [markdown]
# ## 5. Total variation: strokes or noise
#
# $$\mathcal{L}_{tv}(x) = \operatorname{mean}\,(x_{r+1,s} - x_{r,s})^2 + \operatorname{mean}\,(x_{r,s+1} - x_{r,s})^2$$
#
# Here $r$ and $s$ are a pixel's row and column, as in lesson 1. Neither content nor style penalises high-frequency noise that pooling averages away. Total variation does. Here is the transfer without it, with the weight that we had above, and with too much (two more runs at 256 pixels, about 10 s):

# %%
others = sweep(lambda tv: style_transfer(backbone, photo, painting, **(settings | {"tv": tv}), steps=100), (0, 200))
by_tv = {"tv = 0": others[0], "tv = 5": result, "tv = 200": others[200]}
face = slice(40, 136), slice(80, 176)
panels = {f"{name}, total variation {total_variation(run.image):.3f}": run.image for name, run in by_tv.items()}
crops = {f"{name}, face": resize(run.image[..., face[0], face[1]], 256) for name, run in by_tv.items()}
show_images(
    panels | crops,
    columns=3,
    title="Total variation off, on, and too much",
    caption="Below, the face enlarged. The total variation is given before weighting.",
    alt="Top: three portraits in strokes, the first two much alike, the third blurred. Bottom, the face enlarged: "
    "coloured specks on the chin at tv = 0, hardly any at tv = 5, soft and without fine strokes at tv = 200.",
)

# %% [markdown]
# **What to see.** Without the term, neighbouring pixels disagree more: the total variation is nearly twice as large. You can see it in the enlarged face, as coloured specks on the chin. With too much of it the finest strokes are wiped away and everything softens. As a rule: as little as removes the noise.

# %% [markdown]
# ## 6. The size of the strokes, and which layers make them
#
# A Gram matrix knows no positions, but it does know *sizes*: a stroke that is 8 pixels wide in the painting will be 8 pixels wide in the result. So the painting's size is a setting, too (three runs, about 8 s):

# %%
sizes = (128, 256, 512)
by_size = sweep(
    lambda size: style_transfer(
        backbone, small_photo, load_image(sample("night_swirls", size=size)), **settings, steps=STEPS
    ),
    sizes,
)
panels = {f"painting at {size} pixels": run.image for size, run in by_size.items()}
show_images(
    panels,
    title="The same painting at three sizes",
    caption="Small painting, small strokes and whole little stars; large painting, long strokes.",
    alt="Three portraits. Painting at 128 pixels: many small stars and short curls on the wall. At 256: fewer and "
    "larger stars, a swirl over the mouth. At 512: no stars, long strokes, one large spiral on the face.",
)

# %% [markdown]
# The other setting is the weight of each style layer, $w_l$ in the equation. A dict `{layer: weight}` says which layers count, and how much (four runs, about 10 s):

# %%
weightings = {
    "shallow only": {"relu1_1": 0.5, "relu2_1": 0.5},
    "deep only": {"relu4_1": 0.5, "relu5_1": 0.5},
    "falling with depth": dict(zip(style_weights, (0.4, 0.3, 0.2, 0.08, 0.02), strict=True)),
    "1/5 each, as in the paper": style_weights,
}
by_weights = sweep(
    lambda name: style_transfer(
        backbone, small_photo, small_painting, **(settings | {"style_layers": weightings[name]}), steps=STEPS
    ),
    weightings,
)
show_images(
    {name: run.image for name, run in by_weights.items()},
    title="Which style layers count",
    caption="Shallow layers bring colour and grain, deep layers shapes.",
    alt="Four portraits. Shallow only: blue and yellow specks on the wall, no stars, the face much as in the photo. "
    "Deep only: stars and curls on a whitish wall, a reddish suit. Falling with depth, and 1/5 each: blue "
    "strokes, stars, swirls on the face, much alike.",
)

# %% [markdown]
# **What to see.** Sizes: from the small painting come short curls and whole little stars, from the large one long strokes. Layers: with the shallow ones alone you get the palette and a grain; with the deep ones alone, curls and stars without the right colours. The two on the right are much alike: *which* layers count matters more than their exact weights.
#
# **Try it.** Leave out one layer at a time. Which one do you miss first?

# %% [markdown] tags=["answer"]
# **Answer.** In our runs, with 0.2 for each of the other four: `relu5_1` first (no swirl over the mouth, a whole smile, smaller stars), then `relu4_1` (hardly any star is round) and `relu1_1` (a paler sky). Without `relu2_1` or `relu3_1` the picture is nearly the same: their neighbours say much of what they say.

# %% [markdown]
# ## 7. One photo, eight styles
#
# Every painting that comes with the package, on the same photo, with the same settings (eight runs, about 20 s):

# %%
canvas = resize(photo, 192)
styles = {name: load_image(sample(name, size=256)) for name in PAINTINGS}
by_painting = sweep(lambda name: style_transfer(backbone, canvas, styles[name], **settings, steps=80), PAINTINGS)
panels = {}
for name, run in by_painting.items():
    panels |= {name: resize(styles[name], 192), f"in the style of {name}": run.image}
show_images(
    panels,
    columns=4,
    title="One photo, eight styles",
    alt="Eight pairs of a painting and the portrait in its style. night_swirls: blue strokes, a swirl over the mouth. "
    "pointillist: coloured dots. stained_glass: panes between black lines, on the face too. woodblock_wave: pale, "
    "with blue and cream stripes. cubist: facets with black contours. ink_hatching: black pen strokes on cream. "
    "fjord: wavy bands of red and yellow across wall and face. mosaic: small square tiles.",
    caption="Each painting, and to its right the photo in its style. The same layers, weights and 80 steps for all.",
)

# %% [markdown]
# **What to see.** Dots, panes, hatching, tiles: the styles differ in colour *and* in the shape of their marks, and in most of them the person can be recognised. A style with strong outlines draws them where the photo has edges. The bands of `fjord` are wider than an eye is here, and run over the face.
#
# **Try it.** Which style needs a larger $\beta$, and which a smaller one? Find a value for each painting.

# %% [markdown] tags=["answer"]
# **Answer.** It is a matter of taste. Of 5, 20 and 80 we would take 5 for `fjord` and `ink_hatching`, whose bands and lines run over the face at 20; 80 for `cubist` and `pointillist`, where the face is still whole; and 20 for the others. Pieces that are small beside the face (dots), or that follow its edges (facets), leave it recognisable for longer.

# %% [markdown]
# ## 8. Small first: a larger picture
#
# The larger the picture, the smaller the part of it that a feature sees, and a direct run covers the photo with marks that are small compared with the picture. The remedy of lesson 3 works here, too: [transfer small, enlarge, refine](glossary.md#warm-start) ([Gatys et al. 2017](https://arxiv.org/abs/1611.07865)). The broad forms come from the small run, the fine strokes from the large one. `style_transfer` does it by itself from 384 pixels on (`warm_start=False` turns it off); by hand, a run is a list of stages (about 15 s):

# %%
large, art = load_image(portrait, size=320), load_image(sample("night_swirls", size=400))
direct = style_transfer(backbone, large, art, **settings, warm_start=False, steps=80)


@torch.no_grad()
def loss_at(size, art_size, beta):
    content = backbone(resize(large, size), content_layers)
    style = {layer: gram_matrix(maps) for layer, maps in backbone(resize(art, art_size), style_weights).items()}
    return transfer_loss(backbone, content, style, style_weights=style_weights, beta=beta, tv=5.0)


rough = Stage((160, 160), 60, lambda: loss_at(160, 240, beta=20.0))
fine = Stage((320, 320), 60, lambda: loss_at(320, 400, beta=20.0))
in_two_stages = run_stages([rough, fine], large)
show_images(
    {"at 320 pixels directly": direct.image, "at 160 first, then at 320": in_two_stages.image},
    title="Small first, then large",
    caption="80 steps at 320 pixels; 60 steps at 160 and 60 at 320.",
    alt="Two portraits in blue strokes. Left: a swirl around one eye, a smile, pale patches on the wall. Right: both "
    "eyes whole, a round swirl for a mouth, and large yellow stars on the wall.",
)

# %% [markdown]
# **What to see.** The run that began small has larger stars on the wall, under strokes just as fine. But a small face has few pixels and loses detail, as the mouth shows.

# %% [markdown]
# ## 9. Your own pictures
#
# `apply_style_transfer` does the whole job from two files of any kind (`.jpg`, `.png`, `.webp`, ...; web addresses work as well) and gives back content, style and target. Here the two files are written first, so that the cell runs as it stands; put the paths of your own in their place (about 5 s):

# %%
with TemporaryDirectory() as folder:
    content_path, style_path = Path(folder, "my_photo.jpg"), Path(folder, "my_painting.png")
    save_image(load_image(sample("chelsea")), content_path)
    save_image(load_image(sample("fjord")), style_path)

    content_image, style_image, target_image = apply_style_transfer(
        content_path, style_path, size=224, steps=80, **settings
    )
show_images(
    {"content": content_image, "style": style_image, "target": target_image},
    title="Two files in, one picture out",
    caption='save_image(target_image, "my_picture.png") keeps it.',
    alt="Left: a tabby cat's face. Middle: a painting of a red and yellow sky in wavy bands over a blue fjord and a "
    "bridge. Right: the cat's face in wavy bands of red, yellow and blue; its eyes are clear.",
)

# %% [markdown]
# Or without writing code. Choose a photo and a painting, or upload your own; choose the settings of this lesson; press **Start** and watch. What you move during the run counts from the next step on. **Stop** ends it with the best image so far; then go back to any step, compare it with the photo, and save the picture, the run as an animation, or the Python code that makes it again. (In a live notebook the explorer is below this text; on a page that only shows the notebook, look at the figure under it.)

# %%
explore_transfer(backbone)

# %%
coffee = load_image(sample("coffee"), size=224)
glass = load_image(sample("stained_glass", size=256))
run = style_transfer(backbone, coffee, glass, **settings, steps=80, snapshots=[0, 5, 20])
show_images(
    {**run.history.snapshots, "step 80": run.image},
    columns=4,
    title="What a run in the explorer looks like",
    caption="Coffee in stained glass: at the start, while it runs, and at the end.",
    alt="A cup of coffee on a saucer, four times: the photo; dark lines that divide it into patches; panes between "
    "black lines everywhere, in gold, red and blue; and the same panes more evenly coloured, with light blue "
    "inside the cup.",
)

# %% [markdown]
# ## 10. On to the large network
#
# All pictures above, except those of two figures that say so, come from the compact network, which learned to imitate ImageNet's VGG16 and is small enough for any laptop. The paper uses VGG19. It is one argument away:
#
# ```python
# vgg19 = load_backbone("vgg19")  # downloads about 550 MB, once
# result = style_transfer(vgg19, photo, painting, **settings)
# ```
#
# or, for two files, `apply_style_transfer("photo.jpg", "painting.jpg", backbone="vgg19")`. Because the losses are relative, the weights of this lesson are a good first guess there as well. What changes is the time: `nst-lessons doctor` reports how long your machine takes. With a full network, `style_transfer` starts on the compact one, small first, and then continues on the full one.

# %% [markdown]
# ## Try it
#
# 1. **Two paintings.** A style target is a dict of matrices. Take the mean of two paintings' Gram matrices, layer by layer, and give it to your `loss_fn`. Is the result a mixture of both styles, or two styles side by side?
# 2. **Keep the photo's colours.** Replace the painting by its grey version (`painting.mean(1, keepdim=True).expand_as(painting)`), transfer onto a grey photo, and put the colours back. [Gatys et al. (2017)](https://arxiv.org/abs/1611.07865) discuss two ways.
# 3. **Another statistic.** Give `style_loss` the `mean_and_deviation` of lesson 4. Which paintings suffer, which do not?
# 4. **Stop when it is good enough.** `from nst_lessons import improvement_below`, and pass `stop=improvement_below(0.02)` to `style_transfer`. How many steps does each painting take?
# 5. **A photo as the style.** `sample("coffee")` as the painting: what is the style of a photograph?

# %% [markdown] tags=["answer"]
# **Answer.**
#
# 1. Two styles side by side, rather than a mixture: with `night_swirls` and `stained_glass`, panes fill the upper right and the lower left, swirling strokes the rest. The mean of two Gram matrices is also what a picture has of which each half is in one style.
# 2. `result.image + photo - grey_photo`, clamped: strokes in the photo's own colours. For `night_swirls` 1.5 % of the values had to be clamped. This is the paper's transfer in luminance alone; its other way first gives the painting the photo's colours.
# 3. With the same weights and 80 steps the content loss ends lower for all eight, for instance 0.41 instead of 0.68 for `night_swirls`: fewer numbers hold the style. `night_swirls` suffers most, with hardly a star, and `fjord`, whose bands become fans of stripes. Dots, panes, facets and tiles stay.
# 4. At 192 pixels between 102 (`fjord`) and 141 (`pointillist`), and 120 for `night_swirls`.
# 5. Its colours and materials: suit, hair and face turn red and brown, smooth and shiny like the cup and its saucer, and the hair gets a rim like a cup's. There are hardly any strokes.

# %% [markdown]
# ## Quick check
#
# (Without buttons: `first_check.guess = "..."`, then `first_check.verdict`.)

# %%
from nst_lessons.widgets import quick_check

first_check = quick_check("content-layer")
second_check = quick_check("three-starts")
third_check = quick_check("painting-size")

# %% [markdown]
# ## What to remember
#
# - **Style transfer is one image optimisation with two targets:** $\alpha \mathcal{L}_{content} + \beta \mathcal{L}_{style}$. The network and both targets stay fixed; only the pixels change.
# - **The content term rises, the style term falls**, and the ratio $\alpha / \beta$ decides where they settle. There is no right ratio.
# - **The content layer** decides how literally the photo is kept: shallow keeps its edges, deep only its gist.
# - **The start** matters, because the loss has several minima: from the photo a run is quick and faithful, from noise slower and freer.
# - **Total variation** removes high-frequency noise, and too much of it the strokes. **Strokes keep their size in pixels**, so the painting's size is a setting, and so is the weight of each style layer.
#
# ## Further reading
#
# - The method: [Gatys, Ecker and Bethge 2016](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html)
# - A network trained to do it in one pass: [Johnson, Alahi and Fei-Fei 2016](https://arxiv.org/abs/1603.08155)
# - Colour, region and scale under control: [Gatys et al. 2017](https://arxiv.org/abs/1611.07865)
# - A survey of what came after: [Jing et al. 2020](https://arxiv.org/abs/1705.04058)
#
# **Next:** [lesson 6](06_published_recipes.ipynb) runs what others have published, and asks why the same weights mean something else in each.
