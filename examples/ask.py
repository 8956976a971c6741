"""The shortest use of the package: open a video once, ask about it as often as you like."""

import mobile_videogpt as mv

chat = mv.VideoChat("moving-shapes")
video = chat.open("examples/shapes-1.mp4")
print(chat.ask(video, "How many objects move?"))
for piece in chat.stream(video, "Describe the video."):
    print(piece, end="", flush=True)
