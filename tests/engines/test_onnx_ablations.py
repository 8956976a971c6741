"""Models made for ablations are refused before anything is written."""

import pytest

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.engines.onnx.export import _refuse_ablations


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoders": "image"}, "encoders 'image' is made for ablations .* encoders is 'both'"),
        ({"frame_selection": "random"}, "frame_selection 'random' .* or 'uniform'"),
        ({"video_passes": 2}, "video_passes 2 .* video_passes is 1"),
    ],
)
def test_an_ablated_model_cannot_be_exported(fields, message):
    with pytest.raises(ValueError, match=message):
        _refuse_ablations(MobileVideoGPTConfig.preset("moving-shapes", **fields))


@pytest.mark.parametrize("selection", ["per_chunk", "global", "uniform"])
def test_every_other_selection_can(selection):
    _refuse_ablations(MobileVideoGPTConfig.preset("moving-shapes", frame_selection=selection))
