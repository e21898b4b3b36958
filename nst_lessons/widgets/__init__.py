"""Explorers: the lessons' controls, over plain functions that turn settings into pictures and words.

Each ``explore_*`` function returns a widget to stand as a cell's last expression. What all but the last show comes from
a ``render_*`` function, which knows nothing of widgets: panels ``{caption: image}``, and a text that says in words and
numbers what is to be seen, for those who cannot see it. The last watches `style_transfer` at work. `predict` asks for a
guess before the answer, `quick_check` a question of the bank.

Only what ipywidgets 7.7 (Google Colab) and 8 (JupyterLab) share is used. Pictures are PNG bytes in an `Image`, never
an `Output`: a thread may set them, and nothing flickers.
"""

from nst_lessons.widgets.atlas import explore_atlas
from nst_lessons.widgets.features import explore_features, render_features
from nst_lessons.widgets.prediction import predict
from nst_lessons.widgets.preprocessing import channel_histograms, explore_preprocessing, render_preprocessing
from nst_lessons.widgets.quick_checks import quick_check
from nst_lessons.widgets.recipes import explore_recipes, implied_balance, render_recipes
from nst_lessons.widgets.reconstructing import explore_content, explore_style
from nst_lessons.widgets.reconstructions import explore_reconstructions, render_reconstruction
from nst_lessons.widgets.styles import explore_statistics, render_statistics
from nst_lessons.widgets.transfer import explore_transfer

__all__ = [
    "channel_histograms",
    "explore_atlas",
    "explore_content",
    "explore_features",
    "explore_preprocessing",
    "explore_recipes",
    "explore_reconstructions",
    "explore_statistics",
    "explore_style",
    "explore_transfer",
    "implied_balance",
    "predict",
    "quick_check",
    "render_features",
    "render_preprocessing",
    "render_recipes",
    "render_reconstruction",
    "render_statistics",
]
