"""From a checked request to what the service takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.processor.messages import Message
from mobile_videogpt.serving.api.schema import (
    ChatMessage,
    ChatRequest,
    ChoiceFormat,
    FilePart,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    SamplingFields,
    TextPart,
    VideoPart,
)
from mobile_videogpt.serving.decoding.wire import Sampling
from mobile_videogpt.serving.errors import bad_request, clean
from mobile_videogpt.serving.jobs import Order
from mobile_videogpt.serving.media import MediaRequest
from mobile_videogpt.serving.structured import (
    OptionForm,
    check_schema,
    choice_form,
    option_form,
)

if TYPE_CHECKING:
    from mobile_videogpt.serving.service import Service

_MOST_STOPS = 16
_LONGEST_STOP = 1000
_SAMPLING = ("fps", "num_frames", "start", "end")
_REFUSED = (
    *("tools", "functions", "logprobs", "audio"),
    *("frequency_penalty", "presence_penalty", "logit_bias"),
)


@dataclass(frozen=True)
class Asked:
    """A request, ready for `Service.run`."""

    order: Order
    media: tuple[MediaRequest, ...]


def read_order(request: ChatRequest, service: Service) -> Asked:
    """What a request asks for.

    Raises:
        ApiError: it asks for something that is not there.
    """
    for name in _REFUSED:
        if getattr(request, name):
            raise bad_request(f"{name} is not supported by this server: leave it out", name)
    reader = _MessageReader(request, service)
    messages = tuple(reader.read(place, m) for place, m in enumerate(request.messages))
    reader.check(messages)
    form, grammar = _read_format(request, service)
    answers = [_options(request, service, place) for place in range(request.n or 1)]
    if grammar is not None:
        # A guide follows one answer.
        answers = [replace(o, guide=service.guides.guide(grammar)) for o in answers]
    if len(answers) > service.settings.max_answers:
        raise bad_request(
            f"n is {len(answers)}, and {service.settings.max_answers} answers are allowed", "n"
        )
    order = Order(messages, tuple(answers), _stops(request), form)
    return Asked(order, tuple(reader.media))


class _MessageReader:
    """Reads the messages of one request, and collects their videos."""

    def __init__(self, request: ChatRequest, service: Service) -> None:
        self.media: list[MediaRequest] = []
        self._request = request
        self._count = service.frames_per_video
        self._allowed = service.settings.videos_per_request
        self._longest = service.longest_text

    def read(self, place: int, message: ChatMessage) -> Message:
        role = "system" if message.role == "developer" else message.role
        if isinstance(message.content, str):
            return Message(role, clean(message.content).strip())
        param = f"messages[{place}].content"
        before = len(self.media)
        texts, pictures = [], []
        for number, part in enumerate(message.content):
            if isinstance(part, TextPart):
                texts.append(clean(part.text))
            elif isinstance(part, ImagePart):
                image = part.image_url
                pictures.append(image if isinstance(image, str) else image.url)
            elif isinstance(part, VideoPart):
                self._add("video", (part.video_url.url,), part.video_url, f"{param}[{number}]")
            elif isinstance(part, FilePart):
                self._add("video", (part.file.file_id,), None, f"{param}[{number}]")
        if pictures:
            self._add("pictures", tuple(pictures), None, param)
        videos = (None,) * (len(self.media) - before)
        if videos and role != "user":
            raise bad_request(f"a video stands in a message of the {role}: let the user show it")
        return Message(role, "".join(texts).strip(), videos)

    def check(self, messages: tuple[Message, ...]) -> None:
        """What holds for all messages together."""
        if len(self.media) > self._allowed:
            raise bad_request(
                f"the messages hold {len(self.media)} videos, and {self._allowed} are allowed",
                "messages",
            )
        length = sum(len(message.text) for message in messages)
        if length > self._longest:
            # Before anybody counts its tokens, which would take long.
            raise bad_request(
                f"the messages have {length} characters, and {self._longest} are allowed: leave "
                "out earlier turns",
                "messages",
                "context_length_exceeded",
            )
        last = messages[-1]
        if last.role != "user" or not last.text:
            raise bad_request(
                'the last message must be the user\'s, and ask something, e.g. "What happens?"',
                "messages",
            )

    def _add(
        self, kind: str, addresses: tuple[str, ...], own: SamplingFields | None, param: str
    ) -> None:
        values: dict[str, Any] = {name: getattr(self._request, name) for name in _SAMPLING}
        if own is not None:
            given = {name: getattr(own, name) for name in _SAMPLING}
            values |= {name: value for name, value in given.items() if value is not None}
        sampling = video_sampling(values, self._count)
        self.media.append(MediaRequest(kind, addresses, sampling, param))


def video_sampling(values: dict[str, Any], count: int) -> Sampling:
    """Which frames a client wants.

    Args:
        values: `fps`, `num_frames`, `start` and `end`, None where the client does not say.
        count: frames that the model takes.

    Raises:
        ApiError: it wants more frames than the model takes.
    """
    if values["num_frames"] is not None and values["num_frames"] > count:
        raise bad_request(
            f"num_frames is {values['num_frames']}, and the model looks at {count} frames: give at "
            f"most {count}",
            "num_frames",
        )
    return Sampling(count, **values)


def _options(request: ChatRequest, service: Service, place: int) -> GenerationOptions:
    """How one answer is generated; each of several draws by a seed of its own."""
    longest = request.max_completion_tokens or request.max_tokens
    is_sampled = bool(request.temperature) or (
        request.temperature is None and (request.top_p is not None or request.top_k is not None)
    )
    options: dict[str, Any] = {}
    if is_sampled:
        options = {"do_sample": True, "temperature": request.temperature or 1.0}
        options |= {"top_p": request.top_p, "top_k": request.top_k}
    if request.seed is not None:
        options["seed"] = (request.seed + place + 2**63) % 2**64 - 2**63
    return GenerationOptions(
        max_new_tokens=longest or service.settings.default_max_tokens,
        repetition_penalty=request.repetition_penalty,
        **options,
    )


def _stops(request: ChatRequest) -> tuple[str, ...]:
    stops = [request.stop] if isinstance(request.stop, str) else list(request.stop or [])
    if len(stops) > _MOST_STOPS or not all(0 < len(text) <= _LONGEST_STOP for text in stops):
        raise bad_request(
            f"stop takes up to {_MOST_STOPS} strings of 1 to {_LONGEST_STOP} characters", "stop"
        )
    return tuple(clean(text) for text in stops)


def _read_format(request: ChatRequest, service: Service) -> tuple[OptionForm | None, str | None]:
    """A form to fill in, or a grammar to follow, or neither."""
    wanted = request.response_format
    if isinstance(wanted, ChoiceFormat):
        return choice_form([clean(text) for text in wanted.choices]), None
    if isinstance(wanted, JsonSchemaFormat):
        schema = wanted.json_schema.schema_
        check_schema(schema)
        form = option_form(schema)
        return (form, None) if form is not None else (None, service.guides.grammar(schema))
    if isinstance(wanted, JsonObjectFormat):
        return None, service.guides.grammar({"type": "object"})
    return None, None
