"""One mistake for each exercise: what a student might write in the place of what the solution has, and what the check
says of it."""

MISTAKES = {
    "total_variation_by_hand": (
        "across.square()",
        "across.abs()",
        "the value is not the mean of the squared differences.",
    ),
    "preprocess_by_hand": (
        "return (image - mean) / std",
        "return image - mean / std",
        "only the mean is divided by std: brackets are missing around the subtraction.",
    ),
    "caffe_by_hand": ("image.flip(1)", "image", "the mean fits BGR, and the image is in the order RGB still."),
    "deprocess_by_hand": (
        "z * std + mean",
        "(z + mean) * std",
        "the steps are in the wrong order: first undo the division, then the subtraction.",
    ),
    "receptive_field": ("            stride *= 2\n", "", "strides are ignored: pooling doubles every later step."),
    "most_selective": (
        "descending=True",
        "descending=False",
        "these are the least selective ones, or the mean is divided by the peak.",
    ),
    "image_gradient": (".mean()", ".sum()", "it is the gradient of the channel's sum; of its mean was asked."),
    "activation_step": (
        "return image + step_size",
        "return image - step_size",
        "it goes down: minus the gradient makes the channel's mean smaller.",
    ),
    "my_content_loss": ("(P**2).sum()", "P.numel()", "it is the mean of the squares; their sum by |P|^2 was asked."),
    "training_step": (
        "return (image - learning_rate",
        "return (image + learning_rate",
        "the step goes uphill: the gradient is added, and must be subtracted.",
    ),
    "loss_and_gradient": (
        "x = image.clone()",
        "x = image",
        "the image that was given requires a gradient now; work on a copy of it, .clone().requires_grad_().",
    ),
    "reconstruct": (
        "start.clone()",
        "photo.clone()",
        "the result is the photo itself; it must come from the photo's features alone.",
    ),
    "gram_matrix_by_hand": (
        "F @ F.transpose(1, 2)",
        "F.transpose(1, 2) @ F",
        "the matrix is 40x40: it is transposed, C x C was asked, here 11x11.",
    ),
    "shuffle_positions": (
        "order]",
        "order.flip(0)]",
        "the positions are in another order than the one that was given.",
    ),
    "layer_style_loss": (
        "(gram - target).square().sum()",
        "(gram - target).sum()",
        "the square is missing: differences are taken as they are.",
    ),
    "weighted_style_loss": ("weight * ", "", "the weights are left out."),
    "style_from_noise": (
        "        optimizer.zero_grad()\n",
        "",
        "gradients add up from step to step; call optimizer.zero_grad() in each one.",
    ),
    "total_cost": (
        "alpha * content + beta * style",
        "beta * content + alpha * style",
        "alpha and beta are exchanged: alpha is the content's weight, beta the style's.",
    ),
    "my_transfer_loss": ("alpha * content_loss", "content_loss", "the content term is without its weight, alpha."),
    "transfer": ("photo.clone()", "painting.clone()", "the search begins at the painting; it must begin at the photo."),
    "ratio_sweep": (
        "1.0 / ratio",
        "ratio",
        "it is the wrong way round: the ratio is alpha / beta, and here it is beta / alpha.",
    ),
    "convert_weight": (
        "factor[source] / factor[target]",
        "factor[target] / factor[source]",
        "the ratio is the wrong way round: the source's factor by the target's was asked.",
    ),
    "balance": ("(4 * N**2 * M**2)", "(N**2 * M**2)", "the style's 1/4 is missing."),
}
