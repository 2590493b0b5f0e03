"""Open a video file, whatever its name: only containers that hold their own frames, and no network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.stream import Disposition

from gatescope.loaders.errors import ClipError, DamagedClipError
from gatescope.loaders.limits import MAX_FRAME_PIXELS, check_frame

# Containers that hold their own frames, not playlists and scripts, which make FFmpeg open other files.
_CONTAINERS = (
    "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,gif,apng,jpegxl_anim,mpegts,mpegtsraw,mpeg,mpegvideo,flv,live_flv,kux,"
    "asf,asf_o,ogg,dv,mxf,gxf,wtv,rm,nut,ivf,obu,m4v,h261,h263,h264,hevc,vvc,vc1,dirac,cavsvideo,yuv4mpegpipe,nsv,ty,"
    "dhav,mjpeg,mjpeg_2000,lmlm4,swf,flic,smk,bink,roq,thp,pva,nuv,ivr,mpjpeg"
)


@contextmanager
def opened_video(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a video file and its first video stream; errors while it is open become DamagedClipErrors."""
    options = {
        "err_detect": "crccheck+explode",  # no concealment of damaged frames
        "protocol_whitelist": "file",
        "format_whitelist": _CONTAINERS,
        "max_pixels": str(MAX_FRAME_PIXELS),
    }
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            pictures = (each for each in container.streams.video if not each.disposition & Disposition.attached_pic)
            stream = next(pictures, None)
            if stream is None or stream.codec_context is None:
                raise DamagedClipError("the file holds no video that can be decoded; fetch it again", path=path)
            # One thread: a decoder may open in any worker, and several workers share the cores.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            check_frame(stream.width, stream.height, path)
            yield container, stream
    except ClipError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = f"the video does not decode ({error}); fetch it again, or give another: a video, or a folder of frames"
        raise DamagedClipError(reason, path=path) from error
