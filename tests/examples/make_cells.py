"""Makes cells.mp4: the first twelve images of BCCD as a clip of 160 x 120 pixels.

    python tests/examples/make_cells.py bccd/BCCD/JPEGImages

BCCD is the GitHub repository Shenggan/BCCD_Dataset, under the MIT licence.
"""

import sys
from pathlib import Path

import av
from PIL import Image

if __name__ == "__main__":
    with av.open(Path(__file__).with_name("cells.mp4"), "w") as clip:
        stream = clip.add_stream("h264", 10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for path in sorted(Path(sys.argv[1]).glob("*.jpg"))[:12]:
            with Image.open(path) as image:
                clip.mux(stream.encode(av.VideoFrame.from_image(image)))
        clip.mux(stream.encode())
