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
# # Lesson 6: published recipes
#
# Lesson 5 ended with a picture and a handful of settings. Others chose their own and published them. We look at six write-ups, one paper and five tutorials, with seven settings between them. Their pictures differ, and so do their numbers: $\beta / \alpha$, the weight of style by that of content, runs from 5 to 10,000. **Who is right?**
#
# - **You will be able to** follow a published recipe, and judge its picture by a measure that holds for all; convert a weight between normalisations and between scales of the pixels; write a recipe of your own.
# - **You need** [lesson 5](05_style_transfer.ipynb).
# - **Time:** 25 minutes to read, 25 for the exercises; it computes for about two minutes on two CPU cores.
# - **Network:** the compact one for every recipe, so that only the recipes differ; pictures by the full VGG16 stand beside its own.

# %%
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and importlib.util.find_spec("nst_lessons") is None:
    wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")
    %pip install -q --no-deps {wheel}

# %%
from dataclasses import replace
from math import log10

import torch
from IPython.display import Markdown, display

from nst_lessons import (
    NORMALISATIONS,
    PUBLISHED,
    content_loss,
    full_network_picture,
    gram_matrix,
    keep_freed_memory,
    load_backbone,
    load_image,
    recipe_table,
    resize,
    sample,
    style_loss,
    style_transfer,
    sweep,
)
from nst_lessons.conversion import SCALES, transfer_settings
from nst_lessons.plots import show_heat_map, show_images
from nst_lessons.widgets import explore_recipes, implied_balance, predict, render_recipes

keep_freed_memory()
backbone = load_backbone()

# %%
SIZE = 224
photo = load_image(sample("astronaut").crop((70, 0, 390, 320)), size=SIZE)
painting = resize(load_image(sample("night_swirls", size=320)), (SIZE, SIZE))
show_images(
    {"the photo, p": photo, "the painting, a": painting},
    title="One pair for all",
    caption="All seven recipes stretch the painting to the photo's shape.",
    alt="Left: an astronaut with short hair, smiling, in an orange suit with a dark neck ring. "
    "Right: a night sky of blue swirling strokes with yellow stars.",
)

# %% [markdown]
# ## 1. Seven settings, one pair
#
# Each row is one [published setting](glossary.md#recipe), in its author's own units.

# %%
display(Markdown(recipe_table()))

# %% tags=["nbval-check-output"]
for name, recipe in PUBLISHED.items():
    print(f"{name:15} beta / alpha = {recipe.beta / recipe.alpha:6.0f}")

# %% [markdown]
# Where does each row come from, and what did its author leave open? `.source` names the write-up, `.note` says what we had to choose. Two rows are more ours than their authors':
#
# | row | published | our choice |
# |---|---|---|
# | `hannover` | two weighted terms, a VGG, a random start, an early and a later iteration | layers, weights, normalisation, pixels, pooling, optimiser, number of steps (all from Johnson's [neural-style](https://github.com/jcjohnson/neural-style)) |
# | `bits_to_brains` | white noise, a stop below a threshold, at most 1,000 iterations | layers and pooling (the paper's), weights, normalisation, optimiser, the threshold itself |

# %%
for name, recipe in PUBLISHED.items():
    print(f"{name}\n  source: {recipe.source}\n  note:   {recipe.note}\n")

# %% [markdown]
# The columns that will matter are *losses* and *features*. Everything else you met in lesson 5.
#
# `style_transfer(..., recipe="surma")` follows a row. With `None` as the network it takes the recipe's own VGG if that has been downloaded. Here all rows run on the same compact network, layer by layer, so that only the recipes differ. Options given beside a recipe replace its own. We give 200 steps at 224 pixels, fewer and smaller than most authors did. `shrimal` takes up to 5,000 steps with a small learning rate, so 200 steps need a larger one (seven runs, about two minutes; seed 0):

# %%
STEPS = 200
changes = {"shrimal": {"learning_rate": 0.01}}

runs = sweep(
    lambda name: style_transfer(
        backbone, photo, painting, recipe=name, seed=0, steps=STEPS, snapshots=[10, 40], **changes.get(name, {})
    ),
    PUBLISHED,
)

# %%
show_images(
    {"the photo": photo, **{name: run.image for name, run in runs.items()}},
    columns=4,
    title="One photo, one painting, seven recipes: the compact network",
    caption=f"Same network, same two images, at most {STEPS} steps each.",
    alt="The photo and seven portraits in blue strokes. surma and keras_prisma: the face clear. shrimal: ochre and "
    "blue, a smile under pale ochre. bits_to_brains: fine swirls, a dark and patchy face. hannover: dark, the face "
    "almost black, with yellow beside it. gatys2016: a dark face with a grin. keras_prisma_2: a pale face.",
)

# %% [markdown]
# The next figure shows the same photo and painting at 384 pixels, with as many steps as each recipe asks for. We computed it once with the full network: VGG16 with ImageNet's weights, also for the rows written for VGG19. To make one yourself, run the cell above with `load_backbone("vgg16")`, a larger photo, and without `steps`.

# %%
full = {name: load_image(full_network_picture(f"recipe_{name}"), size=SIZE) for name in PUBLISHED}
show_images(
    full,
    columns=4,
    title="The same recipes: the full network",
    caption="Computed by us with ImageNet's VGG16 at 384 pixels, with each recipe's own number of steps.",
    alt="Seven portraits in crisper strokes than the compact network's. surma and keras_prisma: a clear face, blue and "
    "yellow; an orange suit. shrimal: ochre and blue whorls, on the face too. bits_to_brains: a bluish face, a yellow "
    "swirl around one eye. hannover: a dark face, yellow around one eye, yellow patches on the wall. gatys2016: a "
    "natural face, a yellow rim around the hair. keras_prisma_2: a grey face, yellow strokes on the wall.",
)

# %% [markdown]
# ### One measure for all
#
# Each run made *its own* loss small. Those numbers cannot be compared: their units differ. So we judge every picture with the relative losses of lesson 5: content, comparing the image's features $F^l$ with the photo's $P^l$ at `relu4_2`, and style, comparing the Gram matrices $G^l$ with the painting's $A^l$ at the paper's five layers. 0 is a perfect match; 1 is as bad as no features at all, and larger is possible.

# %%
style_layers = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
content_target = backbone(photo, ["relu4_2"])
style_target = {layer: gram_matrix(maps) for layer, maps in backbone(painting, style_layers).items()}


@torch.no_grad()
def judge(image):
    features = backbone(image, content_target | style_target)
    return float(content_loss(features, content_target)), float(style_loss(features, style_target))


lines = [
    "| recipe | its own loss: first, best | content | style | steps | seconds | why it stopped |",
    "|---|---|---|---|---|---|---|",
]
for name, run in runs.items():
    content, style = judge(run.image)
    own = f"{run.history.totals[0]:.2g}, {min(run.history.totals):.2g}"
    steps, seconds = len(run.history.losses), run.history.seconds
    lines.append(f"| {name} | {own} | {content:.2f} | {style:.3f} | {steps} | {seconds:.0f} | {run.stopped} |")
display(Markdown("\n".join(lines)))


# %% [markdown]
# **What to see.** The recipes' own losses span many powers of ten, because they are in different units: a large one says nothing about its picture. (The seconds are those of the computer that ran this notebook.)
#
# Where the content layer is shallow (`surma`, `keras_prisma` at `block2_conv2`), the face and its edges are kept, from noise (`surma`) as from plain grey (`keras_prisma`). Where it is deep and the start is noise (`bits_to_brains`, `hannover`, `gatys2016`), the face has to be found and comes out dark or patched; the full network's pictures, larger and with more steps, show it more clearly. With a deep layer and a grey start (`keras_prisma_2`) it is pale, but whole. `shrimal` starts from the photo, and keeps eyes and smile under its ochre. `bits_to_brains` stops as soon as its loss falls below a threshold, whatever the picture looks like.
#
# One measure makes numbers comparable, but it is not your eye. Ours looks at `relu4_2`, as `hannover` does: with a nearly black face it has a smaller content loss (0.37) than `surma` (0.91), whose face is clear.

# %% [markdown]
# ## 2. The same weights, other losses
#
# The paper's loss at a style layer $l$, with $N_l$ channels and $M_l$ positions, is ([Gatys et al. 2016](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html), equations 3 and 4)
#
# $$E_l = \frac{1}{4 N_l^2 M_l^2} \sum_{i,j} \left(G^l_{ij} - A^l_{ij}\right)^2, \qquad G^l_{ij} = \sum_k F^l_{ik} F^l_{jk} .$$
#
# Others divide the Gram matrix by $M_l$, or by $N_l M_l$; take the mean, or the sum; leave the $\frac14$ out, or use the *image's* 3 channels and all its pixels for $N_l$ and $M_l$ at every layer. Each of these only changes one factor in front of the same sum of squares:

# %% [markdown]
# ### Exercise 6.1: a weight from one publication to another
#
# > Difficulty ★★★ (3 of 3) · importance: high · about 15 minutes
#
# A style weight was published for one formula of the loss. Which weight gives the same loss with another formula? There are $N$ channels and $M$ positions. `"paper"`: with $F F^\top$, the sum of the squared differences, divided by $4 N^2 M^2$. `"johnson"`: with $F F^\top / (N M)$, the mean of the squared differences. `"udacity"`: with $F F^\top$, the mean of the squared differences, divided by $N M$. (A mean over a Gram matrix divides by $N^2$.)
#
# <details><summary>Hint 1</summary>
#
# Write each formula as one factor times $\sum (G - A)^2$, with $G = F F^\top$.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# In Johnson's formula the divisor of the Gram matrix is squared with the difference, and the mean divides once more.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The loss is `weight * factor[source]` times the sum; it must equal `new * factor[target]` times the same sum.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "convert_weight", "solution": true}
def convert_weight(weight, channels, positions, source, target):
    """The weight that gives the same style loss of a layer with the formula of target as `weight` with source's."""
    ### BEGIN SOLUTION
    N, M = channels, positions
    factor = {"paper": 1 / (4 * N**2 * M**2), "johnson": 1 / (N**4 * M**2), "udacity": 1 / (N**3 * M)}
    return weight * factor[source] / factor[target]
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_convert_weight", "points": 3, "solution": false}
from nst_lessons.exercises import check_convert_weight

check_convert_weight(convert_weight)

# %%
display(
    Markdown(
        "\n".join(
            ["| normalisation | whose |", "|---|---|"]
            + [f"| `{name}` | {normalisation.source} |" for name, normalisation in NORMALISATIONS.items()]
        )
    )
)


# %% [markdown]
# ### Exercise 6.2: the balance that weights imply
#
# > Difficulty ★★☆ (2 of 3) · importance: medium · about 10 minutes
#
# How much larger is the style loss than the content loss, if both are as wrong as no features at all? Take the paper's formulas with one layer each: $\alpha \, \frac12 \lVert F - P \rVert^2$ and $\beta \, \lVert G - A \rVert^2 / (4 N^2 M^2)$, with $G = F F^\top$. Without features $F$ and $G$ are zero.
#
# <details><summary>Hint 1</summary>
#
# With $F = 0$ the content loss is $\alpha \frac12 \lVert P \rVert^2$. And the style loss?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# $A = F F^\top$ of the painting's features, not divided; $N$ and $M$ are the painting's.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `(A @ A.T).square().sum() / (4 * N**2 * M**2)` times beta, divided by half of `photo_features.square().sum()` times alpha.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "balance", "solution": true}
def balance(alpha, beta, photo_features, painting_features):
    """Style loss by content loss of an image without features; both features are (1, C, H, W)."""
    ### BEGIN SOLUTION
    A = painting_features[0].flatten(1)
    N, M = A.shape
    content = alpha * photo_features.square().sum() / 2
    style = beta * (A @ A.T).square().sum() / (4 * N**2 * M**2)
    return float(style / content)
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_balance", "points": 2, "solution": false}
from nst_lessons.exercises import check_balance

check_balance(balance)

# %% [markdown]
# It is one factor, but a different one at each layer. Set all weights to 1 ($\alpha = \beta = w_l = 1$). Under each [normalisation](glossary.md#normalisation), how much larger is a layer's style loss than the content loss if both are equally wrong? `transfer_settings` converts weights into relative ones, so the answer is their quotient. We call it *style by content*, and show its power of ten.

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `largest.guess = "..."`.)

# %%
largest = predict(
    "All weights are 1. Under which normalisation does style count most at relu5_1?",
    list(NORMALISATIONS),
)


# %%
def powers_of_ten(recipe):
    """log10 of style weight by content weight, both relative, at every style layer."""
    settings = transfer_settings(recipe, backbone, photo, painting)
    content = settings["alpha"] * sum(settings["content_layers"].values())
    style = {layer: settings["beta"] * weight for layer, weight in settings["style_layers"].items()}
    return {layer: round(log10(weight / content), 2) for layer, weight in style.items()}


same = replace(
    PUBLISHED["gatys2016"], alpha=1.0, beta=1.0, style_layers=dict.fromkeys(style_layers, 1.0), scale="torchvision"
)
ratios = {name: powers_of_ten(replace(same, normalisation=name)) for name in NORMALISATIONS}
show_heat_map(
    ratios,
    title="Style by content for equal weights, in powers of ten",
    caption="0 (white) means as strong as the content, -3 (blue) a thousand times weaker, 2 (red) a hundred times "
    "stronger.",
)

# %%
largest.reveal(max(ratios, key=lambda name: ratios[name]["relu5_1"]))

# %% [markdown]
# **What to see.** Only in the row `relative` does a weight of 1 mean 1. Read *down* a column: the same weight means things that differ by many powers of ten. Read *along* a row: equal weights are not equal either. Under `johnson`, which divides by $N_l^4$ in all, the deepest layer counts ten thousand times less than the first ones: five equal weights there amount to the shallow layers alone.
#
# And the *published* weights, each under its own normalisation and on its own scale?

# %%
blocks = ["block 1", "block 2", "block 3", "block 4", "block 5"]
published = {name: dict(zip(blocks, powers_of_ten(recipe).values(), strict=True)) for name, recipe in PUBLISHED.items()}
show_heat_map(
    published,
    title="Style by content as published, in powers of ten",
    caption="Every recipe has one style layer in each block. Numbers above 0 (red): style outweighs content there.",
)

# %% [markdown]
# **What to see.** In all rows but one, style by content in the first three blocks lies between a tenth and a little over a hundred, however different the published weights look. Block 5 counts little there unless the losses are relative (`bits_to_brains`), and block 4 counts little in `surma` and the two rows of `keras_prisma`. The other row is `shrimal`, which has practically no content term, but *starts* from the photo. Try that row with `start="noise"`.

# %% [markdown] tags=["answer"]
# **Answer.** From noise there is no figure at all, only curls in the painting's colours: the content loss is 1.7 at the end, worse than no features at all. It was the start that had kept the face, not the content term.

# %% [markdown]
# ## 3. The same weights, other pixels
#
# Caffe's networks take pixels from 0 to 255, minus the mean; torchvision's take them from 0 to 1, minus the mean and divided by the standard deviation. That is a factor of about 58, and (but for the biases) it passes right through a network of ReLUs:

# %% tags=["nbval-check-output"]
scale = SCALES["caffe"] / SCALES["torchvision"]
print(f"features      grow by s    = {scale:8.1f}")
print(f"content loss  grows by s^2 = {scale**2:8.0f}")
print(f"style loss    grows by s^4 = {scale**4:.2g}")
print(f"so style gains s^2 = {scale**2:.0f} on content")

# %% [markdown]
# Weights tuned on one scale must be converted for the other, never copied. Here is `keras_prisma` converted, and with its weights copied as if they had been made for torchvision's pixels (one run, about half a minute):

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `copied_weights.guess = "..."`.)

# %%
copied_weights = predict(
    "Weights copied instead of converted: what will the picture be?",
    ["the photo again", "the same picture as before", "the style alone"],
)

# %%
copied = replace(PUBLISHED["keras_prisma"], scale="torchvision")
wrong = style_transfer(backbone, photo, painting, recipe=copied, steps=STEPS)
show_images(
    {"the photo": photo, "converted": runs["keras_prisma"].image, "copied": wrong.image},
    title="Off by a factor of 3300",
    caption="With copied weights no style is left to be seen: the run recovers the photo.",
    alt="The photo; the portrait in blue strokes and yellow light; and an image that looks like the photo.",
)

# %%
content, _ = judge(wrong.image)
copied_weights.reveal("the photo again" if content < 0.2 else "the same picture as before")

# %% tags=["nbval-check-output"]
right_way, wrong_way = (powers_of_ten(recipe) for recipe in (PUBLISHED["keras_prisma"], copied))
layer = "block2_conv2"
print(f"style by content at {layer}, converted: 10^{right_way[layer]:.1f}, copied: 10^{wrong_way[layer]:.1f}")

# %% [markdown]
# **What to see.** No error is raised and no loss is infinite; the picture just has no style. The opposite mistake, pixels of 0 to 255 in a network that wants torchvision's, makes style count some 3300 times more.
#
# ## 4. Early and later
#
# `hannover` shows one run twice, at an early iteration and at a later one, from random noise. We kept the images of its run after 10 and 40 steps. Beside them is the trade-off between its two weights: the same run with a hundredth of the style (one run, about 15 s; seed 0).

# %%
calmer = style_transfer(backbone, photo, painting, recipe="hannover", seed=0, steps=STEPS, beta=1.0)
run = runs["hannover"]
show_images(
    {**run.history.snapshots, f"step {STEPS}": run.image, "a hundredth of the style": calmer.image},
    columns=4,
    title="From noise, early and later",
    caption="hannover's run after 10, 40 and all steps, and a run with a hundredth of the style.",
    alt="Curled strokes in blue and yellow; a figure in blue strokes with yellow patches; the same figure with a "
    "nearly black face; and a clear portrait with an orange suit and coloured specks.",
)

# %% [markdown]
# **What to see.** After 10 steps there are strokes in the painting's colours and no figure; after 40 the figure is there, and at the end its face is darker. Texture, which may be anywhere, is found first; a face has one place. With a hundredth of the style the face comes out clearly, and the suit is orange.

# %% [markdown]
# ## 5. Explore
#
# Put two recipes side by side. Then give both the same normalisation: how far does the balance of style and content move, while the weights stay as published? (The controls need a running kernel. The figure below shows one setting.)

# %%
explore_recipes(backbone, photo, painting)

# %%
balances = {name: implied_balance(backbone, photo, painting, PUBLISHED[name]) for name in ("keras_prisma", "gatys2016")}
panels, _ = render_recipes(balances, left="keras_prisma", right="gatys2016")
show_images(
    panels,
    title="One setting of the explorer",
    caption="By the full network. Style by content, as published: "
    + ", ".join(f"{name} {sum(balance.values()):.0f} to 1" for name, balance in balances.items())
    + ".",
    alt="Two portraits by the full network. Left, keras_prisma: a clear face in blue and yellow, an even sky. Right, "
    "gatys2016: a natural face, and brush strokes that swirl in the sky and in the hair.",
)

# %% [markdown]
# ## Try it
#
# 1. **More content.** The paper's content loss is a *sum* over positions, its style loss is divided by $M_l^2$. `gatys2016` was made for 512 pixels, we are at 224. Which `alpha` gives back the balance that it has there? Run it with `style_transfer(backbone, photo, painting, recipe="gatys2016", alpha=...)`.
# 2. **Change the layers**, as `surma` invites you to: `content_layers=["block4_conv2"]`. Weights that you give beside a recipe are in its own units, and converted with the others.
# 3. **Every iteration.** `keras_prisma` saves the picture after each of its 10 iterations of 20 steps: `snapshots=range(20, 200, 20)`, and `show_images(run.history.snapshots)`.
# 4. **Your own row.** `replace(PUBLISHED["keras_prisma"], start="photo", tv=1e-6, tv_power=1.25)` is a recipe; give it as `recipe=`. Which row would you choose?
# 5. **On paper.** A program has weights 5 and 100 with Gram matrices divided by $N_l M_l$ and means (`johnson`). You rewrite it to divide by $M_l$ only (`authors`). Which weight does a style layer with 512 channels need now?

# %% [markdown] tags=["answer"]
# **Answer.**
#
# 1. The content loss grows with the number of positions, so at 512 pixels it is $(512 / 224)^2 \approx 5.2$ times as large: `alpha=0.0052` instead of `0.001`. By our measure the content then ends at 0.18 instead of 0.40, and the style at 0.22 instead of 0.14; the face is clearer.
# 2. The weight was made for a shallow layer, and at the deep one it holds little: the content goes from 0.91 to 0.99, the style from 0.11 to 0.10, and of the person only a shape is left, in thick strokes.
# 3. At step 20 the whole portrait is there, in grey and blue; at 40 it has its colours. From 60 on nothing changes that one can see (content 0.53, then 0.52; style 0.28, then 0.29).
# 4. That row ends at 0.56 for content and 0.24 for style, where `keras_prisma` has 0.52 and 0.29; the fine pattern on its surfaces is gone. The start matters little here (0.51 and 0.28 from the photo, without total variation), because the shallow content layer finds the photo from grey, too. Total variation is in the recipe's own units: `tv=0.1` would leave nothing but a blur. No row of the table is best in both numbers.
# 5. The squared Gram matrix is no longer divided by $N_l^2$, so the loss is $512^2$ times as large, and the weight must be $100 / 512^2 \approx 0.0004$. That is the $1/N_l^2$ in the authors' own code, which has weights of $1000 / N_l^2$.

# %% [markdown]
# ## Quick check
#
# (Without buttons: `first_check.guess = "..."`, then `first_check.verdict`.)

# %%
from nst_lessons.widgets import quick_check

first_check = quick_check("own-losses")
second_check = quick_check("relative-weights")
third_check = quick_check("pixel-scale")

# %% [markdown]
# ## What to remember
#
# - **A weight means nothing without its loss.** Sum or mean, $1/M_l$ or $1/(N_l M_l)$, $\frac14$ or not: a factor that changes from layer to layer. State which, or use relative losses.
# - **Weights belong to a scale of pixels.** Between 0 to 255 and torchvision's scale, the balance of style and content moves by $s^2 \approx 3300$. Convert, never copy.
# - **Sums belong to a size.** Where the content is a sum over positions and the style is not, a larger image has more content.
# - **The start is part of the recipe**, and so is the moment when it stops.
# - **Compare pictures with one measure**, never with each one's own loss.
#
# ## Further reading
#
# - The implementation that many write-ups follow: [Johnson's neural-style 2015](https://github.com/jcjohnson/neural-style)
# - More layers, other weights and other statistics, compared: [Novak and Nikulin 2016](https://arxiv.org/abs/1605.04603)
# - Where Gram matrices are unstable, and a remedy: [Risser, Wilmot and Barnes 2017](https://arxiv.org/abs/1701.08893)
#
# **Next:** a transfer of your own. `nst-lessons transfer photo.jpg painting.jpg -o picture.png` makes it from the command line, and [lesson 5](05_style_transfer.ipynb) has the explorer.
