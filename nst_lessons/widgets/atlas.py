"""The atlas of lesson 5: transfers that the full network made beforehand, and any of them computed live."""

from __future__ import annotations

import ipywidgets as widgets
from PIL import Image

from nst_lessons.figures import to_jpeg
from nst_lessons.image_files import load_image
from nst_lessons.network import Backbone
from nst_lessons.samples import full_network_settings, full_network_picture, sample
from nst_lessons.transfer import style_transfer
from nst_lessons.widgets.calls import Argument, Call
from nst_lessons.widgets.layout import PANEL, enlarge, frame, paragraph
from nst_lessons.widgets.live_explorer import LiveExplorer
