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
# # Lesson 4: style reconstruction with Gram matrices
#
# Lesson 3 kept everything a layer says about a photo, position by position. Now we discard the positions on purpose. **What is left of a painting when we only know which features occur together, and no longer where?** A good deal: the colours, the strokes, the grain. That is what Gatys, Ecker and Bethge call [*style*](glossary.md#style) ([2015](https://arxiv.org/abs/1508.06576), [2016](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html)).
#
# - **You will be able to** compute a Gram matrix, on paper and for a batch; say what it keeps and what it forgets; measure how far apart two styles are; reconstruct a style from noise.
# - **You need** [lesson 3](03_content_reconstruction.ipynb), and shapes and the matrix product from the [refresher](refresher.md).
# - **Time:** 40 minutes to read, 43 for the exercises; it computes for about two minutes on two CPU cores.
# - **Network:** the compact one, because each run then takes seconds; the full VGG16's pictures are beside the most important figure.

# %%
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and importlib.util.find_spec("nst_lessons") is None:
    wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")
    %pip install -q --no-deps {wheel}

# %%
import torch

from nst_lessons import (
    full_network_picture,
    gram_matrix,
    keep_freed_memory,
    load_backbone,
    load_image,
    mean_and_deviation,
    noise_like,
    optimize_image,
    reconstruct_style,
    sample,
    style_loss,
    sweep,
)
from nst_lessons.plots import plot_losses, show_feature_maps, show_heat_map, show_images, show_matrix
from nst_lessons.widgets import explore_reconstructions, explore_statistics, explore_style, predict, render_statistics

keep_freed_memory()
backbone = load_backbone()
layers = backbone.layers_by_block("relu", 1)
SIZE = 192
STEPS = 250


# %% [markdown]
# ## 1. A Gram matrix by hand
#
# Layer $l$ gives $N_l$ feature maps, one for each channel. Write each map as one row of numbers, position after position: a matrix $F^l$ with $N_l$ rows and $M_l$ columns, where $M_l$ is the number of positions (height times width). The [**Gram matrix**](glossary.md#gram-matrix) multiplies every row with every row (Gatys et al. 2016, equation 3):
#
# $$G^l_{ij} = \sum_k F^l_{ik} F^l_{jk}$$
#
# Here $i$ and $j$ are both channels, and the sum runs over the positions $k$. So $G^l_{ij}$ is large when channels $i$ and $j$ are strong *at the same places*, and it does not say at which places.
#
# Take two channels on $2 \times 2$ positions:
#
# $$\text{channel 1} = \begin{pmatrix} 1 & 2 \\ 0 & 1 \end{pmatrix}, \quad \text{channel 2} = \begin{pmatrix} 3 & 0 \\ 1 & 2 \end{pmatrix} \quad\Longrightarrow\quad F = \begin{pmatrix} 1 & 2 & 0 & 1 \\ 3 & 0 & 1 & 2 \end{pmatrix}$$
#
# | entry | products, position by position | sum |
# |---|---|---|
# | $G_{11}$ | $1 \cdot 1 + 2 \cdot 2 + 0 \cdot 0 + 1 \cdot 1$ | **6** |
# | $G_{12} = G_{21}$ | $1 \cdot 3 + 2 \cdot 0 + 0 \cdot 1 + 1 \cdot 2$ | **5** |
# | $G_{22}$ | $3 \cdot 3 + 0 \cdot 0 + 1 \cdot 1 + 2 \cdot 2$ | **14** |
#
# Our `gram_matrix` divides by the number of positions, here 4, so that a small and a large picture of the same style have about the same Gram matrix. (The paper divides later, in the loss.)

# %% [markdown]
# ### Exercise 4.1: the Gram matrix
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 10 minutes
#
# Write the Gram matrix of each item of a batch, divided by the number of positions: $G^l = F^l (F^l)^\top / M_l$. `features` has the shape `(B, C, H, W)`, the result `(B, C, C)`. The items of the batch must not mix.
#
# <details><summary>Hint 1</summary>
#
# Each channel becomes one row that holds all of its positions; the batch stays in front.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `features.flatten(2)` gives `(B, C, H W)`. Which two axes does the transpose exchange?
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `F @ F.transpose(1, 2)` multiplies every row with every row, item by item. Then divide by `F.shape[2]`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "gram_matrix_by_hand", "solution": true}
def gram_matrix_by_hand(features):
    """(B, C, H, W) -> (B, C, C): F F^T / (H W), each item for itself."""
    ### BEGIN SOLUTION
    F = features.flatten(2)
    return F @ F.transpose(1, 2) / F.shape[2]
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_gram_matrix", "points": 2, "solution": false}
from nst_lessons.exercises import check_gram_matrix

check_gram_matrix(gram_matrix_by_hand)

# %% tags=["nbval-check-output"]
tiny = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[3.0, 0.0], [1.0, 2.0]]]])  # (1, 2, 2, 2)
by_hand = torch.tensor([[[6.0, 5.0], [5.0, 14.0]]])
print("gram_matrix:      ", gram_matrix(tiny).tolist())
print("by hand, over 4:  ", (by_hand / 4).tolist())
assert torch.equal(gram_matrix(tiny), by_hand / 4)

# %% [markdown]
# **Try it.** Swap two positions in *both* channels of `tiny`. Which entries change? Now swap them in one channel only.

# %% [markdown] tags=["answer"]
# **Answer.** In both channels: none, because the terms of each sum only change places. In one channel: $G_{12} = G_{21}$. With the first two positions of channel 1 exchanged, $2 \cdot 3 + 1 \cdot 0 + 0 \cdot 1 + 1 \cdot 2 = 8$ instead of 5. $G_{11}$ and $G_{22}$ each know one channel only, and stay.

# %% [markdown]
# ## 2. Shuffling the positions
#
# Suppose we shuffle all positions of a painting's features, all channels alike. The features are then very different ones. And their Gram matrix?

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `shuffle.guess = "..."`.)

# %%
shuffle = predict(
    "What does shuffling the positions do to the Gram matrix?",
    ["nothing", "it changes a little", "it changes as much as the features"],
)


# %% [markdown]
# ### Exercise 4.2: shuffled positions
#
# > Difficulty ★☆☆ (1 of 3) · importance: medium · about 5 minutes
#
# Move the positions of features into another order, the same for all channels: what stood at `order[0]`, counted row by row, comes first.
#
# <details><summary>Hint 1</summary>
#
# Positions are easier to move when a channel is one row.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# An index picks entries along an axis: `rows[..., order]`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `features.flatten(2)[..., order]`, and then back into the shape of `features`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "shuffle_positions", "solution": true}
def shuffle_positions(features, order):
    """(1, C, H, W), and an order of its H W positions -> (1, C, H, W)."""
    ### BEGIN SOLUTION
    rows = features.flatten(2)
    return rows[..., order].view_as(features)
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_shuffle_positions", "points": 1, "solution": false}
from nst_lessons.exercises import check_shuffle_positions

check_shuffle_positions(shuffle_positions)

# %% tags=["nbval-check-output"]
painting = load_image(sample("night_swirls", size=SIZE))
with torch.no_grad():
    maps = backbone(painting, ["relu3_1"])["relu3_1"]

order = torch.randperm(maps.shape[2] * maps.shape[3], generator=torch.Generator().manual_seed(0))
shuffled = maps.flatten(2)[..., order].view_as(maps)


def relative_change(a, b):
    return float((a - b).norm() / a.norm())


feature_change = relative_change(maps, shuffled)
gram_change = relative_change(gram_matrix(maps), gram_matrix(shuffled))
print(f"{len(order)} positions shuffled")
print(f"change of the features:    {feature_change:.0%}")
print(f"change of the Gram matrix: {gram_change:.1%}")

# %%
if gram_change < feature_change / 10:
    shuffle.reveal("nothing" if gram_change < 0.001 else "it changes a little")
else:
    shuffle.reveal("it changes as much as the features")

# %%
busiest = maps.mean((0, 2, 3)).argsort(descending=True)[:4].tolist()
show_feature_maps(
    maps,
    channels=busiest,
    title="The most active channels of relu3_1",
    caption="Positions in order; bright is strong.",
    alt="Four maps in which the painting can be recognised: round stars, a dark tree on the left, swirls in "
    "the middle.",
)
show_feature_maps(
    shuffled,
    channels=busiest,
    title="The same, positions shuffled",
    caption="The same numbers in other places.",
    alt="Four squares of random dots, in which nothing can be recognised.",
)
show_matrix(
    {"in order": gram_matrix(maps)[0], "shuffled": gram_matrix(shuffled)[0]},
    title="Their Gram matrices",
    caption="The two matrices are equal. Brightness is on a square-root scale, so that small values can be seen.",
    alt="Two identical matrices: mostly dark, with a few bright rows and columns that cross, and a brighter diagonal.",
)

# %% [markdown]
# **What to see.** Nothing of the picture survives the shuffle, and no entry of the Gram matrix changes beyond rounding: the order of the terms in the sum over $k$ does not matter. A Gram matrix does not know *where*.
#
# Why, then, will a reconstruction from Gram matrices show brush strokes and not just scattered dots? Because each feature already describes a whole *neighbourhood*. Shuffling the **pixels** is another matter: it destroys the neighbourhoods before the network looks at them.

# %%
pixel_order = torch.randperm(SIZE * SIZE, generator=torch.Generator().manual_seed(0))
scattered = painting.flatten(2)[..., pixel_order].view_as(painting)

with torch.no_grad():
    before, after = backbone(painting, layers), backbone(scattered, layers)
print(f"pixels   {relative_change(gram_matrix(painting), gram_matrix(scattered)):6.1%}")
for layer in layers:
    print(f"{layer}  {relative_change(gram_matrix(before[layer]), gram_matrix(after[layer])):6.1%}")
show_images(
    {"painting": painting, "pixels shuffled": scattered},
    title="Shuffling the pixels themselves",
    caption="The Gram matrix of the three colour channels stays the same; those of the layers do not.",
    alt="Left: a painted night sky with swirls, bright stars and a dark tree. Right: the same pixels in random order, "
    "fine blue, black and yellow noise.",
)

# %% [markdown]
# **What to see.** The Gram matrix of the bare colours (first row) is unchanged: it knows the palette and nothing else. The layers notice that the strokes are gone, because their features look at neighbourhoods: $3 \times 3$ pixels at `relu1_1`, far larger ones deeper down ([Araujo et al. 2019](https://distill.pub/2019/computing-receptive-fields/)).
#
# ## 3. Gram matrices of paintings
#
# Here are two styles. Each panel below is one layer's Gram matrix: row $i$, column $j$ is how strongly the channels $i$ and $j$ are active together. The diagonal is each channel's own mean square.

# %%
styles = {name: load_image(sample(name, size=SIZE)) for name in ("night_swirls", "stained_glass")}
show_images(
    styles,
    title="Two styles",
    caption="Two of the eight paintings that come with the package.",
    alt="Left: a night sky of blue swirling strokes with yellow stars. Right: a stained-glass window, coloured panes "
    "between black lines, with a sun, flowers and a stream.",
)
grams = {}
for name, image in styles.items():
    with torch.no_grad():
        grams[name] = {layer: gram_matrix(maps)[0] for layer, maps in backbone(image, layers).items()}
    show_matrix(
        grams[name],
        title=f"Gram matrices of {name}",
        caption="Rows and columns are channels; square-root scale. A bright entry: two channels active together.",
        alt=f"Gram matrices of {name}: five square grids of crossing lines, each symmetric about its diagonal. "
        "relu1_1: a coarse pattern of light and dark squares. relu2_1 and relu3_1: finer, with a bright diagonal. "
        "relu4_1 and relu5_1: dark, with faint lines.",
    )
show_matrix(
    {
        layer: grams["stained_glass"][layer] / grams["stained_glass"][layer].norm()
        - grams["night_swirls"][layer] / grams["night_swirls"][layer].norm()
        for layer in layers[:2]
    },
    title="Their difference: stained_glass minus night_swirls",
    caption="The first two layers; each matrix divided by its norm first. Linear scale, from blue "
    "(night_swirls has more) over white to red (stained_glass has more).",
    alt="Two square grids, symmetric about the diagonal. relu1_1: red and blue squares, the darkest red ones at the "
    "upper left and the lower right. relu2_1: pale, with red and blue rows and columns that cross.",
)

# %% [markdown]
# **What to see.** The matrices are symmetric ($G^l_{ij} = G^l_{ji}$), and they contain no places. At a glance the two styles are hard to tell apart here: some channels are strong in both. Their difference shows where they disagree. At `relu2_1` it has stripes: each is a channel that one painting uses more, together with many others.
#
# The [**style loss**](glossary.md#style-loss) compares two such matrices (equations 4 and 5 of the paper):
#
# $$E_l = \frac{1}{4 N_l^2 M_l^2} \sum_{i,j} \left(G^l_{ij} - A^l_{ij}\right)^2, \qquad \mathcal{L}_{style}(a, x) = \sum_l w_l E_l$$
#
# $A^l$ is the Gram matrix of the artwork $a$, $G^l$ that of our image $x$, and $w_l$ is the weight of layer $l$. In code it is one line, because it is the content loss of the statistics: `style_loss(f, t) = content_loss(gram_matrix(f), t)`. Ours is *relative*, $\lVert G^l - A^l \rVert^2 / \lVert A^l \rVert^2$: 0 is a perfect match on any layer of any network, and a weight of 1/5 for each of five layers really is a fifth.
#
# Its gradient with respect to the features is just as short. With our $G^l = F^l (F^l)^\top / M_l$, equation 6 becomes $\partial \lVert G^l - A^l \rVert^2 / \partial F^l = \frac{4}{M_l} (G^l - A^l) F^l$. Autograd agrees:

# %% tags=["nbval-check-output"]
with torch.no_grad():
    target = gram_matrix(backbone(styles["stained_glass"], ["relu3_1"])["relu3_1"])
F = maps.flatten(2).clone().requires_grad_()
G = F @ F.mT / F.shape[-1]
(G - target).square().sum().backward()
by_hand = (4 / F.shape[-1] * (G - target) @ F).detach()
print(f"autograd and the equation differ by {relative_change(by_hand, F.grad):.1%}")


# %% [markdown]
# ### Exercise 4.3: the style loss of one layer
#
# > Difficulty ★☆☆ (1 of 3) · importance: high · about 5 minutes
#
# Write the relative distance of two Gram matrices, $|G - A|^2 / |A|^2$, where $|X|^2$ is the sum of all squared entries.
#
# <details><summary>Hint 1</summary>
#
# Two sums over all entries, and a division.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The squares come before the sums.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `(gram - target).square().sum()`, divided by the same of `target` alone.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "layer_style_loss", "solution": true}
def layer_style_loss(gram, target):
    """Gram matrices (1, C, C) -> a scalar: |G - A|^2 / |A|^2."""
    ### BEGIN SOLUTION
    return (gram - target).square().sum() / target.square().sum()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_layer_style_loss", "points": 1, "solution": false}
from nst_lessons.exercises import check_layer_style_loss

check_layer_style_loss(layer_style_loss)

# %% [markdown]
# A loss that is zero for equal Gram matrices also serves as a *distance between styles*. Here it is between the left and right halves of four paintings:

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `nearest.guess = "..."`.)

# %%
nearest = predict(
    "Whose left half is nearest to the right half of woodblock_wave?",
    ["night_swirls", "woodblock_wave", "stained_glass", "ink_hatching"],
)

# %%
names = ["night_swirls", "woodblock_wave", "stained_glass", "ink_hatching"]
with torch.no_grad():
    features = {}
    for name in names:
        image = load_image(sample(name, size=2 * SIZE))
        features[f"{name}, left"] = backbone(image[..., :SIZE], layers)
        features[f"{name}, right"] = backbone(image[..., SIZE:], layers)


def distance(a, b):
    target = {layer: gram_matrix(maps) for layer, maps in features[f"{b}, right"].items()}
    return float(style_loss(features[f"{a}, left"], target))


table = {b: {a: distance(a, b) for a in names} for b in names}
show_heat_map(
    table,
    darkest=2.0,
    title="Style distance between halves of paintings",
    caption="Rows: right halves, the targets. Columns: left halves, measured against them. 0 is a perfect match; "
    "2 and more are darkest.",
)

# %% tags=["nbval-check-output"]
for name, row in table.items():
    print(f"nearest to the right half of {name}: the left half of {min(row, key=row.get)}")

# %%
nearest.reveal(min(table["woodblock_wave"], key=table["woodblock_wave"].get))

# %% [markdown]
# **What to see.** The two halves of a painting show different things, and yet the smallest number in each row is on the diagonal: of four left halves, the one from the same painting is nearest, though only just for `woodblock_wave`, whose halves differ most. A number that ignores places tells these styles apart. (The table is not symmetric: each row is measured in units of its own target, and across the diagonal other halves are compared.)


# %% [markdown]
# ### Exercise 4.4: the weighted style loss
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 8 minutes
#
# Add up the losses of several layers with weights $w_l$. All three arguments are dicts by the layer's name; only the layers of `weights` count. You may use your `layer_style_loss`.
#
# <details><summary>Hint 1</summary>
#
# Which of the three dicts says which layers count?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# `for layer, weight in weights.items()`: one term each.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The term is `weight` times exercise 4.3's loss of `grams[layer]` and `targets[layer]`; `sum` adds them.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "weighted_style_loss", "solution": true}
def weighted_style_loss(grams, targets, weights):
    """{layer: (1, C, C)}, the same of the targets, {layer: weight} -> a scalar."""
    ### BEGIN SOLUTION
    return sum(
        weight * (grams[layer] - targets[layer]).square().sum() / targets[layer].square().sum()
        for layer, weight in weights.items()
    )
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_style_loss", "points": 2, "solution": false}
from nst_lessons.exercises import check_style_loss

check_style_loss(weighted_style_loss)

# %% [markdown]
# ## 4. Reconstructing a style from noise
#
# Now we ask for an image with the painting's Gram matrices and nothing else. We start from white noise (seed 0) and follow the gradient. `reconstruct_style` does it in one call; here is its loss function once, so that you see there is nothing else in it. The weights $w_l$ are the paper's, 1/5 for each of five layers (about 10 s):

# %%
weights = dict.fromkeys(layers, 1 / 5)
with torch.no_grad():
    target = {layer: gram_matrix(maps) for layer, maps in backbone(painting, layers).items()}


def loss_fn(image):
    return {"style": style_loss(backbone(image, target), target, weights=weights)}


noise = noise_like(painting, seed=0)
moments = [*range(0, STEPS, 10), STEPS - 1]
result = optimize_image(noise, loss_fn, steps=STEPS, snapshots=moments)
show_images(
    {step: result.history.snapshots[step] for step in (0, 10, 20, 50, STEPS - 1)} | {"the painting": painting},
    columns=3,
    title="Noise takes on a style",
    caption=f"Style loss {result.history.totals[0]:.2f} at the start, {result.losses['style']:.4f} at the end.",
    alt="Six panels. Step 0: white noise. Step 10: coloured rings and swirls. Step 20: the same in blue and "
    "yellow. Step 50: yellow stars, strokes and swirls. Step 249: a blue night sky of strokes with round "
    "yellow stars, a dark tree trunk on the left and a band of light at the top. Last, the painting: sky, tree "
    "and village in other places.",
)


# %% [markdown]
# ### Exercise 4.5: a style from noise
#
# > Difficulty ★★★ (3 of 3) · importance: high · about 15 minutes
#
# Search for an image whose Gram matrices at the layers match the painting's. Begin at the start that you are given, and use any of PyTorch's optimisers. Return an image in $[0, 1]$. `reconstruct_style` below does the same.
#
# <details><summary>Hint 1</summary>
#
# What changes from step to step, the network or the image? Only that may require a gradient.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The painting's Gram matrices are computed once, before the loop. Work on a copy of the start.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# In the loop: `zero_grad`, the loss of `network(image, layers)`, `backward`, `step`. At the end `detach` and `clamp(0, 1)`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "style_from_noise", "solution": true}
def style_from_noise(network, painting, layers, start, steps):
    """An image of the start's size with the painting's Gram matrices; network(image, layers) gives features.

    All images are (1, 3, H, W) in [0, 1]; the start is noise, and stays as it is. The sum of the layers' relative
    style losses must fall below a quarter of the start's, and below 1.
    """
    ### BEGIN SOLUTION
    targets = {layer: gram_matrix(maps) for layer, maps in network(painting, layers).items()}
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.02)
    for _ in range(steps):
        optimizer.zero_grad()
        style_loss(network(image, layers), targets).backward()
        optimizer.step()
    return image.detach().clamp(0, 1)
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_style_reconstruction", "points": 3, "solution": false}
from nst_lessons.exercises import check_style_reconstruction

check_style_reconstruction(style_from_noise)

# %% [markdown]
# ### From one layer, two layers, ... five layers
#
# This is the style half of figure 1 of [the paper](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html): the same start, but the loss looks at more and more layers. The run with all five we already have; the other four take about 20 s:

# %%
first = {f"up to {layers[n - 1]}": dict.fromkeys(layers[:n], 1 / 5) for n in range(1, 5)}
growing = sweep(lambda name: reconstruct_style(backbone, painting, first[name], steps=STEPS, snapshots=moments), first)
growing[f"up to {layers[-1]}"] = result
show_images(
    {"the painting": painting} | {name: run.image for name, run in growing.items()},
    columns=3,
    title="Style reconstructed from more and more layers",
    caption="Computed just now with the compact network. After Gatys et al. (2016), figure 1.",
    alt="The painting and five reconstructions. One layer: soft yellow, blue and black blobs. Two: larger patches "
    "filled with short strokes. Three: longer strokes that bend around patches and small discs of light. Four: "
    "round stars, a tall dark tree, a long band of light, flowing strokes. Five: similar, with a shorter tree, "
    "a large moon with rings, and a curl of light on the right.",
)

# %% [markdown]
# A closer look, and below it the same experiment with the full VGG16 and ImageNet's weights. We computed those pictures once, at 256 pixels; to make such pictures yourself, run this lesson with `load_backbone("vgg16")`.

# %%
full = {f"up to {layer}": load_image(full_network_picture(f"style_{layer}")) for layer in layers}


def quarter(image):
    side = image.shape[-1] // 2
    return image[..., -side:, :side]


show_images(
    {"the painting": quarter(painting)} | {name: quarter(run.image) for name, run in growing.items()},
    columns=3,
    title="Compact network: the lower left quarter of each, enlarged",
    caption=f"192 pixels, equal weights, {STEPS} steps.",
    alt="Six enlarged quarters. The painting: the foot of the dark tree in front of hills. One layer: blurred "
    "blobs. Two: patches with fine strokes. Three: strokes around a dark patch. Four: bright round stars, strokes "
    "around them, a dark trunk. Five: stars less round, the trunk's lower end at the top, a dark green slope below.",
)
show_images(
    {"the painting": load_image(sample("night_swirls", size=256)), **full},
    columns=3,
    title="The same with the full network",
    caption="Computed by us with VGG16 and ImageNet's weights: 256 pixels, weights 0.4, 0.3, 0.2, 0.08 and 0.02, "
    "300 steps.",
    alt="The painting and five reconstructions by the full network. One layer: small yellow, blue and black blobs. "
    "Two: patches with curved short strokes. Three: lines of strokes, round lights, dark tree-like patches. "
    "Four: stars with rings, swirls, small red roofs. Five: much like four, with larger stars.",
)

# %% [markdown]
# **What to see.** With `relu1_1` alone the palette is right, and that is all: its features see $3 \times 3$ pixels, and they make soft blobs. With `relu2_1` the blobs fill with short strokes. With `relu3_1` strokes line up and bend around patches and lights. With `relu4_1` the pieces are larger: whole stars, a tall dark tree and a long band of light. `relu5_1` adds less: a large moon with rings, and a curl like those in the painting's sky. Each further layer sees a larger neighbourhood, and up to `relu4_1` the pieces of the painting grow with it.
#
# The full network shows the same order. Its last two panels differ little; its fifth layer had a weight of only 0.02 in that run.
#
# Step through the runs yourself:

# %%
explore_reconstructions(growing, painting)

# %% [markdown]
# Or let a style grow: tick layers, set their weights, exchange the Gram matrix for the mean and deviation of each channel, also while it runs. (In a live notebook the explorers are above and below this text.)

# %%
explore_style(backbone, painting)

# %%
plot_losses(
    {name: run.history for name, run in growing.items()},
    title="Style loss, step by step",
    caption="Each run is measured by its own layers only. The curves say how well those are matched, not which "
    "picture is best.",
)

# %% [markdown]
# **Try it.**
#
# - Which run has the smallest loss, and is it the best picture? What does that say about comparing losses of different layer sets?
# - What happens with `relu5_1` alone, `reconstruct_style(backbone, painting, ["relu5_1"])`? And with weights that fall with depth, such as the full network's above?
# - What happens with `seed=1`? What stays the same, what does not?

# %% [markdown] tags=["answer"]
# **Answer.** `relu1_1` alone ends lowest, at 0.00004 (two layers: 0.0004, all five: 0.005), and it is the poorest picture: the fewer layers there are to match, the easier it is. Losses of different sets of layers cannot be compared. `relu5_1` alone gives rings and curls in garish noise of all colours, because nothing holds the palette. Weights that fall with depth change little: the same strokes, stars and tree, in other places. With `seed=1` palette, strokes and kinds of things stay the same, and most stars move; but a dark trunk is on the left again (see *When the arrangement comes back*).

# %% [markdown]
# ### Other styles
#
# Three more of the bundled paintings, with all five layers (about 25 s):

# %%
others = ["stained_glass", "ink_hatching", "woodblock_wave"]
originals = {name: load_image(sample(name, size=SIZE)) for name in others}
by_gram = sweep(lambda name: reconstruct_style(backbone, originals[name], weights, steps=STEPS), originals)
show_images(
    originals | {f"{name}: style": run.image for name, run in by_gram.items()},
    columns=3,
    title="Paintings and their reconstructed styles",
    caption=f"Top: the paintings. Bottom: from noise, five layers, equal weights, {STEPS} steps.",
    alt="Top row, the paintings: a stained-glass sun over hills and flowers; a lighthouse in ink hatching; a great "
    "blue wave in front of a mountain. Bottom row, reconstructions: panes between black lines, with "
    "rings of orange and yellow panes around a pale disc, and a smaller spiral; hatching around a bright disc, "
    "and on the left parts striped in light and dark, like the lighthouse; a large wave on the left, another on the "
    "right, and smaller ones, with crests and striped flanks.",
)

# %% [markdown]
# **What to see.** You recognise each style: coloured panes between black lines, hatching that follows shapes, crests of foam over striped flanks. The pieces are arranged anew: parts striped like the lighthouse's tower lie in two places, and a second large wave stands on the right. Some places are right all the same: the first wave rises on the left and breaks at the top.
#
# ### When the arrangement comes back
#
# A Gram matrix stores no places. Does that mean that the arrangement of a painting cannot be recovered from it? Let us start small, as in lesson 3: 48 pixels first, then 96, then 192 (about 10 s).

# %%
small_first = reconstruct_style(backbone, originals["woodblock_wave"], weights, octaves=3, steps=STEPS)
show_images(
    {
        "the painting": originals["woodblock_wave"],
        f"192 pixels: loss {by_gram['woodblock_wave'].losses['style']:.4f}": by_gram["woodblock_wave"].image,
        f"48, 96, 192 pixels: loss {small_first.losses['style']:.4f}": small_first.image,
    },
    title="The same Gram matrices, two ways to get there",
    caption="Both end with the same loss function at 192 pixels; the right one started there from the result at 96.",
    alt="Left: the painting, a great wave on the left and a mountain on the right. Middle: a large wave on the left, a "
    "second on the right, and parts of others between them. Right: the great wave, the small waves and the mountain, "
    "all where the painting has them.",
)

# %% tags=["nbval-check-output"]
channels, stride = backbone.channels["relu5_1"], backbone.stride["relu5_1"]
print(f"relu5_1: {channels} channels; Gram matrix: {channels * (channels + 1) // 2:,} different numbers")
for size in (48, 96, 192):
    positions = (size // stride) ** 2
    print(f"{size:3} pixels: {positions:3} positions, {channels * positions:6,} features")

# %% [markdown]
# **What to see.** The right picture is the painting again, apart from details, although it was made from noise by Gram matrices alone. Its loss is also much lower: at full size the search had not converged, and the new arrangement in the middle is partly due to where it stopped.
#
# Why does this work? At 48 pixels `relu5_1` has 9 positions. Their features are 2,304 numbers, and the Gram matrix of that one layer holds 32,896 conditions on them. Little freedom is left, and what is settled at 48 pixels stays when the image is enlarged. A second hint comes from the edges: every convolution pads its input with zeros (for the image, that is ImageNet's mean grey), so features near an edge differ from those inside, and the Gram matrix counts them. We have not measured which of the two matters more; *Try it*, number 2, takes each away.
#
# So "style forgets where" holds when there are many more positions than the largest features cover. At 192 pixels `relu5_1` has barely more features than conditions, which may be why a tree, and a sun with most of its rings, came back above. For textures without arrangement, start at full size, and use larger images.
#
# ## 5. Mean and deviation instead of the Gram matrix
#
# Is the whole matrix needed? [Li et al. (2017)](https://arxiv.org/abs/1701.01036) also match only each channel's [**mean and standard deviation**](glossary.md#mean-and-deviation):
#
# $$\mu^l_i = \frac{1}{M_l} \sum_k F^l_{ik}, \qquad \sigma^l_i = \sqrt{\tfrac{1}{M_l} \sum_k \left(F^l_{ik} - \mu^l_i\right)^2}$$
#
# Those are $2 N_l$ numbers, where the symmetric Gram matrix has $N_l (N_l + 1) / 2$ different ones. Which channels are active *together* is no longer recorded. Any other statistic is one argument away (about 15 s):

# %% tags=["nbval-check-output"]
for layer in layers:
    channels = backbone.channels[layer]
    print(f"{layer}: Gram {channels * (channels + 1) // 2:5}   mean and deviation {2 * channels:3}")

# %%
by_moments = sweep(
    lambda name: reconstruct_style(backbone, styles[name], weights, statistic=mean_and_deviation, steps=STEPS), styles
)
show_images(
    {
        "night_swirls": painting,
        "Gram": result.image,
        "mean and deviation": by_moments["night_swirls"].image,
        "stained_glass": originals["stained_glass"],
        "Gram ": by_gram["stained_glass"].image,
        "mean and deviation ": by_moments["stained_glass"].image,
    },
    columns=3,
    title="Two statistics, same layers, same steps, same noise",
    caption="Left the painting, middle matched Gram matrices, right matched means and deviations.",
    alt="Two rows. Night sky: by Gram matrices, strokes, ringed stars and a dark tree; by mean and deviation, "
    "strokes and ringed stars too, some of them smeared, and a dark upright shape at the right edge. Stained glass: by "
    "Gram matrices, rings of orange and yellow panes around a pale disc; by mean and deviation, panes between black "
    "lines as well, and a pale disc among blue panes with yellow ones around them.",
)


# %% [markdown]
# **What to see.** With a small part of the numbers the styles are still recognisable: strokes and ringed stars, panes between black lines. The Gram matrix keeps more of what belongs together: next to the sun's disc lie orange and yellow panes, as in the painting, where mean and deviation has blue ones. [Huang and Belongie (2017)](https://arxiv.org/abs/1703.06868) built a fast style transfer ([AdaIN](glossary.md#adain)) on exactly this small statistic, because it can be *set* in one step instead of being optimised.
#
# ## 6. The batch trap
#
# [PyTorch's tutorial on style transfer](https://docs.pytorch.org/tutorials/advanced/neural_style_tutorial.html) computes the Gram matrix like this, for features of shape $(a, b, c, d)$, $a$ images in the batch:
#
# ```python
# F = features.view(a * b, c * d)
# G = F @ F.T
# ```
#
# With one image, $a = 1$, as in the tutorial, it is right. With two, the rows of both images are in one matrix, and $G$ multiplies the channels of one image with those of the *other*. No error is raised. Measured on two paintings:

# %% tags=["nbval-check-output"]
def gram_with_trap(features):
    a, b, c, d = features.shape
    F = features.reshape(a * b, c * d)
    return F @ F.T / (c * d)


with torch.no_grad():
    batch = backbone(torch.cat(list(styles.values())), ["relu2_1"])["relu2_1"]
channels = batch.shape[1]
right, trap = gram_matrix(batch), gram_with_trap(batch)
mixed = trap[:channels, channels:]  # channels of the first painting times channels of the second
print("features           ", tuple(batch.shape))
print("gram_matrix        ", tuple(right.shape), "one matrix an image")
print("view(a * b, c * d) ", tuple(trap.shape), "one matrix for all")
print(f"entries that mix the two paintings: {2 * mixed.numel() / trap.numel():.0%}")
print(f"their share of the squared sum:     {float(2 * mixed.square().sum() / trap.square().sum()):.0%}")

# %%
show_matrix(
    {"first painting": right[0], "second painting": right[1], "view(a * b, c * d)": trap},
    title="Two Gram matrices, and one that mixes them",
    caption="The large matrix has the right ones on its diagonal, and two blocks that mix the paintings. "
    "Square-root scale.",
    alt="Two matrices of crossing lines with a bright diagonal, and one with twice as many rows and columns: speckled "
    "blocks at the upper left and the lower right, blocks of straight lines in the other two corners.",
)

# %% [markdown]
# **What to see.** Half the entries of the large matrix say how the first painting's channels are active together with the second's: numbers that depend on which pictures happen to share a batch, and on *where* their features are. If you train on it, each image's gradient depends on the others in its batch. `features.flatten(2)` keeps the images apart, and the matrix product treats each by itself.

# %% [markdown]
# ## 7. Explore
#
# Shuffle the positions or the pixels, swap the statistic, tick other layers: what stays, and what goes? (The controls need a running kernel. The figure below shows one setting.)

# %%
explore_statistics(backbone, styles)

# %%
panels, _ = render_statistics(
    backbone,
    painting,
    layers=["pixels", "relu1_1", "relu3_1", "relu5_1"],
    statistic="Gram matrix",
    shuffle="positions of the features",
)
show_images(
    panels,
    columns=2,
    title="One setting of the explorer",
    caption="In each square, row by row: the painting's pixels, and the strongest channels of relu1_1, relu3_1 and "
    "relu5_1; below, their Gram matrices. On the right all positions are shuffled: only the upper square changes.",
    alt="Upper left: the painted night sky in colours, and as three grey maps, each coarser than the one before. "
    "Upper right: four squares of noise, the last of large grains. Below: twice the same four Gram matrices, a light "
    "one of three rows and three with crossing lines, finer and darker from layer to layer.",
)

# %% [markdown]
# ## Try it
#
# 1. Build a statistic of your own, a function from $(B, C, H, W)$ to anything: only the mean; the Gram matrix of the features minus their mean; the Gram matrix of features and of the same features shifted by some pixels. What does each keep?
# 2. Does the arrangement of `woodblock_wave` come back small first with another seed? With fewer layers? With `load_backbone(padding="reflect")`, where edges are less easy to recognise?
# 3. Reconstruct the style of a *photo*: `load_image(sample("coffee"), size=192)`. What is the "style" of a coffee cup?
# 4. Load a picture of your own, `load_image("my_picture.jpg", size=192)`, and look at its Gram matrices.

# %% [markdown] tags=["answer"]
# **Answer.**
#
# 1. The mean alone keeps palette and strokes; there are fewer stars, pale patches, and no tree. Without their means (a covariance) the matrices give what the Gram matrix gives, as far as one can see. With shifted features (by one row and two columns) it is also recorded what lies beside what; here the picture is nearly that of the Gram matrix, because the features overlap anyway.
# 2. With `seed=1` and with `padding="reflect"` it comes back as before, so zeros at the edges are not needed for it. Nor is `relu5_1`: with the first four layers wave and mountain are in place, too. With the first three the great wave is, the mountain and the small waves are not. At 48 pixels `relu4_1` has 36 positions, hence 11,520 features for 51,360 conditions; `relu3_1` has 144 positions, and 18,432 features for 8,256.
# 3. Its materials and parts: two cups with coffee in them, red glaze, light porcelain and brown wood, put together anew. The spoon is gone.
# 4. Bright rows and columns are the channels that your picture uses most, and they differ from picture to picture: of the ten strongest channels of `relu3_1`, `night_swirls` shares four with `stained_glass` and one with the photo of the cat.

# %% [markdown]
# ## Quick check
#
# (Without buttons: `first_check.guess = "..."`, then `first_check.verdict`.)

# %%
from nst_lessons.widgets import quick_check

first_check = quick_check("shuffled-pixels")
second_check = quick_check("arrangement")
third_check = quick_check("batch-trap")

# %% [markdown]
# ## What to remember
#
# - A **Gram matrix** sums products of channels over all positions: it keeps *which features occur together*, not *where*. Shuffled positions leave it unchanged; the neighbourhoods inside the features make strokes.
# - **Shallow layers** give colour and grain, **deeper layers** add larger pieces.
# - On a small picture a deep layer has few positions, and then even Gram matrices can bring the arrangement back.
# - The style loss is the content loss of statistics. **Mean and deviation** is a much smaller statistic.
# - Check shapes with a **batch of two**: what is right for one image can be wrong for two.
#
# ## Further reading
#
# - The texture half of the method, first published by itself: [Gatys, Ecker and Bethge 2015](https://arxiv.org/abs/1505.07376)
# - Why Gram matrices work, as a distance between distributions: [Li et al. 2017](https://arxiv.org/abs/1701.01036)
# - Textures from statistics before there were such networks: [Portilla and Simoncelli 2000](https://doi.org/10.1023/A:1026553619983)
#
# **Next:** in [lesson 5](05_style_transfer.ipynb) the two halves meet: the content of a photo, the style of a painting, and one image that has to match both.
