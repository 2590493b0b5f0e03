"""Decode the frames of a video file, all of them or none."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from gatescope.loaders.errors import ClipError, DamagedClipError, OversizedClipError

VIDEO_SUFFIXES = (".mkv", ".webm", ".mp4", ".mov", ".avi", ".gif")
MAX_FRAME_PIXELS = 1 << 24  # 4096 x 4096
MAX_CLIP_BYTES = 1 << 31  # of decoded frames

# Containers that hold their own frames, not playlists, which make FFmpeg open other files.
_CONTAINERS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,gif"
# Codecs with packets that show no frame.
_HIDING_CODECS = ("vp8", "vp9", "av1")
# Frames that may be missing at the end of a container before it counts as cut off.
_END_TOLERANCE = 0.75


def read_video(path: Path) -> tuple[UInt8[np.ndarray, "time height width 3"], float | None]:
    """Return the RGB frames of a video file and its frames per second, None if the file does not state them.

    A truncated video is detected by what its container promises: the number of frames (mp4, avi), size and duration
    (mkv, webm), an intact sequence of blocks up to a closing byte (gif). Not detectable: truncation of a stream
    recorded live, whose header promises nothing; damage that still decodes, since neither H.264 nor GIF has
    checksums; two merged images of a GIF, which does not state their number.

    Raises DamagedClipError if it does not open, a frame does not decode, or frames are missing at the end;
    OversizedClipError if a frame or the whole exceeds MAX_FRAME_PIXELS or MAX_CLIP_BYTES.
    """
    with _opened(path) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate
        _check_size(path, stream.width, stream.height, max(stream.frames, 1))

        frames, num_packets, end_s = [], 0, 0.0
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream:
                continue
            num_packets += bool(packet.size) and not packet.is_discard
            for frame in _upright(packet.decode(), path):
                if frames and frame.shape != frames[0].shape:
                    reason = f"frame {len(frames)} is {frame.shape[:2]} where frame 0 is {frames[0].shape[:2]}"
                    raise DamagedClipError(reason, path=path)
                frames.append(frame)
                _check_size(path, frame.shape[1], frame.shape[0], len(frames))
        if not frames:
            raise DamagedClipError("the video holds no frame; fetch it again or leave it out", path=path)
        if num_packets < stream.frames:
            raise _cut_off(path, f"it promises {stream.frames} frames and holds {num_packets}")
        if len(frames) < num_packets and stream.codec_context.name not in _HIDING_CODECS:
            raise DamagedClipError(f"only {len(frames)} of its {num_packets} frames decode", path=path)
        if container.format.name == "gif":
            promised = _count_gif_images(path.read_bytes())
            if promised != len(frames):
                raise _cut_off(path, f"{len(frames)} frames decode, its blocks hold {promised} in good order")
            return np.stack(frames), float(rate) if rate else None
        if container.format.name.startswith("matroska"):
            size, promised = path.stat().st_size, _promised_matroska_bytes(path)
            if size < promised:
                raise _cut_off(path, f"it promises {promised} bytes and holds {size}")
        if container.duration and rate and not stream.frames:
            promised_s = container.duration / av.time_base
            if promised_s - end_s > _END_TOLERANCE / rate:
                raise _cut_off(path, f"it promises {promised_s:.2f} s and holds {end_s:.2f} s")
        return np.stack(frames), float(rate) if rate else None


def read_video_frames(path: Path, numbers: Sequence[int], fps: float) -> UInt8[np.ndarray, "time height width 3"]:
    """Return the RGB frames of these ascending numbers, from 0, of a video with the constant rate `fps`.

    Decoding starts at the last key frame before them, which is fast for a few frames of a long video.

    Raises DamagedClipError if the video does not open, has another rate, lacks a frame, or one does not decode;
    OversizedClipError if the frames exceed MAX_FRAME_PIXELS or MAX_CLIP_BYTES.
    """
    frames: list[np.ndarray] = []
    with _opened(path) as (container, stream):
        _check_size(path, stream.width, stream.height, len(numbers))
        if not stream.average_rate or abs(stream.average_rate - fps) > 0.01 * fps:
            shown = float(stream.average_rate or 0)
            raise DamagedClipError(f"shows {shown:.4g} frames a second where {fps:.4g} were expected", path=path)
        start, ticks_per_frame = stream.start_time or 0, 1 / (stream.average_rate * stream.time_base)
        container.seek(start + int(numbers[0] * ticks_per_frame), stream=stream)
        for frame in container.decode(stream):
            number = -1 if frame.pts is None else round((frame.pts - start) / ticks_per_frame)
            if number < numbers[len(frames)]:
                continue
            if number > numbers[len(frames)]:
                raise DamagedClipError(f"the video has no frame {numbers[len(frames)]}; fetch it again", path=path)
            frames += _upright([frame], path)
            if len(frames) == len(numbers):
                return np.stack(frames)
    raise _cut_off(path, f"it has no frame {numbers[len(frames)]}")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Open a video file and its first video stream; errors while it is open become DamagedClipErrors."""
    options = {
        "err_detect": "explode",  # no concealment of damaged frames
        "protocol_whitelist": "file",
        "format_whitelist": _CONTAINERS,
        "max_pixels": str(MAX_FRAME_PIXELS),
    }
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise DamagedClipError("the file holds no video that can be decoded; fetch it again", path=path)
            # One thread: a decoder may open in any worker, and several workers share the cores.
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
            yield container, stream
    except ClipError:
        raise
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = f"the video does not decode ({error}); fetch it again or leave it out"
        raise DamagedClipError(reason, path=path) from error


def _upright(decoded: list[av.VideoFrame], path: Path) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    for frame in decoded:
        if frame.is_corrupt:
            raise DamagedClipError(f"frame at {frame.time} s is damaged; fetch the video again", path=path)
        # Phones store upright recordings rotated, with the angle to turn them by.
        yield np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)


def _count_gif_images(content: bytes) -> int:
    """Return the number of images of a GIF up to its closing byte, 0 if a block is misplaced or cut off.

    FFmpeg skips to the next block it knows without reporting what it left out.
    """
    try:
        place, num_images = 13 + _colour_table(content[10]), 0
        while content[place] != 0x3B:  # the closing byte
            if content[place] == 0x2C:  # an image
                if not num_images and content[place + 1 : place + 9] != bytes(4) + content[6:10]:
                    return 0  # the first must fill the screen, or the screen's size could not be trusted
                num_images += 1
                place += 11 + _colour_table(content[place + 9])
            elif content[place] == 0x21:  # an extension
                place += 2
            else:
                return 0
            while content[place]:
                place += 1 + content[place]
            place += 1
    except IndexError:
        return 0
    return num_images


def _promised_matroska_bytes(path: Path) -> int:
    """Return the size a Matroska file should have by the size of its segment, 0 if it does not state it.

    The duration alone is not enough: frames are stored out of order, so the last ones in the file may not be the last
    in time.
    """
    with open(path, "rb") as file:
        head = file.read(4096)
    place = head.find(bytes.fromhex("18538067")) + 4  # the segment's identifier
    if place < 4 or place >= len(head) or head[place] == 0:
        return 0
    length = 9 - head[place].bit_length()  # of the size field, encoded by its leading zeros
    value = int.from_bytes(head[place : place + length], "big") & ~(1 << 7 * length)
    return 0 if value == (1 << 7 * length) - 1 else place + length + value


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _check_size(path: Path, width: int, height: int, num_frames: int) -> None:
    if width * height > MAX_FRAME_PIXELS or width * height * 3 * num_frames > MAX_CLIP_BYTES:
        raise OversizedClipError(
            f"{num_frames} or more frames of {width} x {height} exceed {MAX_FRAME_PIXELS} pixels a frame or "
            f"{MAX_CLIP_BYTES >> 20} MiB a clip; cut the video or scale it down",
            path=path,
        )


def _cut_off(path: Path, reason: str) -> DamagedClipError:
    return DamagedClipError(f"the video is cut off: {reason}; fetch it again or leave it out", path=path)
