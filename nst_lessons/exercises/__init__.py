"""Checks of the exercises, lesson by lesson: ``check_gram_matrix(my_function)`` answers in one sentence.

What all checks share stands in `checking`, and in `watching` where a network is at work; those of lessons 1 to 6 in
`preprocessing`, `features`, `content`, `style`, `transfer` and `recipes`.
"""

from nst_lessons.exercises.content import (
    check_content_loss,
    check_gradient_to_the_image,
    check_reconstruction,
    check_training_step,
)
from nst_lessons.exercises.features import (
    check_activation_step,
    check_image_gradient,
    check_most_selective,
    check_receptive_field,
)
from nst_lessons.exercises.preprocessing import (
    check_deprocess,
    check_preprocess,
    check_preprocess_caffe,
    check_total_variation,
)
from nst_lessons.exercises.recipes import check_balance, check_convert_weight
from nst_lessons.exercises.style import (
    check_gram_matrix,
    check_layer_style_loss,
    check_shuffle_positions,
    check_style_loss,
    check_style_reconstruction,
)
from nst_lessons.exercises.transfer import check_style_transfer, check_sweep, check_total_cost, check_transfer_loss
