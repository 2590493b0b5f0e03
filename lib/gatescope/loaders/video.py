"""Decode the frames of a video file: all, or those that are sampled, at the size that is asked for."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation
from jaxtyping import UInt8

from gatescope.loaders.clip import DEFAULT_FPS, Clip
from gatescope.loaders.completeness import missing_part
from gatescope.loaders.errors import DamagedClipError, OversizedClipError
from gatescope.loaders.limits import MAX_CLIP_BYTES, MAX_VIDEO_BYTES, check_count, fitted_size
from gatescope.loaders.opening import opened_video
from gatescope.loaders.orientation import display_matrix, upright
from gatescope.loaders.sampling import Choose, sample_frames, varying_times

_RATE_TOLERANCE = 0.1  # by which a stated rate may differ from that of the frames' times
# Codecs whose packets all show a frame, and whose decoder drops frames without a word if a header is damaged.
_ALWAYS_SHOWN = ("h264", "hevc")


def read_video(
    path: Path,
    num_frames: int | None = None,
    size: int | None = None,
    strict: bool = True,
    choose: Choose | None = None,
) -> Clip:
    """Return the clip in a video file; see `read_clip` for `num_frames`, `size`, `strict` and `choose`.

    Frames stand in the order and at the times at which a player shows them. A count of frames or a duration that the
    container states is not believed: what decodes counts. Damage is what a decoder or demuxer reports, and bytes that
    `missing_part` misses. Not detectable: truncation between two blocks of a stream recorded live; damage that still
    decodes, since neither H.264 nor GIF has checksums; two merged images of a GIF; a frame that a changed time in an
    MP4's index puts behind the end.

    Raises DamagedClipError if the file is no video, a frame does not decode, or bytes are missing at the end;
    OversizedClipError if the file, a frame or the whole is too large (`fitted_size`).
    """
    if path.stat().st_size > MAX_VIDEO_BYTES:
        raise OversizedClipError(f"exceeds {MAX_VIDEO_BYTES >> 20} MiB; cut it to one gesture", path=path)
    missing = missing_part(path)
    if missing and strict:
        raise _cut_off(path, missing)
    begun, packets, codec = _survey(path, strict)
    shown = packets
    while True:
        faults = None if strict else [f"it is cut off: {missing}"] if missing else []
        chosen = _chosen(shown, num_frames, choose)
        num_fitted = len(set(chosen)) if choose is None else max(len(packets), len(shown))
        clip, found = _decode(path, chosen, size, begun, faults, num_fitted)
        # What is hidden, dropped or split in two is known only once it is decoded.
        if [number for number in chosen if number < len(found)] == _chosen(found, num_frames, choose):
            break
        shown = found
    # Of fields, two make a frame.
    if codec in _ALWAYS_SHOWN and len(found) < len(packets) and abs(2 * len(found) - len(packets)) > 1:
        reason = f"only {len(found)} of its {len(packets)} packets give a frame"
        if strict:
            raise DamagedClipError(f"{reason}; fetch it again or leave it out", path=path)
        faults.append(reason)
    if faults:
        clip = replace(clip, notes=(*clip.notes, f"damaged, the frames are those that decode: {'; '.join(faults[:3])}"))
    if choose is not None or (num_frames is not None and num_frames <= len(found)):
        return replace(clip, fps=clip.fps * len(clip.frames) / len(found), times_s=None)
    return clip


def read_video_frames(path: Path, numbers: Sequence[int], fps: float) -> UInt8[np.ndarray, "time height width 3"]:
    """Return the RGB frames of these ascending numbers, from 0, of a video with the constant rate `fps`.

    Decoding starts at the last key frame before them, which is fast for a few frames of a long video.

    Raises DamagedClipError if the video does not open, has another rate, lacks a frame, or one does not decode;
    OversizedClipError if the frames exceed MAX_FRAME_PIXELS or MAX_CLIP_BYTES.
    """
    frames: list[np.ndarray] = []
    matrix = None
    with opened_video(path) as (container, stream):
        if stream.width * stream.height * 3 * len(numbers) > MAX_CLIP_BYTES:
            raise OversizedClipError(
                f"{len(numbers)} frames exceed {MAX_CLIP_BYTES >> 20} MiB; ask for fewer", path=path
            )
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
            if frame.is_corrupt:
                raise DamagedClipError(f"frame at {frame.time} s is damaged; fetch the video again", path=path)
            matrix = matrix if frames else display_matrix(path, stream.id, frame)
            frames.append(upright(frame.to_ndarray(format="rgb24"), matrix))
            if len(frames) == len(numbers):
                return np.stack(frames)
    raise _cut_off(path, f"it has no frame {numbers[len(frames)]}")


def _survey(path: Path, strict: bool) -> tuple[float | None, list[float | None], str]:
    """Return when the first key frame is shown, the times of all frames from it on, ascending, and the codec's name.

    By the packets, s; nothing is decoded. The first is None if no packet is marked as a key frame.
    """
    packets: list[tuple[float | None, bool]] = []
    codec = ""
    try:
        with opened_video(path) as (container, stream):
            codec = stream.codec_context.name
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard:
                    packets.append((_seconds(packet), packet.is_keyframe))
                    check_count(len(packets), path, stream.width, stream.height)
    except DamagedClipError:
        if strict or not packets:
            raise
    keys = [place for place, (_, is_key) in enumerate(packets) if is_key]
    begun = packets[keys[0]][0] if keys else None
    times = [time for time, _ in packets[keys[0] if keys else 0 :]]
    if None in times:
        return begun, [None] * len(times), codec
    return begun, sorted(time for time in times if begun is None or time >= begun), codec


def _decode(
    path: Path, chosen: Sequence[int], size: int | None, begun: float | None, faults: list[str] | None, num_fitted: int
) -> tuple[Clip, list[float | None]]:
    """Return a clip of the chosen of the frames shown, which ascend and may repeat, and the times of all frames.

    The frames have the size at which `num_fitted` fit.
    """
    frames, own, matrix, times, taken = np.empty(0, np.uint8), None, None, [], np.unique(chosen).tolist()
    with opened_video(path) as (container, stream):
        for frame in _shown(container, stream, path, begun, faults):
            if own is None:
                own, matrix = (frame.height, frame.width), display_matrix(path, stream.id, frame)
            if (frame.height, frame.width) != own:
                reason = f"frame {len(times)} is {(frame.height, frame.width)} where frame 0 is {own}; cut it there"
                raise DamagedClipError(reason, path=path)
            times.append(_seconds(frame))
            check_count(len(times), path, frame.width, frame.height)
            num_kept = bisect_left(taken, len(times) - 1)
            if num_kept == len(taken) or taken[num_kept] != len(times) - 1:
                continue
            width, height = fitted_size(*own[::-1], num_fitted, size, path)
            shown = frame
            if (height, width) != own:
                shown = frame.reformat(width, height, "rgb24", interpolation=Interpolation.AREA)
            picture = upright(shown.to_ndarray(format="rgb24"), matrix)
            if not frames.size:
                frames = np.empty((len(taken), *picture.shape), np.uint8)
                source_size = own if len(picture) == height else own[::-1]
            frames[num_kept] = picture
        stated = stream.average_rate or stream.guessed_rate
    if not times:
        raise DamagedClipError("the video holds no frame; fetch it again or leave it out", path=path)
    if None not in times:
        times.sort()  # AVI states when packets are to be decoded, not when they are shown
    frames = frames[: bisect_left(taken, len(times))]
    if len(taken) < len(chosen):
        frames = frames[np.searchsorted(taken, [number for number in chosen if number < len(times)])]
    all_s = varying_times(times)
    clip = Clip(
        frames=frames,
        fps=_rate(times, float(stated or 0)),
        source=str(path),
        times_s=all_s if len(frames) == len(times) else None,
        source_size=None if (height, width) == own else source_size,
    )
    return clip, times


def _shown(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    path: Path,
    begun: float | None,
    faults: list[str] | None,
) -> Iterator[av.VideoFrame]:
    """Yield the frames that a player shows, from the first key frame on; faults raise, or go into a list."""

    def fault(reason: str, time: float | None) -> None:
        # A cut inside a group of pictures leaves some that lean on frames before the cut: no player shows them.
        if begun is not None and time is not None and time < begun:
            return
        if faults is None:
            raise DamagedClipError(f"{reason}; fetch it again or leave it out", path=path)
        faults.append(reason)

    packets, packet, waiting = container.demux(stream), None, begun is not None
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            fault(f"the file cannot be read on ({error})", None)
            packet = None
        ends = packet is None or (packet.pts is None and not packet.size)
        if not ends and (not packet.size or (waiting and not packet.is_keyframe)):
            continue
        waiting = False
        time = None if ends else _seconds(packet)
        if not ends and packet.is_corrupt:
            fault(f"the packet at {time} s is damaged", time)
        try:
            decoded = stream.decode(packet)
        except av.FFmpegError as error:
            fault(f"the frame at {time} s does not decode ({error})", time)
            decoded = []
        for frame in decoded:
            if frame.is_corrupt:
                fault(f"the frame at {frame.time} s is damaged", frame.time)
            else:
                yield frame
        if ends:
            return


def _chosen(times: Sequence[float | None], num_frames: int | None, choose: Choose | None) -> list[int]:
    if choose is not None:
        return list(choose(len(times), varying_times(times)))
    if num_frames is None or num_frames > len(times):
        return list(range(len(times)))
    return sample_frames(len(times), num_frames, times_s=varying_times(times))


def _rate(times: Sequence[float | None], stated: float) -> float:
    """Return the frames per second that the file states, unless its frames' times say otherwise."""
    if len(times) < 2 or None in times or times[-1] <= times[0]:
        return stated or DEFAULT_FPS
    measured = (len(times) - 1) / (times[-1] - times[0])
    return stated if abs(stated - measured) <= _RATE_TOLERANCE * measured else measured


def _seconds(item: av.Packet | av.VideoFrame) -> float | None:
    return None if item.pts is None or item.time_base is None else float(item.pts * item.time_base)


def _cut_off(path: Path, reason: str) -> DamagedClipError:
    return DamagedClipError(f"the video is cut off: {reason}; fetch it again or leave it out", path=path)
