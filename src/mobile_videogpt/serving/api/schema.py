"""The requests of OpenAI's chat completions that this server takes, and what it adds to them.

Fields that are not named here are ignored, as OpenAI's own clients send new ones all the time;
those that would change the answer and are not supported are refused in `orders`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
FrameCount = Annotated[int, Field(ge=1, le=4096)]


class _Part(BaseModel):
    # Strict: "1" is no number. What the schema says is what is taken.
    model_config = ConfigDict(strict=True, extra="ignore")


class SamplingFields(_Part):
    """Which frames of a video the model sees."""

    fps: Rate | None = Field(None, description="frames per second to consider")
    num_frames: FrameCount | None = Field(None, description="most different frames")
    start: Seconds | None = Field(None, description="look from this second on")
    end: Seconds | None = Field(None, description="look up to this second")


class TextPart(_Part):
    """Text of a message."""

    type: Literal["text"]
    text: str


class VideoUrl(SamplingFields):
    """Where a video is: a data URL, an upload's id, or an address if the server fetches any."""

    url: str = Field(min_length=1)


class VideoPart(_Part):
    """A video."""

    type: Literal["video_url"]
    video_url: VideoUrl


class ImageUrl(_Part):
    """Where a picture is, likewise."""

    url: str = Field(min_length=1)
    detail: str | None = None


class ImagePart(_Part):
    """A frame: all pictures of a message make one video, in their order."""

    type: Literal["image_url"]
    image_url: ImageUrl | str


class FileReference(_Part):
    """An upload."""

    file_id: str = Field(min_length=1)


class FilePart(_Part):
    """A video that was uploaded before."""

    type: Literal["file"]
    file: FileReference


ContentPart = Annotated[TextPart | VideoPart | ImagePart | FilePart, Field(discriminator="type")]


class ChatMessage(_Part):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[ContentPart], Field(max_length=1024)]


class StreamOptions(_Part):
    """What a stream ends with."""

    include_usage: bool | None = None


class TextFormat(_Part):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(_Part):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchema(_Part):
    """A JSON schema, and OpenAI's name for it."""

    model_config = ConfigDict(strict=True, extra="ignore", populate_by_name=True)

    name: str = "answer"
    description: str | None = None
    # `schema` is a method of pydantic's models.
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class JsonSchemaFormat(_Part):
    """JSON of a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class ChoiceFormat(_Part):
    """One of several texts, the likeliest."""

    type: Literal["choice"]
    choices: list[str] = Field(min_length=1, max_length=256)


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | ChoiceFormat, Field(discriminator="type")
]


class ChatRequest(SamplingFields):
    """`POST /v1/chat/completions`; sampling fields hold for videos that say nothing else."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=512)
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="0 or missing: the likeliest token"
    )
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=1, le=1_000_000)
    repetition_penalty: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=8)
    response_format: ResponseFormat | None = None
    # Known to OpenAI, not to this model: only values that ask for nothing.
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    logprobs: bool | None = None
    audio: dict[str, Any] | None = None
    frequency_penalty: float | None = Field(None, allow_inf_nan=False)
    presence_penalty: float | None = Field(None, allow_inf_nan=False)
    logit_bias: dict[str, Any] | None = None
