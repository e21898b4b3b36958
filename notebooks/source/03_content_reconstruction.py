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
# # Lesson 3: content reconstruction from noise
#
# Lesson 2 showed what each layer of the network responds to. Now we turn the question round. **If all you had of a photo were its features at one layer, how much of the photo could you get back?** What comes back, the layer has kept; what cannot come back, it has discarded. What the deeper layers keep is what Gatys, Ecker and Bethge call [*content*](glossary.md#content) ([2015](https://arxiv.org/abs/1508.06576), [2016](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html)).
#
# The method: start from [noise](glossary.md#white-noise), and change the *image* (never the network) until its features are those of the photo.
#
# - **You will be able to** write the content loss, and the loop that reconstructs a photo from its features; send a gradient to the pixels and leave the network frozen; measure what a layer keeps; choose an optimiser.
# - **You need** [lesson 2](02_feature_visualization.ipynb), and gradient and optimiser from the [refresher](refresher.md).
# - **Time:** 35 minutes to read, 40 for the exercises; it computes for about two minutes on two CPU cores.
# - **Network:** the compact one, because each picture then takes seconds; the full VGG16's, computed by us, stand beside them.

# %%
import importlib.util
import sys
from pathlib import Path

if "google.colab" in sys.modules and importlib.util.find_spec("nst_lessons") is None:
    wheel = next(map(str, Path.cwd().glob("nst_lessons-*.whl")), "nst-lessons")
    %pip install -q --no-deps {wheel}

# %%
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn.functional import avg_pool2d

from nst_lessons import (
    content_loss,
    full_network_picture,
    keep_freed_memory,
    load_backbone,
    load_image,
    noise_like,
    optimize_image,
    reconstruct_content,
    sample,
    sweep,
    total_variation,
)
from nst_lessons.plots import plot_lines, plot_losses, show_heat_map, show_images
from nst_lessons.widgets import explore_content, explore_reconstructions, predict

keep_freed_memory()
backbone = load_backbone()
photo = load_image(sample("astronaut"), size=192)
noise = noise_like(photo, seed=0)
show_images(
    {"the photo": photo, "where we start": noise},
    title="From noise to a photo?",
    caption="192 x 192 pixels. The noise is normal, from a random generator with seed 0.",
    alt="Left: a smiling astronaut in an orange suit in front of a flag and a model of a space shuttle, a black helmet "
    "in front of her. Right: white noise of all colours.",
)


# %% [markdown]
# ## 1. The loop by hand
#
# Layer $l$ has $N_l$ channels and $M_l$ positions (height times width). Let $F^l_{ij}$ be the feature of channel $i$ at position $j$ for our image $x$, and $P^l_{ij}$ the same for the photo $p$. The [**content loss**](glossary.md#content-loss) is the squared distance of the two (Gatys et al. 2016, equation 1):
#
# $$\mathcal{L}_{content}(p, x, l) = \frac{1}{2} \sum_{i,j} \left(F^l_{ij} - P^l_{ij}\right)^2$$
#
# Its derivative with respect to the features is simply their difference (equation 2):
#
# $$\frac{\partial \mathcal{L}_{content}}{\partial F^l_{ij}} = \begin{cases} \left(F^l - P^l\right)_{ij} & \text{if } F^l_{ij} > 0 \\ 0 & \text{if } F^l_{ij} < 0 \end{cases}$$
#
# The second line is the ReLU, which passes no gradient where its input was negative. [Back-propagation](glossary.md#back-propagation) carries the derivative on, down to the pixels, as it would carry it to the weights in training. That is the one trick of this lesson: **the same gradient machinery, but the pixels are the parameters, and the network is frozen.**
#
# Our `content_loss` divides by $\sum_{i,j} (P^l_{ij})^2$ instead of by 2: [0 is a perfect match, 1 is as bad as no features at all](glossary.md#relative-loss). That makes losses of different layers comparable.

# %% [markdown]
# ### Exercise 3.1: the content loss
#
# > Difficulty ★☆☆ (1 of 3) · importance: high · about 5 minutes
#
# Write the relative distance of features $F$ from those of the photo, $P$: $\lVert F - P \rVert^2 / \lVert P \rVert^2$. Both have the shape `(1, C, H, W)`; the result is one number, as a tensor.
#
# <details><summary>Hint 1</summary>
#
# $\lVert F - P \rVert^2$ is a sum of squares. The difference has the shape `(1, C, H, W)`: over how many of these axes is it summed?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Square each difference first, then add all of them up. Then do the same with $P$.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `((F - P) ** 2).sum()` is the upper half. The lower half is the same with `P` in place of `F - P`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "my_content_loss", "solution": true}
def my_content_loss(F, P):
    """The content loss, |F - P|^2 / |P|^2: how far the features F are from the target P.

    F and P have the shape (1, C, H, W). Returns a tensor with one number; 0 for equal features.
    Gatys et al. (2016), equation 1, divided by the target's sum of squares instead of by 2.
    """
    ### BEGIN SOLUTION
    squares = (F - P) ** 2
    return squares.sum() / (P**2).sum()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_content_loss", "points": 1, "solution": false}
from nst_lessons.exercises import check_content_loss

check_content_loss(my_content_loss)

# %% [markdown]
# 60 steps of [Adam](glossary.md#adam) (about 2 s):

# %% tags=["nbval-check-output"]
target = backbone(photo, ["relu1_2"])
image = noise.clone().requires_grad_()
optimizer = torch.optim.Adam([image], lr=0.02)

for step in range(60):
    optimizer.zero_grad()
    loss = content_loss(backbone(image, target), target)
    loss.backward()  # d loss / d pixels
    optimizer.step()
    if step % 15 == 0 or step == 59:
        print(f"step {step:2}: loss {loss.item():.2f}")

print("gradient of the image:  ", tuple(image.grad.shape))
print("gradient of the network:", backbone.conv1_1.weight.grad)

# %%
by_hand = image.detach().clamp(0, 1)
show_images(
    {"noise": noise, "60 steps later": by_hand, "the photo": photo},
    title="Reconstructed by eight lines of code",
    caption="Adam, relu1_2. Only the pixels changed; the network's weights have no gradient at all.",
    alt="Noise, the result after 60 steps, and the photo. The result is the photo with some grain left on it.",
)


# %% [markdown]
# **What to see.** The photo is back, with a little grain, although the loop never compared pixels: it only compared features. At `relu1_2` the network has discarded almost nothing.

# %% [markdown]
# ### Exercise 3.2: a step of gradient descent
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 10 minutes
#
# Move the image [one step downhill](glossary.md#gradient-descent): $x - \eta \, \partial \mathcal{L} / \partial x$, clamped to $[0, 1]$, where $\eta$ is `learning_rate`. `loss_fn(image)` gives the loss $\mathcal{L}$, a scalar; return the new image, and the loss before the step as a float. The image that you are given stays as it is.
#
# <details><summary>Hint 1</summary>
#
# The image must not change, and must not require a gradient afterwards. So what does the gradient belong to?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Work on `x = image.clone().requires_grad_()`, compute the loss of `x`, and ask for its gradient with respect to `x`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `(gradient,) = torch.autograd.grad(loss, x)`; then step from `image`, not from `x`, clamp, and return the loss with `.item()`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "training_step", "solution": true}
def training_step(image, loss_fn, learning_rate):
    """One step of gradient descent on the pixels: image - learning_rate * gradient, clamped to [0, 1].

    The image has the shape (1, 3, H, W); loss_fn(image) gives a tensor with one number.
    Returns the new image, without a gradient of its own, and the loss before the step, as a float.
    The image that is given stays as it is.
    """
    ### BEGIN SOLUTION
    x = image.clone().requires_grad_()
    loss = loss_fn(x)
    (gradient,) = torch.autograd.grad(loss, x)
    return (image - learning_rate * gradient).clamp(0, 1), loss.item()
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_training_step", "points": 2, "solution": false}
from nst_lessons.exercises import check_training_step

check_training_step(training_step)

# %% [markdown]
# ### The gradient is a picture, too
#
# The gradient has the shape of the image, so we can look at it: which way does the *very first* step push each pixel? Mid-grey means no change; brighter or darker, for each colour, means up or down.

# %%
pushes = {}
for layer in ["relu1_2", "relu3_2", "relu5_2"]:
    x = noise.clone().requires_grad_()
    target = backbone(photo, [layer])
    (gradient,) = torch.autograd.grad(content_loss(backbone(x, target), target), x)
    pushes[layer] = (0.5 - 0.15 * gradient / gradient.std()).clamp(0, 1)
show_images(
    pushes,
    title="The first step, computed from three layers",
    caption="Minus the gradient, scaled to one contrast; mid-grey is no change.",
    alt="Three gradients as pictures. relu1_2: a rough copy of the photo, outlines and colours. relu3_2: coloured "
    "speckle in which the badge, the neck ring and the rim of the helmet can be made out. relu5_2: coloured "
    "speckle without a picture, strongest on the left below the middle and in the corners.",
)


# %% [markdown]
# **What to see.** From `relu1_2` the push already is a rough copy of the photo, outlines and colours alike. From `relu3_2` a few strong shapes show through the speckle: the badge, the neck ring, the rim of the helmet. From `relu5_2` there is no picture, only speckle, strongest on the left, below the middle. A single step from a deep layer says little; only many steps together make shapes. So expect the deep reconstructions to take longer.

# %% [markdown]
# ### Exercise 3.3: the gradient goes to the image only
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 10 minutes
#
# Compute the content loss of an image at a layer, and its gradient with respect to the image. The network stays frozen, and the target is a constant.
#
# <details><summary>Hint 1</summary>
#
# `loss.backward()` fills the .grad of everything that requires a gradient. Which call gives one gradient only?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# The features must come from a copy of the image that requires a gradient: `F = network(x, [layer])[layer]`.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# `(gradient,) = torch.autograd.grad(loss, x)` leaves the network and the target alone, frozen or not.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "loss_and_gradient", "solution": true}
def loss_and_gradient(network, image, layer, target):
    """The content loss of an image at one layer, and its gradient with respect to the image alone.

    network(image, [layer]) gives {layer: features}; the image has the shape (1, 3, H, W), and the target that of the
    features. Returns the loss |F - P|^2 / |P|^2, a number, and the gradient, (1, 3, H, W).
    The target is a constant. Image and network stay as they are: no weight gets a .grad, even if it requires one.
    Gatys et al. (2016), equation 2 and figure 2.
    """
    ### BEGIN SOLUTION
    x = image.clone().requires_grad_()
    F = network(x, [layer])[layer]
    loss = ((F - target) ** 2).sum() / (target**2).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    return loss.item(), gradient
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_gradient_to_the_image", "points": 2, "solution": false}
from nst_lessons.exercises import check_gradient_to_the_image

check_gradient_to_the_image(loss_and_gradient)


# %% [markdown]
# ### Exercise 3.4: a reconstruction from noise
#
# > Difficulty ★★☆ (2 of 3) · importance: high · about 15 minutes
#
# Search for an image whose features at a layer match the photo's: from the start that you are given, with any of PyTorch's optimisers. Return an image in $[0, 1]$.
#
# <details><summary>Hint 1</summary>
#
# It is the loop of section 1 as a function. Which arguments take the place of `noise`, `photo`, `"relu1_2"` and `60`?
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Before the loop: the target, a copy of the start that requires a gradient, and an optimiser of that copy. In the loop: empty the gradients, loss, backward, step.
#
# </details>
#
# <details><summary>Hint 3</summary>
#
# The optimiser may push pixels out of range, and the image still requires a gradient: `return image.detach().clamp(0, 1)`.
#
# </details>

# %% nbgrader={"cell_type": "code", "locked": false, "schema_version": 3, "task": false, "grade": false, "grade_id": "reconstruct", "solution": true}
def reconstruct(network, photo, layer, start, steps):
    """An image that has the photo's features at one layer, found from the start in a number of steps.

    All images are (1, 3, H, W) in [0, 1], the result, too. The start is noise, and stays as it is.
    Use any optimiser of torch, for example Adam with a learning rate of 0.02 to 0.05. The content loss must fall to
    less than half of the start's. Gatys et al. (2016), section 2.1.
    """
    ### BEGIN SOLUTION
    target = network(photo, [layer])
    image = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.03)
    for _ in range(steps):
        optimizer.zero_grad()
        content_loss(network(image, target), target).backward()
        optimizer.step()
    return image.detach().clamp(0, 1)
    ### END SOLUTION


# %% tags=["nbval-check-output"] nbgrader={"cell_type": "code", "locked": true, "schema_version": 3, "task": false, "grade": true, "grade_id": "check_reconstruction", "points": 2, "solution": false}
from nst_lessons.exercises import check_reconstruction

check_reconstruction(reconstruct)

# %% [markdown]
# ## 2. Five depths
#
# `reconstruct_content` is the loop above with three additions:
#
# - a better [optimiser](glossary.md#optimiser), [L-BFGS](glossary.md#l-bfgs) (section 5);
# - a second term in the loss, the **total variation**: the mean squared difference of neighbouring pixels ([Mahendran and Vedaldi 2015](https://arxiv.org/abs/1412.0035)). Pooling averages over neighbouring positions, so noise that cancels in the average hardly changes deep features, and nothing else in the loss removes it;
# - [`octaves=3`](glossary.md#octave), **small first**: it reconstructs the photo at 48 pixels, enlarges the result as the start at 96, and that as the start at 192. Below we look at what this is good for.
#
# One layer of each block, from white noise ([seed](glossary.md#seed) 0), as in figure 1 of [the paper](https://openaccess.thecvf.com/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html) (about 35 s):

# %%
STEPS = 200  # at each of the three sizes
layers = backbone.layers_by_block("relu", 2)
results = sweep(lambda layer: reconstruct_content(backbone, photo, layer, tv=1.0, octaves=3, steps=STEPS), layers)
show_images(
    {"the photo": photo, **{f"{layer}: loss {r.losses['content']:.4f}": r.image for layer, r in results.items()}},
    columns=3,
    title="The photo, reconstructed from five depths",
    caption="Computed just now with the compact network. After Gatys et al. (2016), figure 1. "
    "The loss is relative: 1 is as bad as no features at all.",
    alt="The photo and five reconstructions. relu1_2, relu2_2 and relu3_2 look like the photo. relu4_2: everything "
    "in place, but the eyes are smeared and edges have coloured fringes. relu5_2: an orange figure with a grey "
    "ring and a helmet, the face a dark blur, the wall full of coloured ripples.",
)

# %% [markdown]
# The compact network imitates a larger one (lesson 1), with fewer channels in every layer. So here is the same experiment with the network that it imitates, the full VGG16 with ImageNet's weights. We computed these pictures once, at 256 pixels; to make them yourself, run this lesson with `load_backbone("vgg16")`.

# %%
full = {layer: load_image(full_network_picture(f"content_{layer}")) for layer in layers}
large_photo = load_image(sample("astronaut"), size=256)
show_images(
    {"the photo": large_photo, **full},
    columns=3,
    title="The same with the full network",
    caption="Computed by us with VGG16 and ImageNet's weights: 256 pixels, 200 steps at each of three sizes.",
    alt="The photo and five reconstructions by the full network. relu1_2 to relu3_2 look like the photo. relu4_2: "
    "the face is whole but a little different, the flag's stars have run. relu5_2: one eye is missing, the "
    "face is cut into pieces, the wall is full of coloured specks; suit, helmet and shuttle are in place.",
)

# %% [markdown]
# **What to see.** From `relu1_2` to `relu3_2` both networks give the photo back; you have to enlarge the pictures to find differences. At `relu4_2` everything is in its place with its colours, but details have changed: the compact network smears the eyes and leaves coloured fringes along edges, the full network draws a whole face with a slightly different smile. At `relu5_2` you still recognise an astronaut in an orange suit, the helmet and the shuttle, at about the right places. The face falls apart, and the plain wall fills with patterns.
#
# The **losses are small**, even at `relu5_2`: to its layer, each of these images is nearly the same as the photo. Where it differs from the photo, the layer does not register it.
#
# ### In numbers
#
# Two measures are usual for how close an image is to another. [**PSNR**](glossary.md#psnr), the peak signal-to-noise ratio, counts every pixel's error, in decibels: 20 dB is an error (root mean square) of a tenth of the range from black to white, 40 dB of a hundredth. [**SSIM**](glossary.md#ssim), structural similarity ([Wang et al. 2004](https://doi.org/10.1109/TIP.2003.819861)), compares local brightness, contrast and structure: 1 is identical, 0 unrelated.

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `half.guess = "..."`.)

# %%
half = predict("At which layer does the compact network's SSIM fall below one half?", list(results))


# %%
def to_array(image):
    return image[0].permute(1, 2, 0).numpy()


def psnr(image, original):
    return float(peak_signal_noise_ratio(to_array(original), to_array(image), data_range=1))


def ssim(image, original):
    return float(structural_similarity(to_array(original), to_array(image), data_range=1, channel_axis=2))


for measure, name in ((psnr, "PSNR in dB"), (ssim, "SSIM")):
    plot_lines(
        {
            "full network": {layer: measure(image, large_photo) for layer, image in full.items()},
            "compact network": {layer: measure(r.image, photo) for layer, r in results.items()},
            "noise": dict.fromkeys(layers, measure(noise, photo)),
        },
        xlabel="layer",
        ylabel=name,
        title=f"{name.split()[0]} over depth",
        caption="Higher is closer to the photo. The flat line is white noise of the photo's size.",
    )
print("         compact network            full network")
print(" layer   loss     PSNR     SSIM     PSNR     SSIM")
for layer, result in results.items():
    print(
        f"{layer}  {result.losses['content']:.4f}"
        f"  {psnr(result.image, photo):4.1f} dB  {ssim(result.image, photo):5.2f}"
        f"   {psnr(full[layer], large_photo):4.1f} dB  {ssim(full[layer], large_photo):5.2f}"
    )

# %% tags=["nbval-check-output"]
similarity = [ssim(result.image, photo) for result in results.values()]
print("SSIM falls from layer to layer:      ", similarity == sorted(similarity, reverse=True))
print("relu1_2 to relu3_2 above 0.8:        ", min(similarity[:3]) > 0.8)
print("relu5_2 below 0.3:                   ", similarity[4] < 0.3)
print("every content loss below 0.02:       ", all(r.losses["content"] < 0.02 for r in results.values()))

# %%
half.reveal(next(layer for layer, value in zip(results, similarity, strict=True) if value < 0.5))

# %% [markdown]
# **What to see.** Both measures fall from layer to layer: SSIM slowly down to `relu3_2` and steeply after it, PSNR more evenly. The two networks' lines are close: what is lost is lost to depth, more than to the compact network's size. By PSNR `relu5_2` is only a little better than noise, although you recognise the picture at once. PSNR and SSIM ask whether each pixel is right, and that is just what a deep layer does not keep.
#
# ### Why small first?
#
# The other way is to start from noise at full size. For a fair comparison it gets 260 steps there, about as much computation as three times 200 steps with small first. The two deepest layers, and `relu2_2` for section 3 (about 25 s):

# %%
DIRECT_STEPS = 260
moments = [*range(0, DIRECT_STEPS, 10), DIRECT_STEPS - 1]
direct = sweep(
    lambda layer: reconstruct_content(backbone, photo, layer, tv=1.0, steps=DIRECT_STEPS, snapshots=moments),
    ["relu2_2", "relu4_2", "relu5_2"],
)
show_images(
    {
        f"{layer}, {way}: loss {runs[layer].losses['content']:.4f}": runs[layer].image
        for layer in ("relu4_2", "relu5_2")
        for way, runs in (("full size", direct), ("small first", results))
    },
    columns=2,
    title="Full size from the start, or small first",
    caption="The same layer, loss and final size, and about as much computation; only the way there differs.",
    alt="Four reconstructions. relu4_2 at full size: a greyish helmet and table; small first: the helmet is "
    "black. relu5_2 at full size: the suit is striped in many colours; small first: the suit is mostly orange.",
)

# %% [markdown]
# **What to see.** The layer is the same, and yet the pictures differ: started at full size, the helmet is greyish at `relu4_2` and the suit striped at `relu5_2`; small first, the helmet is darker at `relu4_2` and the suit more evenly orange at `relu5_2`.
#
# At `relu4_2` small first also has the lower loss. So part of what is wrong on the left is not what the layer discarded: **the search had not arrived.** A large surface of the wrong colour changes the features only a little, and pixel by pixel that takes many steps. At 48 pixels the same surface is a few pixels wide. Details are another matter: look at the face at `relu4_2`, where small first is not better.
#
# At `relu5_2` the two losses are nearly equal. To this layer both pictures are nearly the same as the photo, and the way there decides which of them is found.
#
# When you read "this is what layer 4 sees", ask how the picture was made.
#
# ## 3. Noise becoming the photo
#
# The three runs at full size kept an image every ten steps. Choose a layer and play its run:

# %%
explore_reconstructions(direct, photo)

# %% [markdown]
# Or start a run of your own, and change the layer or the total variation while it runs: they count from the next step. Afterwards you can go back to any step, compare it with the photo, and take the run away as a picture, an animation or a few lines of Python. (In a live notebook one explorer is above this text and the other below it; where a page only shows the notebook, look at the figure.)

# %%
explore_content(backbone, photo)

# %%
show_images(
    {
        f"{layer}, step {step}": direct[layer].history.snapshots[step]
        for layer in ("relu2_2", "relu4_2")
        for step in (0, 10, 20, 40, max(direct[layer].history.snapshots))
    },
    columns=5,
    title="Noise becoming a photo",
    caption="Top: from relu2_2. Bottom: from relu4_2.",
    alt="Two rows of five images. Top, relu2_2: at step 10 all outlines and pale colours, at step 40 nearly the "
    "photo. Bottom, relu4_2: at step 10 coloured outlines on grey, at step 40 still patterned surfaces, at the "
    "end the photo with blurred details.",
)


# %% [markdown]
# **What to see.** Outlines come first, within ten steps. Surfaces and their colours follow more slowly: at step 40 the suit is orange from `relu2_2`, while from `relu4_2` surfaces are still full of patterns. (A run may end before its last step, when the loss no longer falls.)
#
# **Try it** with the player at the beginning of this section.
#
# - At which step do you first recognise the photo from `relu4_2`? From `relu2_2`?
# - Between step 100 and the end, what still changes, and what never comes?

# %% [markdown] tags=["answer"]
# **Answer.** At step 10 in both runs: from `relu2_2` the pale photo is there, from `relu4_2` only outlines on grey, but already those of the astronaut, the helmet and the shuttle. From step 100 on, `relu2_2` changes hardly visibly (SSIM 0.89, and 0.95 at the end). From `relu4_2` SSIM rises from 0.27 to 0.49: the coloured specks on the wall and the fringes along edges fade. The eyes, the stars of the flag and the writing on the badge never become sharp.

# %% [markdown]
# ## 4. What deep layers discard
#
# Let us take the reconstructions apart. How much of the photo's brightness, colour, texture and outlines is in them, and at the right place? We measure each as a correlation with the photo: 1 is fully there, 0 is gone.
#
# - brightness: the mean of red, green and blue;
# - colour: each channel minus the brightness;
# - fine texture: the brightness, minus its own average over $9 \times 9$ pixels;
# - outlines: how strongly the brightness changes from pixel to pixel;
# - outlines nearby: the same, averaged over $9 \times 9$ pixels. If that is clearly higher, the outlines are there, but not exactly in place.

# %%
def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def brightness(image):
    return image.mean(1, keepdim=True)


def blur(maps):
    return avg_pool2d(maps, 9, stride=1, padding=4, count_include_pad=False)


def outlines(image):
    grey = brightness(image)
    return torch.hypot(grey.diff(dim=2)[..., :-1], grey.diff(dim=3)[..., :-1, :])


PARTS = {
    "brightness": brightness,
    "colour": lambda image: image - brightness(image),
    "fine texture": lambda image: brightness(image) - blur(brightness(image)),
    "outlines": outlines,
    "outlines nearby": lambda image: blur(outlines(image)),
}


def parts(image, original):
    return {name: correlation(part(image), part(original)) for name, part in PARTS.items()}


compact_parts = {layer: parts(result.image, photo) for layer, result in results.items()}
full_parts = {layer: parts(image, large_photo) for layer, image in full.items()}
show_heat_map(
    compact_parts,
    darkest=1.0,
    title="What of the photo is still there?",
    caption="Compact network. Correlation with the photo: 1 is fully there, 0 is gone.",
)
show_heat_map(
    full_parts,
    darkest=1.0,
    title="The same for the full network's pictures",
    caption="VGG16 with ImageNet's weights, 256 pixels.",
)

# %% tags=["nbval-check-output"]
for name, table in (("compact", compact_parts), ("full", full_parts)):
    for layer in ("relu4_2", "relu5_2"):
        values = table[layer]
        print(
            f"{name:8} {layer}  lost most: {min(values, key=values.get):13}"
            f" outlines fit better nearby than in place: {values['outlines nearby'] > values['outlines']}"
        )


# %%
def face(image):
    """The same part of the picture, whatever its size."""
    top, left, side = (round(part * image.shape[-1]) for part in (0.03, 0.25, 0.5))
    return image[..., top : top + side, left : left + side]


details = {"the photo": photo} | {layer: result.image for layer, result in results.items()}
details |= {f"full network, {layer}": full[layer] for layer in ("relu3_2", "relu4_2", "relu5_2")}
show_images(
    {name: face(image) for name, image in details.items()},
    columns=3,
    title="A closer look",
    caption="A quarter of each picture, enlarged. The last row shows the full network.",
    alt="The face, nine times. The photo, relu1_2 and relu2_2 are alike. relu3_2 has a slightly changed mouth. "
    "relu4_2 has smeared eyes, relu5_2 a dark red face without clear features. Full network: relu3_2 is like "
    "the photo, relu4_2 has a changed smile, relu5_2 has one clear eye and a face in pieces.",
)

# %% [markdown]
# **What to see.** Both tables tell the same story. Down to `relu3_2` little is missing. At `relu4_2` about half of the *fine texture* has gone, and somewhat less of the *outlines* at their exact place, while the outlines nearby still agree: lines are there, but have moved. At `relu5_2` the fine texture has gone altogether and *brightness* has lost much. *Colour* lasts longest: the suit is still orange when you can no longer read the face.
#
# This is why style transfer takes its content from a deep layer: it fixes *what is roughly where*, and leaves texture and exact lines free for the style.
#
# ## 5. Three optimisers, one loss
#
# The loss says *where* to go; the optimiser says *how*.
#
# - **Adam** ([Kingma and Ba 2015](https://arxiv.org/abs/1412.6980)) takes steps of similar size for every pixel, along an averaged gradient. Its [learning rate](glossary.md#learning-rate) must be chosen.
# - **L-BFGS** remembers pairs from its last steps, the change of position and the change of gradient, estimates the curvature from them, and steps accordingly. Gatys et al. (2016) used it.
# - **SciPy's L-BFGS-B** is the same idea in double precision, with bounds on every pixel. It wants a function that returns loss and gradient; [Keras' example](https://github.com/keras-team/keras/blob/2.3.0/examples/neural_style_transfer.py) used it.
#
# Adam first needs a learning rate, so we try four. All runs get the same loss function, the same noise, and 100 evaluations of loss and gradient. A short run comes first, so that none of them includes the warm-up (about 10 s, and as much again for the next cell):

# %% [markdown]
# **Predict**, and commit yourself before you run on. (Without buttons: `rate.guess = "..."`.)

# %%
rate = predict("Which learning rate will Adam do best with, in 100 steps?", ["0.01", "0.02", "0.05", "0.1"])

# %%
target = backbone(photo, ["relu2_2"])


def loss_fn(image):
    return {"content": content_loss(backbone(image, target), target), "tv": total_variation(image)}


optimize_image(noise, loss_fn, steps=5)  # warm-up
rates = sweep(
    lambda rate: optimize_image(noise, loss_fn, steps=100, optimizer="adam", learning_rate=rate),
    [0.01, 0.02, 0.05, 0.1],
)
plot_losses(
    {f"Adam, learning rate {rate}": run.history for rate, run in rates.items()},
    title="Adam with four learning rates",
    caption="Content loss at relu2_2 plus total variation, 100 steps.",
)
best = min(rates, key=lambda rate: rates[rate].history.totals[-1])
print("best of the four learning rates:", best)

# %%
rate.reveal(str(best))

# %%
runs = {f"Adam, {best}": rates[best]}
for name, optimizer in (("L-BFGS", "lbfgs"), ("SciPy", "scipy")):
    runs[name] = optimize_image(noise, loss_fn, steps=100, optimizer=optimizer)
plot_losses(
    {name: run.history for name, run in runs.items()},
    title="Loss per step",
    caption="Content loss at relu2_2 plus total variation. A step is one evaluation of loss and gradient.",
)
for name, run in runs.items():
    print(f"{name:12} loss {run.history.totals[-1]:.4f} after {run.history.seconds:.1f} s")
show_images(
    {f"{name}: loss {run.history.totals[-1]:.4f}": run.image for name, run in runs.items()},
    title="The same loss, the same start, 100 steps each",
    caption="Three ways to almost the same picture.",
    alt="The photo three times, reconstructed by Adam, L-BFGS and SciPy; the three can hardly be told apart.",
)

# %% [markdown]
# **What to see.** Adam depends on its learning rate: 0.01 is too slow, and 0.1 falls fastest at first but stops improving. With the best of the four rates, Adam reaches about the same loss as both kinds of L-BFGS, which needed no tuning. SciPy's loss falls fastest at first. Its steps took longest, though. (The seconds are those of the computer that ran this notebook.)
#
# **Try it.** Compare the optimisers at `relu4_2`. Give each 300 steps: does the order stay the same?

# %% [markdown] tags=["answer"]
# **Answer.** No. After 100 steps L-BFGS (0.033) and Adam with 0.05 (0.033) lead, before SciPy (0.044) and Adam with 0.02 (0.058). After 300 steps it is L-BFGS (0.010), Adam with 0.02 (0.012), SciPy (0.014) and Adam with 0.05, which stopped improving at about 0.017: a large learning rate is quick at first, and in the way later. The pictures differ less than the losses.

# %% [markdown]
# ## Try it
#
# 1. Reconstruct from a `conv` layer instead of a `relu` one, `reconstruct_content(backbone, photo, "conv4_2", octaves=3)`. It still has the negative values: does that help?
# 2. Take `tv=0.0` and `tv=10.0` at `relu4_2`, with `octaves=3`. What does each do to the loss, and to the picture?
# 3. Start from another photo instead of noise: `from nst_lessons import match_shapes`, then `start=match_shapes(photo, load_image(sample("coffee")))[1]`. What of it is left at the end?
# 4. Match two layers at once, `relu1_2` and `relu5_2`: write the loss function yourself. Which of the two decides the picture?

# %% [markdown] tags=["answer"]
# **Answer.**
#
# 1. Not here: SSIM is 0.47 from `conv4_2` and 0.48 from `relu4_2`, and the pictures are alike, smeared eyes and coloured fringes included. What is missing has been lost in the layers before.
# 2. With 200 steps: at `tv=1.0`, as in section 2, the content loss is 0.003 and SSIM 0.56. At 0 the picture is harsh, with dark and light wrinkles on the face and the wall, and its total variation is larger than the photo's (0.023 against 0.016); the content loss is not even lower (0.005), because the search has less to guide it. At 10 the loss is 0.016, and the picture is soft.
# 3. With 200 steps: from `relu2_2` nothing (SSIM 0.95). From `relu4_2` no cup, but a wall that is browner than the photo's on the right. From `relu5_2` much: a light round shape, the cup's, is still behind the head, and the red and brown of saucer and table are around it.
# 4. `relu1_2`: the picture is the photo (PSNR 32 dB, where `relu5_2` alone reaches 10). An image that satisfies `relu1_2` satisfies `relu5_2` almost by itself, because deep features are computed from shallow ones; the reverse does not hold.

# %% [markdown]
# ## Quick check
#
# (Without buttons: `first_check.guess = "..."`, then `first_check.verdict`.)

# %%
from nst_lessons.widgets import quick_check

first_check = quick_check("what-is-trained")
second_check = quick_check("small-loss")
third_check = quick_check("small-first")

# %% [markdown]
# ## What to remember
#
# - **The pixels are the parameters**; the network is frozen, and back-propagation goes all the way down to the image.
# - **Content loss** is the squared distance of features; its gradient at the layer is their difference.
# - **Shallow layers** give the photo back nearly perfectly; **deep layers** keep what is roughly where, and discard fine texture and the exact place of lines first.
# - A small loss does not mean a similar picture. It means that *this layer* can hardly tell them apart.
# - A reconstruction also shows the search: another way there, small first, gives another picture from the same layer.
#
# ## Further reading
#
# - Inverting features, with the prior that we use: [Mahendran and Vedaldi 2015](https://arxiv.org/abs/1412.0035)
# - A network that inverts features in one pass: [Dosovitskiy and Brox 2016](https://arxiv.org/abs/1506.02753)
# - What an untrained network knows of photos: [Ulyanov, Vedaldi and Lempitsky 2018](https://arxiv.org/abs/1711.10925)
#
# **Next:** [lesson 4](04_style_reconstruction.ipynb) asks the opposite question: what is left of a painting when we keep *what* and forget *where*?
